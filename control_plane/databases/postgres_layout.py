"""What stands in a Postgres database of tenants: schemas, tables, policies and grants. Not rows.

Nothing here can be a bound value, for it is all names: each one is quoted by the driver.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, LiteralString

from psycopg.sql import SQL, Composable, Identifier, Literal
from sqlalchemy import ColumnElement, Connection, Table, delete, insert, inspect, select, text
from sqlalchemy import column as named_column
from sqlalchemy import table as named_table

from control_plane.data.collection import Collection
from control_plane.data.tables import (
    APPLIED,
    COUNT,
    FENCE,
    SCHEMA,
    SCHEMA_VERSION,
    UNDO,
    fill_reference,
    reference_digest,
    reference_metadata,
    schema_digest,
    tenant_metadata,
)
from control_plane.databases.fencing import is_deserted
from control_plane.databases.migrated import MIGRATED, team_tables
from control_plane.databases.postgres_guard import GUARD, GUARDING, LOGGING_IN, LOGIN
from control_plane.databases.postgres_names import Place
from control_plane.databases.postgres_openings import opening
from control_plane.databases.served import (
    is_made_of,
    served,
    served_rows,
    serves_rows,
    tables_there,
)
from control_plane.errors import Refused

_ENTRY: Final = named_table(
    "entry",
    named_column("place"),
    named_column("tenant_id"),
    named_column("digest"),
    schema=GUARD,
)
# The second part stands on no row, and so is asked once and first: were the question put between a
# row and a value that a statement compares it with, EXPLAIN would tell whether it was asked, and so
# whether another tenant has the value.
_OWN: Final = SQL("tenant_id = {tenant} AND (SELECT paybill.entered() = {tenant} AS entered)")
_SAID: Final = SQL("current_setting('paybill.tenant', true)")
_NAMED: Final = SQL("substr(SESSION_USER, {})")
OURS: Final = "paybill_"
_OPENED: Final = text("""SELECT FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) AS acl
    JOIN pg_catalog.pg_roles r ON r.oid = acl.grantee
    WHERE n.nspname = current_schema() AND r.rolname = :role""")
_DIRECT: Final[tuple[LiteralString, ...]] = (
    "GRANT SELECT ON {table} TO {readers}",
    "GRANT INSERT, UPDATE, DELETE ON {table} TO {writers}",
    """CREATE POLICY paybill_direct ON {table} TO {readers} USING ({own}) WITH CHECK ({own})""",
)
# Records are what a plan limits; rows of the team's own tables are none.
_COUNTED: Final[tuple[LiteralString, ...]] = (
    """CREATE TRIGGER paybill_counted BEFORE INSERT OR DELETE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION paybill.counted()""",
    """CREATE TRIGGER paybill_counted_in AFTER INSERT ON {table} REFERENCING NEW TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION paybill.counted()""",
    """CREATE TRIGGER paybill_counted_out AFTER DELETE ON {table} REFERENCING OLD TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION paybill.counted()""",
)
# A policy for all commands: a row is seen, changed and left only within its tenant.
_ROWS: Final[tuple[LiteralString, ...]] = (
    """CREATE POLICY paybill_tenant ON {table} TO CURRENT_USER, {role}
        USING ({own}) WITH CHECK ({own})""",
)
# The fence is the owner's. A writer may hold its row, which takes the right to change it, and no more.
_FENCE: Final[tuple[LiteralString, ...]] = (
    "CREATE POLICY paybill_owner ON {table} TO CURRENT_USER USING ({own}) WITH CHECK ({own})",
    "CREATE POLICY paybill_seen ON {table} FOR SELECT TO {role} USING ({own})",
    "CREATE POLICY paybill_held ON {table} FOR UPDATE TO {role} USING ({own}) WITH CHECK (false)",
)
_GRANTS: Final[dict[str, tuple[LiteralString, ...]]] = {
    FENCE.name: ("GRANT SELECT, UPDATE (tenant_id) ON {table} TO {role}", *_FENCE),
    APPLIED.name: ("GRANT SELECT, INSERT ON {table} TO {role}", *_ROWS),
    COUNT.name: ("GRANT SELECT, UPDATE (records) ON {table} TO {role}", *_ROWS),
    UNDO.name: ("GRANT SELECT, INSERT, DELETE ON {table} TO {role}", *_ROWS),
    SCHEMA.name: ("GRANT SELECT ON {table} TO {role}",),
    MIGRATED.name: ("GRANT SELECT ON {table} TO {role}",),
}
_COLLECTION: Final[tuple[LiteralString, ...]] = (
    "GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {role}",
    *_ROWS,
)
_FORCED: Final[tuple[LiteralString, ...]] = (
    "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
)


def say(connection: Connection, statement: LiteralString, **names: str | Composable) -> None:
    """Execute a statement whose `{places}` are filled with quoted names, or with parts of SQL."""
    quoted = {
        place: Identifier(name) if isinstance(name, str) else name for place, name in names.items()
    }
    connection.exec_driver_sql(SQL(statement).format(**quoted).as_string())


def has_schema(connection: Connection, name: str) -> bool:
    """Whether the database has the schema."""
    return name in inspect(connection).get_schema_names()


def build_guard(connection: Connection, roles: Sequence[str]) -> None:
    """What tells by the token which tenant is in a session, for the roles to ask."""
    if not has_schema(connection, GUARD):
        for statement in GUARDING:
            say(connection, statement)
    if not inspect(connection).has_table(LOGIN.name, schema=GUARD):
        for statement in LOGGING_IN:
            say(connection, statement)
    for role in roles:
        say(connection, "GRANT USAGE ON SCHEMA paybill TO {role}", role=role)
        say(connection, "GRANT EXECUTE ON FUNCTION paybill.entered() TO {role}", role=role)


def remove_deserted(
    connection: Connection, place: Place, collections: Sequence[Collection]
) -> None:
    """Take away what stands for tenants who are all gone, unless it was made of just these.

    Only under the right to change all of the database: nobody else lets a tenant in meanwhile.
    """
    others = served_rows(connection) - {reference_digest(collections)}
    if others and connection.execute(select(_ENTRY.c.digest).limit(1)).first() is None:
        say(connection, "DROP SCHEMA reference CASCADE")
    if not has_schema(connection, place.schema) or tenants_of(connection, place):
        return
    if is_made_of(connection, collections):
        return
    # A second look, at what the entries should say as well: the table is locked until the commit.
    force_row_security(connection, FENCE.name, is_on=False)
    if is_deserted(connection):
        say(connection, "DROP SCHEMA {schema} CASCADE", schema=place.schema)
    else:
        force_row_security(connection, FENCE.name, is_on=True)


def build_place(connection: Connection, place: Place, collections: Sequence[Collection]) -> None:
    """The schema of the place with its tables, unless it is there; the search path leads to it."""
    if has_schema(connection, place.schema):
        return
    say(connection, "CREATE SCHEMA {schema}", schema=place.schema)
    say(
        connection, "GRANT USAGE ON SCHEMA {schema} TO {role}", schema=place.schema, role=place.role
    )
    metadata = tenant_metadata(collections)
    metadata.create_all(connection, checkfirst=False)
    for table in metadata.sorted_tables:
        guard_table(connection, table, place)
    kept = schema_digest(collections)
    connection.execute(insert(SCHEMA).values(version=SCHEMA_VERSION, digest=kept))


def build_reference(
    connection: Connection, roles: Sequence[str], collections: Sequence[Collection]
) -> None:
    """The reference rows as they are declared now, for the roles to read and nobody to write."""
    wanted = reference_digest(collections)
    if wanted is not None and not serves_rows(connection, collections):
        replace_reference(connection, roles, collections, [wanted])


def replace_reference(
    connection: Connection,
    roles: Sequence[str],
    collections: Sequence[Collection],
    serves: Sequence[str],
) -> None:
    """The declared rows anew, for the roles to read; `serves` are the digests that they stand for."""
    say(connection, "DROP SCHEMA IF EXISTS reference CASCADE")
    say(connection, "CREATE SCHEMA reference")
    reference_metadata(collections).create_all(connection, checkfirst=False)
    fill_reference(connection, collections, serves)
    for role in roles:
        say(connection, "GRANT USAGE ON SCHEMA reference TO {role}", role=role)
        say(connection, "GRANT SELECT ON ALL TABLES IN SCHEMA reference TO {role}", role=role)


def open_by(connection: Connection, place: Place, collections: Sequence[Collection]) -> str | None:
    """By which rule's breach the place's rows lie open to others, or None: it is as it was built."""
    tables = set(tenant_metadata(collections).tables) | team_tables(connection)
    if served(connection).upcoming is not None:
        # The tables of another declaration are there as well; each is held to the same rules.
        there = tables_there(connection)
        tables.update(name for name, columns in there.items() if "tenant_id" in columns)
    policies = [one.as_string() for one in (_own(place), own_by_login(place))]
    return opening(connection, place, sorted(tables), policies)


def require_closed(connection: Connection, place: Place, collections: Sequence[Collection]) -> None:
    """Raise Refused (`schema_differs`; `rule`) where the place's rows lie open to others."""
    opened = open_by(connection, place, collections)
    if opened is not None:
        raise Refused(
            "The database holds what could open rows to another tenant.",
            code="schema_differs",
            rule=opened,
        )


def tenants_of(connection: Connection, place: Place) -> list[str]:
    """Who is let into the schema of the place: nobody else has a row in it."""
    every = select(_ENTRY.c.tenant_id).where(_ENTRY.c.place == place.schema)
    return [str(one) for one in connection.execute(every.order_by(_ENTRY.c.tenant_id)).scalars()]


def admit_entry(connection: Connection, place: Place, token: str) -> None:
    """Let who shows the token enter the tenant; the one before it opens nothing any more."""
    digest = hashlib.sha256(token.encode()).hexdigest()
    if connection.execute(select(_ENTRY.c.digest).where(*_of(place))).scalar() == digest:
        return
    remove_entry(connection, place)
    entry = {"place": place.schema, "tenant_id": place.tenant, "digest": digest}
    connection.execute(insert(_ENTRY).values(**entry))


def remove_entry(connection: Connection, place: Place) -> None:
    """Let nobody enter the tenant."""
    connection.execute(delete(_ENTRY).where(*_of(place)))


def force_row_security(connection: Connection, table: str, *, is_on: bool) -> None:
    """Whether policies bind the owner too: they must again before the transaction ends."""
    if is_on:
        say(connection, _FORCED[1], table=table)
    else:
        say(connection, "ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY", table=table)


def silence(connection: Connection, table: Table) -> None:
    """Keep no statistics: what the planner has of columns are values of all tenants."""
    silenced = [
        SQL("ALTER COLUMN {} SET STATISTICS 0").format(Identifier(column.name))
        for column in table.columns
    ]
    # EXPLAIN tells of them.
    say(connection, "ALTER TABLE {table} {all}", table=table.name, all=SQL(", ").join(silenced))


def guard_table(
    connection: Connection, table: Table, place: Place, *, counted: bool = True
) -> None:
    """Row security, policies and rights of a table that has just been made.

    Its rows count against the plan unless it is the team's own.
    """
    names: dict[str, str | Composable] = {
        "table": table.name,
        "role": place.role,
        "own": _own(place),
    }
    has_tenant = "tenant_id" in table.c
    for statement in (*(_FORCED if has_tenant else ()), *_GRANTS.get(table.name, _COLLECTION)):
        say(connection, statement, **names)
    if has_tenant and place.is_shared:
        silence(connection, table)
    if has_tenant and is_opened(connection, place):
        open_table(connection, table.name, place, counted=counted)


def open_table(connection: Connection, table: str, place: Place, *, counted: bool = True) -> None:
    """Let the services' logins of the place at a table of rows, each within its tenant.

    What we keep beside the rows is no business of theirs.
    """
    if table.startswith(OURS):
        return
    names: dict[str, str | Composable] = {
        "table": table,
        "readers": place.groups.readers,
        "writers": place.groups.writers,
        "own": own_by_login(place),
    }
    for statement in (*_DIRECT, *(_COUNTED if counted else ())):
        say(connection, statement, **names)


def is_opened(connection: Connection, place: Place) -> bool:
    """Whether services' logins are let into the place at all."""
    return connection.execute(_OPENED, {"role": place.groups.readers}).first() is not None


def own_by_login(place: Place) -> Composable:
    """What is asked of a row where a service's login asks: its name says whose it is."""
    # Not a setting, as of a face: the session could say another, and only we may say it first.
    return (
        _OWN.format(tenant=_NAMED.format(place.groups.tenant_at))
        if place.is_pooled
        else _own(place)
    )


def _own(place: Place) -> Composable:
    # In a schema of the tenant's own the policies name it: not even its neighbour adds a row there.
    return _OWN.format(tenant=_SAID if place.is_pooled else Literal(place.tenant))


def _of(place: Place) -> tuple[ColumnElement[bool], ...]:
    return (_ENTRY.c.place == place.schema, _ENTRY.c.tenant_id == place.tenant)
