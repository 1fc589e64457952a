"""The Postgres engine's faults: by name, in our words, with nothing kept that was not committed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import Table, text
from sqlalchemy.exc import DBAPIError

from control_plane.data.collection import Collection
from control_plane.databases.postgres import PostgresDatabases
from control_plane.databases.postgres_names import Names
from control_plane.domain.isolation import Isolation
from control_plane.errors import BadInput, Failed, PaybillError, Refused, Unavailable, Unknown
from tests.support.postgres import Postgres
from tests.support.rows import VALUES, add, count, row_id
from tests.support.tenants import TenantServer, tenant_server, workspace
from tests.support.waiting import until

pytestmark = pytest.mark.slice_of(3)

MODEL: Isolation = "pooled"
DEADLINE_S = 20


@dataclass(frozen=True)
class Acme:
    """One pooled tenant; a test leaves no row."""

    databases: PostgresDatabases
    server: TenantServer
    table: Table

    def rows(self) -> int:
        """How many rows stand."""
        with self.databases.reading("acme", MODEL) as connection:
            return count(connection, self.table)

    def run(self, statement: str) -> None:
        """One statement in a transaction of the tenant, after a row that must not stay."""
        with self.databases.transaction("acme", MODEL) as connection:
            add(connection, self.table, "acme")
            connection.execute(text(statement))

    @property
    def shared(self) -> str:
        """The database that the tenant is in."""
        return Names(self.server.prefix).shared


@pytest.fixture(scope="module")
def acme(tenant_logins: TenantServer, people: Collection, people_table: Table) -> Iterator[Acme]:
    with workspace(tenant_logins) as server, server.engine(statement_ms_max=500) as databases:
        databases.create("acme", MODEL, [people], 1)
        yield Acme(databases, server, people_table)


def raising(sqlstate: str) -> str:
    """A statement to which the server itself answers with that code, and tells a secret."""
    return f"DO $$ BEGIN RAISE EXCEPTION 'hunter2' USING ERRCODE = '{sqlstate}'; END $$"


@pytest.mark.parametrize(
    ("sqlstate", "kind", "code", "rule"),
    [
        ("53100", Failed, "disk_full", ""),
        ("57014", Failed, "statement_deadline", ""),
        ("55P03", Unavailable, "database_busy", ""),
        ("40P01", Unavailable, "database_busy", ""),
        ("40001", Unavailable, "database_busy", ""),
        ("53300", Unavailable, "database_busy", ""),
        ("57P03", Unavailable, "database_unavailable", ""),
        ("58030", Unavailable, "database_unavailable", ""),
        ("XX001", Unavailable, "database_unreadable", ""),
        ("23503", Refused, "constraint", "foreign_key"),
        ("23505", Refused, "constraint", "unique"),
        ("23P01", Refused, "constraint", "constraint"),
        ("22012", Failed, "statement_failed", ""),
    ],
)
def test_what_the_server_says_is_told_by_name_and_not_in_its_words(
    acme: Acme, sqlstate: str, kind: type[PaybillError], code: str, rule: str
) -> None:
    with pytest.raises(PaybillError) as caught:
        acme.run(raising(sqlstate))
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert getattr(caught.value, "rule", "") == rule
    assert "hunter2" not in str(caught.value)
    assert acme.rows() == 0


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"status": "hunter2"}, "check"),
        ({"full_name": None}, "not_null"),
        ({"full_name": "hunter2" * 1_000}, "check"),
    ],
)
def test_a_row_that_breaks_a_rule_is_refused_and_no_error_carries_its_value(
    acme: Acme, wrong: dict[str, str | None], rule: str
) -> None:
    row = {**VALUES, **wrong, "tenant_id": "acme", "id": row_id(1), "version": 1}
    with (
        pytest.raises(Refused) as caught,
        acme.databases.transaction("acme", MODEL) as connection,
    ):
        connection.execute(acme.table.insert().values({**row, "created_at": text("now()")}))
    assert (caught.value.code, caught.value.rule) == ("constraint", rule)
    assert "hunter2" not in str(caught.value)


def test_a_statement_past_its_time_is_ended(acme: Acme) -> None:
    with pytest.raises(Failed) as caught:
        acme.run("SELECT pg_sleep(60)")
    assert caught.value.code == "statement_deadline"
    assert acme.rows() == 0


def test_a_lock_that_another_holds_is_waited_for_within_a_bound(acme: Acme) -> None:
    with acme.server.raw(acme.server.owner, acme.shared) as raw, raw.transaction():
        raw.execute("LOCK TABLE pooled.contacts IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Unavailable) as caught:
            acme.rows()
    assert caught.value.code == "database_busy"


def test_a_failed_statement_whose_error_is_caught_is_not_taken_for_committed(acme: Acme) -> None:
    def caught_inside() -> None:
        with acme.databases.transaction("acme", MODEL) as connection:
            add(connection, acme.table, "acme")
            with pytest.raises(DBAPIError):
                connection.execute(text("SELECT 1 / 0"))

    with pytest.raises(Failed) as caught:
        caught_inside()
    assert caught.value.code == "statement_failed"
    assert acme.rows() == 0


def test_a_transaction_that_a_statement_ended_is_not_taken_for_committed(acme: Acme) -> None:
    with pytest.raises(Unknown) as caught:
        acme.run("ROLLBACK")
    assert caught.value.code == "commit_unknown"
    assert acme.rows() == 0


def sessions_of(acme: Acme, *, sleeping: bool = False) -> list[int]:
    with acme.server.raw(acme.server.root) as raw:
        found = raw.execute(
            "SELECT pid FROM pg_stat_activity WHERE usename = %s"
            " AND (wait_event = 'PgSleep' OR NOT %s)",
            [acme.server.face.username, sleeping],
        ).fetchall()
    return [pid for (pid,) in found]


def end_session(acme: Acme, pid: int) -> None:
    with acme.server.raw(acme.server.root) as raw:
        raw.execute("SELECT pg_terminate_backend(%s)", [pid])


def test_a_connection_that_dies_in_the_commit_leaves_an_unknown(acme: Acme) -> None:
    # A trigger at the commit holds it there long enough to be cut off.
    with acme.server.raw(acme.server.root, acme.shared) as raw:
        raw.execute(
            "CREATE FUNCTION public.waits() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_catalog.pg_sleep(60); RETURN NULL; END'"
        )
        raw.execute(
            "CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON pooled.contacts"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.waits()"
        )
        raw.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")

    def cut_off() -> None:
        found = until(lambda: sessions_of(acme, sleeping=True) or None, "it commits")
        end_session(acme, found[0])

    cutting = threading.Thread(target=cut_off, daemon=True)

    def write() -> None:
        with (
            acme.server.engine() as patient,
            patient.transaction("acme", MODEL) as connection,
        ):
            add(connection, acme.table, "acme")
            cutting.start()

    try:
        with pytest.raises(Unknown) as caught:
            write()
        cutting.join(DEADLINE_S)
        assert caught.value.code == "commit_unknown"
    finally:
        with acme.server.raw(acme.server.root, acme.shared) as raw:
            raw.execute("DROP FUNCTION public.waits() CASCADE")
    assert acme.rows() == 0


def test_a_connection_that_dies_before_the_commit_is_no_unknown(acme: Acme) -> None:
    def write() -> None:
        with acme.databases.transaction("acme", MODEL) as connection:
            add(connection, acme.table, "acme")
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            end_session(acme, pid)
            until(lambda: pid not in sessions_of(acme), "the session is gone")
            connection.execute(text("SELECT 1"))

    with pytest.raises(Unavailable) as caught:
        write()
    assert caught.value.code == "database_unavailable"
    assert acme.rows() == 0


def test_sessions_that_died_while_idle_are_opened_anew(acme: Acme) -> None:
    assert acme.rows() == 0
    for pid in sessions_of(acme):
        end_session(acme, pid)
    until(lambda: not sessions_of(acme), "the sessions are gone")
    assert acme.rows() == 0


def test_more_at_once_than_there_are_connections_is_busy_and_passes(
    acme: Acme, people: Collection
) -> None:
    with acme.server.engine(as_face=True, statement_ms_max=100) as face:
        held = [face.reading("acme", MODEL) for _ in range(4)]
        for one in held:
            one.__enter__()
        try:
            with pytest.raises(Unavailable) as caught, face.reading("acme", MODEL):
                pass
        finally:
            for one in held:
                one.__exit__(None, None, None)
        assert caught.value.code == "database_busy"
        with face.reading("acme", MODEL):
            pass


def test_a_server_that_is_not_there_is_unavailable(acme: Acme, people: Collection) -> None:
    nowhere = acme.server.face.update_query_dict({"host": "/nonexistent"})
    databases = PostgresDatabases.opened(
        owner=None, face=nowhere, prefix=acme.server.prefix, statement_ms_max=500
    )
    for model in ("silo", "pooled"):
        with pytest.raises(Unavailable) as caught:
            databases.probe("acme", model, [people])
        assert caught.value.code == "database_unavailable"
        assert "nonexistent" not in str(caught.value)


def test_a_wrong_password_is_no_absent_tenant(acme: Acme) -> None:
    databases = PostgresDatabases.opened(
        owner=None,
        face=acme.server.face.set(password="wrong"),
        prefix=acme.server.prefix,
        statement_ms_max=500,
    )
    with pytest.raises(Unavailable), databases.reading("acme", MODEL):
        pass


def test_a_face_without_a_password_is_refused(acme: Acme) -> None:
    with pytest.raises(BadInput, match="face"):
        PostgresDatabases.opened(
            owner=None,
            face=acme.server.face.set(password=""),
            prefix=acme.server.prefix,
            statement_ms_max=500,
        )


def test_after_the_server_broke_down_what_was_committed_stands(
    postgres: Postgres, people: Collection, people_table: Table
) -> None:
    with tenant_server(postgres) as server, server.engine() as databases:
        databases.create("acme", "bridge", [people], 1)
        with databases.transaction("acme", "bridge") as connection:
            add(connection, people_table, "acme")
        # The tests' server keeps its log in memory for the sake of speed.
        with server.raw(server.root) as raw:
            raw.execute("CHECKPOINT")
        with postgres.down(), pytest.raises(Unavailable):
            databases.open_at("acme", "bridge")
        with databases.reading("acme", "bridge") as connection:
            assert count(connection, people_table) == 1
