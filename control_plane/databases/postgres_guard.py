"""Who is in a session on Postgres: the tables and functions that tell, as SQL. Not the tenants' own tables."""

from __future__ import annotations

from typing import Final, LiteralString

from sqlalchemy import Connection, delete, insert
from sqlalchemy import column as named_column
from sqlalchemy import table as named_table

from control_plane.databases.postgres_names import Place

GUARD: Final = "paybill"
LOGIN: Final = named_table(
    "login",
    named_column("role"),
    named_column("place"),
    named_column("tenant_id"),
    schema=GUARD,
)
# The function sees the tables that tell who is in a session; who calls it does not. A login of a
# tenant's services is that tenant, whatever token it shows; any other is told by its token.
_ENTERED: Final[LiteralString] = """CREATE OR REPLACE FUNCTION paybill.entered() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    RETURN coalesce(
        (SELECT min(l.tenant_id) FROM paybill.login l WHERE l.role = session_user),
        (SELECT e.tenant_id FROM paybill.entry e WHERE e.digest = encode(
            sha256(convert_to(current_setting('paybill.entry', true), 'UTF8')), 'hex')))"""
# What a tenant's services add and remove is counted as what comes through us. The tenant's count is
# held before any row of the statement is, as by us: see record_count.py.
_COUNTED: Final[LiteralString] = """CREATE FUNCTION paybill.counted() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        whose text := (SELECT min(l.tenant_id) FROM paybill.login l WHERE l.role = session_user);
        counts text := quote_ident(TG_TABLE_SCHEMA) || '.paybill_count';
        take text := 'SELECT FROM ' || counts || ' WHERE tenant_id = $2 FOR UPDATE';
        more bigint := 0;
        held bigint;
    BEGIN
        IF whose IS NULL THEN
            RETURN NULL;
        END IF;
        IF TG_WHEN = 'AFTER' THEN
            more := (SELECT count(*) FROM changed);
            IF TG_OP = 'DELETE' THEN
                more := -more;
            END IF;
            take := 'UPDATE ' || counts || ' SET records = records + $1 WHERE tenant_id = $2';
        END IF;
        -- The policies bind the owner too: it must be in the tenant, whatever the session says.
        PERFORM set_config('paybill.tenant', whose, true);
        EXECUTE take USING more, whose;
        GET DIAGNOSTICS held = ROW_COUNT;
        IF held <> 1 THEN
            RAISE EXCEPTION 'nothing counts the records' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$"""
GUARDING: Final[tuple[LiteralString, ...]] = (
    "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    "CREATE SCHEMA paybill",
    """CREATE TABLE paybill.entry (
        place text NOT NULL,
        tenant_id text COLLATE "C" NOT NULL,
        digest text NOT NULL UNIQUE,
        PRIMARY KEY (place, tenant_id))""",
)
# Of their own: a guard that was made before services had logins is brought to the same shape.
LOGGING_IN: Final[tuple[LiteralString, ...]] = (
    """CREATE TABLE paybill.login (
        role name NOT NULL,
        place text NOT NULL,
        tenant_id text COLLATE "C" NOT NULL,
        PRIMARY KEY (role, place))""",
    _ENTERED,
    "REVOKE ALL ON FUNCTION paybill.entered() FROM PUBLIC",
    _COUNTED,
    "REVOKE ALL ON FUNCTION paybill.counted() FROM PUBLIC",
)


def admit_login(connection: Connection, place: Place, login: str) -> None:
    """Whoever logs in so is the tenant."""
    remove_login(connection, place, login)
    row = {"role": login, "place": place.schema, "tenant_id": place.tenant}
    connection.execute(insert(LOGIN).values(**row))


def remove_login(connection: Connection, place: Place, login: str) -> None:
    """Whoever logs in so is nobody, in this place."""
    connection.execute(delete(LOGIN).where(LOGIN.c.role == login, LOGIN.c.place == place.schema))
