"""What is left in a folder of databases once a tenant is removed: nothing, in a shared file once it was scrubbed."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Table, delete

from control_plane.data.collection import Collection
from control_plane.data.rows import insert_row
from control_plane.data.undo import Image, keep_images
from control_plane.databases.sqlite import SqliteDatabases
from control_plane.databases.sqlite_scrub import scrub, shared_files
from control_plane.domain.isolation import Isolation
from control_plane.errors import Unavailable

NOW: Final = datetime(2024, 1, 1, tzinfo=UTC)
CANARY: Final = "canary-4e1f-planted"
ROWS: Final = 30
WAIT_MS: Final = 300


@pytest.fixture
def databases(tmp_path: Path) -> SqliteDatabases:
    return SqliteDatabases(tmp_path / "data", WAIT_MS)


def fill(
    databases: SqliteDatabases,
    tenant: str,
    model: Isolation,
    people: Collection,
    table: Table,
    word: str,
) -> None:
    databases.create(tenant, model, [people], 1)
    for number in range(ROWS):
        values: dict[str, Any] = {
            "full_name": f"{word}-{number}",
            "email": "a@b",
            "status": "lead",
            "balance": 0,
        }
        row = f"00000000-0000-4000-8000-{number:012d}"
        with databases.transaction(tenant, model) as connection:
            insert_row(connection, table, tenant, row, values, now=NOW)
    with databases.transaction(tenant, model) as connection:
        keep_images(connection, tenant, "run", [Image("x", 1, {"full_name": word})], now=NOW)


def holding(root: Path, word: str) -> list[str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return sorted(path.name for path in files if word.encode() in path.read_bytes())


@pytest.mark.parametrize("model", ["silo", "bridge"])
@pytest.mark.parametrize("is_open", [False, True], ids=["closed", "read meanwhile"])
def test_of_a_tenant_with_a_file_of_its_own_nothing_is_left(
    databases: SqliteDatabases,
    people: Collection,
    people_table: Table,
    tmp_path: Path,
    model: Isolation,
    is_open: bool,
) -> None:
    fill(databases, "acme", model, people, people_table, CANARY)
    fill(databases, "other", model, people, people_table, "someone")
    assert holding(tmp_path, CANARY) != []
    if is_open:
        with databases.reading("acme", model) as connection:
            connection.execute(people_table.select()).first()
            databases.drop("acme", model, 2)
    else:
        databases.drop("acme", model, 2)
    assert holding(tmp_path, CANARY) == []
    assert [one for one in tmp_path.rglob("acme*") if one.is_file()] == []
    assert holding(tmp_path, "someone") != []


def test_of_a_pooled_tenant_nothing_is_left_once_the_file_was_scrubbed(
    databases: SqliteDatabases, people: Collection, people_table: Table, tmp_path: Path
) -> None:
    fill(databases, "acme", "pooled", people, people_table, CANARY)
    fill(databases, "other", "pooled", people, people_table, "someone")
    (path,) = shared_files(tmp_path / "data")
    # As long as somebody has the file open, as in service, its log stays.
    with closing(sqlite3.connect(path)) as idle:
        idle.execute("SELECT count(*) FROM contacts").fetchone()
        databases.drop("acme", "pooled", 2)
        assert holding(tmp_path, CANARY) != []
        found = scrub(path, WAIT_MS)
    assert found.is_clean
    assert found.bytes_after < found.bytes_before
    assert holding(tmp_path, CANARY) == []
    with databases.reading("other", "pooled") as connection:
        assert len(connection.execute(people_table.select()).all()) == ROWS
    assert databases.probe("other", "pooled", [people]) == "ready"


def test_rows_that_a_tenant_deletes_are_gone_with_a_scrubbing(
    databases: SqliteDatabases, people: Collection, people_table: Table, tmp_path: Path
) -> None:
    fill(databases, "acme", "pooled", people, people_table, "someone")
    fill(databases, "other", "pooled", people, people_table, CANARY)
    with databases.transaction("other", "pooled") as connection:
        connection.execute(delete(people_table).where(people_table.c.tenant_id == "other"))
        keep_images(connection, "other", "later", [], now=datetime(2024, 1, 9, tzinfo=UTC))
    for path in shared_files(tmp_path / "data"):
        assert scrub(path, WAIT_MS).is_clean
    assert holding(tmp_path, CANARY) == []


def test_the_files_of_every_slot_are_shared_and_reference_rows_are_not(tmp_path: Path) -> None:
    for name in ("pooled.db", "pooled.1.db", "pooled.reference.db", "pooled.1.reference.db"):
        (tmp_path / name).touch()
    assert [one.name for one in shared_files(tmp_path)] == ["pooled.1.db", "pooled.db"]
    assert shared_files(tmp_path / "nowhere") == ()


def test_while_a_reader_holds_the_log_the_file_is_not_called_clean(
    databases: SqliteDatabases, people: Collection, people_table: Table, tmp_path: Path
) -> None:
    fill(databases, "acme", "pooled", people, people_table, "someone")
    (path,) = shared_files(tmp_path / "data")
    with databases.reading("acme", "pooled") as connection:
        connection.execute(people_table.select()).first()
        assert not scrub(path, WAIT_MS).is_clean
    assert scrub(path, WAIT_MS).is_clean


def test_while_a_writer_holds_the_file_it_is_busy(
    databases: SqliteDatabases, people: Collection, people_table: Table, tmp_path: Path
) -> None:
    fill(databases, "acme", "pooled", people, people_table, "someone")
    (path,) = shared_files(tmp_path / "data")
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable) as caught:
        scrub(path, WAIT_MS)
    assert caught.value.code == "database_busy"
    writer.rollback()
    writer.close()
    with pytest.raises(Unavailable):
        scrub(tmp_path / "nowhere.db", WAIT_MS)
    assert not (tmp_path / "nowhere.db").exists()


def test_who_writes_meanwhile_waits_and_loses_nothing(
    databases: SqliteDatabases, people: Collection, people_table: Table, tmp_path: Path
) -> None:
    fill(databases, "acme", "pooled", people, people_table, "someone")
    (path,) = shared_files(tmp_path / "data")
    told: list[str] = []

    def write() -> None:
        for number in range(ROWS):
            with databases.transaction("acme", "pooled") as connection:
                keep_images(connection, "acme", f"more-{number}", [], now=NOW)
        told.append("written")

    thread = threading.Thread(target=write)
    thread.start()
    deeds: list[Callable[[], object]] = [lambda: scrub(path, 5_000)] * 5
    for deed in deeds:
        deed()
    thread.join(60)
    assert told == ["written"]
    with databases.reading("acme", "pooled") as connection:
        assert len(connection.execute(people_table.select()).all()) == ROWS
