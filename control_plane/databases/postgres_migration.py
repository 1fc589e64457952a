"""A phase of a change in a tenant's place on Postgres, inside the owner's transaction. Not a lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection, Table, text

from control_plane.data.record_count import discount_tables
from control_plane.data.tables import COUNT
from control_plane.databases.alterations import alterations
from control_plane.databases.ddl import AddColumn
from control_plane.databases.fencing import advance
from control_plane.databases.migration import Migration, require_all_fit
from control_plane.databases.postgres_layout import (
    force_row_security,
    guard_table,
    replace_reference,
    require_closed,
    silence,
    tenants_of,
)
from control_plane.databases.postgres_names import Place
from control_plane.databases.served import record, served, served_rows

_CHECKS: Final = text("""SELECT a.attname, k.conname FROM pg_catalog.pg_constraint k
    JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
    WHERE k.contype = 'c' AND cardinality(k.conkey) = 1
    AND k.conrelid = to_regclass(quote_ident(:table))""")


def migrate_place(
    connection: Connection, place: Place, roles: Sequence[str], migration: Migration, epoch: int
) -> None:
    """Make the phase, unless it has been made; the tenant stands at `epoch` afterwards.

    `roles` read the declared rows. Nothing remains of it unless the transaction commits.
    """
    advance(connection, place.tenant, epoch)
    said = served(connection)
    if migration.is_due(said):
        _require_fit(connection, place, migration)
        _discount(connection, migration.tables_gone())
        _alter(connection, place, migration)
        record(connection, migration.outcome)
    if not migration.is_past(said):
        digests = migration.reference_digests()
        if digests and served_rows(connection) != set(digests):
            replace_reference(connection, roles, migration.collections(), digests)
    require_closed(connection, place, migration.collections())


def require_place_fits(
    connection: Connection, place: Place, migration: Migration, enter: Callable[[Place], None]
) -> None:
    """Raise what the phase would be refused with; it is read alone, and no table is locked.

    `enter` takes the transaction to another tenant of the same tables.
    """
    if not migration.is_due(served(connection)):
        return
    require_closed(connection, place, migration.collections())
    every = tenants_of(connection, place) if place.is_pooled else [place.tenant]

    def views() -> Iterator[None]:
        # Not even the owner sees rows of a tenant that it is not in.
        for tenant in every:
            enter(replace(place, tenant=tenant))
            yield

    require_all_fit(connection, migration, views())


def _require_fit(connection: Connection, place: Place, migration: Migration) -> None:
    tables = sorted({demand.collection for demand in migration.demands()})
    # Every tenant's rows are held to it, so all must be counted: the owner sees them for as long as
    # it takes, and nobody else does, for the table is locked and the transaction not committed.
    hidden = tables if place.is_pooled else []
    for table in hidden:
        force_row_security(connection, table, is_on=False)
    require_all_fit(connection, migration)
    for table in hidden:
        force_row_security(connection, table, is_on=True)


def _discount(connection: Connection, gone: Sequence[Table]) -> None:
    # The owner sees every tenant's rows for that long, and nobody adds or removes one: the tables
    # are locked, and the transaction is not committed.
    for table in gone:
        force_row_security(connection, table.name, is_on=False)
    if gone:
        force_row_security(connection, COUNT.name, is_on=False)
        discount_tables(connection, gone)
        force_row_security(connection, COUNT.name, is_on=True)


def _alter(connection: Connection, place: Place, migration: Migration) -> None:
    source, target = migration.source(), migration.target()

    def check_names(table: Table) -> Mapping[str, str]:
        found = connection.execute(_CHECKS, {"table": table.name})
        return {str(column): str(name) for column, name in found}

    widened: dict[str, Table] = {}
    for statement in alterations(source, target, connection.dialect, check_names):
        connection.execute(statement)
        if isinstance(statement, AddColumn):
            widened[statement.column.table.name] = statement.column.table
    for table in target.tables.values():
        if table.name not in source.tables:
            guard_table(connection, table, place)
        elif table.name in widened and place.is_shared:
            silence(connection, table)
