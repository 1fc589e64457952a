"""What the database itself holds invoices to: a numbered one keeps its lines and stays. Not what they mean.

A rule that is broken is an integrity error of the driver, on both engines. The migrations repeat
these words.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, Table, event

SQLITE: Final = (
    """CREATE TRIGGER invoice_final BEFORE UPDATE OF id, tenant, subscription, number, currency,
    period_start, period_end, lines, total_minor, finalized_at, due_at, buyer, tax ON invoice
WHEN OLD.number IS NOT NULL BEGIN
    SELECT RAISE(ABORT, 'an invoice with a number is final');
END""",
    """CREATE TRIGGER invoice_stays BEFORE DELETE ON invoice
WHEN OLD.number IS NOT NULL BEGIN
    SELECT RAISE(ABORT, 'an invoice with a number is final');
END""",
)

POSTGRES: Final = (
    """CREATE FUNCTION invoice_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an invoice with a number is final' USING ERRCODE = 'restrict_violation';
END $$""",
    """CREATE TRIGGER final BEFORE UPDATE OF id, tenant, subscription, number, currency,
    period_start, period_end, lines, total_minor, finalized_at, due_at, buyer, tax ON invoice
FOR EACH ROW WHEN (OLD.number IS NOT NULL) EXECUTE FUNCTION invoice_final()""",
    """CREATE TRIGGER stays BEFORE DELETE ON invoice
FOR EACH ROW WHEN (OLD.number IS NOT NULL) EXECUTE FUNCTION invoice_final()""",
)


def keep(invoice: Table) -> None:
    """Make the rules with the table, whenever it is made from its metadata."""
    event.listen(invoice, "after_create", _make)


def _make(_: Table, connection: Connection, **__: object) -> None:
    for rule in SQLITE if connection.dialect.name == "sqlite" else POSTGRES:
        connection.exec_driver_sql(rule)
