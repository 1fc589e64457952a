"""Traps on Postgres of a login that row security does not bind: it is refused before it reads anything."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, LiteralString

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import text

from control_plane.data.collection import Collection
from control_plane.databases.postgres import PostgresDatabases
from control_plane.databases.postgres_names import Names
from control_plane.domain.isolation import ISOLATIONS, Isolation
from control_plane.errors import Failed
from tests.support.tenants import TenantServer

# What is granted to the login, what takes it back, and what the refusal says of it.
RIGHTS: Final[dict[str, tuple[LiteralString, LiteralString, str]]] = {
    "superuser": ("ALTER ROLE {login} SUPERUSER", "ALTER ROLE {login} NOSUPERUSER", "superuser"),
    "past policies": (
        "ALTER ROLE {login} BYPASSRLS",
        "ALTER ROLE {login} NOBYPASSRLS",
        "row-level security",
    ),
    "replication": (
        "ALTER ROLE {login} REPLICATION",
        "ALTER ROLE {login} NOREPLICATION",
        "replicate",
    ),
    "makes roles": (
        "ALTER ROLE {login} CREATEROLE",
        "ALTER ROLE {login} NOCREATEROLE",
        "create",
    ),
    "makes databases": ("ALTER ROLE {login} CREATEDB", "ALTER ROLE {login} NOCREATEDB", "create"),
    "member of one that makes roles": (
        "CREATE ROLE {other} CREATEROLE; GRANT {other} TO {login}",
        "DROP ROLE {other}",
        "create",
    ),
    "member of one past policies": (
        "CREATE ROLE {other} BYPASSRLS; GRANT {other} TO {login} WITH INHERIT FALSE, SET TRUE",
        "DROP ROLE {other}",
        "row-level security",
    ),
    "member of a member": (
        "CREATE ROLE {other}; GRANT {other} TO {login}; GRANT pg_monitor TO {other}",
        "DROP ROLE {other}",
        "predefined",
    ),
    "reads all data": (
        "GRANT pg_read_all_data TO {login}",
        "REVOKE pg_read_all_data FROM {login}",
        "predefined",
    ),
    "owns a table": (
        "ALTER TABLE {schema}.contacts OWNER TO {login}",
        "ALTER TABLE {schema}.contacts OWNER TO {owner}",
        "own",
    ),
    "member of one that owns a table": (
        (
            "CREATE ROLE {other}; GRANT {other} TO {login};"
            "ALTER TABLE {schema}.contacts OWNER TO {other}"
        ),
        "ALTER TABLE {schema}.contacts OWNER TO {owner}; DROP ROLE {other}",
        "own",
    ),
}


@contextmanager
def granted(server: TenantServer, model: Isolation, login: str, what: str) -> Generator[str]:
    make, undo, said = RIGHTS[what]
    place = Names(server.prefix).place("acme", model)
    names = {
        "login": Identifier(login),
        "owner": Identifier(str(server.owner.username)),
        "other": Identifier(f"{server.prefix}_other"),
        "schema": Identifier(place.schema),
    }
    with server.raw(server.root, place.database) as raw:
        try:
            raw.execute(SQL(make).format(**names))
            yield said
        finally:
            raw.execute(SQL(undo).format(**names))


@pytest.mark.long_but_one
@pytest.mark.slice_of(4)
@pytest.mark.parametrize("what", RIGHTS)
def test_a_login_for_tenants_data_with_a_right_too_many_reads_nothing(
    on_postgres: PostgresDatabases, server: TenantServer, people: Collection, what: str
) -> None:
    for one in ISOLATIONS:
        on_postgres.create("acme", one, [people], 1)
    # Once for the whole server, so any one place shows it; the database is another in silo.
    name = str(server.face.username)
    with granted(server, "pooled", name, what) as said, server.engine(as_face=True) as face:
        for model in ISOLATIONS:
            with pytest.raises(Failed, match=said) as caught, face.reading("acme", model):
                pass
            assert caught.value.code == "login_rights"
            with pytest.raises(Failed), face.transaction("acme", model):
                pass
            with pytest.raises(Failed):
                face.probe("acme", model, [people])
    with server.engine(as_face=True) as face, face.reading("acme", "pooled"):
        pass


@pytest.mark.parametrize("what", ["superuser", "past policies", "replication"])
def test_a_worker_that_row_security_does_not_bind_makes_nothing(
    on_postgres: PostgresDatabases, server: TenantServer, people: Collection, what: str
) -> None:
    on_postgres.create("acme", "pooled", [people], 1)
    name = str(server.owner.username)
    with granted(server, "pooled", name, what) as said:
        with pytest.raises(Failed, match=said) as caught:
            on_postgres.create("other", "pooled", [people], 1)
        assert caught.value.code == "login_rights"
        with pytest.raises(Failed):
            on_postgres.drop("acme", "pooled", 1)
    on_postgres.create("other", "pooled", [people], 1)


def test_what_anybody_may_leave_behind_does_not_stop_the_login(
    on_postgres: PostgresDatabases, server: TenantServer, people: Collection
) -> None:
    on_postgres.create("acme", "pooled", [people], 1)
    with server.raw(server.face, Names(server.prefix).shared) as raw:
        raw.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
        try:
            with server.engine(as_face=True) as face, face.reading("acme", "pooled") as connection:
                assert connection.execute(text("SELECT count(*) FROM contacts")).scalar_one() == 0
        finally:
            raw.execute("ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM PUBLIC")


def test_the_login_cannot_become_a_member_of_the_owner(
    on_postgres: PostgresDatabases, server: TenantServer, people: Collection
) -> None:
    on_postgres.create("acme", "silo", [people], 1)
    names = [Identifier(str(one.username)) for one in (server.owner, server.face)]
    # It is the other way round, so that the owner may end the login's sessions: no circle is let.
    with server.raw(server.root) as raw, pytest.raises(psycopg.errors.InvalidGrantOperation):
        raw.execute(SQL("GRANT {} TO {}").format(*names))
