"""What the database itself holds usage events to. Not what that means: see `store/usage_rules.py`."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"

_SQLITE = (
    """CREATE TRIGGER usage_event_fixed BEFORE UPDATE ON usage_event BEGIN
    SELECT RAISE(ABORT, 'a usage event is never changed');
END""",
    """CREATE TRIGGER usage_event_stays BEFORE DELETE ON usage_event
WHEN NOT EXISTS (SELECT 1 FROM tenant WHERE id = OLD.tenant AND state = 'deprovisioned') BEGIN
    SELECT RAISE(ABORT, 'a usage event stays as long as its tenant');
END""",
)
_POSTGRES = (
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


def upgrade() -> None:
    """Make the rules."""
    for rule in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRES:
        op.execute(rule)
