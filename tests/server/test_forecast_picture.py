"""The picture of a forecast: the same bytes for the same months, and nothing in it that is not said."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from control_plane.billing.outlook import Payments, foresee
from control_plane.billing.starting import start
from control_plane.handlers.forecasts import Assumed, Forecast, told
from server.cli.simulate import chart
from server.forecast_picture import svg
from tests.support.books import START, new_book

GOLDEN = Path(__file__).parents[2] / "docs" / "reference" / "simulate-example.svg"
SVG = "{http://www.w3.org/2000/svg}"


def seen(plan: str, months: int, payments: Payments) -> dict[str, Any]:
    """What becomes of a plan that begins on 31 January."""
    book = new_book(plan)
    start(book, START)
    outlook = foresee(book, START, months, payments)
    return told(Forecast(outlook, book, Assumed(None, {}), payments, months))


def test_the_pages_picture_is_drawn_as_it_stands() -> None:
    assert svg(seen("trial", 4, "fail")) == GOLDEN.read_text()


def test_every_invoice_has_a_dot_with_its_amount_where_its_day_is() -> None:
    root = ET.fromstring(svg(seen("team", 13, "succeed")))  # noqa: S314 - it is our own
    dots = root.findall(f"{SVG}circle")
    assert len(dots) == 14
    places = [float(one.attrib["cx"]) for one in dots]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (150.0, 930.0)
    texts = [one.text for one in root.iter(f"{SVG}text")]
    assert texts.count("EUR 39.99") == 14


def test_bands_cover_the_whole_time_without_a_gap() -> None:
    root = ET.fromstring(svg(seen("trial", 4, "fail")))  # noqa: S314 - it is our own
    bands: dict[str, list[tuple[float, float]]] = {}
    for one in root.findall(f"{SVG}rect"):
        if one.find(f"{SVG}title") is not None:
            x, width = float(one.attrib["x"]), float(one.attrib["width"])
            bands.setdefault(one.attrib["y"], []).append((x, x + width))
    assert [len(found) for found in bands.values()] == [4, 6]
    for found in bands.values():
        assert (found[0][0], found[-1][1]) == (150.0, 750.0)
        for (_, end), (begin, _) in itertools.pairwise(found):
            assert end == pytest.approx(begin, abs=0.2)


def test_text_of_others_is_escaped() -> None:
    foreign = {**seen("team", 1, "succeed"), "tenant": "<script>&"}
    assert "<script>" not in svg(foreign)


@pytest.mark.parametrize("months", [1, 13, 36])
def test_the_rows_of_blocks_have_a_column_for_each_stretch_of_weeks(months: int) -> None:
    lines = chart(seen("team", months, "succeed"))
    rows = [line.split()[1] for line in lines[1:]]
    assert {len(row) for row in rows} == {len(rows[0])}
    assert len(rows[0]) <= 56
    assert all(set(row) == {"█"} for row in rows)


def test_what_held_for_a_part_of_a_column_is_in_it() -> None:
    rows = {line.split()[0]: line.split()[1] for line in chart(seen("trial", 4, "fail"))[1:]}
    assert rows["trialing"].startswith("██·")
    assert rows["read_only"].count("█") == 1
    assert len(rows) == 4 + 6
