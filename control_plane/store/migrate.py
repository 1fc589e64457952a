"""Brings a store to this version's tables. Not the tables' meaning, and no way back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection, column, inspect, select, table

from control_plane.errors import Unavailable
from control_plane.ports import Store
from control_plane.store.sqlite import SqliteStore

HEAD: Final = "0012"
"""The newest revision that this version knows; a test holds it against the migrations."""

MIGRATIONS: Final = Path(__file__).parent / "migrations"

_VERSION_TABLE: Final = "alembic_version"
_VERSIONS: Final = table(_VERSION_TABLE, column("version_num"))
# Longer than a transaction's: a second process waits for the first one's whole upgrade.
_BUSY_TIMEOUT_MS: Final = 30_000
# Shorter than a transaction's: who waits for a table's lock makes every reader wait behind it.
_TABLE_LOCK_MS: Final = 1000
_STATEMENT_MS: Final = 600_000
_TRIES_MAX: Final = 20
_PAUSE_S: Final = 0.5

Entitle = Callable[[Connection], None]


def upgrade(path: Path) -> None:
    """Bring a store file to the newest revision, in one transaction; nothing when it is there.

    Raises Unavailable: `store_newer` when a later Paybill has written it, `store_unavailable` when
    it is no store of Paybill, `store_locked` when another process holds it for over 30 s.
    """
    store = SqliteStore(path, busy_timeout_ms=_BUSY_TIMEOUT_MS)
    try:
        _upgrade(store, _nobody)
    finally:
        store.close()


def upgrade_postgres(url: URL, *, schema: str = "paybill", entitle: Entitle | None = None) -> None:
    """The same for a schema of a Postgres database, by the login that owns it; readers go on.

    `entitle` gives the other logins their rights, in the same transaction. One process upgrades,
    others wait; a lock that is not to be had is let go and asked for again. Errors as `upgrade`.
    """
    # A workspace on SQLite never needs the driver.
    from control_plane.store.postgres import PostgresStore

    store = PostgresStore(
        url, schema=schema, lock_ms_max=_TABLE_LOCK_MS, statement_ms_max=_STATEMENT_MS
    )
    try:
        for tries in range(1, _TRIES_MAX + 1):
            try:
                return _upgrade(store, entitle or _nobody)
            except Unavailable as error:
                if error.code != "store_locked" or tries == _TRIES_MAX:
                    raise
            time.sleep(_PAUSE_S)
    finally:
        store.close()


def current(path: Path) -> str | None:
    """The revision that a store file stands at; None when it has none. Errors as `upgrade`."""
    store = SqliteStore(path)
    try:
        return revision(store)
    finally:
        store.close()


def revision(store: Store) -> str | None:
    """The revision that an open store stands at; None when it has none. Errors as `upgrade`."""
    with store.read() as connection:
        return _revision(connection)


def await_head(store: Store, deadline_s: float) -> None:
    """Wait until who owns the tables has brought them to this version's: a face may not itself.

    Raises Unavailable: `store_newer`, or `store_older` when nobody has by the deadline.
    """
    end_s = time.monotonic() + deadline_s
    while True:
        present = revision(store)
        if present == HEAD:
            return
        if present is not None and present > HEAD:
            raise Unavailable("The store was written by a newer Paybill.", code="store_newer")
        if time.monotonic() >= end_s:
            raise Unavailable(
                "The store is an older Paybill's: its worker brings it up to date.",
                code="store_older",
            )
        time.sleep(_PAUSE_S)


def _nobody(_: Connection) -> None:
    """There is one login only."""


def _upgrade(store: Store, entitle: Entitle) -> None:
    # First without the write lock, so that a face starts while another process writes.
    if revision(store) == HEAD:
        return
    with store.write() as connection:
        present = _revision(connection)
        if present != HEAD:
            _run(connection, present)
            entitle(connection)


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
