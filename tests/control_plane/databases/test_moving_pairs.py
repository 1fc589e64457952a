"""A tenant's rows from each place to each other one: the same rows, whatever lies between."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import delete, insert, update

from control_plane.data.moving import catch_up, copy
from control_plane.data.tables import APPLIED, COUNT, UNDO
from control_plane.domain.isolation import ISOLATIONS, Isolation
from control_plane.errors import Failed, Refused
from tests.support.moving_spots import (
    ALL,
    NOTE,
    NOW,
    PERSON,
    Spot,
    files_of,
    fill,
    left_by_a_move,
    spot_on,
)
from tests.support.moving_team import BOARD, CARD, SETTING, card
from tests.support.rows import row_id
from tests.support.slices import sliced
from tests.support.tenants import TenantServer

KINDS: Final = (
    ("postgres", "postgres"),
    ("sqlite", "postgres"),
    ("postgres", "sqlite"),
    ("sqlite", "sqlite"),
)
PAIRS: Final = [
    (source, old, target, new)
    for (source, target), old, new in product(KINDS, ISOLATIONS, ISOLATIONS)
]


@contextmanager
def spots(
    pair: tuple[str, Isolation, str, Isolation], root: Path, logins: TenantServer
) -> Generator[tuple[Spot, Spot]]:
    """A source with a tenant and a neighbour, and a closed target: of one server, if they may be."""
    kind, old, other_kind, new = pair
    with ExitStack() as held:
        source = held.enter_context(spot_on(kind, old, root, logins))
        if kind == other_kind and old != new:
            target = replace(source, model=new)
        else:
            target = held.enter_context(spot_on(other_kind, new, root, logins))
        for one in (source, target):
            neighbour = replace(one, tenant="other").made()
            fill(neighbour, 2)
        fill(source.made())
        yield source, target.closed()


def change(spot: Spot) -> None:
    """Rows come, change and go, and a value that is there once passes from one to the other."""
    with spot.databases.transaction(spot.tenant, spot.model) as connection:
        mine = PERSON.c.tenant_id == spot.tenant
        badges = update(PERSON).where(mine)
        connection.execute(badges.where(PERSON.c.id == row_id(1)).values(badge=None))
        connection.execute(badges.where(PERSON.c.id == row_id(2)).values(badge=1))
        connection.execute(badges.where(PERSON.c.id == row_id(1)).values(badge=2, details=None))
        connection.execute(
            delete(NOTE).where(NOTE.c.tenant_id == spot.tenant, NOTE.c.id == row_id(500_003))
        )
        proof = {"tenant_id": spot.tenant, "call_id": "c2", "digest": "d", "applied_at": NOW}
        connection.execute(insert(APPLIED).values(proof))
        connection.execute(delete(UNDO).where(UNDO.c.tenant_id == spot.tenant))
        # A row that others refer to changes, one comes, one gets another key, and one goes.
        board = update(BOARD).where(BOARD.c.tenant_id == spot.tenant)
        connection.execute(board.where(BOARD.c.number == 1).values(label=None))
        connection.execute(board.where(BOARD.c.number == 2).values(label="|1"))
        connection.execute(insert(CARD), [card(spot.tenant, 4) | {"number": 2, "body": None}])
        cards = CARD.c.tenant_id == spot.tenant
        moved = {"at": "2023-01-01 00:00:00", "ratio": 1e20, "price": "0", "flag": None}
        connection.execute(update(CARD).where(cards, CARD.c.number == 1).values(**moved))
        connection.execute(delete(CARD).where(cards, CARD.c.number == 3))
        settings = update(SETTING).where(SETTING.c.tenant_id == spot.tenant)
        connection.execute(settings.where(SETTING.c.size < 0.25).values(colour="blue"))


@pytest.mark.long_but_one
@pytest.mark.parametrize("pair", sliced(PAIRS, every=14))
def test_a_tenant_is_the_same_in_each_place_that_it_is_moved_to(
    pair: tuple[str, Isolation, str, Isolation], tmp_path: Path, tenant_logins: TenantServer
) -> None:
    with spots(pair, tmp_path, tenant_logins) as (source, target):
        neighbours = [replace(one, tenant="other") for one in (source, target)]
        theirs = [one.rows() for one in neighbours]
        leaving, coming = source.end(), target.end()
        leaving.capture(ALL)
        assert source.databases.probe("acme", source.model, ALL) == "ready"
        copied = copy(leaving, coming, source.moved_to(target))
        assert copied.rows == {name: len(rows) for name, rows in source.rows().items()}
        assert target.rows() == source.rows()

        change(source)
        caught = catch_up(leaving, coming, source.moved_to(target), check="touched")
        assert (caught.put, caught.gone) == (9, 4)
        assert target.rows() == source.rows()
        again = catch_up(leaving, coming, source.moved_to(target), check="all")
        assert (again.entries, again.put, again.gone) == (0, 0, 0)
        for one in (caught, again):
            assert one.comparison is not None
            one.comparison.require_equal()

        leaving.release()
        assert left_by_a_move(source) == set()
        assert target.databases.probe("acme", target.model, ALL) == "ready"
        assert [one.rows() for one in neighbours] == theirs


@pytest.mark.long_but_one
@pytest.mark.parametrize("model", sliced(ISOLATIONS[::-1], every=3))
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_frozen_source_can_be_dropped_and_leaves_nothing(
    kind: str, model: Isolation, tmp_path: Path, tenant_logins: TenantServer
) -> None:
    with spot_on(kind, model, tmp_path, tenant_logins) as source:
        other = replace(source, tenant="other").made()
        fill(other, 2)
        fill(source.made())
        source.end().capture(ALL)
        source.end().freeze(5_000)
        source.databases.drop("acme", model, 3)
        assert source.databases.probe("acme", model, ALL) == "absent"
        assert left_by_a_move(other) == set()
        assert other.databases.probe("other", model, ALL) == "ready"


@pytest.mark.long
@pytest.mark.parametrize(
    "broken",
    sliced(
        [
            ("UPDATE people SET badge = 'none' WHERE id = (SELECT min(id) FROM people)", "type"),
            ("UPDATE people SET born = 'then'", "type"),
            ("UPDATE people SET seen = 'then'", "type"),
            ("UPDATE people SET name = 'nu' || char(0) || 'l'", "type"),
            ("UPDATE people SET details = '{'", "type"),
            ("UPDATE notes SET person = 'nobody'", "foreign_key"),
        ],
        every=6,
    ),
)
def test_a_row_that_a_file_took_and_the_target_cannot_is_told(
    tmp_path: Path, tenant_logins: TenantServer, broken: tuple[str, str]
) -> None:
    with spots(("sqlite", "silo", "postgres", "pooled"), tmp_path, tenant_logins) as (
        source,
        target,
    ):
        leaving, coming = source.end(), target.end()
        leaving.capture(ALL)
        with closing(sqlite3.connect(files_of(source))) as raw:
            raw.execute(broken[0])
            raw.commit()
        with pytest.raises(Refused) as caught:
            copy(leaving, coming, source.moved_to(target))
        assert (caught.value.code, caught.value.rule) == ("rows_do_not_fit", broken[1])
        assert "none" not in str(caught.value)


def test_a_difference_between_the_places_is_found_and_named(
    tmp_path: Path, tenant_logins: TenantServer
) -> None:
    with spots(("postgres", "pooled", "postgres", "silo"), tmp_path, tenant_logins) as (
        source,
        target,
    ):
        leaving, coming = source.end(), target.end()
        leaving.capture(ALL)
        copy(leaving, coming, source.moved_to(target))
        for changed, table in (
            (delete(APPLIED), "paybill_applied"),
            (update(NOTE).where(NOTE.c.order == 1).values(text="x"), "notes"),
        ):
            with coming.writing() as writing:
                writing.connection.execute(changed)
                writing.connection.execute(update(COUNT).values(records=1))
            found = catch_up(leaving, coming, source.moved_to(target), check="all").comparison
            assert found is not None
            # The round has counted anew.
            assert found.records == found.records_said == 7
            assert table in found.differing
            assert "people" not in found.differing
            with pytest.raises(Failed, match=found.differing[0]) as caught:
                found.require_equal()
            assert caught.value.code == "move_differs"


@pytest.mark.long
def test_rows_come_only_into_a_target_that_is_closed(
    tmp_path: Path, tenant_logins: TenantServer
) -> None:
    with spots(("sqlite", "silo", "postgres", "pooled"), tmp_path, tenant_logins) as (
        source,
        target,
    ):
        leaving, coming = source.end(), target.end()
        leaving.capture(ALL)
        target.databases.fence("acme", target.model, 2, open=True)
        with pytest.raises(Refused) as caught:
            copy(leaving, coming, source.moved_to(target))
        assert caught.value.code == "target_open"
        target.databases.fence("acme", target.model, 3, open=False)
        with pytest.raises(Refused) as fenced:
            copy(leaving, coming, source.moved_to(target))
        assert fenced.value.code == "fenced"
