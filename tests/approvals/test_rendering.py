"""What an approver reads: the plan that is signed, with nothing in it that could deceive a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import digest
from control_plane.domain.run_record import Run
from server.approving import Question
from server.cli.show import plain
from server.rendering import escaped, render
from tests.support.approval_world import APPROVER, Template, World

HOSTILE = {
    "ANSI": "\x1b[2J\x1b[1;31mApproval 0",
    "C1 control": "\x9b2J\x9d0;title\x9c",
    "carriage return": "\rApproval harmless",
    "new lines": "ok\nDigest 00000000\u2028Cannot be undone:\u2029\x85\x0b\x0c",
    "backspace": "no\x08\x08yes",
    "NUL": "a\x00b",
    "bidi override": "\u202egnp.exe\u202c",
    "bidi isolate": "\u2066\u2067\u2068abc\u2069",
    "bidi marks": "\u200e\u200f\u061c",
    "zero width": "a\u200bd\u200cm\u200di\u2060n\ufeff",
    "tag characters": "\U000e0041\U000e0042",
    "private use": "\ue000\U000f0000",
    "soft hyphen": "pay\u00adbill",
    "no-break space": "a\u00a0b\u3000c",
}
SAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def question(**parts: Any) -> Question:
    """A question about a plan with these parts."""
    plan: dict[str, Any] = {
        "command": "onboard_tenant",
        "tenant": "acme",
        "as_of": "2030-01-01T09:00:00.000000Z",
        "catalog": "c",
        "bundle": "b",
        "facts": {"tenant": "f"},
        "parts": {
            "facts": {"infra_creates": 3, "infra_deletes": 2, "infra_stateful_deletes": 1},
            **parts,
        },
    }
    run = Run(
        id="r" * 32,
        call_id="c" * 32,
        principal="alice",
        actor="bot",
        grant_id="g",
        tenant="acme",
        kind="onboard",
        tool="tenant_onboard",
        command={},
        state="awaiting_approval",
        as_of="2030-01-01T09:00:00.000000Z",
        seed="s",
        dry_run=False,
        created_at="2030-01-01T09:00:00.000000Z",
        updated_at="2030-01-01T09:00:00.000000Z",
        plan=plan,
        plan_digest=digest(plan),
        # Beside the plan, where its digest does not reach: never what is shown.
        plan_facts={"infra_creates": 0},
    )
    approval = Approval(
        id="a" * 32,
        run_id=run.id,
        tenant="acme",
        requester="alice",
        requester_actor="bot",
        rule="two_people",
        plan_digest=run.plan_digest,
        state="pending",
        created_at=run.created_at,
        expires_at="2030-01-02T09:00:00.000000Z",
    )
    return Question(approval, run)


def harmless(line: str) -> bool:
    """Whether a terminal shows the line as one line, in the order of its characters."""
    return all(char.isprintable() and unicodedata.category(char) not in SAFE for char in line)


@pytest.mark.parametrize("name", HOSTILE)
def test_text_of_a_caller_steers_no_terminal(name: str) -> None:
    text = HOSTILE[name]

    lines = render(question(rows={"display_name": text, text: "as a name"}))

    assert all(harmless(line) and harmless(plain(line)) for line in lines)
    assert sum(line.startswith("Digest ") for line in lines) == 1
    assert sum(line.startswith("Cannot be undone") for line in lines) == 1


@given(st.text(max_size=400))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_is_escaped_and_capped(text: str) -> None:
    shown = escaped(text)

    assert harmless(shown)
    assert len(shown) <= 201
    assert escaped(shown[:200]) == shown[:200]


def test_a_huge_text_is_capped_and_says_so() -> None:
    lines = render(question(rows={"display_name": "A" * 100_000}))

    assert max(len(line) for line in lines) < 300
    assert any(line.endswith("A…") for line in lines)


def test_a_plan_of_many_lines_is_capped_says_so_and_still_ends_in_its_digest() -> None:
    made = question(rows={f"name-{number:05}": number for number in range(5_000)})

    lines = render(made)

    assert len(lines) < 210
    assert any("more lines" in line for line in lines)
    assert lines[-2] == f"Digest {made.approval.plan_digest}"


def test_a_change_of_records_says_what_is_asked_for_and_of_which_records() -> None:
    made = question(
        rows={
            "collection": "contacts",
            "op": "bulk_update",
            "filter": {"op": "eq", "field": "status", "value": "lead"},
            "values": {"status": "former\x1b[2J"},
            "changes": [
                {"id": f"id-{number}", "version": 4, "before": "0" * 64, "after": "1" * 64}
                for number in range(21)
            ],
        },
        facts={"change_rows": 21, "change_groups": ["pii"], "change_money_max": 700},
    )

    lines = render(made)

    assert "Records of contacts: bulk_update of 21" in lines
    for told in (
        "  filter.field = status",
        "  filter.value = lead",
        "  values.status = former·[2J",
        "  largest amount that changes: 700",
        "  field groups that change: pii",
        "  id-20 at version 4",
    ):
        assert told in lines, told
    assert all(harmless(line) for line in lines)
    # Of a stack there is nothing to say, and a digest tells nobody what a value becomes.
    assert not any("resources" in line or "0" * 64 in line for line in lines[:-2])


def test_an_offboarding_says_first_what_is_dropped_and_until_when_it_can_come_back() -> None:
    lines = render(
        question(
            data={"database": "dropped", "records": {"contacts": 12, "notes": 3}},
            retention={"days": 30, "restorable_until": "2030-01-31T09:00:00.000000Z"},
            infrastructure={"changes": [f"resource {number}" for number in range(500)]},
        )
    )

    undone = lines.index("Cannot be undone:")
    assert lines[undone + 2].endswith("records as counted: contacts 12, notes 3")
    assert "until 2030-01-31T09:00:00.000000Z" in lines[undone + 3]
    assert undone + 3 < lines.index("Will be made: 3 resources") < lines.index("data:")
    assert lines.index("retention:") < lines.index("infrastructure:")


def listed(*entries: Any, left_out: int = 0) -> dict[str, Any]:
    """A list as a plan shows it."""
    return {"shown": [*entries], "left_out": left_out}


def move(name: str, phase: str, kind: str, *, loses: bool = False) -> dict[str, Any]:
    """A move as a plan shows it."""
    return {"name": name, "phase": phase, "kind": kind, "loses_data": loses, "message": "So."}


def right(action: str, becomes: str = "allowed", role: str = "support") -> dict[str, Any]:
    """A right that changes as a plan shows it."""
    told = {"role": role, "kind": "rows_contacts", "action": action, "was": "denied"}
    return {**told, "becomes": becomes, "cases": "status lead", "count": 2, "total": 6}


def of_catalog(**changed: Any) -> Question:
    """A question about another catalog."""
    catalog: dict[str, Any] = {
        "before": {"catalog": "1" * 64, "bundle": "2" * 64, "version": "d2"},
        "after": {"catalog": "3" * 64, "bundle": "4" * 64, "version": "d4"},
        "moves": listed(),
        "declared_otherwise": listed(),
        "offers": listed(),
        "coupons": listed(),
        "rights": listed(),
        "voided": listed(),
        "dialect": "sqlite",
        "statements": {"expand": listed("CREATE TABLE invoices"), "contract": listed()},
    }
    made = question(catalog={**catalog, **changed}, facts={"moves": 1, "voided": 0})
    approval = made.approval.model_copy(update={"tenant": ""})
    run = made.run.model_copy(update={"tenant": "", "kind": "apply_catalog"})
    return Question(approval, run)


def test_a_catalog_says_first_what_is_lost_then_who_gains_or_loses_then_all_else() -> None:
    run = {"run_id": "r1", "kind": "onboard", "tenant": "acme", "state": "approved"}
    lines = render(
        of_catalog(
            moves=listed(
                move("contacts.size", "contract", "narrow_length"),
                move("contacts.company", "contract", "drop_field", loses=True),
                move("invoices", "expand", "add_collection"),
            ),
            rights=listed(right("read"), right("update"), right("read", "needs approval")),
            offers=listed({"name": "team", "version": 2, "change": "dropped"}),
            declared_otherwise=listed("currencies"),
            voided=listed({**run, "requester": "alice", "approval_id": "a1"}),
        )
    )

    in_order = (
        "  apply_catalog of the whole workspace",
        "Cannot be undone: 2",
        "  loses data: contacts.company (contract, drop field): So.",
        "  narrows: contacts.size (contract, narrow length): So.",
        "Who gains or loses what: 3",
        "  support on rows_contacts: read, update: denied -> allowed; status lead (2 of 6)",
        "  support on rows_contacts: read: denied -> needs approval; status lead (2 of 6)",
        "What else changes in collections: 1",
        "  invoices (expand, add collection): So.",
        "  currencies",
        "Plans: 1",
        "  team 2 dropped",
        "Runs that would be void: 1",
        "  r1 onboard acme approved alice",
        f"Catalog before: {'1' * 64}",
        f"Catalog after: {'3' * 64}",
        f"  policies {'4' * 64}",
        "Statements on sqlite, expand: 1",
        "  CREATE TABLE invoices",
        "Statements on sqlite, contract: nothing",
    )
    places = [lines.index(line) for line in in_order]
    assert places == sorted(places)
    assert not any("resources" in line for line in lines)


def test_what_a_catalogs_plan_leaves_out_is_counted() -> None:
    rights = [right("read", role=f"role-{number}") for number in range(40)]
    lines = render(of_catalog(rights=listed(*rights, left_out=60), moves=listed(left_out=7)))

    assert "Who gains or loses what: 100" in lines
    assert "  … 70 more" in lines
    assert "What else changes in collections: 7" in lines
    assert "  … 7 more" in lines


@pytest.mark.parametrize("name", HOSTILE)
def test_text_of_a_catalog_steers_no_terminal(name: str) -> None:
    text = HOSTILE[name]
    lines = render(
        of_catalog(
            moves=listed(move(text, "contract", text, loses=True), move(text, "expand", text)),
            rights=listed(right(text, text, text)),
            declared_otherwise=listed(text),
            statements={"expand": listed(text), text: listed(text)},
            voided=listed({"requester": text}),
        )
    )

    assert all(harmless(line) for line in lines)
    assert sum(line.startswith("Digest ") for line in lines) == 1
    assert sum(line.startswith("Cannot be undone") for line in lines) == 1


def test_what_cannot_be_undone_comes_first() -> None:
    lines = render(question(rows={"tenant": "acme"}, infrastructure={"changes": ["x"]}))

    undone = lines.index("Cannot be undone:")
    assert "deletes 2" in lines[undone + 1]
    assert "stateful deletes 1" in lines[undone + 1]
    assert "Will be made: 3 resources" in lines
    assert undone < lines.index("infrastructure:") < lines.index("rows:")


def test_every_part_that_is_signed_is_shown() -> None:
    lines = render(question(rows={"tenant": "acme"}, schema={"drops": ["contact"]}))

    assert "schema:" in lines
    assert any("drops[0] = contact" in line for line in lines)


def test_an_empty_part_is_shown_as_empty() -> None:
    lines = render(question(rows={"collections": [], "limits": {}}))

    assert "  collections = none" in lines
    assert "  limits = none" in lines


@pytest.mark.long
def test_the_question_of_a_real_run_is_shown_whole(
    make: Callable[[Template], World], two_people: Template
) -> None:
    world = make(two_people)
    run = world.parked()

    shown = "\n".join(render(world.approving.show(world.caller(APPROVER), str(run.approval_id))))

    for said in ("onboard of tenant acme", "asked by alice through bot", "rule two_people"):
        assert said in shown
    assert "display_name = A tenant" in shown
    assert f"Digest {run.plan_digest}" in shown
