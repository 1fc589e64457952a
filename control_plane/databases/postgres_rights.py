"""What a login may be on a Postgres server, asked as soon as it connects. Not what it may read.

Row security binds neither a superuser nor who is past it, and who owns a table, or may become its
owner, can take the policies off: such a login is not used at all.
"""

from __future__ import annotations

from typing import Any, Final, LiteralString

import psycopg

from control_plane.errors import Failed

# A large object and default privileges are no rights over others' tables: anybody may have them.
_FACE: Final[LiteralString] = """
    WITH RECURSIVE held (oid) AS (
        SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user
        UNION SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN held h ON m.member = h.oid)
    SELECT bool_or(rolsuper), bool_or(rolbypassrls), bool_or(rolreplication),
        bool_or(rolcreaterole OR rolcreatedb), bool_or(starts_with(rolname, 'pg_')),
        EXISTS (SELECT FROM pg_catalog.pg_shdepend d JOIN held h ON d.refobjid = h.oid
            WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass AND d.deptype = 'o'
            AND d.classid IN ('pg_catalog.pg_class'::regclass, 'pg_catalog.pg_proc'::regclass,
                'pg_catalog.pg_namespace'::regclass, 'pg_catalog.pg_database'::regclass))
    FROM pg_catalog.pg_roles JOIN held USING (oid)"""
_OWNER: Final[LiteralString] = """
    SELECT rolsuper, rolbypassrls, rolreplication FROM pg_catalog.pg_roles
    WHERE rolname = session_user"""
_NAMED: Final = (
    "be a superuser",
    "bypass row-level security",
    "replicate",
    "create databases or roles",
    "have a predefined role",
    "own anything",
)


def require_bound(raw: psycopg.Connection[Any], *, takes_role: bool) -> None:
    """Raise Failed (`login_rights`) unless row security binds the login, and will.

    A face's, which `takes_role`s, must be nothing more through any role that it is a member of.
    """
    raw.autocommit = True
    has = raw.execute(_FACE if takes_role else _OWNER).fetchone()
    raw.autocommit = False
    for name, holds in zip(_NAMED, has or (True,), strict=False):
        if holds:
            whose = "login for tenants' data" if takes_role else "worker's login"
            raise Failed(f"The {whose} must not {name}.", code="login_rights")
