"""Brings a SQLite store file to this version's tables. Not the tables' meaning, and no way back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, column, inspect, select, table

from control_plane.errors import Unavailable
from control_plane.store.sqlite import SqliteStore

HEAD: Final = "0001"
"""The newest revision that this version knows; a test holds it against the migrations."""

MIGRATIONS: Final = Path(__file__).parent / "migrations"

_VERSION_TABLE: Final = "alembic_version"
_VERSIONS: Final = table(_VERSION_TABLE, column("version_num"))
# Longer than a transaction's: a second process waits for the first one's whole upgrade.
_BUSY_TIMEOUT_MS: Final = 30_000


def upgrade(path: Path) -> None:
    """Bring a store file to the newest revision, in one transaction; nothing when it is there.

    Raises Unavailable: `store_newer` when a later Paybill has written it, `store_unavailable` when
    it is no store of Paybill, `store_locked` when another process holds it for over 30 s.
    """
    store = SqliteStore(path, busy_timeout_ms=_BUSY_TIMEOUT_MS)
    try:
        # First without the write lock, so that a face starts while another process writes.
        with store.read() as connection:
            if _revision(connection) == HEAD:
                return
        with store.write() as connection:
            present = _revision(connection)
            if present != HEAD:
                _run(connection, present)
    finally:
        store.close()


def current(path: Path) -> str | None:
    """The revision that a store file stands at; None when it has none. Errors as `upgrade`."""
    store = SqliteStore(path)
    try:
        with store.read() as connection:
            return _revision(connection)
    finally:
        store.close()


def _revision(connection: Connection) -> str | None:
    present = inspect(connection).get_table_names()
    if _VERSION_TABLE not in present:
        if present:
            raise Unavailable("The file is no store of Paybill.", code="store_unavailable")
        return None
    found: Sequence[str] = connection.execute(select(_VERSIONS.c.version_num)).scalars().all()
    if len(found) != 1:
        raise Unavailable("The store has no single revision.", code="store_unavailable")
    return found[0]


def _run(connection: Connection, present: str | None) -> None:
    # Alembic costs a start-up that has nothing to do more than the rest of this module.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    # A percent sign in a path would start an interpolation.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if present is not None and present not in known:
        raise Unavailable("The store was written by a newer Paybill.", code="store_newer")
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
