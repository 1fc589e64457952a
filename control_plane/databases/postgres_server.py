"""The databases and roles of a Postgres server, as its owner makes and removes them. Not schemas.

A database is neither made nor dropped in a transaction: each step here may be the last one before a
kill, and is found done when it is asked for again.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, LiteralString

from sqlalchemy import Connection, Select, column, func, select, table
from sqlalchemy.exc import DBAPIError

from control_plane.databases.postgres_faults import NOT_ADMITTED, sqlstate
from control_plane.databases.postgres_layout import say
from control_plane.databases.postgres_names import lock_key
from control_plane.databases.postgres_sessions import Login, database_named, role_named
from control_plane.errors import Failed, Unavailable

_DATABASES: Final = table("pg_database", column("oid"), column("datname"), schema="pg_catalog")
_ROLES: Final = table("pg_roles", column("oid"), column("rolname"), schema="pg_catalog")
# Of roles only, for nothing else has an owner: the catalog is the whole server's.
_OWNERS: Final = table(
    "pg_shdepend", column("dbid"), column("refobjid"), column("deptype"), schema="pg_catalog"
)
# One order of texts on every machine. Copied through the log: no checkpoint of a whole server.
_CREATE: Final[LiteralString] = (
    "CREATE DATABASE {database} TEMPLATE template0 STRATEGY wal_log ENCODING 'UTF8'"
    " LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
)


class Server:
    """The owner's hand on the server, for one face's login."""

    def __init__(self, owner: Login, face: str) -> None:
        self._owner = owner
        self._face = face

    @contextmanager
    def changing(self, what: str, *, wait: bool = True) -> Generator[Connection]:
        """Hold the one right to make and remove `what`; a killed holder loses it at once.

        Raises Unavailable (`database_busy`) when another holds it for too long, or at all.
        """
        with self._owner.statements() as connection:
            if wait:
                connection.execute(select(func.pg_advisory_lock(lock_key(what))))
            elif not connection.execute(_try_lock(what)).scalar_one():
                raise Unavailable("The databases are being changed.", code="database_busy")
            yield connection  # the lock ends with the session, which nobody keeps

    def make_role(self, connection: Connection, role: str, *, entered: bool = True) -> None:
        """A role that owns nothing and cannot log in; the face may enter it, and has none of it."""
        if connection.execute(role_named(role)).first() is None:
            say(connection, "CREATE ROLE {role} NOLOGIN", role=role)
        if entered:
            say(
                connection,
                "GRANT {role} TO {face} WITH INHERIT FALSE, SET TRUE",
                role=role,
                face=self._face,
            )

    def disown(self, connection: Connection, role: str) -> None:
        """Remove what statements under the role have left in its name, in whatever database.

        A role that cannot create a table can still make large objects and default privileges; who
        owns something is not removed.
        """
        held = connection.execute(_owning(role)).scalars().all()
        if not held:
            return
        say(connection, "GRANT {role} TO CURRENT_USER WITH INHERIT TRUE, SET FALSE", role=role)
        for database in held:
            with self._owner.statements(database) as there:
                say(there, "DROP OWNED BY {role}", role=role)

    def remove_role(self, connection: Connection, role: str) -> None:
        """Take a role away; what was granted to it must be gone."""
        say(connection, "DROP ROLE IF EXISTS {role}", role=role)

    def make_database(self, connection: Connection, database: str) -> None:
        """An empty database that only the owner and the face connect to."""
        if connection.execute(database_named(database)).first() is None:
            say(connection, _CREATE, database=database)
        say(connection, "REVOKE ALL ON DATABASE {database} FROM PUBLIC", database=database)
        say(
            connection,
            "GRANT CONNECT ON DATABASE {database} TO {face}",
            database=database,
            face=self._face,
        )

    def make_trial(self, connection: Connection, database: str) -> None:
        """An empty database that only the owner connects to."""
        say(connection, _CREATE, database=database)
        say(connection, "REVOKE ALL ON DATABASE {database} FROM PUBLIC", database=database)

    def remove_database(self, connection: Connection, database: str) -> None:
        """Take a database away, whoever is connected."""
        self._owner.forget(database)
        say(connection, "DROP DATABASE IF EXISTS {database} WITH (FORCE)", database=database)

    def require_reach(self, connection: Connection) -> None:
        """Raise Failed (`worker_login`) unless the owner may end the face's sessions.

        Else a database could be made that cannot be dropped while a face is open.
        """
        if connection.execute(select(func.pg_has_role(self._face, "USAGE"))).scalar_one():
            return
        try:
            say(
                connection,
                "GRANT {face} TO CURRENT_USER WITH INHERIT TRUE, SET FALSE",
                face=self._face,
            )
        except DBAPIError as error:
            if sqlstate(error) != NOT_ADMITTED:
                raise
            raise Failed(
                "The worker's login must be a member of the face's.", code="worker_login"
            ) from None


def _owning(role: str) -> Select[str]:
    return (
        select(_DATABASES.c.datname)
        .distinct()
        .join_from(_DATABASES, _OWNERS, _OWNERS.c.dbid == _DATABASES.c.oid)
        .join(_ROLES, _ROLES.c.oid == _OWNERS.c.refobjid)
        .where(_OWNERS.c.deptype == "o", _ROLES.c.rolname == role)
    )


def _try_lock(what: str) -> Select[bool]:
    return select(func.pg_try_advisory_lock(lock_key(what)))


def databases_like(connection: Connection, prefix: str) -> list[str]:
    """The names of the databases that begin so."""
    found = select(_DATABASES.c.datname).where(func.starts_with(_DATABASES.c.datname, prefix))
    return list(connection.execute(found).scalars())
