"""Many rows as one parameter, on both engines: every text comes back as it was. Not what is written with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from control_plane.ports import Store
from control_plane.store.batch import PARAMETER, engine_of, rows_of, text_of
from tests.support.ledgers import opened_store


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with opened_store(str(request.param), tmp_path, request) as opened:
        yield opened


def through(store: Store, rows: list[dict[str, str]]) -> list[tuple[str, str]]:
    with store.read() as connection:
        batch = rows_of(engine_of(connection), ("first", "second"))
        found = connection.execute(
            select(batch.c.first, batch.c.second), {PARAMETER: text_of(rows)}
        )
        return [(row.first, row.second) for row in found]


def test_rows_come_back_in_their_order_and_columns(store: Store) -> None:
    rows = [{"second": f"s{number}", "first": f"f{number}"} for number in range(1000)]
    assert through(store, rows) == [(row["first"], row["second"]) for row in rows]


@pytest.mark.slice_of(4)
@pytest.mark.parametrize(
    "text", ["", "'", '"', "\\", "1", "1.50", "null", "true", "[]", "{}", "%s", ":batch", "é€𝄞"]
)
def test_a_text_stays_the_text_that_it_is(store: Store, text: str) -> None:
    assert through(store, [{"first": text, "second": "x"}]) == [(text, "x")]


def test_no_rows_are_none(store: Store) -> None:
    assert through(store, []) == []
