"""A schema to declarations: every table a draft, references among them. Not the mapping of one table."""

from __future__ import annotations

from control_plane.data.pulling.draft import CollectionDraft, Pulled
from control_plane.data.pulling.keys import Surroundings
from control_plane.data.pulling.names import collection_names
from control_plane.data.pulling.schema import Schema, Table
from control_plane.data.pulling.table_mapping import TableMapping
from control_plane.data.pulling.tenancy import TenantKey, given_tenant_key, proposed_tenant_key


def declare(schema: Schema, *, tenant_key: str | None = None) -> Pulled:
    """The drafts of a schema's collections, in order of their tables.

    `tenant_key` names the column that holds the tenant; without it one is proposed where most
    tables have one. Raises BadInput when no table has that column.
    """
    tenant = (
        proposed_tenant_key(schema) if tenant_key is None else given_tenant_key(schema, tenant_key)
    )
    undeclared: list[CollectionDraft] = []
    drafts = _drafts(schema.tables, tenant)
    # A reference to a table that cannot be declared is none, which may leave another table empty.
    for _ in schema.tables:
        undeclared += [one for one in drafts if not one.fields]
        gone = {one.table for one in undeclared}
        if len(gone) + len(drafts) == len(schema.tables):
            break
        drafts = _drafts(tuple(one for one in schema.tables if one.name not in gone), tenant)
    return Pulled(
        tuple(drafts),
        tuple(sorted(undeclared, key=lambda one: one.table)),
        tenant,
        schema.left_out,
    )


def _drafts(tables: tuple[Table, ...], tenant: TenantKey | None) -> list[CollectionDraft]:
    around = Surroundings(
        {one.name: one for one in tables}, collection_names(one.name for one in tables), tenant
    )
    return [TableMapping(one, around).draft() for one in tables]
