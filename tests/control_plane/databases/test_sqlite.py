"""The SQLite engine: files, kills, a full disk, a lock that another holds."""

from __future__ import annotations

import sqlite3
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Table, func, select, text

from control_plane.data.applied import apply_once, was_applied
from control_plane.data.collection import SAMPLES, Collection, load_collection
from control_plane.data.rows import get_row, insert_row
from control_plane.data.tables import FENCE, collection_table
from control_plane.databases import removal
from control_plane.databases.sqlite import SqliteDatabases
from control_plane.domain.isolation import Isolation
from control_plane.errors import Failed, NotFound, PaybillError, Refused, Unavailable
from tests.support.killed import kill_when_ready

NOW = datetime(2024, 1, 1, tzinfo=UTC)
ROW = "00000000-0000-4000-8000-{:012d}"
MODELS: tuple[Isolation, ...] = ("silo", "pooled")
CHILD = """
import sys, threading
from datetime import UTC, datetime
from pathlib import Path
from control_plane.data.applied import apply_once
from control_plane.data.collection import SAMPLES, load_collection
from control_plane.data.rows import insert_row
from control_plane.data.tables import collection_table
from control_plane.databases.sqlite import SqliteDatabases

root, model, moment = sys.argv[1:]
contacts = load_collection(SAMPLES / "contacts.yaml")
databases = SqliteDatabases(Path(root), busy_timeout_ms=5000)
now = datetime(2024, 1, 1, tzinfo=UTC)

def wait_to_be_killed(*_):
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    threading.Event().wait(60)

def effect(connection):
    values = {"full_name": "x", "email": "a@b", "status": "lead", "balance": 0}
    row = "00000000-0000-4000-8000-000000000001"
    insert_row(connection, collection_table(contacts), "acme", row, values, now=now)
    if moment == "inside":
        wait_to_be_killed()

if moment == "creating":
    Path.hardlink_to = wait_to_be_killed
    databases.create("acme", model, [contacts], 1)
else:
    with databases.transaction("acme", model) as connection:
        apply_once(connection, "acme", 1, "call", "d", effect, now=now)
    wait_to_be_killed()
"""


@pytest.fixture(scope="module")
def contacts() -> Collection:
    return load_collection(SAMPLES / "contacts.yaml")


@pytest.fixture(scope="module")
def table(contacts: Collection) -> Table:
    return collection_table(contacts)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def databases(root: Path) -> SqliteDatabases:
    return SqliteDatabases(root, busy_timeout_ms=200)


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Isolation:
    chosen: Isolation = request.param
    return chosen


def path_of(root: Path, model: Isolation) -> Path:
    return root / "pooled.db" if model == "pooled" else root / model / "acme.db"


def values(number: int = 0) -> dict[str, str | int]:
    return {"full_name": f"n{number}", "email": "a@b", "status": "lead", "balance": number}


@pytest.mark.long_but_one
def test_a_write_killed_in_its_transaction_left_nothing(
    databases: SqliteDatabases, root: Path, model: Isolation, contacts: Collection, table: Table
) -> None:
    databases.create("acme", model, [contacts], 1)
    kill_when_ready(CHILD, str(root), model, "inside")
    with databases.reading("acme", model) as connection:
        assert was_applied(connection, "acme", "call") is None
        assert get_row(connection, table, "acme", ROW.format(1)) is None
    with databases.transaction("acme", model) as connection:
        assert apply_once(connection, "acme", 1, "call", "d", lambda _: None, now=NOW)


@pytest.mark.long_but_one
def test_a_write_killed_after_its_transaction_is_proved(
    databases: SqliteDatabases, root: Path, model: Isolation, contacts: Collection, table: Table
) -> None:
    databases.create("acme", model, [contacts], 1)
    kill_when_ready(CHILD, str(root), model, "after")
    with databases.reading("acme", model) as connection:
        assert was_applied(connection, "acme", "call") == "d"
        assert get_row(connection, table, "acme", ROW.format(1)) is not None


@pytest.mark.long_but_one
def test_a_creation_that_was_killed_left_no_half_database(
    databases: SqliteDatabases, root: Path, model: Isolation, contacts: Collection
) -> None:
    folder = path_of(root, model).parent
    kill_when_ready(CHILD, str(root), model, "creating")
    assert list(folder.glob(".*.creating"))
    assert databases.probe("acme", model, [contacts]) == "absent"
    databases.create("acme", model, [contacts], 1)
    assert databases.probe("acme", model, [contacts]) == "ready"
    assert not list(folder.glob(".*.creating*"))


def test_files_are_for_their_owner_alone(
    databases: SqliteDatabases, root: Path, model: Isolation, contacts: Collection
) -> None:
    databases.create("acme", model, [contacts], 1)
    with databases.transaction("acme", model):
        assert all(
            path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)
            for path in [root, *root.rglob("*")]
        )


def test_a_full_disk_is_told_and_leaves_nothing(
    databases: SqliteDatabases, model: Isolation, contacts: Collection, table: Table
) -> None:
    databases.create("acme", model, [contacts], 1)

    def fill() -> None:
        with databases.transaction("acme", model) as connection:
            # SQLite takes no fewer pages than there are: this is "not one more".
            connection.exec_driver_sql("PRAGMA max_page_count=1")
            for number in range(1_000):
                insert_row(connection, table, "acme", ROW.format(number), values(), now=NOW)

    with pytest.raises(Failed) as caught:
        fill()
    assert caught.value.code == "disk_full"
    with databases.reading("acme", model) as connection:
        assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0
    assert databases.probe("acme", model, [contacts]) == "ready"


def test_a_locked_database_is_unavailable_within_its_bound(
    databases: SqliteDatabases, root: Path, model: Isolation, contacts: Collection
) -> None:
    databases.create("acme", model, [contacts], 1)
    other = sqlite3.connect(path_of(root, model), isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        with pytest.raises(Unavailable) as caught, databases.transaction("acme", model):
            pass
        assert caught.value.code == "database_busy"
        assert "lock" not in str(caught.value)
        assert time.monotonic() - started < 2
        with pytest.raises(Unavailable):
            databases.probe("acme", model, [contacts])
        with databases.reading("acme", model) as connection:
            assert connection.execute(select(FENCE.c.epoch)).scalar_one() == 1
    finally:
        other.close()


def test_a_file_that_is_no_database_differs(
    databases: SqliteDatabases, root: Path, model: Isolation, contacts: Collection
) -> None:
    databases.create("acme", model, [contacts], 1)
    path_of(root, model).write_bytes(b"this is no database" * 100)
    assert databases.probe("acme", model, [contacts]) == "differs"
    with pytest.raises(Unavailable) as caught:
        databases.create("acme", model, [contacts], 1)
    assert caught.value.code == "database_unreadable"


def test_a_missing_column_differs(
    databases: SqliteDatabases, root: Path, model: Isolation, contacts: Collection
) -> None:
    databases.create("acme", model, [contacts], 1)
    with sqlite3.connect(path_of(root, model)) as other:
        other.execute("ALTER TABLE contacts RENAME COLUMN company TO firm")
    other.close()
    assert databases.probe("acme", model, [contacts]) == "differs"


def test_a_log_that_outlived_its_database_is_not_read_into_the_next(
    databases: SqliteDatabases, root: Path, contacts: Collection, table: Table
) -> None:
    databases.create("acme", "silo", [contacts], 1)
    path = path_of(root, "silo")
    with databases.transaction("acme", "silo") as connection:
        insert_row(connection, table, "acme", ROW.format(1), values(), now=NOW)
        with databases.reading("acme", "silo"):
            log = path.with_name("acme.db-wal")
    keeper = sqlite3.connect(path)
    try:
        keeper.execute("SELECT count(*) FROM contacts").fetchall()
        with databases.transaction("acme", "silo") as connection:
            insert_row(connection, table, "acme", ROW.format(2), values(), now=NOW)
        outlived = log.read_bytes()
    finally:
        keeper.close()
    assert outlived
    path.unlink()
    log.write_bytes(outlived)
    databases.create("acme", "silo", [contacts], 2)
    with databases.reading("acme", "silo") as connection:
        assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0


def test_who_held_the_file_open_writes_nothing_after_the_drop(
    databases: SqliteDatabases, root: Path, contacts: Collection
) -> None:
    databases.create("acme", "silo", [contacts], 1)
    keeper = sqlite3.connect(path_of(root, "silo"))
    try:
        assert keeper.execute("SELECT open FROM paybill_fence").fetchall() == [(1,)]
        databases.drop("acme", "silo", 1)
        assert keeper.execute("SELECT open FROM paybill_fence").fetchall() == [(0,)]
    finally:
        keeper.close()
    assert not list((root / "silo").iterdir())


def test_a_pooled_tenant_is_removed_in_many_steps(
    databases: SqliteDatabases,
    contacts: Collection,
    table: Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(removal, "ROWS_PER_STEP", 3)
    for tenant in ("acme", "other"):
        databases.create(tenant, "pooled", [contacts], 1)
        with databases.transaction(tenant, "pooled") as connection:
            for number in range(10):
                insert_row(connection, table, tenant, ROW.format(number), values(), now=NOW)
    databases.drop("acme", "pooled", 1)
    with databases.reading("other", "pooled") as connection:
        left = connection.execute(select(table.c.tenant_id)).scalars().all()
    assert left == ["other"] * 10


def test_a_connection_cannot_attach_another_tenants_file(
    databases: SqliteDatabases, root: Path, contacts: Collection
) -> None:
    databases.create("acme", "silo", [contacts], 1)
    databases.create("other", "silo", [contacts], 1)
    with pytest.raises(Failed), databases.reading("acme", "silo") as connection:
        connection.execute(text("ATTACH :path AS theirs"), {"path": str(root / "silo/other.db")})


def test_creations_at_once_make_one_database(root: Path, contacts: Collection) -> None:
    databases = SqliteDatabases(root, busy_timeout_ms=10_000)
    tenants = ["acme", "acme", "other", "other"]
    faults: list[PaybillError] = []

    def create(tenant: str) -> None:
        try:
            databases.create(tenant, "pooled", [contacts], 1)
        except PaybillError as error:
            faults.append(error)

    threads = [threading.Thread(target=create, args=(tenant,)) for tenant in tenants]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert faults == []
    with databases.reading("acme", "pooled") as connection:
        found = connection.execute(select(FENCE.c.tenant_id)).scalars().all()
    assert sorted(found) == ["acme", "other"]


def test_a_database_dropped_while_reached_for_is_not_found(
    databases: SqliteDatabases, root: Path, contacts: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases.create("acme", "silo", [contacts], 1)
    path = path_of(root, "silo")
    looks = iter([True, False])
    path.unlink()

    def look(_: Path) -> bool:
        return next(looks)

    monkeypatch.setattr(Path, "exists", look)
    with pytest.raises(NotFound), databases.reading("acme", "silo"):
        pass


def test_no_error_carries_a_value(
    databases: SqliteDatabases, model: Isolation, contacts: Collection, table: Table
) -> None:
    databases.create("acme", model, [contacts], 1)
    wrong = {**values(), "status": "hunter2"}
    with pytest.raises(Refused) as caught, databases.transaction("acme", model) as connection:
        insert_row(connection, table, "acme", ROW.format(1), wrong, now=NOW)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in str(error)
        error = error.__cause__
