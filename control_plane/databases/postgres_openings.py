"""What would open a tenant's rows to others, looked for in a Postgres catalog. Not the columns.

Only the owner, or who stands above it, can make any of this: a place is built without it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, TextClause, column, select, table, text

from control_plane.data.tables import APPLIED, FENCE, SCHEMA
from control_plane.databases.migrated import MIGRATED
from control_plane.databases.postgres_names import Place

_SCHEMAS: Final = table("pg_namespace", column("oid"), column("nspname"), schema="pg_catalog")
# The server writes an expression with more brackets and casts than it was given.
_NOISE: Final = r"[\s()]|::text"
# By the rule that it breaks: a question that finds a row where something is open.
_RULES: Final[Mapping[str, TextClause]] = {
    # Views, materialised views, partitioned and foreign tables, sequences, and tables of others.
    "relation": text("""SELECT FROM pg_catalog.pg_class c
        WHERE c.relnamespace = :place AND c.relkind <> 'i'
        AND NOT (c.relkind = 'r' AND c.relname = ANY(CAST(:tables AS text[])))"""),
    "owner": text("""SELECT FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_catalog.pg_namespace g ON g.nspname = 'paybill'
        WHERE n.oid = :place AND (c.relowner <> g.nspowner OR n.nspowner <> g.nspowner)"""),
    "row_security": text("""SELECT FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
        WHERE c.relnamespace = :place AND c.relkind = 'r'
        AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"""),
    "policy": text(r"""SELECT FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
        LEFT JOIN pg_catalog.pg_policy p ON p.polrelid = c.oid AND p.polpermissive,
        regexp_replace(pg_catalog.pg_get_expr(p.polqual, c.oid), :noise, '', 'g') AS seen,
        regexp_replace(pg_catalog.pg_get_expr(p.polwithcheck, c.oid), :noise, '', 'g') AS left_as
        WHERE c.relnamespace = :place AND c.relkind = 'r'
        AND (seen IS NULL OR seen <> ALL(CAST(:own AS text[]))
            OR left_as NOT IN (seen, 'false'))"""),
    # An index that does not begin with the tenant is one over all: its key tells who adds a row that
    # another has it, and EXPLAIN tells that it was looked at.
    "index": text("""SELECT FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
        JOIN pg_catalog.pg_index i ON i.indrelid = c.oid
        WHERE c.relnamespace = :place AND i.indkey[0] <> a.attnum"""),
    # The server looks for the row that is referred to past every policy.
    "foreign_key": text("""SELECT FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_constraint k ON c.oid IN (k.conrelid, k.confrelid)
        WHERE c.relnamespace = :place AND k.contype = 'f' AND NOT EXISTS (
            SELECT FROM unnest(k.conkey, k.confkey) AS pair (own, other)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid
                AND a.attnum = pair.own AND a.attname = 'tenant_id'
            JOIN pg_catalog.pg_attribute b ON b.attrelid = k.confrelid
                AND b.attnum = pair.other AND b.attname = 'tenant_id')"""),
    # Those that note what changes while a tenant is moved, and those that count what its services
    # write, are the owner's, and call the owner's.
    "trigger": text("""SELECT FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid
        JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid
        JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
        WHERE c.relnamespace = :place AND NOT t.tgisinternal
        AND NOT ((starts_with(t.tgname, 'paybill_moving_') OR f.proname = 'counted')
            AND n.nspname = 'paybill' AND f.proowner = n.nspowner)"""),
    "rule": text("""SELECT FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_rewrite w ON w.ev_class = c.oid
        WHERE c.relnamespace = :place AND c.relkind = 'r'"""),
    "inheritance": text("""SELECT FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_inherits h ON c.oid IN (h.inhrelid, h.inhparent)
        WHERE c.relnamespace = :place"""),
    # Wherever it lies, and over however many others: only a view that asks as its caller is bound.
    "view": text("""WITH RECURSIVE over (relation) AS (
            SELECT c.oid FROM pg_catalog.pg_class c
            WHERE c.relnamespace = :place AND c.relkind = 'r'
            UNION SELECT w.ev_class FROM over
            JOIN pg_catalog.pg_depend d ON d.refobjid = over.relation
                AND d.refclassid = 'pg_catalog.pg_class'::regclass
                AND d.classid = 'pg_catalog.pg_rewrite'::regclass
            JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid)
        SELECT FROM over JOIN pg_catalog.pg_class v ON v.oid = over.relation
        WHERE v.relkind = 'm' OR v.relkind = 'v' AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_options_to_table(v.reloptions)
            WHERE option_name = 'security_invoker' AND CAST(option_value AS boolean))"""),
    # One in the place could stand before the server's own; one elsewhere runs with another's rights.
    "function": text("""SELECT FROM pg_catalog.pg_proc p
        JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE n.oid = :place OR p.prosecdef
        AND n.nspname NOT IN ('pg_catalog', 'information_schema')
        AND NOT (n.nspname = 'paybill' AND p.proname = 'entered' AND p.pronargs = 0)
        AND EXISTS (SELECT FROM pg_catalog.aclexplode(n.nspacl) WHERE grantee <> n.nspowner)
        AND (p.proacl IS NULL OR EXISTS (
            SELECT FROM pg_catalog.aclexplode(p.proacl) WHERE grantee <> p.proowner))"""),
    # What no policy binds (TRUNCATE, for one), and what is the owner's to give.
    "grant": text("""SELECT FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) AS acl
            WHERE c.relnamespace = :place AND acl.grantee <> c.relowner
            AND NOT acl.privilege_type = ANY(CASE
                WHEN c.relname IN (:fence, :shape, :migrated) THEN ARRAY['SELECT']
                WHEN c.relname = :applied THEN ARRAY['SELECT', 'INSERT']
                ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'] END)
        UNION ALL SELECT FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) AS acl
            WHERE (n.oid = :place OR n.nspname = 'paybill') AND acl.grantee <> n.nspowner
            AND acl.privilege_type = 'CREATE'
        UNION ALL SELECT FROM pg_catalog.pg_namespace n
            JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid,
            pg_catalog.aclexplode(c.relacl) AS acl
            WHERE n.nspname = 'paybill' AND acl.grantee <> c.relowner"""),
    # What the planner keeps of a column are values of all tenants in the database.
    "statistics": text("""SELECT FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
        WHERE :shared AND c.relnamespace = :place AND c.relkind = 'r' AND c.relname NOT IN (:shape, :migrated)
        AND a.attnum > 0 AND NOT a.attisdropped AND coalesce(a.attstattarget, -1) <> 0"""),
}


def opening(
    connection: Connection, place: Place, tables: Sequence[str], policies: Sequence[str]
) -> str | None:
    """The name of a rule that the place breaks, or None.

    The place stands; `tables` are all that it should hold, and `policies` what they ask of a row.
    """
    found = select(_SCHEMAS.c.oid).where(_SCHEMAS.c.nspname == place.schema)
    given = {
        "place": connection.execute(found).scalar_one(),
        "tables": list(tables),
        "own": [re.sub(_NOISE, "", policy) for policy in policies],
        "noise": _NOISE,
        "shared": place.is_shared,
        "fence": FENCE.name,
        "applied": APPLIED.name,
        "shape": SCHEMA.name,
        "migrated": MIGRATED.name,
    }
    for rule, question in _RULES.items():
        if connection.execute(question, given).first() is not None:
            return rule
    return None
