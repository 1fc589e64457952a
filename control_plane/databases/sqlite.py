"""Tenants' databases on SQLite: a file for one (silo, bridge) or all (pooled). Not our store."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Connection, Engine, RootTransaction, insert, select, update
from sqlalchemy.exc import DBAPIError

from control_plane.data.collection import Collection
from control_plane.data.record_count import discount_tables
from control_plane.data.tables import FENCE, SCHEMA, SCHEMA_VERSION, schema_digest, tenant_metadata
from control_plane.databases import reference
from control_plane.databases.connections import READING, REBUILDING, open_engine
from control_plane.databases.faults import fault, leaves_nothing
from control_plane.databases.fencing import admit, advance, fence_epoch, is_deserted, set_fence
from control_plane.databases.files import DatabaseFiles, Place
from control_plane.databases.fleet_sqlite import SqliteAltering
from control_plane.databases.found import ANY, by_fence, by_files
from control_plane.databases.migration import (
    Migration,
    MigrationPhase,
    require_all_fit,
    rows_that_stand,
)
from control_plane.databases.moving_sqlite import SqliteEnd
from control_plane.databases.port import Probe
from control_plane.databases.rebuild import rebuild, renew
from control_plane.databases.removal import remove_tenant
from control_plane.databases.served import (
    is_made_of,
    record,
    served,
    serves,
    serves_rows,
    tables_there,
)
from control_plane.domain.handover import Access, Address, Half
from control_plane.domain.isolation import Isolation
from control_plane.errors import NotFound, Refused, Unavailable, Unknown

_ENGINES_MAX = 256


class SqliteDatabases:
    """DatabaseEngine over files under `root`; no statement waits longer than `busy_timeout_ms`.

    It sees the tenants' places of one slot.
    """

    def __init__(self, root: Path, busy_timeout_ms: int, slot: int = 0) -> None:
        self._root = root
        self._slot = slot
        self._files = DatabaseFiles(root, busy_timeout_ms, slot)
        self._busy_timeout_ms = busy_timeout_ms
        self._engine = lru_cache(maxsize=_ENGINES_MAX)(self._open)

    def slot(self, number: int) -> SqliteDatabases:
        """The same server, seeing the tenants' places of another slot."""
        return SqliteDatabases(self._root, self._busy_timeout_ms, number)

    def close(self) -> None:
        """Let go of every file."""
        self._engine.cache_clear()

    def create(
        self, tenant: str, model: Isolation, collections: Sequence[Collection], epoch: int
    ) -> None:
        """Make the tenant's database, whole or not at all, open at `epoch`; again: no change."""
        place = self._files.place(tenant, model)
        with self._files.changing():
            alone = self._make_room(place, collections) and self._files.is_alone(place)
            reference.refresh(self._files, place.reference, collections, alone=alone)
            if not place.rows.exists():
                self._files.build(
                    place.rows, lambda path: self._fill(replace(place, rows=path), collections)
                )
            # A file without its fence row is a place that no write gets into: still whole.
            with self._written(place) as connection:
                admit(connection, tenant, epoch)

    def probe(self, tenant: str, model: Isolation, collections: Sequence[Collection]) -> Probe:
        """Connect, compare the schema, write and roll back."""
        place = self._files.place(tenant, model)
        try:
            with self._written(place, commit=False) as connection:
                if fence_epoch(connection, tenant) is None:
                    return "absent"
                if not (serves(connection, collections) and serves_rows(connection, collections)):
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
        place = self._files.place(tenant, model)
        if model != "pooled":
            return place.rows.exists()
        try:
            with self._read(place) as connection:
                return fence_epoch(connection, tenant) is not None
        except NotFound:
            return False

    def found(self) -> list[tuple[str, Isolation]]:
        """Every tenant that has a place here, by its file or by what the shared one says."""
        listed = [*by_files(self._root, self._slot)]
        # Any tenant's name leads to the file that all of them share.
        with suppress(NotFound), self._read(self._files.place(ANY, "pooled")) as connection:
            listed += by_fence(connection)
        return sorted(listed)

    def drop(self, tenant: str, model: Isolation, epoch: int) -> None:
        """Close the tenant and remove all it has, and nothing of others; again changes nothing."""
        place = self._files.place(tenant, model)
        with self._files.changing():
            known = self._shut(place, tenant, epoch)
            if model == "silo":
                self._files.remove(place.reference)
            if model != "pooled":
                self._files.remove(place.rows)
            elif known:
                # Frozen rows could not be removed.
                self.moving(tenant, model, epoch).release()
                remove_tenant(lambda: self._written(place), tenant)

    def migrate(
        self,
        tenant: str,
        model: Isolation,
        before: Sequence[Collection],
        after: Sequence[Collection],
        phase: MigrationPhase,
        epoch: int,
    ) -> None:
        """Make one phase of a change of declarations, whole or not at all; again: no change."""
        place = self._files.place(tenant, model)
        migration = Migration(before, after, phase)
        if not place.rows.exists():
            raise NotFound
        with self._files.changing():
            with rows_that_stand(), self._written(place, rebuilding=True) as connection:
                advance(connection, tenant, epoch)
                said = served(connection)
                if migration.is_due(said):
                    require_all_fit(connection, migration)
                    discount_tables(connection, migration.tables_gone())
                    rebuild(connection, migration.source(), migration.target())
                    record(connection, migration.outcome)
            if not migration.is_past(said):
                # Last: a kill before it leaves what the repetition finishes.
                digests = migration.reference_digests()
                reference.settle(self._files, place.reference, migration.collections(), digests)

    def require_fit(
        self,
        tenant: str,
        model: Isolation,
        before: Sequence[Collection],
        after: Sequence[Collection],
    ) -> None:
        """Raise what `contract` would be refused with for rows that stand; changes nothing."""
        migration = Migration(before, after, "contract")
        with self.reading(tenant, model) as connection:
            if fence_epoch(connection, tenant) is None:
                raise NotFound
            if migration.is_due(served(connection)):
                require_all_fit(connection, migration)

    @contextmanager
    def altering(self, tenant: str, model: Isolation) -> Generator[SqliteAltering]:
        """The hand on the tenant's file; each of its transactions excludes every other writer."""
        place = self._files.place(tenant, model)
        if not place.rows.exists():
            raise NotFound
        yield SqliteAltering(
            lambda lock_ms: self._written(
                place, engine=open_engine(place.rows, lock_ms, place.reference)
            )
        )

    def fence(self, tenant: str, model: Isolation, epoch: int, *, open: bool) -> None:
        """Open or close the tenant for writes at `epoch`, which never falls. Raises NotFound."""
        with self.transaction(tenant, model) as connection:
            set_fence(connection, tenant, epoch, is_open=open)

    def open_at(self, tenant: str, model: Isolation) -> int | None:
        """The epoch at which the tenant stands open for writes; None while closed or absent."""
        opened = select(FENCE.c.epoch).where(FENCE.c.tenant_id == tenant, FENCE.c.open)
        try:
            with self.reading(tenant, model) as connection:
                return connection.execute(opened).scalar_one_or_none()
        except NotFound:
            return None

    def grant_direct(
        self, tenant: str, model: Isolation, half: Half, password: str, access: Access
    ) -> None:
        """Nothing: who may open the file may do anything in it, and a file has no logins."""

    def limit_direct(
        self, tenant: str, model: Isolation, access: Access, patience_s: float
    ) -> None:
        """Nothing: a file tells its writers apart by nothing, and our own are shut out by the fence.

        Services are told what they may; only the rights of the folder hold them to it.
        """

    def revoke_direct(self, tenant: str, model: Isolation, half: Half) -> None:
        """Nothing: there was nothing to log in to."""

    def try_direct(self, tenant: str, model: Isolation, half: Half, password: str) -> None:
        """Nothing: there is nothing to log in to."""

    def direct_halves(self, tenant: str, model: Isolation) -> dict[Half, Access]:
        """None: a file has no logins."""
        return {}

    def direct_address(self, tenant: str, model: Isolation, half: Half) -> Address:
        """The path of the file; nothing of it need be there."""
        return Address(engine="sqlite", database=str(self._files.place(tenant, model).rows))

    @contextmanager
    def transaction(self, tenant: str, model: Isolation) -> Generator[Connection]:
        """A write transaction: commits at the end, rolls back on any error. Raises NotFound."""
        with self._written(self._files.place(tenant, model)) as connection:
            yield connection

    @contextmanager
    def reading(self, tenant: str, model: Isolation) -> Generator[Connection]:
        """A snapshot that cannot write. Raises NotFound."""
        with self._read(self._files.place(tenant, model)) as connection:
            yield connection

    def moving(self, tenant: str, model: Isolation, epoch: int) -> SqliteEnd:
        """The tenant's place as one end of a move, for the run that holds the tenant at `epoch`."""
        place = self._files.place(tenant, model)
        return SqliteEnd(
            tenant,
            epoch,
            written=lambda: self._written(place),
            read=lambda: self._read(place),
        )

    @contextmanager
    def scratch(
        self, tenant: str, model: Isolation, collections: Sequence[Collection]
    ) -> Generator[Connection]:
        """An empty database of the same kind and schema, for a trial restore: gone at the end."""
        place = self._files.place(tenant, model)
        with self._files.trial(tenant) as path:
            path.touch(mode=0o600, exist_ok=False)
            trial = replace(place, rows=path)
            self._fill(trial, collections)
            # The file goes anyway, so nothing that it holds need be committed.
            with self._written(trial, commit=False) as connection:
                yield connection

    def _shut(self, place: Place, tenant: str, epoch: int) -> bool:
        """Close the tenant, if it is there: who has the file open must not write any more."""
        try:
            with self._written(place) as connection:
                known = fence_epoch(connection, tenant) is not None
                if known:
                    set_fence(connection, tenant, epoch, is_open=False)
        except NotFound:
            return False
        return known

    def _open(self, place: Place) -> Engine:
        return open_engine(place.rows, self._busy_timeout_ms, place.reference)

    def _make_room(self, place: Place, collections: Sequence[Collection]) -> bool:
        """See that what is there was made of the collections; True where nobody is in it.

        Then it is made anew where it was made of others. Raises Refused (`schema_differs`).
        """
        if not place.rows.exists():
            return True
        with self._written(place, rebuilding=True) as connection:
            deserted = FENCE.name in tables_there(connection) and is_deserted(connection)
            if deserted and not is_made_of(connection, collections):
                _make_tables(connection, collections)
            if not serves(connection, collections):
                raise Refused(
                    "The database was made of other collections.",
                    code="schema_differs",
                    rule="collections",
                )
        return deserted

    def _fill(self, place: Place, collections: Sequence[Collection]) -> None:
        with self._written(place) as connection:
            _make_tables(connection, collections)

    @contextmanager
    def _written(
        self,
        place: Place,
        *,
        commit: bool = True,
        rebuilding: bool = False,
        engine: Engine | None = None,
    ) -> Generator[Connection]:
        with _connected(engine or self._engine(place), place.rows) as plain:
            connection = plain.execution_options(**{REBUILDING: rebuilding})
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
    def _read(self, place: Place) -> Generator[Connection]:
        with (
            _connected(self._engine(place), place.rows) as connection,
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


def _make_tables(connection: Connection, collections: Sequence[Collection]) -> None:
    renew(connection, tenant_metadata(collections))
    made = insert(SCHEMA).values(version=SCHEMA_VERSION, digest=schema_digest(collections))
    connection.execute(made)
