"""A workspace's database and logins on a Postgres server: made at init, removed when init was cut off. Not their rights to tables."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, LiteralString, get_args

import psycopg
from psycopg import sql
from sqlalchemy import URL

from control_plane.errors import Unavailable
from control_plane.store.postgres import SCHEMA

Login = Literal["worker", "face", "auditor", "data"]
LOGINS: Final[tuple[Login, ...]] = get_args(Login)
Knocked = Literal["open", "refused", "silent"]

_ID_DIGITS = 12
# On a server on which only tenants' databases stand.
_FOR_TENANTS: Final[tuple[Login, ...]] = ("worker", "data")
_VERSION_MIN = 160_000
_CONNECT_S = 5
_STATEMENT_MS = 60_000
_MARK = "paybill init "
# The database that every login gets into.
_EVERYBODYS = "postgres"
# What each login is at the server. None is a superuser, sees past row policies or replicates.
_ATTRIBUTES: Final[Mapping[Login, LiteralString]] = {
    "worker": "LOGIN CREATEDB CREATEROLE",
    "face": "LOGIN",
    "auditor": "LOGIN",
    # Only ever enters tenants' roles, which it is given one by one.
    "data": "LOGIN NOINHERIT",
}


@dataclass(frozen=True, slots=True)
class Names:
    """What a workspace's database and logins are called, after the workspace's id."""

    workspace_id: str

    @property
    def database(self) -> str:
        """The database of the control plane's store."""
        return f"paybill_{self.workspace_id[:_ID_DIGITS]}"

    @property
    def prefix(self) -> str:
        """What the names of the tenants' databases and roles begin with."""
        return f"pb_{self.workspace_id[:_ID_DIGITS]}"

    def role(self, login: Login) -> str:
        """The role that a login is."""
        return f"{self.database}_{login}"


def make(owner: URL, names: Names, mark: str) -> dict[Login, URL]:
    """Make the database, its schema and the logins; returns each login's URL, with its password.

    `mark` names this attempt: `remove` takes it back under the same one. Raises Unavailable:
    `postgres_taken` when database or a login of these names stands, `postgres_rights` when the owner may
    make neither, `postgres_too_old`, `postgres_unavailable`.
    """
    with _connected(owner) as server:
        _require_able(server)
        if _database_stands(server, names) or _roles_standing(server, names):
            raise _taken(names)
        made = _make_roles(server, owner, names, mark, LOGINS, names.database)
        _make_database(server, names)
    with _connected(made["worker"]) as inside:
        _run(inside, "CREATE SCHEMA {}", sql.Identifier(SCHEMA))
    return made


def make_for_tenants(owner: URL, names: Names, mark: str) -> dict[Login, URL]:
    """The logins alone that a server needs on which only tenants' databases are to stand.

    Raises as `make`.
    """
    with _connected(owner) as server:
        _require_able(server)
        if _roles_standing(server, names):
            raise _taken(names)
        return _make_roles(server, owner, names, mark, _FOR_TENANTS, _EVERYBODYS)


def adopt_for_tenants(owner: URL, names: Names, mark: str) -> dict[Login, URL]:
    """As `make_for_tenants`; those that were made under this very mark get new passwords instead.

    So it may be done again after a kill, when nobody knows the passwords of before.
    """
    with _connected(owner) as server:
        _require_able(server)
        if not _roles_standing(server, names):
            return _make_roles(server, owner, names, mark, _FOR_TENANTS, _EVERYBODYS)
        if _mark(server, names) != _MARK + mark:
            raise _taken(names)
        passwords = _new_passwords(_FOR_TENANTS)
        with server.transaction():
            for login, password in passwords.items():
                _change_password(server, names.role(login), password)
    return _urls(owner, names, passwords, _EVERYBODYS)


def knock(login: URL) -> Knocked:
    """Whether a server lets a login in, does not, or does not answer as it must."""
    try:
        with psycopg.connect(autocommit=True, connect_timeout=_CONNECT_S, **_given(login)):
            return "open"
    except psycopg.OperationalError as error:
        # Its words are in the server's language; that it has asked for a password is a fact.
        asked = error.pgconn is not None and error.pgconn.used_password
        return "refused" if asked else "silent"


def remove_for_tenants(owner: URL, names: Names, mark: str | None = None) -> None:
    """Drop what `make_for_tenants` has made; nothing happens where it is gone, or bears another mark."""
    with _connected(owner) as server, server.transaction():
        if mark is not None and _mark(server, names) != _MARK + mark:
            return
        for login in LOGINS:
            _run(server, "DROP ROLE IF EXISTS {}", sql.Identifier(names.role(login)))


def _make_roles(
    server: psycopg.Connection[Any],
    owner: URL,
    names: Names,
    mark: str,
    logins: tuple[Login, ...],
    database: str,
) -> dict[Login, URL]:
    passwords = _new_passwords(logins)
    with server.transaction():
        for login in logins:
            _make_role(server, names.role(login), login, passwords[login])
        # Who makes the tenants' roles lets the login for their data into each, and out again.
        _run(
            server,
            "GRANT {} TO {} WITH ADMIN TRUE, INHERIT TRUE, SET FALSE",
            sql.Identifier(names.role("data")),
            sql.Identifier(names.role("worker")),
        )
        _run(
            server,
            "COMMENT ON ROLE {} IS {}",
            sql.Identifier(names.role("worker")),
            sql.Literal(_MARK + mark),
        )
    return _urls(owner, names, passwords, database)


def _new_passwords(logins: tuple[Login, ...]) -> dict[Login, str]:
    return {login: secrets.token_urlsafe(32) for login in logins}


def _urls(
    owner: URL, names: Names, passwords: Mapping[Login, str], database: str
) -> dict[Login, URL]:
    return {
        login: owner.set(database=database, username=names.role(login), password=password)
        for login, password in passwords.items()
    }


def _taken(names: Names) -> Unavailable:
    return Unavailable(
        f"a database or logins {names.database} stand on that server already, and are not "
        "an unfinished init's of this home: drop them, or use another server",
        code="postgres_taken",
    )


def remove(owner: URL, names: Names, mark: str) -> None:
    """Drop what `make` has made under this mark, whole or in part; nothing that bears another."""
    with _connected(owner) as server:
        if _mark(server, names) != _MARK + mark:
            return
        _run(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", sql.Identifier(names.database))
        # Last, and all at once: while they stand, their mark says whose the database is.
        with server.transaction():
            for login in LOGINS:
                _run(server, "DROP ROLE IF EXISTS {}", sql.Identifier(names.role(login)))


def _require_able(server: psycopg.Connection[Any]) -> None:
    if server.info.server_version < _VERSION_MIN:
        raise Unavailable("the server must be Postgres 16 or newer", code="postgres_too_old")
    able = server.execute(
        "SELECT rolsuper OR (rolcreaterole AND rolcreatedb) FROM pg_roles"
        " WHERE rolname = current_user"
    ).fetchone()
    if able is None or not able[0]:
        raise Unavailable(
            "the owner's login must be allowed to create databases and roles",
            code="postgres_rights",
        )


def _make_role(server: psycopg.Connection[Any], role: str, login: Login, password: str) -> None:
    _run(
        server,
        "CREATE ROLE {} WITH {} PASSWORD {}",
        sql.Identifier(role),
        sql.SQL(_ATTRIBUTES[login]),
        sql.Literal(_verifier(server, role, password)),
    )


def _change_password(server: psycopg.Connection[Any], role: str, password: str) -> None:
    _run(
        server,
        "ALTER ROLE {} PASSWORD {}",
        sql.Identifier(role),
        sql.Literal(_verifier(server, role, password)),
    )


def _verifier(server: psycopg.Connection[Any], role: str, password: str) -> str:
    # It is made here: the password itself reaches neither the server nor its log.
    return server.pgconn.encrypt_password(
        password.encode(), role.encode(), b"scram-sha-256"
    ).decode()


def _make_database(server: psycopg.Connection[Any], names: Names) -> None:
    database = sql.Identifier(names.database)
    # One order of texts on every machine, and the same as SQLite's.
    _run(
        server,
        "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc"
        " LC_COLLATE 'C' LC_CTYPE 'C'",
        database,
    )
    _run(server, "REVOKE ALL ON DATABASE {} FROM PUBLIC", database)
    worker, face, auditor = (
        sql.Identifier(names.role(one)) for one in ("worker", "face", "auditor")
    )
    _run(server, "GRANT CONNECT, CREATE ON DATABASE {} TO {}", database, worker)
    _run(server, "GRANT CONNECT ON DATABASE {} TO {}, {}", database, face, auditor)


def _database_stands(server: psycopg.Connection[Any], names: Names) -> bool:
    found = server.execute("SELECT 1 FROM pg_database WHERE datname = %s", (names.database,))
    return found.fetchone() is not None


def _roles_standing(server: psycopg.Connection[Any], names: Names) -> bool:
    roles = [names.role(login) for login in LOGINS]
    found = server.execute("SELECT 1 FROM pg_roles WHERE rolname = ANY(%s)", (roles,))
    return found.fetchone() is not None


def _mark(server: psycopg.Connection[Any], names: Names) -> str | None:
    found = server.execute(
        "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s",
        (names.role("worker"),),
    ).fetchone()
    return None if found is None else found[0]


def _run(server: psycopg.Connection[Any], statement: LiteralString, *parts: sql.Composable) -> None:
    server.execute(sql.SQL(statement).format(*parts))


@contextmanager
def _connected(url: URL) -> Generator[psycopg.Connection[Any]]:
    given = _given(url)
    try:
        with psycopg.connect(
            autocommit=True,
            connect_timeout=_CONNECT_S,
            application_name="paybill init",
            options=f"-c statement_timeout={_STATEMENT_MS}",
            **given,
        ) as connection:
            yield connection
    except psycopg.Error as error:
        # The server's words may hold addresses and names: its code says enough.
        told = "" if error.sqlstate is None else f" ({error.sqlstate})"
        raise Unavailable(
            f"the Postgres server does not do what init needs{told}", code="postgres_unavailable"
        ) from None


def _given(url: URL) -> dict[str, Any]:
    return {**url.translate_connect_args(username="user", database="dbname"), **url.query}
