"""The lines of an archive's pages: canonical whatever the values are. Not the archive around them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.data.archive_lines import Page, objects_of, paged
from control_plane.data.archive_parts import PAGE_ROWS, Part, parts_of
from control_plane.data.collection import Collection
from control_plane.data.values import to_json
from control_plane.domain.canonical import canonical

NOW: Final = datetime(2024, 1, 1, 12, 30, 0, 123456, tzinfo=UTC)
WORDS: Final = st.text(st.characters(exclude_categories=["Cs"]))
DOCUMENTS: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(WORDS, parts, max_size=3),
    max_leaves=5,
)
MOMENTS: Final = st.datetimes(datetime(1000, 1, 2), datetime(9999, 12, 30)).map(  # noqa: DTZ001
    lambda moment: moment.replace(tzinfo=timezone(timedelta(hours=5, minutes=30)))
)
# Of a file that somebody has written past us any column may hold any of these.
ANYTHING: Final = DOCUMENTS | MOMENTS | st.dates() | st.decimals(allow_nan=False, places=2)


def plainly(part: Part, values: Mapping[str, Any]) -> bytes:
    told = {column: to_json(value) for column, value in values.items()}
    return canonical([part.table.name, told])


def of_one(part: Part, **values: Any) -> Page:
    """A page of one row."""
    return Page(part, [[values.get(name)] for name in part.fields])


@pytest.fixture
def part(things: Collection) -> Part:
    return parts_of([things])["things"]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_line_is_the_canonical_form_of_its_row(part: Part, data: st.DataObject) -> None:
    row = st.fixed_dictionaries(dict.fromkeys(part.fields, ANYTHING))
    rows = data.draw(st.lists(row, max_size=4))
    pages = list(paged({"things": part}, [("things", values) for values in rows]))
    lines = [line for page in pages for line in page.lines()]
    assert lines == [plainly(part, values) for values in rows]
    assert [values for page in pages for values in page.rows()] == rows
    told = [json.loads(line)[1] for line in lines]
    assert json.loads(objects_of(part, lines)) == told


@pytest.mark.parametrize("name", ["count", "label", "details", "active", "price"])
def test_a_fraction_has_no_line(part: Part, name: str) -> None:
    with pytest.raises(TypeError):
        list(of_one(part, **{name: 0.5}).lines())


def test_a_moment_of_no_zone_has_no_line(part: Part) -> None:
    with pytest.raises(TypeError):
        list(of_one(part, seen=NOW.replace(tzinfo=None)).lines())


def test_a_decimal_is_told_without_an_exponent(part: Part) -> None:
    (line,) = of_one(part, price=Decimal("1E+2")).lines()
    assert b'"price":"100"' in line


def test_a_page_is_of_one_table_and_bounded(things: Collection) -> None:
    parts = parts_of([things])
    row: dict[str, Any] = dict.fromkeys(parts["things"].fields)
    image: dict[str, Any] = {"call_id": "c", "images": [], "kept_at": NOW}
    rows = [("things", row)] * (PAGE_ROWS + 1) + [("paybill_undo", image)] * 2 + [("things", row)]
    found = [(page.part.table.name, len(page.columns[0])) for page in paged(parts, rows)]
    assert found == [
        ("things", PAGE_ROWS),
        ("things", 1),
        # A line of these may hold all that a run has changed.
        ("paybill_undo", 1),
        ("paybill_undo", 1),
        ("things", 1),
    ]
