"""Values of a team's columns as Postgres itself writes and reads them, beside what SQLite keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from control_plane.data.moving import catch_up, copy
from control_plane.databases.altering import Bounds
from control_plane.databases.team_catalog import team_shape
from control_plane.errors import Refused
from tests.support.moving_spots import ALL, Spot, spot_on
from tests.support.moving_team import BOARD, CARD, TABLES, card
from tests.support.postgres import Postgres
from tests.support.tenants import TenantServer, tenant_server

CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
_TEXT: Final = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8
)
_MOMENT: Final = st.datetimes().map(lambda at: at.isoformat(sep=" "))
_DOCUMENT: Final = st.sampled_from(
    ['{"b": 1.50, "a": [null, true, "é"]}', "5", "1.50", "1e3", '"1"', "null", "[]", ' {"a":1} ']
)
CARDS: Final = st.fixed_dictionaries(
    {
        "at": _MOMENT,
        "small": st.none() | st.integers(-(2**15), 2**15 - 1),
        "big": st.none() | st.integers(-(2**63), 2**63 - 1),
        "price": st.none() | st.integers(-(10**11), 10**11).map(lambda one: f"{one / 10**4:.4f}"),
        "loose": st.sampled_from([None, "0", "1.10", "1e20", "-0.001"]),
        "ratio": st.floats(allow_nan=False, allow_infinity=False).map(lambda one: one + 0.0),
        "flag": st.none() | st.booleans(),
        "day": st.none() | st.dates().map(str),
        "seen": st.none() | _MOMENT,
        "doc": st.none() | _DOCUMENT,
        "more": st.none() | _DOCUMENT,
        "body": st.none() | _TEXT,
    }
)


@pytest.fixture(scope="module")
def logins(postgres: Postgres) -> Iterator[TenantServer]:
    with tenant_server(postgres) as made:
        yield made


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, logins: TenantServer
) -> Iterator[tuple[Spot, Spot]]:
    """A place on each engine, captured both, and closed."""
    root: Path = tmp_path_factory.mktemp("kinds")
    with ExitStack() as held:
        file = held.enter_context(spot_on("sqlite", "silo", root, logins)).closed()
        server = held.enter_context(spot_on("postgres", "silo", root, logins)).closed()
        for one in (file, server):
            one.end().capture(ALL)
        yield file, server


def put(spot: Spot, rows: list[dict[str, Any]]) -> None:
    """Just these rows are in the place, as whoever is in it writes them."""
    with (
        spot.databases.altering(spot.tenant, spot.model) as place,
        place.transaction(Bounds(5_000, 5_000)) as connection,
    ):
        for table in (CARD, BOARD):
            connection.execute(delete(table))
        made = [
            card("acme", 1) | one | {"id": f"00000000-0000-4000-8000-{number:012}", "code": None}
            for number, one in enumerate(rows)
        ]
        connection.execute(insert(CARD), made)


def check_rows(pair: tuple[Spot, Spot], rows: list[dict[str, Any]]) -> None:
    for source, target in (pair, pair[::-1]):
        put(source, rows)
        before = source.rows()
        moved = source.moved_to(target)
        copy(source.end(), target.end(), moved)
        compared = catch_up(source.end(), target.end(), moved, check="all").comparison
        assert compared is not None
        compared.require_equal()
        assert target.rows() == before
        copy(target.end(), source.end(), target.moved_to(source))
        assert source.rows() == before


@pytest.mark.long
@given(rows=st.lists(CARDS, min_size=20, max_size=20))
@settings(max_examples=1, deadline=None, suppress_health_check=CHECKS)
def test_rows_go_from_either_engine_to_the_other_and_back(
    pair: tuple[Spot, Spot], rows: list[dict[str, Any]]
) -> None:
    check_rows(pair, rows)


@pytest.mark.sweep
@given(rows=st.lists(CARDS, min_size=1, max_size=20))
@settings(max_examples=60, deadline=None, suppress_health_check=CHECKS)
def test_many_rows_go_from_either_engine_to_the_other_and_back(
    pair: tuple[Spot, Spot], rows: list[dict[str, Any]]
) -> None:
    check_rows(pair, rows)


def test_the_catalog_tells_each_column_as_it_was_declared(pair: tuple[Spot, Spot]) -> None:
    file, server = pair
    with server.databases.reading("acme", server.model) as connection:
        assert team_shape(connection).tables == TABLES
    with file.databases.reading("acme", file.model) as connection:
        found = team_shape(connection)
    assert [one.keys for one in found.tables] == [one.keys for one in TABLES]
    assert [set(one.columns) for one in found.tables] == [set(one.columns) for one in TABLES]
    assert found.tables[0].uniques == (("tenant_id", "label"),)


@pytest.mark.parametrize(
    "broken", [{"small": 2**15}, {"body": b"blob"}, {"day": "then"}, {"price": 0.1 + 0.2}]
)
def test_what_a_file_took_and_postgres_cannot_is_told(
    pair: tuple[Spot, Spot], broken: dict[str, Any]
) -> None:
    file, server = pair
    put(file, [broken])
    with pytest.raises(Refused) as caught:
        copy(file.end(), server.end(), file.moved_to(server))
    assert (caught.value.code, caught.value.fact) == ("rows_do_not_fit", "card")
    # Between two files nothing is looked at.
    assert file.moved_to(file).parts["card"].table.c.day.type.kind is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("said", [{"ratio": "NaN"}, {"loose": "0.1234567890123456789"}])
def test_what_postgres_has_and_a_file_cannot_keep_is_told(
    pair: tuple[Spot, Spot], said: dict[str, Any]
) -> None:
    file, server = pair
    put(server, [said])
    with pytest.raises(Refused) as caught:
        copy(server.end(), file.end(), server.moved_to(file))
    assert (caught.value.code, caught.value.fact) == ("rows_do_not_fit", "card")
