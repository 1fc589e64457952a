"""What each login on Postgres may and may not do to the store. Not how the logins are made."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import URL, Connection, Table, delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from control_plane.errors import Unavailable
from control_plane.store import ledger_tables, tables
from control_plane.store.logins import Login, Names, make
from control_plane.store.migrate import upgrade_postgres
from control_plane.store.postgres import SCHEMA, PostgresStore
from control_plane.store.roles import AUDITOR, FACE, VERSION_TABLE, entitle
from control_plane.store.schema import METADATA
from tests.support.postgres import Postgres, raze

pytestmark = pytest.mark.slice_of(3)

NOW = "2026-01-02T03:04:05.678901Z"
# What each column that has no default is given, for a row that only its rights may refuse.
SAMPLE: dict[type, Any] = {str: "x", int: 1, bool: False, bytes: b"x", object: []}
# A face's own words: what the rules about rows let it write.
OWN: dict[str, dict[str, Any]] = {
    "fence": {"tenant": "new", "epoch": 0, "data_epoch": 0, "run_id": None},
    "run": {
        "id": "own",
        "tenant": "own",
        "state": "pending",
        "approval_id": None,
        "artifact": None,
    },
    "job": {"id": "own", "state": "pending"},
    "permit": {"id": "own", "step": "change", "consumed_at": None},
    "call": {"id": "own", "settled": False, "run_id": None},
    "idempotency": {"key": "own"},
    "reservation": {"tenant": "own"},
    "tenant_key": {"tenant": "own"},
    "audit_leaf": {"id": "own", "guards": []},
    "seat": {"holder": "own"},
    "usage_event": {"id": "own"},
    "usage_tally": {"meter": "own"},
    "soft_limit_passed": {"feature": "own"},
    "inbound_event": {"id": "own", "state": "received", "attempts": 0},
}
# What stands already, and is no face's own.
WORKERS: dict[str, dict[str, Any]] = {
    "stack": {"state": "stands"},
    "fence": {"epoch": 7},
    "run": {"id": "theirs", "tenant": "theirs", "state": "applying"},
    "permit": {"id": "theirs", "step": "provision", "consumed_at": None},
    "call": {"id": "theirs", "settled": True},
    "access_grant": {"actor_kind": "agent"},
    "tenant": {"isolation": "silo", "access_mode": "full"},
    "job": {"state": "finished"},
    "ledger_posting": {"currency": "USD"},
    "database": {"purpose": "serving", "state": "available"},
    "handover": {"access": "full", "half": "a"},
    "tenant_move": {"state": "moving"},
    "fleet_migration": {"state": "pending", "asked": ""},
    "fleet_receipt": {"state": "done"},
    "inbound_event": {"state": "completed"},
}


@dataclass(frozen=True)
class Server:
    """One workspace's store, opened by each of its logins."""

    stores: dict[Login, PostgresStore]
    urls: dict[Login, URL]
    names: Names

    def rows(self, table: Table) -> list[tuple[Any, ...]]:
        with self.stores["worker"].read() as connection:
            return [tuple(row) for row in connection.execute(select(table)).all()]


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Iterator[Server]:
    names = Names(uuid4().hex)
    urls = make(postgres.owner, names, "test")
    try:
        upgrade_postgres(urls["worker"], entitle=partial(entitle, names=names))
        with ExitStack() as stack:
            logins: tuple[Login, ...] = ("worker", "face", "auditor")
            stores: dict[Login, PostgresStore] = {
                one: stack.enter_context(closing(PostgresStore(urls[one]))) for one in logins
            }
            made = Server(stores, urls, names)
            with made.stores["worker"].write() as connection:
                for table in METADATA.sorted_tables:
                    if not table.name.startswith("ledger_"):
                        connection.execute(insert(table).values(row(table)))
                # An entry is taken only when postings stand that balance.
                for sides in ({"account": "x"}, {"account": "y", "amount_minor": -1}):
                    values = row(ledger_tables.ledger_posting, **sides)
                    connection.execute(insert(ledger_tables.ledger_posting).values(values))
                connection.execute(
                    insert(ledger_tables.ledger_entry).values(row(ledger_tables.ledger_entry))
                )
            yield made
    finally:
        raze(postgres, names.workspace_id)


def row(table: Table, **given: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        column.name: SAMPLE[column.type.python_type]
        for column in table.columns
        if not column.nullable and column.name != "written"
    }
    return values | WORKERS.get(table.name, {}) | given


@contextmanager
def refused() -> Generator[None]:
    with pytest.raises((Unavailable, DBAPIError)) as told:
        yield
    state = getattr(getattr(told.value, "orig", None), "sqlstate", str(told.value))
    assert "42501" in state


def allowed(server: Server, login: Login, statement: Any) -> bool:
    """Whether the statement may run; nothing of it stays."""

    class Back(Exception):
        pass

    try:
        with server.stores[login].append() as connection:
            connection.execute(statement)
            raise Back
    except Back:
        return True
    except Unavailable as error:
        if "42501" not in str(error):
            raise
        return False


def test_every_table_is_either_for_a_face_or_not() -> None:
    """A new table is no face's until somebody says so here and in the rights."""
    kept = {"artifact", "approver", "checkpoint", "data_key"}
    kept |= {"webhook_endpoint", "webhook_message", "webhook_delivery"}
    assert set(FACE) - {VERSION_TABLE} == {one.name for one in METADATA.sorted_tables} - kept


@pytest.mark.parametrize("table", METADATA.sorted_tables, ids=lambda one: one.name)
@pytest.mark.parametrize(("login", "rights"), [("face", FACE), ("auditor", AUDITOR)])
def test_a_login_does_to_each_table_what_the_rights_say_and_no_more(
    server: Server, table: Table, login: Login, rights: Any
) -> None:
    right = rights.get(table.name)
    key = table.primary_key.columns[0]
    # The server alone gives leaves their order: to no login does it let anybody change that.
    column = table.c.id if key.name == "written" else key
    whole = right is not None and right.select == ()
    assert allowed(server, login, select(table)) == whole
    assert allowed(server, login, delete(table)) == (right is not None and right.delete)
    assert not allowed(server, login, update(table).values({column: column}))
    own = row(table, **OWN.get(table.name, {}))
    may_add = right is not None and right.insert is not None
    assert allowed(server, login, insert(table).values(own)) == may_add
    for name in (one.name for one in table.columns if one not in (column, key)):
        may = right is not None and right.update is not None and name in right.update
        statement = update(table).where(text("false")).values({name: table.c[name]})
        assert allowed(server, login, statement) == may, name


@pytest.mark.parametrize(
    "name",
    [
        "access_grant",
        "setting",
        "approver",
        "checkpoint",
        "tenant",
        "artifact",
        "approval",
        "ledger_entry",
        "ledger_posting",
    ],
)
def test_a_face_cannot_write_what_gives_rights_or_proves_deeds(server: Server, name: str) -> None:
    table = METADATA.tables[name]
    before = server.rows(table)
    key = table.primary_key.columns[0]
    another = row(table, **{key.name: 2 if key.type.python_type is int else "y"})
    for statement in (insert(table).values(another), delete(table)):
        with refused(), server.stores["face"].write() as connection:
            connection.execute(statement)
    assert server.rows(table) == before


@pytest.mark.parametrize(
    ("name", "forged"),
    [
        ("run", {"id": "f", "tenant": "f", "state": "approved"}),
        ("run", {"id": "f", "tenant": "f", "state": "pending", "approval_id": "a"}),
        ("run", {"id": "f", "tenant": "f", "state": "pending", "artifact": "a"}),
        ("job", {"id": "f", "state": "finished"}),
        ("fence", {"tenant": "f", "epoch": 9}),
        ("permit", {"id": "f", "step": "provision"}),
        ("inbound_event", {"id": "f", "state": "completed", "attempts": 0}),
        ("inbound_event", {"id": "f", "state": "received", "attempts": 1}),
        (
            "audit_leaf",
            {"id": "f", "guards": [{"table": "tenant", "key": "x", "digest": None}]},
        ),
    ],
)
def test_a_face_cannot_add_a_row_that_only_a_worker_writes(
    server: Server, name: str, forged: dict[str, Any]
) -> None:
    table = METADATA.tables[name]
    assert not allowed(server, "face", insert(table).values(row(table, **forged)))
    assert allowed(server, "worker", insert(table).values(row(table, **forged)))


def test_a_face_does_not_touch_the_permits_of_runs(server: Server) -> None:
    permit = tables.permit
    with server.stores["face"].write() as connection:
        for one in (permit.c.step == "provision", permit.c.id == "theirs"):
            changed = connection.execute(update(permit).where(one).values(consumed_at=NOW))
            assert changed.rowcount == 0
    assert [one[-1] for one in server.rows(permit)] == [None]


def test_a_face_uses_its_own_permit_up_and_never_gives_it_back(server: Server) -> None:
    permit = tables.permit

    def consumed_at(connection: Connection, value: str | None) -> int:
        return connection.execute(
            update(permit).where(permit.c.id == "mine").values(consumed_at=value)
        ).rowcount

    with server.stores["face"].write() as connection:
        connection.execute(insert(permit).values(row(permit, **OWN["permit"] | {"id": "mine"})))
        assert consumed_at(connection, NOW) == 1
        assert consumed_at(connection, None) == 0
    with server.stores["worker"].write() as connection:
        connection.execute(delete(permit).where(permit.c.id == "mine"))


def test_a_face_asks_a_run_to_stop_and_cannot_take_that_back(server: Server) -> None:
    run = tables.run
    ask = update(run).where(run.c.id == "theirs")
    assert allowed(server, "face", ask.values(cancel_requested=True))
    assert not allowed(server, "face", ask.values(cancel_requested=False))
    assert not allowed(server, "face", ask.values(state="applied"))


def test_a_face_does_not_change_a_call_that_is_settled(server: Server) -> None:
    call = tables.call
    with server.stores["face"].write() as connection:
        changed = update(call).where(call.c.id == "theirs").values(effect="another")
        assert connection.execute(changed).rowcount == 0


def test_a_face_cannot_read_sealed_payloads_nor_private_keys(server: Server) -> None:
    assert not allowed(server, "face", select(tables.audit_leaf.c.sealed))
    assert not allowed(server, "face", select(tables.tenant_key.c.wrapped_private))
    assert not allowed(server, "face", select(tables.artifact.c.sealed))


@pytest.mark.parametrize("login", ["face", "auditor"])
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE paybill.theirs (id integer)",
        "CREATE TABLE public.theirs (id integer)",
        "CREATE SCHEMA theirs",
        "CREATE TEMPORARY TABLE theirs (id integer)",
        "ALTER TABLE paybill.permit DISABLE ROW LEVEL SECURITY",
        "DROP TABLE paybill.setting",
        "TRUNCATE paybill.audit_leaf",
        "UPDATE paybill.alembic_version SET version_num = '9999'",
        "CREATE ROLE theirs",
        "CREATE DATABASE theirs",
    ],
)
def test_no_login_but_the_owner_changes_what_there_is(
    server: Server, login: Login, statement: str
) -> None:
    engine = server.stores[login]._writer  # outside of any transaction, as CREATE DATABASE wants it
    with (
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        refused(),
    ):
        connection.execute(text(statement))


@pytest.mark.parametrize("login", ["face", "auditor"])
def test_no_login_but_the_owner_becomes_another(server: Server, login: Login) -> None:
    others = [server.names.role(one) for one in ("worker", "face", "auditor", "data")]
    for other in others:
        if other != server.names.role("face" if login == "face" else "auditor"):
            assert not allowed(server, login, text(f"SET LOCAL ROLE {other}"))


def test_the_login_for_tenants_data_does_not_get_into_the_store(server: Server) -> None:
    with closing(PostgresStore(server.urls["data"])) as store:
        with pytest.raises(Unavailable) as told, store.read() as connection:
            connection.execute(select(tables.tenant))
        assert told.value.code == "store_unavailable"


def test_rights_are_given_anew_and_what_was_given_besides_is_taken(server: Server) -> None:
    grant = text(f"GRANT ALL ON {SCHEMA}.setting TO {server.names.role('face')}")
    with server.stores["worker"].write() as connection:
        connection.execute(grant)
    assert allowed(server, "face", delete(tables.setting))
    with server.stores["worker"].write() as connection:
        entitle(connection, server.names)
    assert not allowed(server, "face", delete(tables.setting))
    assert allowed(server, "face", select(tables.setting))
