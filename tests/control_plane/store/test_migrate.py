"""A store file comes to this version's tables, once, whoever asks. Not what the tables mean."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Table, event, select

from control_plane.errors import Unavailable
from control_plane.store import migrate, tables
from control_plane.store.migrate import HEAD, MIGRATIONS, current, upgrade
from control_plane.store.schema import METADATA
from control_plane.store.sqlite import SqliteStore

CHECKOUT = Path(__file__).parents[3]
UPGRADE = """
import sys
from pathlib import Path
from control_plane.store.migrate import upgrade
sys.stdin.read(1)
upgrade(Path(sys.argv[1]))
print("alembic" in sys.modules)
"""


def definitions(path: Path) -> Mapping[str, str]:
    """What SQLite itself says of each table and index, without the version's own."""
    statement = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(statement).fetchall()
    return {name: " ".join(sql.split()) for name, sql in found if name != "alembic_version"}


def differences(connection: Connection) -> list[Any]:
    options = {"compare_type": True, "compare_server_default": True}
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, METADATA))


def set_revision(path: Path, *revisions: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM alembic_version")
        for revision in revisions:
            connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))


def stop_at_checkpoint(target: object, *_: object, **__: object) -> None:
    if getattr(target, "name", "") == "checkpoint":
        raise KeyboardInterrupt


@contextmanager
def upgrading(path: Path) -> Generator[subprocess.Popen[str]]:
    """Another process that upgrades as soon as it is told to."""
    child = subprocess.Popen(
        [sys.executable, "-c", UPGRADE, str(path)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def test_the_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_a_fresh_file_comes_to_the_very_tables_of_the_metadata(tmp_path: Path) -> None:
    migrated, made = tmp_path / "migrated.db", tmp_path / "made.db"
    upgrade(migrated)
    store = SqliteStore(made)
    with store.write() as connection:
        METADATA.create_all(connection)
    store.close()
    # To the letter, because a comparison of reflected tables sees no CHECK and no index's WHERE.
    assert definitions(migrated) == definitions(made)
    assert current(migrated) == HEAD


def test_autogenerate_finds_nothing_to_migrate(tmp_path: Path) -> None:
    upgrade(tmp_path / "store.db")
    store = SqliteStore(tmp_path / "store.db")
    with store.read() as connection:
        found = differences(connection)
    store.close()
    # What SQLite has not: identity columns, and an index that its rowids make needless.
    (identity,), (kind, index) = found
    assert identity[:4] == ("modify_default", None, "audit_leaf", "written")
    assert (kind, index.name) == ("add_index", "ix_audit_leaf_waiting")


def test_an_upgrade_made_again_changes_nothing_and_keeps_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    upgrade(path)
    store = SqliteStore(path)
    with store.write() as connection:
        connection.execute(tables.fence.insert().values(tenant="acme", epoch=3))
    before = definitions(path)
    upgrade(path)
    assert definitions(path) == before
    with store.read() as connection:
        assert connection.execute(select(tables.fence.c.epoch)).scalar() == 3
    store.close()


def test_a_store_of_the_first_revision_comes_to_the_same_tables_and_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, fresh = tmp_path / "store.db", tmp_path / "fresh.db"
    with monkeypatch.context() as earlier:
        earlier.setattr(migrate, "HEAD", "0001")
        upgrade(path)
    assert current(path) == "0001"
    assert "ledger_entry" not in definitions(path)
    store = SqliteStore(path)
    with store.write() as connection:
        connection.execute(tables.fence.insert().values(tenant="acme", epoch=3))
    for one in (path, fresh):
        upgrade(one)
    assert definitions(path) == definitions(fresh)
    with store.read() as connection:
        assert connection.execute(select(tables.fence.c.epoch)).scalar() == 3
    store.close()


@pytest.mark.long
def test_two_processes_upgrade_one_new_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with upgrading(path) as one, upgrading(path) as other:
        for child in (one, other):
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        ends = [child.communicate(timeout=60) for child in (one, other)]
        assert [child.returncode for child in (one, other)] == [0, 0], ends
    assert current(path) == HEAD


@pytest.mark.long
def test_a_store_that_is_up_to_date_is_opened_without_alembic(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    for expected in ("True\n", "False\n"):
        with upgrading(path) as child:
            assert child.communicate("\n", timeout=60) == (expected, "")


def test_a_store_that_is_up_to_date_is_opened_while_another_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    upgrade(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        upgrade(path)
        assert time.monotonic() - began < 5


def test_a_store_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    upgrade(path)
    set_revision(path, "9999")
    with pytest.raises(Unavailable) as refused:
        upgrade(path)
    assert refused.value.code == "store_newer"
    assert current(path) == "9999"


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE theirs (id INTEGER)")
    with pytest.raises(Unavailable) as refused:
        upgrade(path)
    assert refused.value.code == "store_unavailable"
    assert set(definitions(path)) == {"theirs"}


@pytest.mark.parametrize("revisions", [(), (HEAD, "9999")])
def test_a_store_without_one_revision_is_refused(tmp_path: Path, revisions: tuple[str]) -> None:
    path = tmp_path / "store.db"
    upgrade(path)
    set_revision(path, *revisions)
    with pytest.raises(Unavailable) as refused:
        upgrade(path)
    assert refused.value.code == "store_unavailable"


def test_an_upgrade_that_fails_midway_leaves_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    event.listen(Table, "before_create", stop_at_checkpoint)
    try:
        with pytest.raises(KeyboardInterrupt):
            upgrade(path)
    finally:
        event.remove(Table, "before_create", stop_at_checkpoint)
    assert definitions(path) == {}
    assert current(path) is None
    upgrade(path)
    assert current(path) == HEAD


def test_an_upgrade_speaks_to_nobody_and_leaves_logging_as_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLogger("alembic").level)
    upgrade(tmp_path / "store.db")
    assert (root.level, list(root.handlers), logging.getLogger("alembic").level) == before
    assert capfd.readouterr() == ("", "")


def test_a_path_may_hold_signs_that_mean_something_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "100% a?b#c"
    folder.mkdir()
    upgrade(folder / "store.db")
    assert current(folder / "store.db") == HEAD
    assert (folder / "store.db").is_file()
