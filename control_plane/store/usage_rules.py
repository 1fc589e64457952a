"""What the database itself holds usage events to: none changes, and none goes before its tenant. Not what they count.

A rule that is broken is an integrity error of the driver, on both engines. The migrations repeat
these words. SQLite's REPLACE removes a row without a word to them: a trigger on inserts, which alone
would see it, would refuse the repeats that are passed over by their key.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, Table, event

SQLITE: Final = (
    """CREATE TRIGGER usage_event_fixed BEFORE UPDATE ON usage_event BEGIN
    SELECT RAISE(ABORT, 'a usage event is never changed');
END""",
    """CREATE TRIGGER usage_event_stays BEFORE DELETE ON usage_event
WHEN NOT EXISTS (SELECT 1 FROM tenant WHERE id = OLD.tenant AND state = 'deprovisioned') BEGIN
    SELECT RAISE(ABORT, 'a usage event stays as long as its tenant');
END""",
)

POSTGRES: Final = (
    """CREATE FUNCTION usage_event_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a usage event is never changed' USING ERRCODE = 'restrict_violation';
END $$""",
    """CREATE FUNCTION usage_event_stays() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM tenant WHERE id = OLD.tenant AND state = 'deprovisioned') THEN
        RAISE EXCEPTION 'a usage event stays as long as its tenant'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN OLD;
END $$""",
    """CREATE TRIGGER fixed BEFORE UPDATE OR TRUNCATE ON usage_event
FOR EACH STATEMENT EXECUTE FUNCTION usage_event_fixed()""",
    """CREATE TRIGGER stays BEFORE DELETE ON usage_event
FOR EACH ROW EXECUTE FUNCTION usage_event_stays()""",
)


def keep(usage_event: Table) -> None:
    """Make the rules with the table, whenever it is made from its metadata."""
    event.listen(usage_event, "after_create", _make)


def _make(_: Table, connection: Connection, **__: object) -> None:
    for rule in SQLITE if connection.dialect.name == "sqlite" else POSTGRES:
        connection.exec_driver_sql(rule)
