"""Transactions of the SQLite store, and its faults by name. Not the rows."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import IntegrityError

from control_plane.errors import Unavailable
from control_plane.store import tables
from control_plane.store.sqlite import SqliteStore

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_by_another_process(path: Path) -> Generator[None]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        yield
    finally:
        child.kill()
        child.communicate()


def add(connection: Connection, tenant: str, epoch: int = 1) -> None:
    connection.execute(tables.fence.insert().values(tenant=tenant, epoch=epoch))


def count(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(tables.fence)).scalar_one()


def test_a_write_takes_the_lock_before_it_reads_anything(store: SqliteStore) -> None:
    with (
        store.write(),
        closing(sqlite3.connect(store.path, timeout=0)) as other,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("BEGIN IMMEDIATE")


def test_what_is_written_stands_after_the_transaction(store: SqliteStore) -> None:
    with store.write() as connection:
        add(connection, "acme")
    with store.read() as connection:
        assert count(connection) == 1


def test_an_error_takes_everything_of_its_transaction_back(store: SqliteStore) -> None:
    def change(tenant: str) -> None:
        with store.write() as connection:
            add(connection, tenant)
            if tenant == "acme":
                raise ZeroDivisionError
            add(connection, tenant)

    for tenant, error in (("acme", ZeroDivisionError), ("globex", IntegrityError)):
        with pytest.raises(error):
            change(tenant)
    with store.write() as connection:
        assert count(connection) == 0


def test_a_store_that_another_process_holds_is_named_within_the_busy_timeout(
    store: SqliteStore,
) -> None:
    with held_by_another_process(store.path):
        began = time.monotonic()
        with pytest.raises(Unavailable) as refused, store.write():
            pytest.fail("two writers at once")
        waited_s = time.monotonic() - began
        with store.read() as connection:
            assert count(connection) == 0
    assert refused.value.code == "store_locked"
    assert 0.2 <= waited_s < 2.5
    with store.write() as connection:
        add(connection, "acme")


def test_a_full_disk_is_named_and_leaves_nothing_half_done(store: SqliteStore) -> None:
    def fill() -> None:
        with store.write() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
            for number in range(10_000):
                add(connection, f"tenant-{number}")

    with pytest.raises(Unavailable) as refused:
        fill()
    assert refused.value.code == "store_full"
    with store.write() as connection:
        assert count(connection) == 0
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
        add(connection, "acme")


def test_a_read_sees_one_state_whatever_is_committed_meanwhile(store: SqliteStore) -> None:
    with store.read() as reading:
        assert count(reading) == 0
        with store.write() as connection:
            add(connection, "acme")
        assert count(reading) == 0
    with store.read() as reading:
        assert count(reading) == 1


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"this is a letter, and no database at all. " * 100)
    before = path.read_bytes()
    store = SqliteStore(path)
    for transaction in (store.read, store.write):
        with pytest.raises(Unavailable) as refused, transaction():
            pytest.fail("a letter was opened")
        assert refused.value.code == "store_unavailable"
    store.close()
    assert path.read_bytes() == before


def test_a_store_whose_folder_is_gone_is_named(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "gone" / "store.db")
    with pytest.raises(Unavailable) as refused, store.read():
        pytest.fail("nothing was opened")
    assert refused.value.code == "store_unavailable"


def test_a_caller_that_finds_every_connection_taken_is_told_so(store: SqliteStore) -> None:
    with ExitStack() as taken:
        for _ in range(16):
            taken.enter_context(store.read())
        with pytest.raises(Unavailable) as refused, store.read():
            pytest.fail("a seventeenth connection")
    assert refused.value.code == "store_locked"
    with store.read() as connection:
        assert count(connection) == 0
