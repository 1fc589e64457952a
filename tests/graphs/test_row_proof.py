"""Policies about rows that select exactly what they allow are proved; those that do not are found out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from control_plane.data.collection import Collection
from control_plane.data.filters import Comparison, Junction
from control_plane.domain.caller import Role
from control_plane.errors import Refused
from control_plane.handlers.record_sight import image_of
from graphs.gatekeeper import Gatekeeper
from graphs.proof_rows import ROWS_MAX, generated_rows
from graphs.row_proof import Difference, Misspelt, Proof, asked_actions, proof_callers, prove
from policies.errors import GateUnavailable
from policies.gate import Gate
from policies.request import Principal, Resource
from policies.rows import RowPlan
from tests.support.ruled_engine import ALLOW, DENY, rule, ruled_engine

FIELDS: Mapping[str, Any] = {
    "title": {"kind": "string"},
    "owner": {"kind": "string", "max_length": 40, "nullable": True},
    "state": {"kind": "enum", "values": ("open", "closed")},
    "amount": {"kind": "money", "currency": "EUR", "nullable": True},
    "rank": {"kind": "integer"},
    "flag": {"kind": "boolean", "nullable": True},
    "due": {"kind": "date", "nullable": True},
    "seen": {"kind": "timestamp"},
    "token": {"kind": "uuid"},
    "parent": {"kind": "reference", "collection": "parents", "nullable": True},
    "phone": {"kind": "string", "nullable": True, "group": "pii"},
    "remark": {"kind": "string", "nullable": True, "group": "internal"},
}
ROLES: tuple[Role, ...] = ("support", "platform_admin")
CALLERS = proof_callers(ROLES)
ALL = ("read", "update", "delete", "read_pii")
ADMIN = rule(ALLOW, ("platform_admin",), ALL)


def reads(expression: str, *more: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule(ALLOW, ("support",), ("read",), expression), ADMIN, *more]


_ID = "8f3c2f6e-1d0a-4b8e-9a39-5a2b8c7d6e5f"
INSTANT, DAY, ID = (
    "YYYY-MM-DDThh:mm:ss.ffffffZ, in UTC and with six decimals",
    "YYYY-MM-DD, a day that exists",
    "lower case, with hyphens",
)
# The condition, and of what it says wrongly the field, the text and the form that is wanted.
SPELT: Mapping[str, tuple[str, tuple[str, str, str]]] = {
    "fewer_decimals": (
        'R.attr.seen < "2026-01-01T00:00:00Z"',
        ("seen", "2026-01-01T00:00:00Z", INSTANT),
    ),
    "another_offset": (
        '!("2026-01-01T00:00:00.000000+00:00" >= R.attr.seen)',
        ("seen", "2026-01-01T00:00:00.000000+00:00", INSTANT),
    ),
    "a_day_for_an_instant": (
        'R.attr.state == "open" && R.attr.seen > "2026-01-01"',
        ("seen", "2026-01-01", INSTANT),
    ),
    "a_day_that_is_none": ('R.attr.due == "2026-02-30"', ("due", "2026-02-30", DAY)),
    "an_instant_for_a_day": (
        'R.attr.due in ["2026-01-01", "2026-01-01T00:00:00.000000Z"]',
        ("due", "2026-01-01T00:00:00.000000Z", DAY),
    ),
    "an_upper_case_id": (f'R.attr.token != "{_ID.upper()}"', ("token", _ID.upper(), ID)),
    "an_id_without_hyphens": (
        f'R.attr.parent == "{_ID.replace("-", "")}"',
        ("parent", _ID.replace("-", ""), ID),
    ),
}
WELL_SPELT = (
    'R.attr.seen < "2026-01-01T00:00:00.000000Z"'
    f' && R.attr.token != "{_ID}" && R.attr.title != "2026-01-01T00:00:00Z"'
)
EXACT: Mapping[str, Sequence[dict[str, Any]]] = {
    "unconditional": [ADMIN],
    "equal": reads('R.attr.state == "open"'),
    "ordered": reads('R.attr.rank >= 3 && R.attr.rank < 10 && R.attr.title < "m"'),
    "own": reads("R.attr.owner != null && R.attr.owner == P.id"),
    "owned": reads("R.attr.owner == P.id"),
    "different": reads('R.attr.owner != "ann"'),
    "guarded": reads("R.attr.amount == null || R.attr.amount <= 1000"),
    "guarded_date": reads('R.attr.due != null && R.attr.due < "2026-01-01"'),
    "among": reads('!(R.attr.owner in ["ann", null])'),
    "compared_flag": reads(
        'R.attr.state == "open"', rule(DENY, ("*",), ALL, "R.attr.flag == true")
    ),
    "of_an_agent": reads('P.attr.actor_kind == "agent" && R.attr.state != "closed"'),
    "per_group": [
        rule(ALLOW, ("support",), ("read", "update"), 'R.attr.state == "open"'),
        rule(ALLOW, ("support",), ("read_pii",), "R.attr.owner == P.id"),
        ADMIN,
    ],
    # Each role is decided on by itself: where the other's rule errs, this one's still allows.
    "another_role_errs": [
        rule(ALLOW, ("platform_admin",), ("update",)),
        rule(ALLOW, ("support",), ("update",), 'R.attr.due >= "2026-01-01"'),
    ],
    "spelt_as_values_are": reads(WELL_SPELT),
    # One rule alone: where it errs, nothing else would have allowed the row.
    "alone": [rule(ALLOW, ("support",), ("read",), "R.attr.amount < 1000")],
}
# Beside them: what only shows where a row is made, or with a caller.
LIVES: Mapping[str, Sequence[dict[str, Any]]] = {
    "misspelt_create": [rule(ALLOW, ("support",), ("create",), 'R.attr.due > "1.1.2026"'), ADMIN],
    "own_by_id": reads("R.attr.token == P.id"),
}
DENIED = rule(ALLOW, ("support",), ("read",), 'R.attr.state == "open" && R.attr.rank == 7')
TRAPS: Mapping[str, tuple[Sequence[dict[str, Any]], Difference]] = {
    "another_rule_errs": (
        [DENIED, rule(ALLOW, ("support",), ("read",), "R.attr.amount < 1000")],
        Difference("", "read", ("support",), "plan", ("amount",)),
    ),
    "a_negation_errs": (
        [DENIED, rule(ALLOW, ("support",), ("read",), '!(R.attr.owner < "m")')],
        Difference("", "read", ("support",), "plan", ("owner",)),
    ),
    "a_bare_flag_is_false_to_a_deny": (
        [rule(ALLOW, ("support",), ALL), rule(DENY, ("*",), ("delete",), "R.attr.flag")],
        Difference("", "delete", ("support",), "rule", ("flag",)),
    ),
    "a_group_errs": (
        [
            rule(ALLOW, ("support",), ("read", "read_pii"), 'R.attr.state == "open"'),
            rule(ALLOW, ("support",), ("read_pii",), "R.attr.amount < 1000"),
        ],
        Difference("", "read_pii", ("support",), "plan", ("amount",)),
    ),
    "a_field_against_a_field": (
        reads("R.attr.title == R.attr.owner"),
        Difference("", "read", ("support",), "untranslatable"),
    ),
    "a_value_that_the_field_cannot_have": (
        reads('R.attr.state == "opne"'),
        Difference("", "read", ("support",), "untranslatable"),
    ),
    "an_order_that_the_field_has_not": (
        reads('R.attr.state < "open"'),
        Difference("", "read", ("support",), "untranslatable"),
    ),
    "deep_in_a_product_of_fields": (
        [
            rule(
                ALLOW,
                ("support",),
                ("read",),
                'R.attr.state == "open" && R.attr.rank == 7 && R.attr.title == "x"',
            ),
            rule(
                ALLOW,
                ("support",),
                ("read",),
                'R.attr.flag == false && R.attr.due != null && R.attr.owner > "m"',
            ),
        ],
        Difference("", "read", ("support",), "plan", ("owner",)),
    ),
}


def collection(name: str) -> Collection:
    return Collection.model_validate({"name": name, "description": "x", "fields": FIELDS})


@pytest.fixture(scope="module")
def engine(
    cerbos_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gate, Mapping[str, frozenset[str]]]]:
    spelt = {name: reads(text) for name, (text, _) in SPELT.items()}
    rules = {**EXACT, **{name: rules for name, (rules, _) in TRAPS.items()}, **spelt, **LIVES}
    folder = tmp_path_factory.mktemp("proof")
    with ruled_engine(cerbos_binary, folder, [collection(name) for name in rules], rules) as made:
        yield made


def proved(engine: tuple[Gate, Mapping[str, frozenset[str]]], name: str, seed: str = "1") -> Proof:
    gate, named = engine
    return prove(collection(name), named[name], Gatekeeper(gate), CALLERS, seed, rows_max=200)


Engine = tuple[Gate, Mapping[str, frozenset[str]]]


@pytest.mark.long_but_one
@pytest.mark.slice_of(3)
@pytest.mark.parametrize("name", EXACT)
def test_a_policy_whose_filter_is_its_rule_is_proved(engine: Engine, name: str) -> None:
    assert proved(engine, name) == Proof(name, exact=True, differences=())


@pytest.mark.long_but_one
@pytest.mark.slice_of(3)
@pytest.mark.parametrize("name", TRAPS)
def test_a_policy_whose_filter_is_not_its_rule_is_found_out_by_name(
    engine: Engine, name: str
) -> None:
    expected = dataclasses.replace(TRAPS[name][1], rule=f"rows_{name}#{TRAPS[name][1].action}")
    proof = proved(engine, name)
    assert not proof.exact
    assert expected in proof.differences
    assert {(one.rule, one.side) for one in proof.differences} == {(expected.rule, expected.side)}


@pytest.mark.slice_of(3)
@pytest.mark.parametrize("name", SPELT)
def test_a_text_in_another_form_than_the_fields_values_is_named_and_nothing_that_follows(
    engine: Engine, name: str
) -> None:
    wrong = Misspelt(*SPELT[name][1], rule=f"rows_{name}#read")
    assert proved(engine, name) == Proof(name, exact=False, differences=(), misspelt=(wrong,))


def test_a_new_row_is_compared_too_but_no_filter_is_asked_for_it(engine: Engine) -> None:
    wrong = Misspelt("due", "1.1.2026", DAY, "rows_misspelt_create#create")
    assert proved(engine, "misspelt_create") == Proof(
        "misspelt_create", exact=True, differences=(), misspelt=(wrong,)
    )


def test_what_a_caller_is_called_is_not_the_policys_to_spell(engine: Engine) -> None:
    proof = proved(engine, "own_by_id")
    assert not proof.misspelt
    assert {(one.action, one.side) for one in proof.differences} == {("read", "untranslatable")}


@pytest.mark.long
def test_the_same_seed_gives_the_same_proof_and_another_one_as_good(engine: Engine) -> None:
    proof = proved(engine, "a_group_errs")
    assert proved(engine, "a_group_errs") == proof
    assert proved(engine, "a_group_errs", "2") == proof


def test_no_value_of_a_row_stands_in_a_proof(engine: Engine) -> None:
    told = repr(proved(engine, "another_rule_errs"))
    assert not any(said in told for said in ("open", "1000", "alice"))


class Silent:
    """A gate whose engine is gone."""

    version = "d0"

    def check(self, principal: Principal, resources: Sequence[Resource]) -> Any:
        raise AssertionError("nothing is planned, so nothing is checked")

    def plan(self, principal: Principal, kind: str, attr: Any, actions: Sequence[str]) -> RowPlan:
        raise GateUnavailable("gone")


def test_an_engine_that_does_not_answer_is_no_difference() -> None:
    with pytest.raises(Refused) as caught:
        prove(collection("x"), {"state"}, Gatekeeper(Silent()), CALLERS, "1")
    assert caught.value.code == "policy_engine_unavailable"


def test_each_combination_that_is_asked_together_is_planned_together() -> None:
    assert asked_actions(collection("x")) == (
        ("read",),
        ("update",),
        ("delete",),
        ("read_internal",),
        ("read_pii",),
        ("read", "update"),
        ("read", "delete"),
        ("read", "read_internal"),
        ("read", "read_pii"),
        ("read", "read_internal", "read_pii"),
    )


def test_callers_have_no_role_each_and_all() -> None:
    roles = [one.roles for one in proof_callers(("viewer", "support", "billing"))]
    assert len(roles) == 2 * (1 + 3 + 1)
    assert {one.principal for one in CALLERS} == {"alice", "bob"}
    assert len({(one.actor_kind, one.roles) for one in CALLERS}) == len(CALLERS)


def test_rows_hold_what_the_rule_names_what_is_beside_it_and_what_is_missing() -> None:
    tree = Junction("and", (Comparison("lt", "amount", 1000), Comparison("eq", "owner", "ann")))
    named = {"amount", "owner", "rank"}
    rows = [image_of(row) for row in generated_rows(collection("x"), named, [tree], ["alice"], "1")]
    amounts, owners = ({repr(row[name]) for row in rows} for name in ("amount", "owner"))
    assert {"None", "1000", "999", "1001", "0", "-1", str(2**53 - 1), str(1 - 2**53)} <= amounts
    assert {repr(one) for one in (None, "ann", "an", "anna", "ANN", "", "alice")} <= owners
    assert None not in [row["rank"] for row in rows]
    met = {(repr(row["amount"]), repr(row["owner"])) for row in rows}
    assert met == {(one, other) for one in amounts for other in owners}
    assert 100 < len(rows) <= ROWS_MAX
    assert len({repr(row) for row in rows}) == len(rows)


def test_rows_are_no_more_than_asked_for_however_many_fields_there_are() -> None:
    wide = Collection.model_validate(
        {
            "name": "wide",
            "description": "x",
            "fields": {f"f{n}": {"kind": "date", "nullable": True} for n in range(40)},
        }
    )
    rows = generated_rows(wide, wide.fields, [], [], "1", rows_max=60)
    assert len(rows) == 60
    assert rows == generated_rows(wide, wide.fields, [], [], "1", rows_max=60)
    assert rows != generated_rows(wide, wide.fields, [], [], "2", rows_max=60)
    assert {"None"} < {str(row["f39"]) for row in rows}
