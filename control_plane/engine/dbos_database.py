"""Where DBOS keeps its rows: a SQLite file, or a schema of its own in Postgres. Not the engine.

On Postgres the schema belongs to the login that opens it, and to nobody else: whoever may write
DBOS's rows could speak to the worker. A column that says how a value is to be read takes our own
label only.
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import Any, Final, TypeAlias

import psycopg
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.schema import AddConstraint

from control_plane.engine.dbos_codec import LABEL
from control_plane.errors import Unavailable

SCHEMA: Final = "paybill_engine"
Place: TypeAlias = Path | sa.URL

_CHECK: Final = "paybill_label"
_LABEL_COLUMN: Final = "serialization"
_POOL_WAIT_S = 30
_RECYCLE_S = 1800
_LOCK_MS_MAX = 10_000
_IDLE_IN_TRANSACTION_MS_MAX = 60_000
# A statement of DBOS reads or writes a few hundred rows; a migration builds indexes over them.
_STATEMENT_MS_MAX = 60_000
_CONNECT_S_MAX = 5

_OWNER = sa.text(
    "SELECT pg_get_userbyid(nspowner) = current_user FROM pg_namespace WHERE nspname = :schema"
)
_GUESTS = sa.text(
    "SELECT count(*) FROM pg_namespace,"
    " aclexplode(coalesce(nspacl, acldefault('n', nspowner))) AS entry"
    " WHERE nspname = :schema AND entry.grantee <> nspowner"
)

_log = logging.getLogger(__name__)


def open_database(place: Place, *, busy_ms: int, connections: int) -> sa.Engine:
    """A bounded pool over `place`; nothing is made there but SQLite's file (mode 0600).

    Raises Unavailable, or the driver's errors.
    """
    if isinstance(place, Path):
        return _open_file(place, busy_ms, connections)
    return _open_server(place, connections)


def prepare_database(sql: sa.Engine) -> None:
    """Make or mend DBOS's tables, and what guards them.

    Unavailable: another login owns the schema, or has been let into it.
    """
    from dbos import DBOS  # it takes a second

    on_server = sql.dialect.name == "postgresql"
    if on_server:
        _require_ours(sql, absent_is_fine=True)
    DBOS.migrate(sql.url.render_as_string(hide_password=False), schema=SCHEMA)
    if on_server:
        _require_ours(sql, absent_is_fine=False)
        _guard_labels(sql)


def _open_file(path: Path, busy_ms: int, connections: int) -> sa.Engine:
    """Make DBOS's engine as DBOS makes its own, with WAL, which it never sets, set first."""
    path.touch(mode=0o600)
    setup = sqlite3.connect(path, timeout=busy_ms / 1000)
    try:
        (mode,) = setup.execute("PRAGMA journal_mode=WAL").fetchone()
    finally:
        setup.close()
    if mode != "wal":
        raise Unavailable("the job engine's file cannot be opened with a write-ahead log")
    sql = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        hide_parameters=True,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_POOL_WAIT_S,
    )

    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = "IMMEDIATE"
        # A PRAGMA takes no bound parameter; this one is an integer of ours.
        connection.execute(f"PRAGMA busy_timeout={int(busy_ms)}")
        connection.execute("PRAGMA foreign_keys=ON")

    event.listen(sql, "connect", prepare)
    return sql


def _open_server(url: sa.URL, connections: int) -> sa.Engine:
    settings = {
        "statement_timeout": _STATEMENT_MS_MAX,
        "lock_timeout": _LOCK_MS_MAX,
        "idle_in_transaction_session_timeout": _IDLE_IN_TRANSACTION_MS_MAX,
        # A claim that a crash of the server forgets is a job that is called twice.
        "synchronous_commit": "on",
        # Nothing of anybody else's is found by its bare name.
        "search_path": "pg_catalog",
    }
    sql = sa.create_engine(
        url,
        hide_parameters=True,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_POOL_WAIT_S,
        pool_pre_ping=True,
        pool_recycle=_RECYCLE_S,
        connect_args={
            "application_name": "paybill-engine",
            "connect_timeout": _CONNECT_S_MAX,
            "keepalives": 1,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        },
    )
    event.listen(sql, "do_connect", _connect)
    return sql


def _connect(dialect: sa.Dialect, _: object, args: Any, named: Any) -> Any:
    """Name every failure to connect as such: DBOS would know some by their text, and give up."""
    try:
        return dialect.connect(*args, **named)
    except psycopg.OperationalError:
        raise psycopg.errors.ConnectionFailure("no connection to the database") from None


def _require_ours(sql: sa.Engine, *, absent_is_fine: bool) -> None:
    with sql.connect() as connection:
        ours = connection.execute(_OWNER, {"schema": SCHEMA}).scalar_one_or_none()
        guests = connection.execute(_GUESTS, {"schema": SCHEMA}).scalar_one()
    if ours is None and absent_is_fine:
        return
    if not ours or guests:
        raise Unavailable(
            "the job engine's schema is not this login's alone", code="engine_schema_shared"
        )


def _guard_labels(sql: sa.Engine) -> None:
    """Let the database itself refuse every label but ours; rows with another one are removed.

    A job that is lost so is made again: its run stands in the store.
    """
    inspector = sa.inspect(sql)
    labeled = [
        name
        for name in inspector.get_table_names(schema=SCHEMA)
        if any(c["name"] == _LABEL_COLUMN for c in inspector.get_columns(name, schema=SCHEMA))
    ]
    if not labeled:
        raise Unavailable("the job engine's library has changed: its labels cannot be guarded")
    for name in labeled:
        checks = inspector.get_check_constraints(name, schema=SCHEMA)
        if any(check["name"] == _CHECK for check in checks):
            continue
        table = sa.Table(name, sa.MetaData(), sa.Column(_LABEL_COLUMN, sa.Text), schema=SCHEMA)
        label = table.c[_LABEL_COLUMN]
        ours = sa.CheckConstraint(label.is_(None) | (label == LABEL), name=_CHECK)
        table.append_constraint(ours)
        with sql.begin() as connection:
            removed = connection.execute(table.delete().where(label != LABEL)).rowcount
            connection.execute(AddConstraint(ours))
        if removed:
            _log.warning("%d rows of the job engine bore a foreign label", removed)
