"""Collections, and the write protocol, as SQLAlchemy Core tables. Not an engine: nothing connects.

Every isolation model has the same tables, keyed by tenant first: a row may move between them.
Reference collections lie apart, in the schema `reference`, and belong to no tenant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Date,
    DateTime,
    Dialect,
    MetaData,
    String,
    Table,
    Text,
    func,
    insert,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

from control_plane.data.collection import COLLECTIONS_MAX, Collection
from control_plane.data.field import Field
from control_plane.domain.canonical import digest

SCHEMA_VERSION: Final = 1
_ID_LENGTH: Final = 64


class UtcTimestamp(TypeDecorator[datetime]):
    """An aware datetime, kept and given back in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive datetime; SQLite keeps UTC without saying so."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise TypeError("a timestamp must be aware")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(
        self,
        value: datetime | None,
        dialect: Dialect,
    ) -> datetime | None:
        """Say UTC again."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _string(length: int) -> TypeEngine[str]:
    # Order by code point everywhere: a cursor and a filter must not depend on a locale.
    return String(length).with_variant(String(length, collation="C"), "postgresql")


_TYPES: Final[Mapping[str, Callable[[Field], TypeEngine[Any]]]] = {
    "string": lambda field: _string(field.length_max),
    "text": lambda _: Text().with_variant(Text(collation="C"), "postgresql"),
    "integer": lambda _: BigInteger(),
    "boolean": lambda _: Boolean(create_constraint=True),
    "date": lambda _: Date(),
    "timestamp": lambda _: UtcTimestamp(),
    "uuid": lambda _: _string(36),
    "enum": lambda _: _string(64),
    "money": lambda _: BigInteger(),
}

PROTOCOL: Final = MetaData()
FENCE: Final = Table(
    "paybill_fence",
    PROTOCOL,
    Column("tenant_id", _string(40), primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("open", Boolean(create_constraint=True), nullable=False),
)
# Keyed by tenant first: in a pooled database one tenant's call ids say nothing about another's.
APPLIED: Final = Table(
    "paybill_applied",
    PROTOCOL,
    Column("tenant_id", _string(40), primary_key=True),
    Column("call_id", _string(_ID_LENGTH), primary_key=True),
    Column("digest", _string(64), nullable=False),
    Column("applied_at", UtcTimestamp, nullable=False),
)
SCHEMA: Final = Table(
    "paybill_schema",
    PROTOCOL,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", _string(64), nullable=False),
)


REFERENCE_SCHEMA: Final = "reference"
REFERENCE: Final = Table(
    "paybill_reference",
    MetaData(),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", _string(64), nullable=False),
    schema=REFERENCE_SCHEMA,
)


@lru_cache(maxsize=COLLECTIONS_MAX)
def collection_table(collection: Collection) -> Table:
    """The table of one collection: its key is (tenant_id, id), and its limits are constraints.

    A reference collection's lies in the schema `reference`, and its key is the id.
    """
    return _table(collection, MetaData())


def _table(collection: Collection, metadata: MetaData) -> Table:
    declared = [_column(name, field) for name, field in collection.fields.items()]
    checks = [
        check
        for column, field in zip(declared, collection.fields.values(), strict=True)
        if (check := _check(column, field)) is not None
    ]
    keys = {"tenant_id", "id"}
    implicit = [
        _column(name, field, primary_key=name in keys)
        for name, field in collection.implicit.items()
    ]
    return Table(
        collection.name,
        metadata,
        *implicit,
        *declared,
        *checks,
        schema=REFERENCE_SCHEMA if collection.reference else None,
    )


def tenant_metadata(collections: Sequence[Collection]) -> MetaData:
    """Every table of a tenant's own: the protocol's and one a collection, no reference."""
    metadata = MetaData()
    for table in PROTOCOL.tables.values():
        table.to_metadata(metadata)
    for collection in collections:
        if not collection.reference:
            _table(collection, metadata)
    return metadata


def reference_metadata(collections: Sequence[Collection]) -> MetaData:
    """Every table of the schema `reference`: one a reference collection, and the digest's."""
    metadata = MetaData()
    REFERENCE.to_metadata(metadata)
    for collection in collections:
        if collection.reference:
            _table(collection, metadata)
    return metadata


def reference_digest(collections: Sequence[Collection]) -> str | None:
    """SHA-256 over the reference collections with their rows; None when there are none."""
    declared = {one.name: one.digest() for one in collections if one.reference}
    if not declared:
        return None
    return digest({"version": SCHEMA_VERSION, "collections": declared})


def fill_reference(connection: Connection, collections: Sequence[Collection]) -> None:
    """Put the declared rows into empty tables of the schema, and the digest of what they are."""
    for collection in collections:
        if collection.reference:
            table = collection_table(collection)
            connection.execute(insert(table), list(collection.reference_rows()))
    kept = reference_digest(collections)
    if kept is not None:
        connection.execute(insert(REFERENCE).values(version=SCHEMA_VERSION, digest=kept))


def schema_digest(collections: Sequence[Collection]) -> str:
    """SHA-256 over what shapes a tenant's own tables; descriptions and limits change nothing."""
    shape = {
        collection.name: {
            name: field.model_dump(include={"kind", "nullable", "max_length", "values"})
            for name, field in collection.fields.items()
        }
        for collection in collections
        if not collection.reference
    }
    return digest({"version": SCHEMA_VERSION, "collections": shape})


def _column(name: str, field: Field, *, primary_key: bool = False) -> Column[Any]:
    return Column(name, _TYPES[field.kind](field), primary_key=primary_key, nullable=field.nullable)


def _check(column: Column[Any], field: Field) -> CheckConstraint | None:
    if field.values is not None:
        return CheckConstraint(column.in_(field.values))
    if field.kind in {"string", "text"}:
        return CheckConstraint(func.length(column) <= field.length_max)
    return None
