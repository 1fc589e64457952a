"""What the database itself holds the ledger to: rows are only added, entries balance. Not what is posted.

The postings of an entry are written first; the entry closes them, and only when they sum to zero in
every currency. From then on neither may be changed or removed, and no posting may join. A rule that
is broken is an integrity error of the driver, on both engines. The migrations repeat these words.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, Table, event

SQLITE: Final = (
    """CREATE TRIGGER ledger_entry_no_update BEFORE UPDATE ON ledger_entry BEGIN
    SELECT RAISE(ABORT, 'the ledger is append only');
END""",
    """CREATE TRIGGER ledger_entry_no_delete BEFORE DELETE ON ledger_entry BEGIN
    SELECT RAISE(ABORT, 'the ledger is append only');
END""",
    # A row that REPLACE removes passes the trigger above by, so the insert itself must look.
    """CREATE TRIGGER ledger_entry_balanced BEFORE INSERT ON ledger_entry BEGIN
    SELECT RAISE(ABORT, 'the ledger is append only') WHERE EXISTS (
        SELECT 1 FROM ledger_entry WHERE id = NEW.id OR (tenant = NEW.tenant
            AND cause_kind = NEW.cause_kind AND cause_reference = NEW.cause_reference));
    SELECT RAISE(ABORT, 'the entry is not balanced') WHERE
        NOT EXISTS (SELECT 1 FROM ledger_posting WHERE entry = NEW.id)
        OR EXISTS (SELECT 1 FROM ledger_posting WHERE entry = NEW.id
            GROUP BY currency HAVING sum(amount_minor) <> 0);
END""",
    """CREATE TRIGGER ledger_posting_no_update BEFORE UPDATE ON ledger_posting BEGIN
    SELECT RAISE(ABORT, 'the ledger is append only');
END""",
    """CREATE TRIGGER ledger_posting_no_delete BEFORE DELETE ON ledger_posting BEGIN
    SELECT RAISE(ABORT, 'the ledger is append only');
END""",
    """CREATE TRIGGER ledger_posting_open BEFORE INSERT ON ledger_posting BEGIN
    SELECT RAISE(ABORT, 'the ledger is append only')
        WHERE EXISTS (SELECT 1 FROM ledger_entry WHERE id = NEW.entry);
END""",
)

POSTGRES: Final = (
    """CREATE FUNCTION ledger_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append only' USING ERRCODE = 'restrict_violation';
END $$""",
    """CREATE FUNCTION ledger_entry_balanced() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM ledger_posting WHERE entry = NEW.id)
        OR EXISTS (SELECT FROM ledger_posting WHERE entry = NEW.id
            GROUP BY currency HAVING sum(amount_minor) <> 0) THEN
        RAISE EXCEPTION 'the entry is not balanced' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$""",
    """CREATE FUNCTION ledger_posting_open() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT FROM ledger_entry WHERE id = NEW.entry) THEN
        RAISE EXCEPTION 'the ledger is append only' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$""",
    """CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entry
FOR EACH STATEMENT EXECUTE FUNCTION ledger_append_only()""",
    """CREATE TRIGGER balanced BEFORE INSERT ON ledger_entry
FOR EACH ROW EXECUTE FUNCTION ledger_entry_balanced()""",
    """CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_posting
FOR EACH STATEMENT EXECUTE FUNCTION ledger_append_only()""",
    """CREATE TRIGGER open BEFORE INSERT ON ledger_posting
FOR EACH ROW EXECUTE FUNCTION ledger_posting_open()""",
)


def keep(posting: Table) -> None:
    """Make the rules with the tables, whenever these are made from their metadata.

    ``posting`` refers to the entries' table and is therefore made after it: then both stand.
    """
    event.listen(posting, "after_create", _make)


def _make(_: Table, connection: Connection, **__: object) -> None:
    for rule in SQLITE if connection.dialect.name == "sqlite" else POSTGRES:
        connection.exec_driver_sql(rule)
