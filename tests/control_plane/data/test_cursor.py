"""Cursors: they open in their own scope, and nowhere else."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.data.collection import Collection
from control_plane.data.cursor import CursorScope, cursor_scope, open_cursor, seal_cursor
from control_plane.data.filters import Comparison
from control_plane.data.sort import Position, Sort
from control_plane.errors import NotFound

KEY = bytes(range(32))
ID = "00000000-0000-4000-8000-000000000001"


def scope(things: Collection, field: str = "count", **changes: Any) -> CursorScope:
    parts: dict[str, Any] = {
        "caller": "ann/agent-1",
        "tenant": "acme",
        "collection": things,
        "predicate": Comparison("eq", "code", "a"),
        "sort": Sort(field),
        "bundle": "d1",
    }
    return cursor_scope(**{**parts, **changes})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("count", 7),
        ("count", None),
        ("label", "\u00e9'\U0001f600" * 6),
        ("born", date(2024, 2, 29)),
        ("seen", datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
        ("status", "lead"),
        ("id", ID),
    ],
)
def test_a_cursor_opens_in_its_own_scope(things: Collection, field: str, value: Any) -> None:
    own = scope(things, field)
    text = seal_cursor(KEY, own, Position(value, ID))
    assert open_cursor(KEY, own, things, text) == Position(value, ID)
    assert ID not in text


def test_the_same_end_has_the_same_cursor(things: Collection) -> None:
    own = scope(things)
    assert seal_cursor(KEY, own, Position(1, ID)) == seal_cursor(KEY, own, Position(1, ID))
    assert seal_cursor(KEY, own, Position(1, ID)) != seal_cursor(KEY, own, Position(2, ID))


@pytest.mark.parametrize(
    "change",
    [
        {"caller": "bob/agent-1"},
        {"tenant": "other"},
        {"predicate": Comparison("eq", "code", "b")},
        {"predicate": None},
        {"sort": Sort("balance")},
        {"sort": Sort("count", descending=True)},
        {"bundle": "d2"},
    ],
)
def test_a_cursor_of_another_scope_is_not_found(things: Collection, change: dict[str, Any]) -> None:
    text = seal_cursor(KEY, scope(things), Position(7, ID))
    with pytest.raises(NotFound):
        open_cursor(KEY, scope(things, **change), things, text)


def test_a_cursor_of_a_changed_collection_is_not_found(things: Collection) -> None:
    changed = things.model_copy(update={"description": "Changed."})
    text = seal_cursor(KEY, scope(things), Position(7, ID))
    with pytest.raises(NotFound):
        open_cursor(KEY, scope(changed), changed, text)


def test_a_cursor_of_another_workspace_is_not_found(things: Collection) -> None:
    text = seal_cursor(bytes(32), scope(things), Position(7, ID))
    with pytest.raises(NotFound):
        open_cursor(KEY, scope(things), things, text)


def test_every_changed_character_is_not_found(things: Collection) -> None:
    own = scope(things)
    text = seal_cursor(KEY, own, Position(7, ID))
    for index, char in enumerate(text):
        changed = text[:index] + ("A" if char != "A" else "B") + text[index + 1 :]
        with pytest.raises(NotFound):
            open_cursor(KEY, own, things, changed)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=80) | st.binary(max_size=80).map(lambda raw: raw.hex()))
def test_any_other_text_is_not_found_in_the_same_words(things: Collection, text: str) -> None:
    with pytest.raises(NotFound) as caught:
        open_cursor(KEY, scope(things), things, text)
    assert str(caught.value) == "There is no such cursor."


def test_a_huge_text_is_not_found(things: Collection) -> None:
    with pytest.raises(NotFound):
        open_cursor(KEY, scope(things), things, "A" * 1_000_000)
