"""Indexes made beside writers on Postgres: taken up after a kill, put back where they fail."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from sqlalchemy import Connection, String, column, insert, table, text
from sqlalchemy.exc import DBAPIError

from control_plane.data.collection import Collection
from control_plane.databases.altering import Altering, Bounds
from control_plane.databases.migrated import migrated
from control_plane.databases.postgres import PostgresDatabases
from control_plane.fleet.apply import Applying, StatementFailed, apply
from control_plane.fleet.checker import ready, require_sound
from control_plane.fleet.concurrent_index import index_definitions, put_back, remake
from tests.support.fleet_files import contract, first
from tests.support.postgres import Postgres
from tests.support.tenants import tenant_server, workspace

NOW = datetime(2026, 5, 1, tzinfo=UTC)
BOUNDS = Bounds(1_000, 5_000)
NOTE = table("note", *(column(one, String) for one in ("tenant_id", "id", "title")))
UNIQUE = contract("0002_titles", transactional=False) + (
    "CREATE UNIQUE INDEX CONCURRENTLY ux_note ON note (tenant_id, title);\n"
)
UNIQUE_SQLITE = (
    contract("0002_titles") + "CREATE UNIQUE INDEX ux_note ON note (tenant_id, title);\n"
)


class Killed(BaseException):
    """The process died here."""


@pytest.fixture(scope="module")
def databases(postgres: Postgres, people: Collection) -> Iterator[PostgresDatabases]:
    with tenant_server(postgres) as logins, workspace(logins) as fresh, fresh.engine() as made:
        made.create("acme", "silo", [people], 1)
        yield made


def bring(
    databases: PostgresDatabases, people: Collection, files: dict[str, bytes], **dies: str
) -> None:
    """Apply the files; `dies` names the part of a place behind which the process dies."""
    made = ready(require_sound(files, {"contacts"}), "postgres", {"contacts"})
    with databases.altering("acme", "silo") as place:
        for one in made:
            apply(cast("Altering", Dying(place, **dies)), one, Applying("acme", 1, [people], NOW))


class Dying:
    """A place whose worker dies once a session outside of transactions has come to its end."""

    def __init__(self, place: Altering, behind: str = "") -> None:
        self._place, self._behind = place, behind

    def __getattr__(self, name: str) -> Any:
        return getattr(self._place, name)

    @contextmanager
    def statements(self, bounds: Bounds) -> Generator[Connection]:
        with self._place.statements(bounds) as session:
            if self._behind == "begun":
                raise Killed
            yield session
        if self._behind == "made":
            raise Killed


def indexes(databases: PostgresDatabases) -> set[str]:
    with databases.altering("acme", "silo") as place, place.transaction(BOUNDS) as connection:
        return set(index_definitions(connection, ["note"]))


def states(databases: PostgresDatabases) -> dict[int, str]:
    with databases.reading("acme", "silo") as connection:
        return {number: one.state for number, one in migrated(connection).items()}


def test_a_kill_on_either_side_of_the_index_is_followed_to_the_end(
    databases: PostgresDatabases, people: Collection
) -> None:
    bring(databases, people, first(2))
    with pytest.raises(Killed):
        bring(databases, people, first(3), behind="begun")
    assert (states(databases)[3], "ix_note_title" in indexes(databases)) == ("begun", False)
    with pytest.raises(Killed):
        bring(databases, people, first(3), behind="made")
    assert (states(databases)[3], "ix_note_title" in indexes(databases)) == ("begun", True)
    bring(databases, people, first(3))
    assert states(databases)[3] == "done"
    assert databases.probe("acme", "silo", [people]) == "ready"


def test_one_that_a_kill_left_half_made_is_made_anew(
    databases: PostgresDatabases, people: Collection
) -> None:
    made = ready(require_sound(first(3), {"contacts"}), "postgres", {"contacts"})[2]
    writing = insert(NOTE).values(tenant_id="acme", id="x", title="x")
    with databases.altering("acme", "silo") as place, place.statements(BOUNDS) as session:
        session.execute(text("DROP INDEX ix_note_title"))
        # Whoever builds one waits for writers of before; past its bound it leaves half of one.
        with databases.transaction("acme", "silo") as other:
            other.execute(writing)
            session.execute(text("SET statement_timeout = 300"))
            with pytest.raises(DBAPIError):
                session.exec_driver_sql(made.changes[0].statement.sql)
        assert "ix_note_title" not in index_definitions(session, ["note"])
        session.execute(text("SET statement_timeout = 5000"))
        remake(session, made.changes[0])
        assert "ix_note_title" in index_definitions(session, ["note"])
        remake(session, made.changes[0])


def test_where_it_fails_the_indexes_are_put_back_and_rows_stay(
    databases: PostgresDatabases, people: Collection
) -> None:
    with databases.transaction("acme", "silo") as connection:
        twice = [{"tenant_id": "acme", "id": str(one), "title": "same"} for one in range(2)]
        connection.execute(insert(NOTE), twice)
    before = indexes(databases)
    files = {
        **first(3),
        "0004_unique.postgres.sql": UNIQUE.encode(),
        "0004_unique.sqlite.sql": UNIQUE_SQLITE.encode(),
    }
    with pytest.raises(StatementFailed) as caught:
        bring(databases, people, files)
    assert caught.value.code == "constraint"
    assert caught.value.place.startswith("0004_unique.postgres.sql:")
    assert indexes(databases) == before
    assert 4 not in states(databases)
    with databases.transaction("acme", "silo") as connection:
        connection.execute(NOTE.delete().where(NOTE.c.id == "1"))
    bring(databases, people, files)
    assert indexes(databases) == {*before, "ux_note"}
    assert databases.probe("acme", "silo", [people]) == "ready"


def test_one_that_is_dropped_beside_writers_comes_back_where_that_fails(
    databases: PostgresDatabases,
) -> None:
    with databases.altering("acme", "silo") as place:
        with place.transaction(BOUNDS) as connection:
            known = index_definitions(connection, ["note"])
        with place.statements(BOUNDS) as session:
            session.execute(text("DROP INDEX ix_note_rank"))
            session.execute(text("CREATE INDEX by_hand ON note (tenant_id)"))
            put_back(session, ["note"], known)
        with place.transaction(BOUNDS) as connection:
            assert index_definitions(connection, ["note"]) == known
