"""A plan as text: what cannot be undone first, values before and after, and never what is sensitive."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.canonical import Json, keyed_digest
from control_plane.handlers.plan_text import LINES_MAX, escaped, plan_text
from control_plane.provisioning.projection import projection

SECRET = "hunter2-hunter2"
KEY = b"k" * 32


def change(actions: list[str], **more: Any) -> dict[str, Json]:
    """One resource's change, as a projection keeps it."""
    nothing: dict[str, Json] = {
        "importing": None,
        "before": None,
        "after": None,
        "after_unknown": {},
        "replace_paths": None,
    }
    return {"actions": actions, **nothing, **more}


def resource(address: str, actions: list[str], **more: Any) -> dict[str, Json]:
    """A resource with its change."""
    return {"address": address, "type": "thing", "change": change(actions, **more)}


def text(*resources: dict[str, Json], found: dict[str, Json] | None = None, **changes: Any) -> str:
    """The text of a plan with these resources."""
    changed: dict[str, Json] = {"resource_changes": list(resources), **changes}
    parts: dict[str, Json] = {"infrastructure": {"changes": changed, "found": found or {}}}
    return "\n".join(plan_text(parts).lines)


# What is said ------------------------------------------------------------------------------------


def test_what_cannot_be_undone_comes_first_and_then_all_else_by_address() -> None:
    told = text(
        resource("b.new", ["create"], after={"size": 3}),
        resource("a.gone", ["delete"]),
        resource("z.database", ["delete", "create"], replace_paths=[["engine"], ["disk", 0]]),
        found={"stateful_deletes": ["z.database"]},
    )
    assert told.splitlines() == [
        "Cannot be undone: what holds data goes",
        "  -/+ replace z.database (because of disk.0, engine)",
        "Resources",
        "  - destroy a.gone",
        "  + create b.new",
        "      size = 3",
    ]


def test_what_changes_is_told_before_and_after_and_what_stays_is_not() -> None:
    told = text(
        resource(
            "a.b",
            ["update"],
            before={"size": "small", "name": "x", "tags": {"a": 1}},
            after={"size": "large", "name": "x", "tags": {"a": 2}},
            after_unknown={"arn": True},
        )
    )
    assert told.splitlines()[1:] == [
        "  ~ update a.b",
        "      arn = null → (known after apply)",
        '      size = "small" → "large"',
        '      tags = {"a": 1} → {"a": 2}',
    ]


def test_outputs_money_and_cost_come_last() -> None:
    parts: dict[str, Json] = {
        "infrastructure": {
            "changes": {"output_changes": {"database": change(["create"], after_unknown=True)}},
            "found": {
                "monthly_cost_minor": 1250,
                "price_version": "2026-11-01",
                "unpriced": ["x_y"],
            },
        },
        "money": {"due_minor": 700, "currency": "EUR"},
    }
    assert plan_text(parts).lines == (
        "Outputs",
        "  database: null → (known after apply)",
        "Money",
        '  currency = "EUR"',
        "  due_minor = 700",
        "Cost: 1250 cents (USD) a month for all that stands then, by the prices of 2026-11-01",
        "  without a price: x_y",
    )


def test_what_is_adopted_moved_or_former_is_said() -> None:
    adopted = resource("a.b", ["no-op"], importing={"id": "i-1"})
    moved = resource("a.c", ["update"]) | {"previous_address": "a.old"}
    former = resource("a.d", ["delete"]) | {"deposed": "12345678"}
    assert text(adopted, moved, former).splitlines()[1:] == [
        "  = keep a.b (adopted)",
        "  ~ update a.c",
        "      moved from a.old",
        "  - destroy a.d (its former self)",
    ]


def test_a_plan_of_our_own_rows_alone_says_so() -> None:
    assert plan_text({"rows": {"tenant": "acme"}}).lines == (
        "Nothing outside of our own store changes.",
    )


def test_what_becomes_of_data_is_told_before_what_it_costs() -> None:
    migrations: list[Json] = [{"name": "0001_words", "phase": "expand"}]
    parts: dict[str, Json] = {
        "money": {"due_minor": 700},
        "migrate": {"shared": True, "migrations": migrations},
        "data": {"kept_until": "2030-01-08", "records": {"contacts": 3}},
    }
    assert plan_text(parts).lines == (
        "Data",
        '  kept_until = "2030-01-08"',
        '  records = {"contacts": 3}',
        "Migrations of one tenant",
        '  migrations: {"name": "0001_words", "phase": "expand"}',
        "  shared = true",
        "Money",
        "  due_minor = 700",
    )


def test_nothing_turns_the_reading_direction_or_moves_a_cursor() -> None:
    told = text(resource("a.b\u202e\x1b[2J\n", ["create"], after={"k\u200b": "v\u2066\x07\n\x7f"}))
    assert told.count("\n") == 2
    assert escaped(told.replace("\n", "")) == told.replace("\n", "")
    assert "\\u{202e}" in told
    assert "\\u{1b}" in told


def test_a_long_plan_is_cut_and_says_by_how_much() -> None:
    many = [resource(f"a.b{number:04}", ["delete"]) for number in range(900)]
    cut = plan_text({"infrastructure": {"changes": {"resource_changes": many}}})
    assert (len(cut.lines), cut.left_out) == (LINES_MAX, 901 - LINES_MAX)


# What is never said ------------------------------------------------------------------------------


def test_what_terraform_calls_sensitive_is_shown_as_that() -> None:
    known = {
        "terraform_version": "1.11.4",
        "resource_changes": [
            {
                "address": "a.b",
                "mode": "managed",
                "type": "thing",
                "change": {
                    "actions": ["update"],
                    "before": {"password": "before", "inner": [{"key": "before"}]},
                    "after": {"password": SECRET, "inner": [{"key": SECRET}]},
                    "before_sensitive": {"password": True, "inner": [{"key": True}]},
                    "after_sensitive": {"password": True, "inner": [{"key": True}]},
                },
            }
        ],
        "output_changes": {
            "login": {
                "actions": ["create"],
                "before": None,
                "after": SECRET,
                "after_sensitive": True,
            }
        },
    }
    kept = projection(known, "lock", "module", KEY)
    told = "\n".join(plan_text({"infrastructure": {"changes": kept}}).lines)
    assert told.splitlines() == [
        "Resources",
        "  ~ update a.b",
        '      inner = [{"key": (sensitive)}] → [{"key": (sensitive)}]',
        "      password = (sensitive) → (sensitive)",
        "Outputs",
        "  login: null → (sensitive)",
    ]
    assert keyed_digest(KEY, SECRET) not in told


HMAC = "5e" * 32
_PLAIN = (
    st.none() | st.booleans() | st.integers(0, 99) | st.text(max_size=12) | st.just({"hmac": HMAC})
)
_VALUES = st.recursive(
    _PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
_MARKS = st.none() | st.booleans() | st.dictionaries(st.text(max_size=5), st.booleans(), max_size=3)
_TREES = st.none() | st.just({"hmac": HMAC}) | st.dictionaries(st.text(max_size=5), _VALUES)
_PATHS = st.lists(st.lists(st.text(max_size=4) | st.integers(0, 9), max_size=2), max_size=2)
_CHANGES = st.builds(
    resource,
    st.text(max_size=20),
    st.sampled_from([["create"], ["update"], ["delete"], ["delete", "create"], ["forget"], []]),
    before=_TREES,
    after=_TREES,
    after_unknown=_MARKS,
    replace_paths=st.none() | _PATHS,
)


@pytest.mark.long
@settings(max_examples=200, deadline=None)
@given(resources=st.lists(_CHANGES, max_size=8), money=_TREES, output=_VALUES)
def test_whatever_a_plan_holds_no_hmac_is_shown_each_line_is_one_and_it_is_the_same_again(
    resources: list[dict[str, Json]], money: Json, output: Json
) -> None:
    changed: dict[str, Json] = {
        "resource_changes": resources,
        "output_changes": {"out": change(["create"], after=output)},
    }
    parts: dict[str, Json] = {"infrastructure": {"changes": changed, "found": {}}, "money": money}
    told = plan_text(parts)
    turned = _turned(parts)
    assert isinstance(turned, Mapping)
    assert told == plan_text(turned)
    assert len(told.lines) <= LINES_MAX
    for line in told.lines:
        assert HMAC not in line
        assert len(line) < 1_000
        assert all(unicodedata.category(char)[0] != "C" for char in line), line


def _turned(value: Json) -> Json:
    """The same plan, its names in another order."""
    if isinstance(value, Mapping):
        return {name: _turned(value[name]) for name in reversed(list(value))}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_turned(one) for one in value]
    return value
