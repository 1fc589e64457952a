"""Which declarations a tenant's database serves: the one it was made of, or two in a change. Not rows.

Between the two phases of a change, calls under the old declaration and under the new one find what
they need; the database says so by holding the digests of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, insert, inspect, select, update

from control_plane.data.collection import Collection
from control_plane.data.tables import (
    REFERENCE,
    REFERENCE_SCHEMA,
    SCHEMA,
    SCHEMA_VERSION,
    reference_digest,
    schema_digest,
    tenant_metadata,
)

# Beside the digest of what the database is, under the version: that of what it is becoming.
_UPCOMING: Final = 0


@dataclass(frozen=True, slots=True)
class Served:
    """The digest of what the database was made of, and of what it is to be next."""

    current: str | None
    upcoming: str | None = None


def served(connection: Connection) -> Served:
    """What the database says; its tables must be there."""
    kept = connection.execute(select(SCHEMA.c.version, SCHEMA.c.digest))
    found = {int(version): str(digest) for version, digest in kept}
    return Served(found.get(SCHEMA_VERSION), found.get(_UPCOMING))


def record(connection: Connection, serves: Served) -> None:
    """Say what the database is from now on."""
    current, upcoming = SCHEMA.c.version == SCHEMA_VERSION, SCHEMA.c.version == _UPCOMING
    connection.execute(update(SCHEMA).where(current).values(digest=serves.current))
    connection.execute(delete(SCHEMA).where(upcoming))
    if serves.upcoming is not None:
        connection.execute(insert(SCHEMA).values(version=_UPCOMING, digest=serves.upcoming))


def serves(connection: Connection, collections: Sequence[Collection]) -> bool:
    """Whether the place serves the collections, and their tables are really there."""
    expected = tenant_metadata(collections).tables
    found = tables_there(connection)
    if not set(expected) <= set(found):
        return False
    said = served(connection)
    if schema_digest(collections) not in {said.current, said.upcoming}:
        return False
    is_exact = said.upcoming is None
    return all(
        found[name] == set(table.c.keys()) or (not is_exact and found[name] >= set(table.c.keys()))
        for name, table in expected.items()
    )


def is_made_of(connection: Connection, collections: Sequence[Collection]) -> bool:
    """Whether the place serves the collections, and is on its way to no others."""
    return serves(connection, collections) and served(connection).upcoming is None


def serves_rows(connection: Connection, collections: Sequence[Collection]) -> bool:
    """Whether the schema beside it has the declared rows; always where none is declared."""
    wanted = reference_digest(collections)
    return wanted is None or wanted in served_rows(connection)


def served_rows(connection: Connection) -> set[str]:
    """The digests of the declared rows that are there."""
    if not inspect(connection).has_table(REFERENCE.name, schema=REFERENCE_SCHEMA):
        return set()
    return row_digests(connection)


def row_digests(connection: Connection) -> set[str]:
    """The same where the schema is surely there."""
    return set(connection.execute(select(REFERENCE.c.digest)).scalars())


def tables_there(connection: Connection) -> dict[str, set[str]]:
    """The names of the columns by table, of the schema that the connection is in."""
    found = inspect(connection).get_multi_columns()
    return {name: {column["name"] for column in columns} for (_, name), columns in found.items()}
