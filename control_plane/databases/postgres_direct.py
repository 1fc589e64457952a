"""The logins by which a tenant's own services reach its rows on Postgres. Not the services, nor their secret.

A login is a role of the tenant's, one for each half. What it may is what the place's groups may, of
which it is a member: of readers and writers it may all, of readers alone it reads, and one that
inherits nothing from the readers is only known there. It cannot take on any role.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, LiteralString

from psycopg.sql import Composable, Literal
from sqlalchemy import URL, Connection, NullPool, create_engine, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from control_plane.data.tables import REFERENCE_SCHEMA
from control_plane.databases.migrated import team_tables
from control_plane.databases.postgres_guard import admit_login, remove_login
from control_plane.databases.postgres_layout import (
    build_guard,
    has_schema,
    is_opened,
    open_table,
    say,
)
from control_plane.databases.postgres_names import Names, Place
from control_plane.databases.postgres_server import Server
from control_plane.databases.postgres_sessions import Login, role_named
from control_plane.databases.served import tables_there
from control_plane.domain.handover import HALVES, Access, Half
from control_plane.errors import Failed, NotFound, Refused, Unavailable

CONNECTIONS_MAX: Final = 20
"""How many sessions one login may have at a time."""
_CONNECT_S_MAX: Final = 5
_PAUSE_S: Final = 0.002
_ENDING_S_MAX: Final = 5.0
# What a session begins with. Whoever logs in may set each of these anew: they are no bounds.
_SETTINGS: Final[tuple[LiteralString, ...]] = (
    "ALTER ROLE {login} IN DATABASE {database} SET search_path = {schema}, pg_temp",
    "ALTER ROLE {login} IN DATABASE {database} SET statement_timeout = '30s'",
    "ALTER ROLE {login} IN DATABASE {database} SET lock_timeout = '5s'",
    "ALTER ROLE {login} IN DATABASE {database} SET idle_in_transaction_session_timeout = '60s'",
)
_REFERENCE: Final[tuple[LiteralString, ...]] = (
    "GRANT USAGE ON SCHEMA reference TO {role}",
    "GRANT SELECT ON ALL TABLES IN SCHEMA reference TO {role}",
)
_LESS_WRITING: Final[LiteralString] = "REVOKE {writers} FROM {login}"
_READING: Final[LiteralString] = "GRANT {readers} TO {login} WITH INHERIT TRUE, SET FALSE"
_STEPS: Final[Mapping[Access, tuple[LiteralString, ...]]] = {
    "full": (_READING, "GRANT {writers} TO {login} WITH INHERIT TRUE, SET FALSE"),
    "read_only": (_LESS_WRITING, _READING),
    "none": (_LESS_WRITING, "GRANT {readers} TO {login} WITH INHERIT FALSE, SET FALSE"),
}
_MEMBERS: Final = text("""SELECT u.rolname, r.rolname, bool_or(m.inherit_option)
    FROM pg_catalog.pg_auth_members m
    JOIN pg_catalog.pg_roles r ON r.oid = m.roleid
    JOIN pg_catalog.pg_roles u ON u.oid = m.member
    WHERE u.rolname = ANY(CAST(:logins AS text[]))
    GROUP BY u.rolname, r.rolname""")
_PREPARES: Final = text("SELECT current_setting('max_prepared_transactions')::int")
_OPEN_TABLES: Final = text("""SELECT c.relname FROM pg_catalog.pg_policy p
    JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :place AND p.polname = 'paybill_direct'""")
# A session shows when its transaction began before it looks what it may.
_SESSIONS: Final = text("""SELECT pid, backend_start, xact_start FROM pg_catalog.pg_stat_activity
    WHERE usename = ANY(CAST(:logins AS text[])) AND (datname = :database OR :everywhere)""")
_END: Final = text("SELECT pg_catalog.pg_terminate_backend(:pid)")


@dataclass(frozen=True)
class Direct:
    """The owner's hand on the logins of tenants' services."""

    owner: Login
    server: Server
    names: Names

    def grant(
        self, place: Place, half: Half, password: str, access: Access, readers: Sequence[str]
    ) -> None:
        """Make the login, and let it into the place; `readers` are the roles that ask the guard.

        Who calls it holds the right to change the place. Raises NotFound.
        """
        login = self.names.login(place.tenant, half)
        with self._changing(place), self.owner.transaction(place) as connection:
            _require_nothing_prepared(connection)
            self._open(connection, place, readers)
            if connection.execute(role_named(login)).first() is None:
                say(connection, "CREATE ROLE {login} NOLOGIN", login=login)
            # Else it could neither see nor end the login's sessions.
            say(
                connection,
                "GRANT {login} TO CURRENT_USER WITH INHERIT TRUE, SET FALSE",
                login=login,
            )
            admit_login(connection, place, login)
            for statement in _STEPS[access]:
                _say_groups(connection, statement, place, login)
            _set_up(connection, place, login, password)

    def limit(self, place: Place, access: Access, patience_s: float) -> None:
        """Have no session of the tenant's logins do more than that, in this place.

        Transactions at work have `patience_s` to end; their sessions end then, and with `none` all.
        Raises Unavailable (`database_busy`) where a session does not end.
        """
        with self._changing(place) as statements:
            mine = [self.names.login(place.tenant, half) for half in self.halves(statements, place)]
            for login in mine:
                for statement in _STEPS[access]:
                    _say_groups(statements, statement, place, login)
            if access != "full" and mine:
                sessions = _Sessions(statements, mine, place.database)
                sessions.end(patience_s, is_all=access == "none")

    def revoke(self, place: Place, half: Half) -> None:
        """Let the login into the place no more; one that is let in nowhere is no more."""
        login = self.names.login(place.tenant, half)
        with self._changing(place) as statements:
            if statements.execute(role_named(login)).first() is None:
                return
            for _, group in _memberships(statements, [login]):
                if group in (place.groups.readers, place.groups.writers):
                    say(statements, "REVOKE {group} FROM {login}", group=group, login=login)
            left = _memberships(statements, [login])
            if not left:
                say(statements, "ALTER ROLE {login} NOLOGIN", login=login)
            _Sessions(statements, [login], place.database if left else None).end(0, is_all=True)
            with suppress(NotFound), self.owner.transaction(place) as connection:
                remove_login(connection, place, login)
            if not left:
                self.server.disown(statements, login)
                self.server.remove_role(statements, login)

    def remove(self, place: Place) -> None:
        """Revoke what logins are left of the place that is to go."""
        with self.owner.statements() as statements:
            left = self.halves(statements, place)
        for half in left:
            self.revoke(place, half)

    def remove_groups(self, connection: Connection, place: Place) -> None:
        """Take the place's own groups away, once what they were granted is gone."""
        if not place.is_pooled:
            for group in (place.groups.readers, place.groups.writers):
                self.server.remove_role(connection, group)

    def halves(self, connection: Connection, place: Place) -> dict[Half, Access]:
        """Which logins are let into the place, and what each may there."""
        return standing_halves(connection, self.names, place)

    @contextmanager
    def _changing(self, place: Place) -> Generator[Connection]:
        # The tenant's own: nobody waits for what is done in places that others share.
        with self.server.changing(f"direct/{self.names.login(place.tenant, 'a')}") as statements:
            yield statements

    def _open(self, connection: Connection, place: Place, readers: Sequence[str]) -> None:
        groups = place.groups
        for role in (groups.readers, groups.writers, groups.everywhere):
            if role is not None:
                self.server.make_role(connection, role, entered=False)
        everywhere = groups.everywhere or groups.readers
        if groups.everywhere is not None:
            say(
                connection,
                "GRANT {everywhere} TO {readers} WITH INHERIT TRUE, SET FALSE",
                everywhere=groups.everywhere,
                readers=groups.readers,
            )
        build_guard(connection, sorted({*readers, everywhere}))
        connects: LiteralString = "GRANT CONNECT ON DATABASE {database} TO {role}"
        say(connection, connects, role=everywhere, database=place.database)
        if has_schema(connection, REFERENCE_SCHEMA):
            for statement in _REFERENCE:
                say(connection, statement, role=everywhere)
        _open_place(connection, place)


def require_login(url: URL, place: Place) -> None:
    """Raise Failed (`credential_refused`) unless that login opens the place, and is its tenant there."""
    options = {"connect_timeout": _CONNECT_S_MAX}
    engine = create_engine(
        url.set(database=place.database), poolclass=NullPool, connect_args=options
    )
    try:
        with engine.connect() as connection:
            entered = connection.execute(select(func.paybill.entered())).scalar_one()
    except SQLAlchemyError:
        # What the driver says may quote what it was given.
        entered = None
    if entered != place.tenant:
        raise Failed("The new credential does not open the database.", code="credential_refused")


def standing_halves(connection: Connection, names: Names, place: Place) -> dict[Half, Access]:
    """Which logins are let into the place, and what each may there: anybody who connects may see it."""
    logins: dict[str, Half] = {names.login(place.tenant, half): half for half in HALVES}
    groups = place.groups
    found: dict[Half, Access] = {}
    held = _memberships(connection, list(logins))
    for login, half in logins.items():
        if (login, groups.readers) not in held:
            continue
        if not held[login, groups.readers]:
            found[half] = "none"
        else:
            found[half] = "full" if held.get((login, groups.writers)) else "read_only"
    return found


def _memberships(connection: Connection, logins: Sequence[str]) -> dict[tuple[str, str], bool]:
    """Of which groups the logins are members, and whether they have the rights of each."""
    rows = connection.execute(_MEMBERS, {"logins": list(logins)})
    return {(str(login), str(group)): bool(inherits) for login, group, inherits in rows}


def _say_groups(connection: Connection, statement: LiteralString, place: Place, login: str) -> None:
    groups = place.groups
    say(connection, statement, readers=groups.readers, writers=groups.writers, login=login)


def _open_place(connection: Connection, place: Place) -> None:
    if not is_opened(connection, place):
        readers = place.groups.readers
        uses: LiteralString = "GRANT USAGE ON SCHEMA {schema} TO {readers}"
        say(connection, uses, schema=place.schema, readers=readers)
    opened = set(connection.execute(_OPEN_TABLES, {"place": place.schema}).scalars())
    own = team_tables(connection)
    for name, columns in sorted(tables_there(connection).items()):
        if name not in opened and "tenant_id" in columns:
            open_table(connection, name, place, counted=name not in own)


def _require_nothing_prepared(connection: Connection) -> None:
    if connection.execute(_PREPARES).scalar_one() != 0:
        # One that is prepared outlives its session, and is committed after every right is gone.
        raise Refused(
            "The server keeps prepared transactions: a right could not be taken away there.",
            code="server_prepares",
            rule="max_prepared_transactions",
        )


def _set_up(connection: Connection, place: Place, login: str, password: str) -> None:
    driver = connection.connection.driver_connection
    assert driver is not None  # an open connection has one
    # Made here: what the server is told, and may write into its log, opens nothing.
    verifier = driver.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256")
    whose: dict[str, str | Composable] = {"login": login, "database": place.database}
    say(connection, "ALTER ROLE {login} RESET ALL", login=login)
    say(connection, "ALTER ROLE {login} IN DATABASE {database} RESET ALL", **whose)
    for statement in _SETTINGS:
        say(connection, statement, schema=place.schema, **whose)
    say(
        connection,
        "ALTER ROLE {login} LOGIN CONNECTION LIMIT {most} PASSWORD {verifier}",
        login=login,
        most=Literal(CONNECTIONS_MAX),
        verifier=Literal(verifier.decode()),
    )


@dataclass(frozen=True, slots=True)
class _Sessions:
    """The sessions of some logins in a database, or with none in whichever."""

    connection: Connection
    logins: Sequence[str]
    database: str | None

    def end(self, patience_s: float, *, is_all: bool) -> None:
        """Have every transaction that is at work now over, and with `is_all` every session.

        One that begins now finds less than it could do before.
        """
        ends_s = time.monotonic() + patience_s
        at_work = {one for one in self._standing() if one[2] is not None}
        while at_work and time.monotonic() < ends_s:
            time.sleep(_PAUSE_S)
            at_work &= self._standing()
        told: set[tuple[Any, ...]] = set()
        ends_s = time.monotonic() + _ENDING_S_MAX
        while left := self._standing() if is_all else self._standing() & at_work:
            if time.monotonic() >= ends_s:
                raise Unavailable("A session does not end.", code="database_busy")
            for pid, *_ in left - told:
                self.connection.execute(_END, {"pid": pid})
            told |= left
            time.sleep(_PAUSE_S)

    def _standing(self) -> set[tuple[Any, ...]]:
        given = {
            "logins": list(self.logins),
            "database": self.database,
            "everywhere": self.database is None,
        }
        return {tuple(row) for row in self.connection.execute(_SESSIONS, given)}
