"""Collections, and the write protocol, as SQLAlchemy Core tables. Not an engine: nothing connects.

Every isolation model has the same tables, keyed by tenant first: a row may move between them.
Reference collections lie apart, in the schema `reference`, and belong to no tenant.
"""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Boolean, Column, Connection, MetaData, Table, insert

from control_plane.data.collection import COLLECTIONS_MAX, Collection
from control_plane.data.field import Field
from control_plane.data.table_parts import checks, columns, foreign_keys, indexes, keys
from control_plane.data.table_types import UtcTimestamp, short_text
from control_plane.domain.canonical import digest

SCHEMA_VERSION: Final = 1
_ID_LENGTH: Final = 64
_ALWAYS_SHAPING: Final = {"kind", "nullable", "max_length", "values"}
# These are told only where they are declared: what was made before there were any keeps its digest.
_SHAPING: Final = {"precision", "scale", "unique", "formula"}

PROTOCOL: Final = MetaData()
FENCE: Final = Table(
    "paybill_fence",
    PROTOCOL,
    Column("tenant_id", short_text(40), primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("open", Boolean(create_constraint=True), nullable=False),
)
# Keyed by tenant first: in a pooled database one tenant's call ids say nothing about another's.
APPLIED: Final = Table(
    "paybill_applied",
    PROTOCOL,
    Column("tenant_id", short_text(40), primary_key=True),
    Column("call_id", short_text(_ID_LENGTH), primary_key=True),
    Column("digest", short_text(64), nullable=False),
    Column("applied_at", UtcTimestamp, nullable=False),
)
# How many records a tenant has: its row is there from when the tenant is let in.
COUNT: Final = Table(
    "paybill_count",
    PROTOCOL,
    Column("tenant_id", short_text(40), primary_key=True),
    Column("records", BigInteger, nullable=False),
)
# What rows were before a run changed them: the tenant's data, and so it stays in its database.
UNDO: Final = Table(
    "paybill_undo",
    PROTOCOL,
    Column("tenant_id", short_text(40), primary_key=True),
    Column("call_id", short_text(_ID_LENGTH), primary_key=True),
    Column("images", JSON, nullable=False),
    Column("kept_at", UtcTimestamp, nullable=False),
)
SCHEMA: Final = Table(
    "paybill_schema",
    PROTOCOL,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", short_text(64), nullable=False),
)


REFERENCE_SCHEMA: Final = "reference"
REFERENCE: Final = Table(
    "paybill_reference",
    MetaData(),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", short_text(64), nullable=False),
    schema=REFERENCE_SCHEMA,
)


@lru_cache(maxsize=COLLECTIONS_MAX)
def collection_table(collection: Collection) -> Table:
    """The table of one collection: its key is (tenant_id, id), and its limits are constraints.

    It is for statements, and has no foreign keys: those are the whole schema's. A reference
    collection's lies in the schema `reference`, and its key is the id.
    """
    return _table(collection, MetaData())


def _table(collection: Collection, metadata: MetaData) -> Table:
    made = columns(collection)
    return Table(
        collection.name,
        metadata,
        *made,
        *checks(collection, made),
        *keys(collection),
        *indexes(collection, made),
        schema=REFERENCE_SCHEMA if collection.reference else None,
    )


def tenant_metadata(collections: Sequence[Collection]) -> MetaData:
    """Every table of a tenant's own, with their foreign keys: the protocol's and the collections'.

    Raises BadInput where one refers to a collection that is not among them.
    """
    metadata = MetaData()
    for table in PROTOCOL.tables.values():
        table.to_metadata(metadata)
    by_name = {one.name: one for one in collections}
    for collection in collections:
        if not collection.reference:
            table = _table(collection, metadata)
            for key in foreign_keys(collection, by_name):
                table.append_constraint(key)
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


def fill_reference(
    connection: Connection, collections: Sequence[Collection], serves: Sequence[str]
) -> None:
    """Put the declared rows into empty tables of the schema, and the digests that they serve."""
    for collection in collections:
        if collection.reference:
            table = collection_table(collection)
            connection.execute(insert(table), list(collection.reference_rows()))
    for place, kept in enumerate(serves):
        connection.execute(insert(REFERENCE).values(version=SCHEMA_VERSION + place, digest=kept))


def schema_digest(collections: Sequence[Collection]) -> str:
    """SHA-256 over what shapes a tenant's own tables; descriptions and limits change nothing."""
    own = [one for one in collections if not one.reference]
    names = {one.name for one in own}
    shape: dict[str, Any] = {
        one.name: {name: _shape(field, names) for name, field in one.fields.items()} for one in own
    }
    whole: dict[str, Any] = {"version": SCHEMA_VERSION, "collections": shape}
    indexed = {one.name: one.indexes for one in own if one.indexes}
    return digest({**whole, "indexes": indexed} if indexed else whole)


def _shape(field: Field, own: AnyCollection[str]) -> Mapping[str, Any]:
    shape = field.model_dump(include=_ALWAYS_SHAPING)
    shape |= field.model_dump(include=_SHAPING, exclude_defaults=True)
    # Only a reference to the tenant's own rows has a foreign key.
    return {**shape, "collection": field.collection} if field.collection in own else shape
