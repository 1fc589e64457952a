"""What only the worker does on Postgres: it makes, closes and removes places. Not a tenant's rows."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property

from sqlalchemy import Connection, func, inspect, select

from control_plane.data.collection import Collection
from control_plane.data.tables import tenant_metadata
from control_plane.databases.fencing import admit, fence_epoch, set_fence
from control_plane.databases.fleet_postgres import PostgresAltering
from control_plane.databases.found import ANY, Standing, before_tenant, by_names
from control_plane.databases.migration import Migration, rows_that_stand
from control_plane.databases.moving_postgres import PostgresEnd
from control_plane.databases.postgres_direct import Direct
from control_plane.databases.postgres_layout import (
    admit_entry,
    build_guard,
    build_place,
    build_reference,
    remove_deserted,
    remove_entry,
    require_closed,
    say,
    tenants_of,
)
from control_plane.databases.postgres_migration import migrate_place, require_place_fits
from control_plane.databases.postgres_names import Names, Place
from control_plane.databases.postgres_server import Server, databases_like
from control_plane.databases.postgres_sessions import Entries, Login, role_named
from control_plane.databases.removal import remove_tenant
from control_plane.databases.served import serves
from control_plane.domain.handover import Access, Half
from control_plane.domain.isolation import Isolation
from control_plane.errors import NotFound, Refused, Unavailable


@dataclass(frozen=True)
class Worker:
    """The owner's work. Every part of it may be cut off by a kill, and is finished by the next."""

    owner: Login
    names: Names
    entries: Entries
    face: str

    @cached_property
    def _server(self) -> Server:
        return Server(self.owner, self.face)

    def create(
        self, place: Place, model: Isolation, collections: Sequence[Collection], epoch: int
    ) -> None:
        """Build the tenant's place and open it at `epoch`; what stands already stays.

        Unless nobody is left in it: then it is what it would be if it had never been.
        """
        with self._changing(place) as statements:
            self._make_surroundings(statements, place)
            with self.owner.transaction(place, is_standing=False) as connection:
                roles = self._readers(place)
                build_guard(connection, roles)
                if model == "bridge":
                    self._make_bridge_role(connection, place.role)
                remove_deserted(connection, place, collections)
                build_reference(connection, roles, collections)
                build_place(connection, place, collections)
                if not serves(connection, collections):
                    raise Refused(
                        "The database was made of other collections.",
                        code="schema_differs",
                        rule="collections",
                    )
                require_closed(connection, place, collections)
                # Without its entry nobody gets into a place: it is what makes it whole.
                admit_entry(connection, place, self.entries.token(place))
                admit(connection, place.tenant, epoch)

    def migrate(self, place: Place, migration: Migration, epoch: int) -> None:
        """Make a phase of a change, in one transaction; what it waits for is bounded."""
        with (
            rows_that_stand(),
            self._changing(place),
            self.owner.transaction(place) as connection,
        ):
            migrate_place(connection, place, self._readers(place), migration, epoch)

    @contextmanager
    def altering(self, place: Place) -> Generator[PostgresAltering]:
        """The place's tables for a migration, while nobody else makes a change of them."""
        # Who changes declarations holds both: where tables are one tenant's own, one is enough.
        lock = self.names.shared if place.is_pooled else _lock_name(place)
        with self._server.changing(lock):
            yield PostgresAltering(self.owner, place)

    def require_fit(self, place: Place, migration: Migration) -> None:
        """Look whether a phase can be made, while nobody else makes one."""
        with self._changing(place), self.owner.reading(place) as connection:
            require_place_fits(
                connection, place, migration, lambda other: self.owner.enter(connection, other)
            )

    @property
    def direct(self) -> Direct:
        """The hand on the logins of tenants' services."""
        return Direct(self.owner, self._server, self.names)

    def grant_direct(self, place: Place, half: Half, password: str, access: Access) -> None:
        """Let a login of the tenant's services into the place, which is brought to the shape for it."""
        with self._changing(place):
            self.direct.grant(place, half, password, access, self._readers(place))

    def direct_halves(self, place: Place) -> dict[Half, Access]:
        """By which halves services are let into the place, and what each may there."""
        with self.owner.statements() as connection:
            return self.direct.halves(connection, place)

    def fence(self, place: Place, epoch: int, *, is_open: bool) -> None:
        """Open or close the tenant; who writes is waited for, who would write waits."""
        with self.owner.transaction(place) as connection:
            _hold_alone(connection, place)
            set_fence(connection, place.tenant, epoch, is_open=is_open)

    def found(self) -> list[Standing]:
        """Every tenant that has a place here: databases and schemas by name, rows by who is let in."""
        silo, bridge = self.names.place(ANY, "silo"), self.names.place(ANY, "bridge")
        pooled = self.names.place(ANY, "pooled")
        with self.owner.statements() as connection:
            databases = databases_like(connection, before_tenant(silo.database))
        listed: list[Standing] = [*by_names(databases, before_tenant(silo.database), "silo")]
        with suppress(NotFound), self.owner.statements(self.names.shared) as connection:
            schemas = inspect(connection).get_schema_names()
            listed += by_names(schemas, before_tenant(bridge.schema), "bridge")
            listed.extend((tenant, "pooled") for tenant in tenants_of(connection, pooled))
        return sorted(listed)

    def drop(self, place: Place, model: Isolation, epoch: int) -> None:
        """Close the tenant and remove all it has."""
        with self._server.changing(_lock_name(place)) as statements:
            # What was never whole has no fence, and nobody who could be writing.
            with suppress(NotFound):
                self._shut(place, epoch)
            if place.is_shared:
                # What it was moved by would stand in the way, and be left beside others' rows.
                PostgresEnd(place, epoch, self.owner).release()
            self.direct.remove(place)
            if model == "silo":
                self._server.remove_database(statements, place.database)
                self.direct.remove_groups(statements, place)
                self._server.disown(statements, place.role)
                self._server.remove_role(statements, place.role)
            elif model == "bridge":
                self._server.disown(statements, place.role)
                self._remove_schema(place)
            else:
                self._remove_rows(place)

    @contextmanager
    def trial(
        self, place: Place, database: str, collections: Sequence[Collection]
    ) -> Generator[Connection]:
        """A database that only the owner enters, with the tables and no row; removed at the end."""
        self._sweep_trials()
        with self._server.changing(database) as statements:
            self._server.remove_database(statements, database)
            self._server.make_trial(statements, database)
            try:
                with self.owner.transaction(
                    _trial_of(place, database), commit=False, is_standing=False
                ) as connection:
                    say(connection, "CREATE SCHEMA {schema}", schema=place.schema)
                    build_reference(connection, [], collections)
                    tenant_metadata(collections).create_all(connection, checkfirst=False)
                    yield connection
            finally:
                self._server.remove_database(statements, database)

    @contextmanager
    def _changing(self, place: Place) -> Generator[Connection]:
        with ExitStack() as held:
            if place.is_shared:
                # The declared rows lie beside all these tenants' places, and tables may be theirs.
                held.enter_context(self._server.changing(self.names.shared))
            yield held.enter_context(self._server.changing(_lock_name(place)))

    def _readers(self, place: Place) -> list[str]:
        """The roles that read the declared rows."""
        shared = [self.names.bridge_group, self.names.pooled_role]
        roles = shared if place.is_shared else [place.role]
        services = place.groups.everywhere or place.groups.readers
        # Whose logins have it: there may never have been one.
        return [*roles, services] if self.owner.finds(role_named(services)) else roles

    def _make_surroundings(self, statements: Connection, place: Place) -> None:
        """The database with its roles: what no transaction can make."""
        if place.is_shared:
            self._server.make_role(statements, self.names.bridge_group, entered=False)
            self._server.make_role(statements, self.names.pooled_role)
        else:
            self._server.require_reach(statements)
            self._server.make_role(statements, place.role)
        self._server.make_database(statements, place.database)

    def _make_bridge_role(self, connection: Connection, role: str) -> None:
        self._server.make_role(connection, role)
        say(
            connection,
            "GRANT {group} TO {role} WITH INHERIT TRUE, SET FALSE",
            group=self.names.bridge_group,
            role=role,
        )

    def _shut(self, place: Place, epoch: int) -> None:
        with self.owner.transaction(place) as connection:
            _hold_alone(connection, place)
            if fence_epoch(connection, place.tenant) is not None:
                set_fence(connection, place.tenant, epoch, is_open=False)

    def _remove_schema(self, place: Place) -> None:
        with (
            suppress(NotFound),
            self.owner.transaction(place, is_standing=False) as connection,
        ):
            say(connection, "DROP SCHEMA IF EXISTS {schema} CASCADE", schema=place.schema)
            remove_entry(connection, place)
            self._server.remove_role(connection, place.role)
            self.direct.remove_groups(connection, place)

    def _remove_rows(self, place: Place) -> None:
        with suppress(NotFound):
            remove_tenant(lambda: self.owner.transaction(place), place.tenant)
            # Last: until now the removal was to be seen, and to be done again.
            with self.owner.transaction(place) as connection:
                remove_entry(connection, place)

    def _sweep_trials(self) -> None:
        with self.owner.statements() as connection:
            left = databases_like(connection, self.names.trials)
        for database in left:
            # A trial that is under way holds its name, and is nobody else's to remove.
            with suppress(Unavailable), self._server.changing(database, wait=False) as statements:
                self._server.remove_database(statements, database)


def _lock_name(place: Place) -> str:
    return f"{place.database}/{place.schema}/{place.tenant}"


def _hold_alone(connection: Connection, place: Place) -> None:
    connection.execute(select(func.pg_advisory_xact_lock(place.lock)))


def _trial_of(place: Place, database: str) -> Place:
    return replace(place, database=database)
