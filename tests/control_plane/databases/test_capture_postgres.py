"""What Postgres notes and refuses while a tenant of it is moved, whoever writes it; neighbours feel nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier
from sqlalchemy import delete

from control_plane.data.moving import catch_up, copy
from control_plane.data.moving_ends import READ_ONLY, Writing
from control_plane.databases.postgres_sessions import Entries
from control_plane.domain.isolation import Isolation
from control_plane.errors import Refused, Unavailable
from tests.support.moving_spots import ALL, NOTE, Spot, fill, left_by_a_move, place_of
from tests.support.rows import row_id
from tests.support.tenants import TenantServer

pytestmark = pytest.mark.slice_of(3)
RENAME = "UPDATE people SET name = 'x' WHERE id = '{}'"


@pytest.fixture
def spot(server: TenantServer, any_model: Isolation) -> Iterator[Spot]:
    with server.engine() as databases:
        fill(Spot(databases, any_model, tenant="other", server=server).made(), 2)
        one = Spot(databases, any_model, server=server).made()
        fill(one)
        yield one


@contextmanager
def service(spot: Spot, *, as_owner: bool = False) -> Generator[psycopg.Connection]:
    """A session within the tenant that knows nothing of us; `as_owner` of who owns the tables."""
    assert spot.server is not None
    place = place_of(spot)
    login = spot.server.owner if as_owner else spot.server.face
    said = {
        "search_path": f'"{place.schema}"',
        "paybill.tenant": spot.tenant,
        "paybill.entry": Entries(spot.server.face).token(place),
    }
    if not as_owner:
        said["role"] = place.role
    with spot.server.raw(login, place.database) as raw:
        for name, value in said.items():
            raw.execute("SELECT set_config(%s, %s, false)", (name, value))
        yield raw


def say(raw: psycopg.Connection, statement: str) -> None:
    raw.execute(statement.encode())


def noted(spot: Spot) -> dict[str, set[str]]:
    with spot.end().surveying() as survey:
        return {name: set(keys) for name, keys in survey.noted().keys.items()}


@pytest.mark.long
@pytest.mark.parametrize("as_owner", [False, True])
def test_every_row_that_a_statement_changes_is_noted(spot: Spot, as_owner: bool) -> None:
    spot.end().capture(ALL)
    with service(spot, as_owner=as_owner) as raw:
        say(raw, "UPDATE people SET boss = NULL, team = NULL WHERE badge < 3")
        say(raw, "UPDATE teams SET lead = NULL")
        say(raw, 'DELETE FROM notes WHERE "order" IN (1, 3)')
        raw.execute("UPDATE people SET id = %s, boss = NULL WHERE badge = 3", (row_id(7),))
        say(raw, "BEGIN")
        say(raw, "DELETE FROM notes")
        say(raw, "ROLLBACK")
    people = {row_id(number) for number in (1, 2, 3, 7)}
    notes = {row_id(500_000 + number) for number in (1, 3)}
    assert noted(spot) == {"people": people, "teams": {row_id(900)}, "notes": notes}


@pytest.mark.long
def test_an_entry_of_a_transaction_that_commits_late_is_not_struck_with_those_before(
    spot: Spot, server: TenantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Spot(spot.databases, "silo" if spot.model != "silo" else "pooled", server=server)
    leaving, coming = spot.end(), target.closed().end()
    leaving.capture(ALL)
    copy(leaving, coming, spot.moved_to(target))
    whole = coming.writing
    with service(spot) as slow, service(spot) as quick:

        def writing() -> AbstractContextManager[Writing]:
            # Behind the survey, and before its entries are struck.
            if slow.info.transaction_status == TransactionStatus.INTRANS:
                say(slow, "COMMIT")
            return whole()

        monkeypatch.setattr(coming, "writing", writing)
        say(slow, "BEGIN")
        # Its entry has the lower number, and is seen later.
        say(slow, RENAME.format(row_id(1)))
        say(quick, RENAME.format(row_id(2)))
        assert catch_up(leaving, coming, spot.moved_to(target)).entries == 1
        assert noted(spot) == {"people": {row_id(1)}}
    assert catch_up(leaving, coming, spot.moved_to(target)).entries == 1
    assert target.rows() == spot.rows()


def test_a_transaction_that_was_at_work_is_waited_for_and_seen(spot: Spot) -> None:
    done = threading.Event()

    def capture() -> None:
        spot.end().capture(ALL)
        done.set()

    with service(spot) as raw, service(spot) as other:
        capturing = threading.Thread(target=capture)
        with raw.transaction():
            say(raw, RENAME.format(row_id(1)))
            capturing.start()
            assert not done.wait(0.7)
            # Who comes meanwhile is not kept waiting for it.
            other.execute("SET statement_timeout = '2s'")
            say(other, RENAME.format(row_id(2)))
        capturing.join(20)
    assert done.is_set()
    with spot.end().surveying() as survey:
        rows = survey.connection.exec_driver_sql("SELECT id FROM people WHERE name = 'x'")
        assert set(rows.scalars()) == {row_id(1), row_id(2)}


def test_who_writes_a_frozen_tenants_rows_is_told_that_they_are_read_only(spot: Spot) -> None:
    end = spot.end()
    end.capture(ALL)
    before = spot.rows()
    end.freeze(1_000)
    for as_owner in (False, True):
        with service(spot, as_owner=as_owner) as raw:
            for statement in ("UPDATE people SET name = 'x'", "DELETE FROM notes"):
                with pytest.raises(psycopg.errors.ReadOnlySqlTransaction, match=READ_ONLY):
                    say(raw, statement)
            held = raw.execute("SELECT count(*) FROM people").fetchone()
            assert held == (3,)
    with pytest.raises(Refused) as caught, spot.databases.transaction("acme", spot.model) as ours:
        ours.execute(delete(NOTE))
    assert caught.value.code == "fenced"
    assert spot.rows() == before
    assert spot.databases.open_at("acme", spot.model) is None
    end.thaw(open=True)
    assert spot.databases.open_at("acme", spot.model) == 2
    with service(spot) as raw:
        say(raw, RENAME.format(row_id(1)))
    assert noted(spot) == {"people": {row_id(1)}}


@pytest.mark.long
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("begun", ["before the capture", "before the freeze"])
def test_a_transaction_that_shows_an_older_moment_cannot_write_past_the_freeze(
    spot: Spot, level: str, begun: str
) -> None:
    end = spot.end()
    before = spot.rows()
    if begun == "before the freeze":
        end.capture(ALL)
    with service(spot) as raw:
        say(raw, f"BEGIN ISOLATION LEVEL {level}")
        raw.execute("SELECT 1 FROM paybill_count")
        end.capture(ALL)
        end.freeze(1_000)
        with pytest.raises(psycopg.errors.SerializationFailure, match="paybill: "):
            say(raw, RENAME.format(row_id(1)))
        say(raw, "ROLLBACK")
    assert spot.rows() == before


@pytest.mark.long
def test_whose_transaction_outlasts_the_patience_loses_its_session(spot: Spot) -> None:
    end = spot.end()
    end.capture(ALL)
    before = spot.rows()
    with service(spot) as raw:
        say(raw, "BEGIN")
        say(raw, RENAME.format(row_id(1)))
        end.freeze(300)
        with pytest.raises(psycopg.OperationalError):
            say(raw, "COMMIT")
    assert spot.rows() == before
    assert spot.databases.open_at("acme", spot.model) is None


@pytest.mark.long
def test_a_neighbour_is_neither_noted_nor_refused_nor_waited_for(spot: Spot) -> None:
    other = replace(spot, tenant="other")
    end = spot.end()
    end.capture(ALL)
    with service(other) as raw:
        say(raw, "BEGIN")
        say(raw, "UPDATE people SET name = 'y'")
        end.freeze(500)
        say(raw, "COMMIT")
        say(raw, "DELETE FROM notes")
    assert {one["name"] for one in other.rows()["people"].values()} == {"y"}
    assert noted(spot) == {}
    assert spot.databases.probe("other", spot.model, ALL) == "ready"


@pytest.mark.long
def test_who_writes_sees_and_reaches_nothing_of_the_capture(spot: Spot) -> None:
    spot.end().capture(ALL)
    with service(spot) as raw:
        for statement in (
            "SELECT * FROM paybill.paybill_outbox",
            "DELETE FROM paybill.paybill_moving",
            "SELECT paybill.note_id()",
            "TRUNCATE people CASCADE",
            "ALTER TABLE people DISABLE TRIGGER ALL",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                say(raw, statement)
    with service(spot, as_owner=True) as raw, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        say(raw, "TRUNCATE people CASCADE")


@pytest.mark.long
def test_a_session_that_replays_another_server_is_noted_and_refused_too(spot: Spot) -> None:
    assert spot.server is not None
    end = spot.end()
    end.capture(ALL)
    with spot.server.raw(spot.server.root, place_of(spot).database) as raw:
        raw.execute("SET session_replication_role = replica")
        renamed = SQL("UPDATE {}.people SET name = 'x' WHERE tenant_id = 'acme'")
        raw.execute(renamed.format(Identifier(place_of(spot).schema)))
        assert set(noted(spot)) == {"people"}
        end.freeze(1_000)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            raw.execute(renamed.format(Identifier(place_of(spot).schema)))


def test_a_probe_is_ready_throughout_and_nothing_is_left_afterwards(spot: Spot) -> None:
    end = spot.end()
    for _ in range(2):
        end.capture(ALL)
        assert spot.databases.probe("acme", spot.model, ALL) == "ready"
    assert left_by_a_move(spot) != set()
    for _ in range(2):
        end.release()
        assert left_by_a_move(spot) == set()
        assert spot.databases.probe("acme", spot.model, ALL) == "ready"


@pytest.mark.long
def test_what_another_tenant_is_moved_by_stays(spot: Spot) -> None:
    other = replace(spot, tenant="other")
    for one in (spot, other):
        one.end().capture(ALL)
    spot.end().release()
    with service(other) as raw:
        say(raw, "DELETE FROM notes")
    assert set(noted(other)) == {"notes"}
    other.end().release()
    assert left_by_a_move(spot) == left_by_a_move(other) == set()


@pytest.mark.long
def test_a_table_that_somebody_keeps_is_given_up_on_in_the_end(
    spot: Spot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.databases.moving_postgres._TABLE_TRIES_MAX", 2)
    with service(spot) as raw, raw.transaction():
        say(raw, RENAME.format(row_id(1)))
        with pytest.raises(Unavailable) as caught:
            spot.end().capture(ALL)
    assert caught.value.code == "database_busy"
    # What a capture that was broken off has noted is no outbox to go by.
    with pytest.raises(Refused) as missing:
        noted(spot)
    assert missing.value.code == "not_captured"
    spot.end().capture(ALL)
    assert noted(spot) == {}


@pytest.mark.long
def test_a_run_that_another_has_followed_changes_nothing_any_more(spot: Spot) -> None:
    spot.end(3).capture(ALL)
    stale = spot.end(2)
    acts: list[Callable[[], None]] = [
        lambda: stale.capture(ALL),
        lambda: stale.strike([1]),
        lambda: stale.freeze(1_000),
        stale.release,
    ]
    for act in acts:
        with pytest.raises(Refused) as caught:
            act()
        assert caught.value.code == "fenced"


@pytest.mark.long
def test_a_login_of_the_tenants_own_services_is_noted_refused_and_ended(spot: Spot) -> None:
    secret = "kept-by-the-service"
    spot.databases.grant_direct("acme", spot.model, "a", secret, "full")
    address = spot.databases.direct_address("acme", spot.model, "a")
    end = spot.end()
    end.capture(ALL)

    def login() -> psycopg.Connection:
        return psycopg.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            password=secret,
            dbname=address.database,
            options=f"-c search_path={place_of(spot).schema}",
            autocommit=True,
        )

    with login() as raw, suppress(psycopg.OperationalError):
        say(raw, RENAME.format(row_id(1)))
        say(raw, "DELETE FROM notes")
        notes = {row_id(500_000 + number) for number in (1, 2, 3)}
        assert noted(spot) == {"people": {row_id(1)}, "notes": notes}
        say(raw, "BEGIN")
        say(raw, RENAME.format(row_id(2)))
        end.freeze(300)
        with pytest.raises(psycopg.OperationalError):
            say(raw, "COMMIT")
    with login() as raw, pytest.raises(psycopg.errors.ReadOnlySqlTransaction, match=READ_ONLY):
        say(raw, RENAME.format(row_id(2)))
    assert spot.rows()["people"][row_id(2)]["name"] != "x"
    assert spot.databases.probe("acme", spot.model, ALL) == "ready"
