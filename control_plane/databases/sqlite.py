"""Tenants' databases on SQLite: a file for one (silo, bridge) or all (pooled). Not our store."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Connection, Engine, RootTransaction, insert, inspect, select, update
from sqlalchemy.exc import DBAPIError

from control_plane.data.collection import Collection
from control_plane.data.tables import FENCE, SCHEMA, SCHEMA_VERSION, schema_digest, tenant_metadata
from control_plane.databases.connections import READING, open_engine
from control_plane.databases.faults import fault, leaves_nothing
from control_plane.databases.files import DatabaseFiles
from control_plane.databases.port import Probe
from control_plane.databases.removal import remove_tenant
from control_plane.domain.isolation import Isolation
from control_plane.errors import NotFound, Refused, Unavailable, Unknown

_ENGINES_MAX = 256


class SqliteDatabases:
    """DatabaseEngine over files under `root`; no statement waits longer than `busy_timeout_ms`."""

    def __init__(self, root: Path, busy_timeout_ms: int) -> None:
        self._files = DatabaseFiles(root, busy_timeout_ms)
        self._busy_timeout_ms = busy_timeout_ms
        self._engine = lru_cache(maxsize=_ENGINES_MAX)(self._open)

    def create(
        self, tenant: str, model: Isolation, collections: Sequence[Collection], epoch: int
    ) -> None:
        """Make the tenant's database, whole or not at all, open at `epoch`; again: no change."""
        path = self._files.path(tenant, model)
        with self._files.changing():
            if not path.exists():
                self._files.build(path, lambda unfinished: self._fill(unfinished, collections))
            # A file without its fence row is a place that no write gets into: still whole.
            with self._written(path) as connection:
                _require_schema(connection, collections)
                _admit(connection, tenant, epoch)

    def probe(self, tenant: str, model: Isolation, collections: Sequence[Collection]) -> Probe:
        """Connect, compare the schema, write and roll back."""
        path = self._files.path(tenant, model)
        try:
            with self._written(path, commit=False) as connection:
                if _epoch(connection, tenant) is None:
                    return "absent"
                if not _schema_is(connection, collections):
                    return "differs"
                connection.execute(
                    update(FENCE).where(FENCE.c.tenant_id == tenant).values(epoch=FENCE.c.epoch)
                )
        except NotFound:
            return "absent"
        except Unavailable as error:
            if error.code == "database_unreadable":
                return "differs"
            raise
        return "ready"

    def exists(self, tenant: str, model: Isolation) -> bool:
        """Whether the tenant has a database (pooled: a place in it)."""
        path = self._files.path(tenant, model)
        if model != "pooled":
            return path.exists()
        try:
            with self._read(path) as connection:
                return _epoch(connection, tenant) is not None
        except NotFound:
            return False

    def drop(self, tenant: str, model: Isolation, epoch: int) -> None:
        """Close the tenant and remove all it has, and nothing of others; again changes nothing."""
        path = self._files.path(tenant, model)
        with self._files.changing():
            try:
                with self._written(path) as connection:
                    known = _epoch(connection, tenant) is not None
                    if known:
                        # Whoever still has the file open must not write into it any more.
                        _set_fence(connection, tenant, epoch, is_open=False)
            except NotFound:
                return
            if model != "pooled":
                self._files.remove(path)
            elif known:
                remove_tenant(lambda: self._written(path), tenant)

    def fence(self, tenant: str, model: Isolation, epoch: int, *, open: bool) -> None:
        """Open or close the tenant for writes at `epoch`, which never falls. Raises NotFound."""
        with self.transaction(tenant, model) as connection:
            _set_fence(connection, tenant, epoch, is_open=open)

    @contextmanager
    def transaction(self, tenant: str, model: Isolation) -> Generator[Connection]:
        """A write transaction: commits at the end, rolls back on any error. Raises NotFound."""
        with self._written(self._files.path(tenant, model)) as connection:
            yield connection

    @contextmanager
    def reading(self, tenant: str, model: Isolation) -> Generator[Connection]:
        """A snapshot that cannot write. Raises NotFound."""
        with self._read(self._files.path(tenant, model)) as connection:
            yield connection

    def _open(self, path: Path) -> Engine:
        return open_engine(path, self._busy_timeout_ms)

    def _fill(self, path: Path, collections: Sequence[Collection]) -> None:
        with self._written(path) as connection:
            tenant_metadata(collections).create_all(connection)
            connection.execute(
                insert(SCHEMA).values(version=SCHEMA_VERSION, digest=schema_digest(collections))
            )

    @contextmanager
    def _written(self, path: Path, *, commit: bool = True) -> Generator[Connection]:
        with _connected(self._engine(path), path) as connection:
            with _translated():
                transaction = connection.begin()
            try:
                with _translated():
                    yield connection
            except BaseException:
                _roll_back(transaction)
                raise
            if commit:
                _commit(transaction)
            else:
                _roll_back(transaction)

    @contextmanager
    def _read(self, path: Path) -> Generator[Connection]:
        with (
            _connected(self._engine(path), path) as connection,
            _translated(),
            connection.execution_options(**{READING: True}).begin(),
        ):
            yield connection


@contextmanager
def _connected(engine: Engine, path: Path) -> Generator[Connection]:
    if not path.exists():
        raise NotFound
    try:
        with _translated():
            connection = engine.connect()
    except Unavailable:
        if path.exists():
            raise
        raise NotFound from None  # dropped between the look and the opening
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except DBAPIError as error:
        raise fault(error) from error


def _commit(transaction: RootTransaction) -> None:
    try:
        transaction.commit()
    except DBAPIError as error:
        _roll_back(transaction)
        known = fault(error)
        if leaves_nothing(error):
            raise known from error
        raise Unknown(
            "The database did not say whether it committed.", code="commit_unknown"
        ) from error


def _roll_back(transaction: RootTransaction) -> None:
    # SQLite has rolled back by itself after some errors, and then says that there is nothing to do.
    with suppress(DBAPIError):
        transaction.rollback()


def _epoch(connection: Connection, tenant: str) -> int | None:
    return connection.execute(
        select(FENCE.c.epoch).where(FENCE.c.tenant_id == tenant)
    ).scalar_one_or_none()


def _set_fence(connection: Connection, tenant: str, epoch: int, *, is_open: bool) -> None:
    known = _epoch(connection, tenant)
    if known is None:
        raise NotFound
    if epoch < known:
        raise Refused("A later run holds the tenant.", code="fenced", rule="epoch")
    connection.execute(
        update(FENCE).where(FENCE.c.tenant_id == tenant).values(epoch=epoch, open=is_open)
    )


def _admit(connection: Connection, tenant: str, epoch: int) -> None:
    known = _epoch(connection, tenant)
    if known is None:
        connection.execute(insert(FENCE).values(tenant_id=tenant, epoch=epoch, open=True))
    elif known != epoch:
        _set_fence(connection, tenant, epoch, is_open=True)


def _require_schema(connection: Connection, collections: Sequence[Collection]) -> None:
    if not _schema_is(connection, collections):
        raise Refused(
            "The database was made of other collections.", code="schema_differs", rule="collections"
        )


def _schema_is(connection: Connection, collections: Sequence[Collection]) -> bool:
    """Whether the recorded digest is that of the collections, and the tables are really there."""
    inspector = inspect(connection)
    expected = tenant_metadata(collections).tables
    if not set(expected) <= set(inspector.get_table_names()):
        return False
    recorded = connection.execute(
        select(SCHEMA.c.digest).where(SCHEMA.c.version == SCHEMA_VERSION)
    ).scalar_one_or_none()
    return recorded == schema_digest(collections) and all(
        {column["name"] for column in inspector.get_columns(name)} == set(table.c.keys())
        for name, table in expected.items()
    )
