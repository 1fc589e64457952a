"""A team's own tables while their tenant is moved: every change is noted, and the tables stay as they are."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import psycopg
import pytest
from sqlalchemy import Integer, column, delete, select

from control_plane.data.moving import catch_up, copy
from control_plane.databases.altering import Bounds
from control_plane.domain.handover import Half
from control_plane.errors import PaybillError, Refused, Unavailable
from control_plane.fleet.apply import Applying, apply
from control_plane.fleet.checker import ready, require_sound
from tests.support.fleet_files import contract, header
from tests.support.moving_spots import ALL, NOW, Spot, files_of, fill, place_of, spot_on
from tests.support.moving_team import FILES, LINK
from tests.support.tenants import TenantServer

BOUNDS: Final = Bounds(2_000, 5_000)
MORE: Final = header() + "ALTER TABLE link ADD COLUMN more int;\n"
DOUBLED: Final = "UPDATE link SET more = id * 2;\n"
COUNTED: Final = MORE + DOUBLED
# Rows of one table, and of two, that refer to each other: only Postgres takes such a constraint later.
ROUND: Final = contract("0001_boards") + (
    "ALTER TABLE link ADD CONSTRAINT fk_other FOREIGN KEY (tenant_id, other)"
    " REFERENCES link (tenant_id, id);\n"
    "ALTER TABLE board ADD CONSTRAINT fk_link FOREIGN KEY (tenant_id, number)"
    " REFERENCES link (tenant_id, id);\n"
    "ALTER TABLE link ADD CONSTRAINT fk_label FOREIGN KEY (tenant_id, label)"
    " REFERENCES board (tenant_id, label);\n"
)
LABELLED: Final = header() + "ALTER TABLE link ADD COLUMN label text;\n"


TOUCHED: Final = "UPDATE link SET other = other;\n"
ROUNDS: Final = {
    "0002_labelled": LABELLED,
    "0003_round.postgres": ROUND,
    "0003_round.sqlite": contract("0001_boards") + TOUCHED,
}


def alter(spot: Spot, **files: str) -> None:
    """Bring the place to more migrations."""
    every = {**FILES, **{f"{name}.sql": text.encode() for name, text in files.items()}}
    names = {one.name for one in ALL}
    by = Applying(spot.tenant, 1, ALL, NOW)
    with spot.databases.altering(spot.tenant, spot.model) as place:
        for one in ready(require_sound(every, names), place.dialect, names):
            apply(place, one, by)


def refused(doing: Callable[[], object]) -> str:
    """By which code it is."""
    with pytest.raises(PaybillError) as caught:
        doing()
    return caught.value.code


@pytest.mark.long_but_one
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_tables_stay_as_they_are_while_a_tenant_leaves_them(
    kind: str, tmp_path: Path, tenant_logins: TenantServer
) -> None:
    with spot_on(kind, "pooled", tmp_path, tenant_logins) as source:
        neighbour = replace(source, tenant="other").made()
        target = replace(source.made(), model="bridge").closed()
        source.end().capture(ALL)
        moved = source.moved_to(target)
        # It is the neighbour's turn, but the tables are everybody's.
        with pytest.raises(Unavailable) as caught:
            alter_with(neighbour)
        assert caught.value.code == "database_busy"
        alter_with(target)
        assert refused(lambda: source.moved_to(target)) == "migrations_differ"
        assert (
            refused(lambda: catch_up(source.end(), target.end(), moved, check="all"))
            == "migrations_differ"
        )
        source.end().release()
        alter_with(neighbour)
        assert set(source.moved_to(target).parts) >= {"board", "card", "link", "setting"}


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_who_has_left_holds_up_nobody_who_stays_and_is_as_shut_as_before(
    kind: str, tmp_path: Path, tenant_logins: TenantServer
) -> None:
    with spot_on(kind, "pooled", tmp_path, tenant_logins) as source:
        neighbour = replace(source, tenant="other").made()
        for one in (source.made(), neighbour):
            fill(one)
        leaving = source.end()
        leaving.capture(ALL)
        leaving.freeze(5_000)
        alter(neighbour, **{"0002_more": COUNTED})
        for one in (source, neighbour):
            with one.databases.reading(one.tenant, one.model) as connection:
                mine = select(LINK.c.id, column("more", Integer)).where(
                    LINK.c.tenant_id == one.tenant
                )
                assert {row.id: row.more for row in connection.execute(mine)} == {1: 2, 2: 4, 3: 6}
        # Of the rows of who has left nothing was noted, and nobody else writes them.
        with leaving.surveying() as seen:
            assert list(seen.noted().entries) == []
        assert refused(lambda: forget_links(source)) == "fenced"
        forget_links(neighbour)


def forget_links(spot: Spot) -> None:
    """Somebody takes the tenant's links away."""
    with spot.databases.transaction(spot.tenant, spot.model) as connection:
        connection.execute(delete(LINK).where(LINK.c.tenant_id == spot.tenant))


def alter_with(spot: Spot) -> None:
    alter(spot, **{"0002_more": MORE})


@pytest.mark.long
def test_a_table_that_was_changed_by_hand_is_not_carried(
    tmp_path: Path, tenant_logins: TenantServer
) -> None:
    with (
        spot_on("sqlite", "silo", tmp_path, tenant_logins) as source,
        spot_on("postgres", "silo", tmp_path, tenant_logins) as target,
    ):
        target.closed()
        with closing(sqlite3.connect(files_of(source.made()))) as raw:
            raw.execute("ALTER TABLE link ADD COLUMN by_hand int")
            raw.commit()
        with pytest.raises(Refused) as caught:
            source.moved_to(target)
        assert (caught.value.code, caught.value.rule) == ("schema_drifted", "link")


@contextmanager
def in_a_circle(root: Path, logins: TenantServer) -> Generator[tuple[Spot, Spot]]:
    """Two places on Postgres in which links lead to links, and to boards that lead to links."""
    with spot_on("postgres", "bridge", root, logins) as source:
        spots = source.made(), replace(source, model="pooled").made()
        for one in spots:
            alter(one, **ROUNDS)
        spots[1].databases.fence("acme", "pooled", 1, open=False)
        yield spots


@pytest.mark.long
def test_rows_that_refer_to_each_other_in_a_circle_are_moved(
    tmp_path: Path, tenant_logins: TenantServer
) -> None:
    with in_a_circle(tmp_path, tenant_logins) as (source, target):
        say = (
            "SET CONSTRAINTS ALL DEFERRED",
            (
                "INSERT INTO link (tenant_id, id, other, label) VALUES"
                " ('acme', 1, 2, 'one'), ('acme', 2, 1, NULL)"
            ),
            "INSERT INTO board VALUES ('acme', 'a', 2, 'one')",
        )
        with source.databases.transaction("acme", source.model) as connection:
            for one in say:
                connection.exec_driver_sql(one)
        leaving, coming = source.end(), target.end()
        leaving.capture(ALL)
        moved = source.moved_to(target)
        circle = next(one for one in moved.groups if one.is_circular and one.parts[0].is_team)
        assert [part.name for part in circle.parts] == ["board", "link"]
        copy(leaving, coming, moved)
        with source.databases.transaction("acme", source.model) as connection:
            connection.exec_driver_sql("UPDATE link SET other = id")
            connection.exec_driver_sql("UPDATE board SET code = 'b'")
        compared = catch_up(leaving, coming, moved, check="all").comparison
        assert compared is not None
        compared.require_equal()
        links = select(LINK.c.id).where(LINK.c.tenant_id == "acme")
        with target.databases.reading("acme", target.model) as connection:
            assert sorted(connection.execute(links).scalars()) == [1, 2]


@pytest.mark.long_but_one
@pytest.mark.parametrize(
    ("statement", "keys"),
    [
        # Who has the label is driven out, and SQLite tells no trigger of it.
        ("INSERT OR REPLACE INTO board VALUES ('acme', 'new', 9, '|2')", {"a b/2", "new/9"}),
        ("UPDATE OR REPLACE board SET label = '|3' WHERE number = 1", {"a b/1", "a b/3"}),
        ("UPDATE board SET code = x'00ff' WHERE number = 1", {"a b/1", "b'\\x00\\xff'/1"}),
        ("DELETE FROM board WHERE number > 1", {"a b/2", "a b/3"}),
    ],
)
def test_whatever_changes_a_row_in_a_file_is_noted_and_caught_up(
    tmp_path: Path, tenant_logins: TenantServer, statement: str, keys: set[str]
) -> None:
    with spot_on("sqlite", "pooled", tmp_path, tenant_logins) as source:
        fill(source.made())
        target = replace(source, model="silo").closed()
        leaving, coming = source.end(), target.end()
        leaving.capture(ALL)
        moved = source.moved_to(target)
        copy(leaving, coming, moved)
        with closing(sqlite3.connect(files_of(source))) as raw:
            raw.execute("DELETE FROM card")
            raw.execute(statement)
            raw.commit()
        caught = catch_up(leaving, coming, moved, check="all")
        assert caught.put + caught.gone == len(keys) + 3
        assert caught.comparison is not None
        caught.comparison.require_equal()


@pytest.mark.long
def test_a_key_that_no_column_of_postgres_takes_is_told(
    tmp_path: Path, tenant_logins: TenantServer
) -> None:
    with (
        spot_on("sqlite", "silo", tmp_path, tenant_logins) as source,
        spot_on("postgres", "silo", tmp_path, tenant_logins) as target,
    ):
        fill(source.made())
        leaving, coming = source.end(), target.closed().end()
        leaving.capture(ALL)
        moved = source.moved_to(target)
        copy(leaving, coming, moved)
        with closing(sqlite3.connect(files_of(source))) as raw:
            raw.execute("INSERT INTO link VALUES ('acme', 'none', NULL)")
            raw.commit()
        assert refused(lambda: catch_up(leaving, coming, moved)) == "rows_do_not_fit"
        with target.databases.reading("acme", target.model) as connection:
            assert len(connection.execute(select(LINK.c.id)).all()) == 3


@contextmanager
def service(spot: Spot, half: Half) -> Generator[psycopg.Connection]:
    """A session of the tenant's own service, which says the times in its own way."""
    secret = f"kept-{half}"
    spot.databases.grant_direct("acme", spot.model, half, secret, "full")
    address = spot.databases.direct_address("acme", spot.model, half)
    said = f"-c search_path={place_of(spot).schema} -c datestyle=German -c timezone=Asia/Tokyo"
    with psycopg.connect(
        host=address.host,
        port=address.port,
        user=address.user,
        password=secret,
        dbname=address.database,
        options=said,
        autocommit=True,
    ) as raw:
        yield raw


def test_a_service_with_its_own_login_writes_meanwhile_and_finds_its_rows_there(
    tmp_path: Path, tenant_logins: TenantServer
) -> None:
    with spot_on("postgres", "pooled", tmp_path, tenant_logins) as source:
        fill(replace(source, tenant="other").made(), 2)
        fill(source.made())
        target = replace(source, model="bridge").closed()
        leaving, coming = source.end(), target.end()
        leaving.capture(ALL)
        moved = source.moved_to(target)
        copy(leaving, coming, moved)
        with service(source, "a") as raw:
            raw.execute("UPDATE card SET at = at + interval '1 microsecond', body = 'new'")
            raw.execute("DELETE FROM link WHERE id = 1")
            raw.execute("INSERT INTO link VALUES ('acme', 7, 2)")
            leaving.freeze(5_000)
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                raw.execute("DELETE FROM setting")
        caught = catch_up(leaving, coming, moved, check="all")
        assert (caught.put, caught.gone) == (4, 4)
        assert caught.comparison is not None
        caught.comparison.require_equal()
        target.databases.fence("acme", "bridge", 2, open=True)
        with service(target, "b") as raw:
            found = raw.execute("SELECT DISTINCT tenant_id, body FROM card").fetchall()
            assert found == [("acme", "new")]
            raw.execute("INSERT INTO link VALUES ('acme', 8, 7)")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                raw.execute("INSERT INTO link VALUES ('other', 8, 7)")
        assert target.databases.probe("acme", "bridge", ALL) == "ready"
