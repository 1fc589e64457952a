"""Tenants' databases on Postgres: a database, a schema or rows for each. Not our own store."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

from sqlalchemy import URL, Connection, func, insert, select

from control_plane.data.collection import Collection
from control_plane.data.tables import APPLIED, FENCE
from control_plane.databases.fleet_postgres import PostgresAltering
from control_plane.databases.migration import Migration, MigrationPhase
from control_plane.databases.moving_postgres import PostgresEnd
from control_plane.databases.port import Probe
from control_plane.databases.postgres_direct import require_login
from control_plane.databases.postgres_layout import open_by
from control_plane.databases.postgres_names import Names
from control_plane.databases.postgres_sessions import (
    Entries,
    Login,
    Waits,
    database_named,
    role_named,
)
from control_plane.databases.postgres_worker import Worker
from control_plane.databases.served import serves, serves_rows
from control_plane.domain.handover import Access, Address, Half
from control_plane.domain.isolation import Isolation
from control_plane.errors import Failed, NotFound, Refused

_BUILDING_MS_MAX = 120_000
_LOCKED_MS_MAX = 30_000


@dataclass(frozen=True)
class PostgresDatabases:
    """DatabaseEngine over one Postgres server, 16 or later: the tenants' places of one slot."""

    _names: Names
    _face: Login
    _owner: Login | None
    _makes: Worker | None
    _url: URL

    @classmethod
    def opened(
        cls, *, owner: URL | None, face: URL, prefix: str, statement_ms_max: int
    ) -> PostgresDatabases:
        """The server's first places.

        `owner` is the worker's login (CREATEDB CREATEROLE, no superuser, a member of the face's); a
        face has none, and is told Failed (`not_the_worker`) when it would make, close or remove.
        `face` is the login that enters a tenant's role for one transaction; both know its password.
        All names begin with `prefix`. No statement of a tenant's transaction runs longer than
        `statement_ms_max`, nor waits longer than four fifths of it for another.
        """
        names, entries = Names(prefix), Entries(face)
        waits = Waits(statement_ms_max, statement_ms_max * 4 // 5)
        faces = Login(face, entries, waits, names.shared, takes_role=True)
        if owner is None:
            return cls(names, faces, None, None, face)
        building = Waits(_BUILDING_MS_MAX, min(_LOCKED_MS_MAX, statement_ms_max * 4))
        owners = Login(owner, entries, building, names.shared, takes_role=False)
        worker = Worker(owners, names, entries, str(face.username))
        return cls(names, faces, owners, worker, face)

    def slot(self, number: int) -> PostgresDatabases:
        """The same server and connections, seeing the tenants' places of another slot."""
        names = self._names.slot(number)
        makes = None if self._makes is None else replace(self._makes, names=names)
        return replace(self, _names=names, _makes=makes)

    def create(
        self, tenant: str, model: Isolation, collections: Sequence[Collection], epoch: int
    ) -> None:
        """Make the tenant's database, whole or not at all, open at `epoch`; again: no change."""
        place = self._names.place(tenant, model)
        self._worker().create(place, model, collections, epoch)

    def probe(self, tenant: str, model: Isolation, collections: Sequence[Collection]) -> Probe:
        """Enter as a face does, compare the schema, write and roll back.

        What a kill left half made or half removed `differs`: both are finished by their repetition.
        """
        place = self._names.place(tenant, model)
        proof = {"tenant_id": tenant, "call_id": "probe", "digest": "", "applied_at": func.now()}
        try:
            with self._face.transaction(place, commit=False) as connection:
                if not (serves(connection, collections) and serves_rows(connection, collections)):
                    return "differs"
                if open_by(connection, place, collections) is not None:
                    return "differs"
                connection.execute(insert(APPLIED).values(proof))
        except NotFound:
            return "differs" if self.exists(tenant, model) else "absent"
        except Refused as error:
            # Frozen, it refuses even that: it stands, and is as it was built.
            if error.code != "fenced":
                raise
        return "ready"

    def exists(self, tenant: str, model: Isolation) -> bool:
        """Whether the tenant has a database, or anything of one (pooled: a place in it)."""
        place = self._names.place(tenant, model)
        if model == "pooled":
            try:
                with self._face.reading(place):
                    return True
            except NotFound:
                return False
        if self._face.finds(role_named(place.role)):
            return True
        return model == "silo" and self._face.finds(database_named(place.database))

    def found(self) -> list[tuple[str, Isolation]]:
        """Every tenant that has a place here, by the names of what stands and who is let in."""
        return self._worker().found()

    def drop(self, tenant: str, model: Isolation, epoch: int) -> None:
        """Close the tenant and remove all it has, and nothing of others; again changes nothing."""
        place = self._names.place(tenant, model)
        worker = self._worker()
        if model == "silo":
            self._face.forget(place.database)
        worker.drop(place, model, epoch)

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
        place = self._names.place(tenant, model)
        self._worker().migrate(place, Migration(before, after, phase), epoch)

    def require_fit(
        self,
        tenant: str,
        model: Isolation,
        before: Sequence[Collection],
        after: Sequence[Collection],
    ) -> None:
        """Raise what `contract` would be refused with for rows that stand; changes nothing."""
        place = self._names.place(tenant, model)
        self._worker().require_fit(place, Migration(before, after, "contract"))

    def altering(self, tenant: str, model: Isolation) -> AbstractContextManager[PostgresAltering]:
        """The owner's hand on the tables of the tenant's place."""
        return self._worker().altering(self._names.place(tenant, model))

    def fence(self, tenant: str, model: Isolation, epoch: int, *, open: bool) -> None:
        """Open or close the tenant for writes at `epoch`, which never falls. Raises NotFound.

        Waits for the writers at work; raises Unavailable (`database_busy`) when they take too long.
        """
        self._worker().fence(self._names.place(tenant, model), epoch, is_open=open)

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
        """Let the tenant's services in by that half, under the password. Raises NotFound, Refused."""
        self._worker().grant_direct(self._names.place(tenant, model), half, password, access)

    def limit_direct(
        self, tenant: str, model: Isolation, access: Access, patience_s: float
    ) -> None:
        """Have no session of the tenant's services do more than that here."""
        self._worker().direct.limit(self._names.place(tenant, model), access, patience_s)

    def revoke_direct(self, tenant: str, model: Isolation, half: Half) -> None:
        """Let nobody in by that half; again changes nothing."""
        self._worker().direct.revoke(self._names.place(tenant, model), half)

    def try_direct(self, tenant: str, model: Isolation, half: Half, password: str) -> None:
        """Log in as the tenant's services do, and read. Raises Failed (`credential_refused`)."""
        place, login = self._names.place(tenant, model), self._names.login(tenant, half)
        require_login(self._url.set(username=login, password=password), place)

    def direct_halves(self, tenant: str, model: Isolation) -> dict[Half, Access]:
        """By which halves the tenant's services are let in, and what each may."""
        return self._worker().direct_halves(self._names.place(tenant, model))

    def direct_address(self, tenant: str, model: Isolation, half: Half) -> Address:
        """Where the tenant's services reach it by that half; nothing of it need be there."""
        place = self._names.place(tenant, model)
        at = self._url.query.get("host")
        return Address(
            engine="postgres",
            database=place.database,
            host=self._url.host or (at if isinstance(at, str) else None),
            port=self._url.port or 5432,
            user=self._names.login(tenant, half),
            schema_name=place.schema,
        )

    @contextmanager
    def transaction(self, tenant: str, model: Isolation) -> Generator[Connection]:
        """A write transaction: commits at the end, rolls back on any error. Raises NotFound."""
        with self._face.transaction(self._names.place(tenant, model)) as connection:
            yield connection

    @contextmanager
    def reading(self, tenant: str, model: Isolation) -> Generator[Connection]:
        """A snapshot that cannot write. Raises NotFound."""
        with self._face.reading(self._names.place(tenant, model)) as connection:
            yield connection

    def moving(self, tenant: str, model: Isolation, epoch: int) -> PostgresEnd:
        """The tenant's place as one end of a move, for the run that holds the tenant at `epoch`."""
        place, worker = self._names.place(tenant, model), self._worker()
        return PostgresEnd(place, epoch, worker.owner, lambda: worker.altering(place))

    @contextmanager
    def scratch(
        self, tenant: str, model: Isolation, collections: Sequence[Collection]
    ) -> Generator[Connection]:
        """An empty database of the same schema, for a trial restore: gone at the end."""
        place = self._names.place(tenant, model)
        trial = self._names.trial(tenant)
        with self._worker().trial(place, trial, collections) as connection:
            yield connection

    def close(self) -> None:
        """Close every idle connection."""
        self._face.close()
        if self._owner is not None:
            self._owner.close()

    def _worker(self) -> Worker:
        if self._makes is None:
            raise Failed("Only the worker makes and removes databases.", code="not_the_worker")
        return self._makes
