"""The triggers by which Postgres notes and refuses changes of one tenant's rows. Not who reads that.

What they do is the owner's: a writer has no right to the outbox, nor to the functions. In tables
that tenants share, a trigger is asked for no row of another's. All of it is transient.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final, LiteralString

from psycopg.sql import SQL, Composable, Identifier, Literal
from sqlalchemy import Connection, column, select, table, text

from control_plane.data.moving_ends import READ_ONLY
from control_plane.data.moving_parts import Part
from control_plane.databases.postgres_layout import say
from control_plane.databases.postgres_names import Place
from control_plane.domain.canonical import canonical

_PREFIX: Final = "paybill_moving_"
_FUNCTIONS: Final = table("pg_proc", column("proname"), column("pronamespace"), schema="pg_catalog")
_NOTES: Final = "note_"
_REFUSAL: Final = "refuse_truncation"
_KEY_HASH_CHARS: Final = 16
# A team's key may be of any type: its text must not depend on what the writer's session says.
_PLAIN: Final[LiteralString] = (
    "SET datestyle = 'ISO, YMD' SET timezone = 'UTC' SET extra_float_digits = 1"
)
# A transaction that shows one moment throughout does not see that the tenant was frozen since: to
# hold the row is refused to it, and it has to be made again. Others look after they have the lock,
# and who froze held that lock alone.
_NOTE: Final[LiteralString] = """CREATE FUNCTION paybill.{function}() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp {plain} AS $note$
    DECLARE
        said record;
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(TG_ARGV[1]::bigint);
        IF current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') THEN
            SELECT m.is_frozen, m.is_noted INTO said FROM paybill.paybill_moving m
                WHERE m.place = TG_TABLE_SCHEMA AND m.tenant_id = TG_ARGV[0];
        ELSE
            BEGIN
                SELECT m.is_frozen, m.is_noted INTO said FROM paybill.paybill_moving m
                    WHERE m.place = TG_TABLE_SCHEMA AND m.tenant_id = TG_ARGV[0] FOR SHARE;
            EXCEPTION WHEN serialization_failure THEN
                RAISE EXCEPTION USING MESSAGE = {refused}, ERRCODE = 'serialization_failure';
            END;
            IF NOT FOUND THEN
                RAISE EXCEPTION USING MESSAGE = 'paybill: the transaction is older than the move',
                    ERRCODE = 'serialization_failure';
            END IF;
        END IF;
        IF said.is_frozen THEN
            RAISE EXCEPTION USING MESSAGE = {refused}, ERRCODE = 'read_only_sql_transaction';
        END IF;
        IF said.is_noted IS NOT TRUE THEN
            RETURN NULL;
        END IF;
        IF TG_OP <> 'INSERT' THEN
            IF OLD.tenant_id = TG_ARGV[0] THEN
                INSERT INTO paybill.paybill_outbox (place, tenant_id, collection, row_key)
                    VALUES (TG_TABLE_SCHEMA, TG_ARGV[0], TG_TABLE_NAME, {old});
            END IF;
        END IF;
        IF TG_OP = 'UPDATE' THEN
            IF (NEW.tenant_id, {new}) IS NOT DISTINCT FROM (OLD.tenant_id, {old}) THEN
                RETURN NULL;
            END IF;
        END IF;
        IF TG_OP <> 'DELETE' THEN
            IF NEW.tenant_id = TG_ARGV[0] THEN
                INSERT INTO paybill.paybill_outbox (place, tenant_id, collection, row_key)
                    VALUES (TG_TABLE_SCHEMA, TG_ARGV[0], TG_TABLE_NAME, {new});
            END IF;
        END IF;
        RETURN NULL;
    END $note$"""
_REFUSE: Final[LiteralString] = """CREATE FUNCTION paybill.refuse_truncation() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $refuse$
    BEGIN
        RAISE EXCEPTION USING MESSAGE = 'paybill: the rows of a tenant are being moved',
            ERRCODE = 'read_only_sql_transaction';
    END $refuse$"""
# By the last letter of the trigger's name. Made to fire always, they bind a session, too, that replays
# what another server has written.
_TRIGGERS: Final[dict[str, LiteralString]] = {
    "i": """CREATE TRIGGER {trigger} AFTER INSERT ON {table} FOR EACH ROW
        WHEN (NEW.tenant_id = {tenant}) EXECUTE FUNCTION paybill.{function}({tenant}, {lock})""",
    "u": """CREATE TRIGGER {trigger} AFTER UPDATE ON {table} FOR EACH ROW
        WHEN (OLD.tenant_id = {tenant} OR NEW.tenant_id = {tenant})
        EXECUTE FUNCTION paybill.{function}({tenant}, {lock})""",
    "d": """CREATE TRIGGER {trigger} AFTER DELETE ON {table} FOR EACH ROW
        WHEN (OLD.tenant_id = {tenant}) EXECUTE FUNCTION paybill.{function}({tenant}, {lock})""",
    "t": """CREATE TRIGGER {trigger} BEFORE TRUNCATE ON {table} FOR EACH STATEMENT
        EXECUTE FUNCTION paybill.refuse_truncation()""",
}
_STANDING: Final = text("""SELECT c.relname, t.tgname FROM pg_catalog.pg_trigger t
    JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :place AND NOT t.tgisinternal AND t.tgname = ANY(CAST(:names AS text[]))
    ORDER BY 1, 2""")


def make_functions(connection: Connection, parts: Iterable[Part]) -> None:
    """What the triggers call, unless it is there; nobody but the owner may call it otherwise."""
    standing = set(_standing_functions(connection))
    wanted = {_noting(part): part for part in parts}
    for name in sorted({*wanted, _REFUSAL} - standing):
        if name == _REFUSAL:
            say(connection, _REFUSE)
        else:
            part = wanted[name]
            plain: Composable = SQL(_PLAIN) if part.is_team else SQL("")
            sides = {"old": _key(part, SQL("OLD")), "new": _key(part, SQL("NEW"))}
            refused = Literal(READ_ONLY)
            say(connection, _NOTE, function=name, refused=refused, plain=plain, **sides)
        say(connection, "REVOKE ALL ON FUNCTION paybill.{name}() FROM PUBLIC", name=name)


def drop_functions(connection: Connection) -> None:
    """Take them away; no trigger may be left."""
    for name in _standing_functions(connection):
        say(connection, "DROP FUNCTION IF EXISTS paybill.{name}()", name=name)


def add_triggers(connection: Connection, place: Place, part: Part) -> None:
    """Make those of one table that are not there: it waits for who writes the table."""
    standing = standing_triggers(connection, place).get(part.name, [])
    for letter, statement in _TRIGGERS.items():
        name = _trigger(place, letter)
        if name in standing:
            continue
        say(
            connection,
            statement,
            trigger=name,
            table=part.name,
            function=_noting(part),
            tenant=Literal(place.tenant),
            lock=Literal(str(place.lock)),
        )
        say(
            connection,
            "ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}",
            table=part.name,
            trigger=name,
        )


def drop_triggers(connection: Connection, place: Place, name: str) -> None:
    """Remove the tenant's of one table: it waits for who writes or reads the table."""
    for trigger in standing_triggers(connection, place).get(name, []):
        say(connection, "DROP TRIGGER {trigger} ON {table}", trigger=trigger, table=name)


def standing_triggers(connection: Connection, place: Place) -> dict[str, list[str]]:
    """The names of the tenant's, by table."""
    names = [_trigger(place, letter) for letter in _TRIGGERS]
    found: dict[str, list[str]] = {}
    for relation, trigger in connection.execute(_STANDING, {"place": place.schema, "names": names}):
        found.setdefault(relation, []).append(trigger)
    return found


def count_triggers(connection: Connection, place: Place) -> int:
    """How many of the tenant's there are."""
    return sum(map(len, standing_triggers(connection, place).values()))


def _standing_functions(connection: Connection) -> list[str]:
    found = select(_FUNCTIONS.c.proname).where(
        _FUNCTIONS.c.pronamespace == text("'paybill'::regnamespace")
    )
    every = connection.execute(found).scalars()
    return [name for name in every if name.startswith(_NOTES) or name == _REFUSAL]


def _noting(part: Part) -> str:
    """The function that notes rows of the table: one for all whose keys are of the same columns."""
    if not part.is_team:
        return _NOTES + part.keys[0].name
    named = canonical([one.name for one in part.keys])
    return f"{_NOTES}team_{hashlib.sha256(named).hexdigest()[:_KEY_HASH_CHARS]}"


def _key(part: Part, row: SQL) -> Composable:
    values = [SQL("{}.{}").format(row, Identifier(one.name)) for one in part.keys]
    if not part.is_team:
        return values[0]
    texts = SQL(", ").join(SQL("{}::text").format(one) for one in values)
    return SQL("jsonb_build_array({})::text").format(texts)


def _trigger(place: Place, letter: str) -> str:
    return f"{_PREFIX}{place.tenant}_{letter}"
