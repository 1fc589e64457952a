"""Leaves written in the transaction of a change. Not their sequence, and not the log's proofs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Integer,
    LargeBinary,
    Table,
    func,
    select,
    text,
)

from control_plane.audit.leaf import Leaf, open_leaf, sealed_digest
from control_plane.audit.recorder import _FACES as FACES
from control_plane.audit.recorder import _KEYS as KEYS
from control_plane.audit.recorder import GUARDED, LeafRecorder, guard, guarded_rows, guards_now
from control_plane.domain.canonical import Json, instant
from control_plane.secrets.box import BoxError, new_keypair
from control_plane.secrets.tenant_keys import TenantKey, unwrap
from control_plane.store import ledger_tables, tables
from control_plane.store.log import StoredLeaf, StoredLog
from control_plane.store.sqlite import SqliteStore
from tests.support.migrated import migrated_sqlite

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AT = instant(NOW)
PRIVATE, PUBLIC = new_keypair()
PAYLOAD: dict[str, Json] = {"tool": "suspend_tenant", "outcome": "done"}


class Still:
    """A clock that stands, and ids that count."""

    def __init__(self) -> None:
        self.count = 0

    def now(self) -> datetime:
        return NOW

    def seed(self) -> str:
        return "00000000-0000-4000-8000-000000000000"

    def new(self) -> str:
        self.count += 1
        return f"{self.count:032x}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(migrated_sqlite(tmp_path / "store.db"))
    yield store
    store.close()


@pytest.fixture
def recorder() -> LeafRecorder:
    still = Still()
    return LeafRecorder(PUBLIC, still, still)


def hold(connection: Connection, tenant: str) -> None:
    connection.execute(tables.fence.insert().values(tenant=tenant, epoch=1))


def add_setting(connection: Connection, name: str, value: object) -> None:
    values = {"name": name, "value": value, "updated_at": AT}
    connection.execute(tables.setting.insert().values(**values))


def newest(store: SqliteStore) -> StoredLeaf:
    return StoredLog(store).newest(1)[0]


def tenant_key(store: SqliteStore, tenant: str) -> TenantKey | None:
    table = tables.tenant_key
    with store.read() as connection:
        row = connection.execute(select(table).where(table.c.tenant == tenant)).first()
    if row is None:
        return None
    return TenantKey(row.tenant, row.key_id, row.public_key, row.wrapped_private)


def rows_of(store: SqliteStore, table: Table) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


WORDS = {
    "actor_kind": ("agent", "human"),
    "isolation": ("silo", "pooled"),
    "access_mode": ("full", "none"),
}


def lift_rules(connection: Connection, table: Table) -> None:
    """Let a row be altered that its table never lets anybody alter, and to whatever."""
    connection.execute(text("PRAGMA ignore_check_constraints = ON"))
    named = text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table")
    for name in connection.execute(named, {"table": table.name}).scalars().all():
        connection.execute(text(f"DROP TRIGGER {name}"))


def two_values(column: Column[Any]) -> tuple[object, object]:
    """What a column may hold, and something else that it may hold."""
    pairs: dict[type[object], tuple[object, object]] = {
        JSON: ({"a": [1, None]}, ["b"]),
        Boolean: (True, False),
        Integer: (7, 8),
        LargeBinary: (b"sealed", b"another"),
    }
    return pairs.get(type(column.type), WORDS.get(column.name, ("word", "another")))


def test_a_leaf_about_no_tenant_opens_with_the_workspaces_key(
    store: SqliteStore, recorder: LeafRecorder
) -> None:
    with store.write() as connection:
        leaf_id = recorder.record(connection, "setting.changed", "", PAYLOAD)
    found = newest(store)
    assert (found.leaf.id, found.leaf.kind, found.leaf.tenant) == (leaf_id, "setting.changed", "")
    assert (found.leaf.recorded_at, found.index) == (AT, None)
    assert sealed_digest(found.sealed) == found.leaf.sealed_digest
    assert open_leaf(found.sealed, PRIVATE, found.leaf) == PAYLOAD
    assert rows_of(store, tables.tenant_key) == 0


def test_a_tenants_leaves_open_with_its_key_alone(
    store: SqliteStore, recorder: LeafRecorder
) -> None:
    with store.write() as connection:
        hold(connection, "acme")
        recorder.record(connection, "tenant.created", "acme", PAYLOAD)
        first = connection.execute(select(tables.tenant_key)).one()
        recorder.record(connection, "tenant.changed", "acme", PAYLOAD)
    key = tenant_key(store, "acme")
    assert key is not None
    assert (key.public, rows_of(store, tables.tenant_key)) == (first.public_key, 1)
    private = unwrap(key, PRIVATE)
    for found in StoredLog(store).newest(10):
        assert open_leaf(found.sealed, private, found.leaf) == PAYLOAD
        with pytest.raises(BoxError):
            open_leaf(found.sealed, PRIVATE, found.leaf)


def test_a_name_that_no_run_has_held_gets_no_key(
    store: SqliteStore, recorder: LeafRecorder
) -> None:
    with store.write() as connection:
        hold(connection, "acme")
        recorder.record(connection, "call.refused", "nobody", PAYLOAD)
    assert tenant_key(store, "nobody") is None
    found = newest(store)
    assert found.leaf.tenant == "nobody"
    assert open_leaf(found.sealed, PRIVATE, found.leaf) == PAYLOAD


def test_a_forgotten_key_is_still_sealed_to_and_never_made_anew(
    store: SqliteStore, recorder: LeafRecorder
) -> None:
    with store.write() as connection:
        hold(connection, "acme")
        recorder.record(connection, "tenant.created", "acme", PAYLOAD)
        connection.execute(tables.tenant_key.update().values(wrapped_private=None))
        recorder.record(connection, "tenant.purged", "acme", PAYLOAD)
    key = tenant_key(store, "acme")
    assert key is not None
    assert key.wrapped_private is None
    with pytest.raises(BoxError):
        open_leaf(newest(store).sealed, PRIVATE, newest(store).leaf)


def test_guards_say_what_the_rows_are_in_this_transaction(
    store: SqliteStore, recorder: LeafRecorder
) -> None:
    with store.write() as connection:
        add_setting(connection, "rule", "own_hand")
        table = tables.setting
        connection.execute(table.update().values(value={"rule": "two_people"}))
        recorder.record(
            connection, "setting.changed", "", PAYLOAD, (("setting", "rule"), ("tenant", "gone"))
        )
    said = {(one.table, one.key): one.digest for one in newest(store).leaf.guards}
    with store.read() as connection:
        now = guarded_rows(connection)
    assert said == {**now, ("tenant", "gone"): None}
    assert set(now) == {("setting", "rule")}


def test_only_what_moved_is_vouched_for_where_it_is_asked_and_with_what_was_found(
    store: SqliteStore, recorder: LeafRecorder
) -> None:
    names = ("rule", "same", "new")
    rows = tuple(("setting", name) for name in names)
    with store.write() as connection:
        for name in names[:2]:
            add_setting(connection, name, "own_hand")
        found = guards_now(connection, rows)
        assert found == [guard(connection, *row) for row in rows]
        add_setting(connection, "new", "own_hand")
        changed = tables.setting.update().where(tables.setting.c.name == "rule")
        connection.execute(changed.values(value={"rule": "two_people"}))
        now = guards_now(connection, rows)
        for asked in (False, True):
            recorder.record(
                connection, "setting.changed", "", PAYLOAD, rows, tuple(found), only_moved=asked
            )
    every, moved = (one.leaf.guards for one in StoredLog(store).newest(2)[::-1])
    befores = (found[0].digest, found[1].digest, "absent")
    assert [(one.key, one.digest, one.before) for one in every] == [
        (name, one.digest, before) for name, one, before in zip(names, now, befores, strict=True)
    ]
    assert [one.key for one in moved] == ["rule", "new"]
    assert set(moved) < set(every)


@pytest.mark.slice_of(3)
@pytest.mark.parametrize("name", sorted(GUARDED))
def test_a_guard_equals_what_verification_reads_and_moves_with_every_column(
    store: SqliteStore, name: str
) -> None:
    table = GUARDED[name]
    with store.write() as connection:
        lift_rules(connection, table)
        row = {column.name: two_values(column)[0] for column in table.columns}
        connection.execute(table.insert().values(**row))
        (((_, key), digest),) = guarded_rows(connection).items()
        seen: set[str | None] = {digest}
        untold = FACES.get(name, frozenset())
        for one in untold:
            connection.execute(table.update().values({one: two_values(table.c[one])[1]}))
            assert guarded_rows(connection) == {(name, key): digest}
        passed = {"id", KEYS[name], *untold}
        others = [column for column in table.columns if column.name not in passed]
        for column in others:
            connection.execute(table.update().values({column.name: two_values(column)[1]}))
            seen.add(guard(connection, name, key).digest)
            assert guarded_rows(connection) == {(name, key): guard(connection, name, key).digest}
        assert len(seen) == 1 + len(others)


def test_the_guard_of_an_entry_moves_with_every_column_of_its_postings(store: SqliteStore) -> None:
    posting, seen = ledger_tables.ledger_posting, set[str | None]()
    with store.write() as connection:
        for table in (posting, ledger_tables.ledger_entry):
            lift_rules(connection, table)
            row = {column.name: two_values(column)[0] for column in table.columns}
            connection.execute(table.insert().values(**row))
        for column in (
            posting.c.account,
            posting.c.currency,
            posting.c.amount_minor,
            posting.c.entry,
        ):
            connection.execute(posting.update().values({column.name: two_values(column)[1]}))
            seen.add(guard(connection, "ledger_entry", "word").digest)
            assert guarded_rows(connection) == {
                ("ledger_entry", "word"): guard(connection, "ledger_entry", "word").digest
            }
        connection.execute(posting.update().values(entry="word"))
        connection.execute(posting.delete())
        connection.execute(ledger_tables.ledger_entry.delete())
        assert guard(connection, "ledger_entry", "word").digest is None
        assert guarded_rows(connection) == {}
    assert len(seen) == 4


def test_leaf_and_key_roll_back_with_the_change(store: SqliteStore, recorder: LeafRecorder) -> None:
    def change() -> None:
        with store.write() as connection:
            hold(connection, "acme")
            recorder.record(connection, "tenant.created", "acme", PAYLOAD)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change()
    for table in (tables.audit_leaf, tables.tenant_key, tables.fence):
        assert rows_of(store, table) == 0


def test_leaves_wait_in_the_order_they_were_written(
    store: SqliteStore, recorder: LeafRecorder
) -> None:
    ids: list[str] = []
    for number in range(5):
        with store.write() as connection:
            ids.append(recorder.record(connection, "call.answered", "", {"number": number}))
    waiting: list[Leaf] = StoredLog(store).unsequenced(10)
    assert [leaf.id for leaf in waiting] == ids
