"""To whom an invoice is made out, and how it was taxed. Not what that means: see `store/billing_tables.py`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_SQLITE = (
    "DROP TRIGGER invoice_final",
    """CREATE TRIGGER invoice_final BEFORE UPDATE OF id, tenant, subscription, number, currency,
    period_start, period_end, lines, total_minor, finalized_at, due_at, buyer, tax ON invoice
WHEN OLD.number IS NOT NULL BEGIN
    SELECT RAISE(ABORT, 'an invoice with a number is final');
END""",
)
_POSTGRES = (
    "DROP TRIGGER final ON invoice",
    """CREATE TRIGGER final BEFORE UPDATE OF id, tenant, subscription, number, currency,
    period_start, period_end, lines, total_minor, finalized_at, due_at, buyer, tax ON invoice
FOR EACH ROW WHEN (OLD.number IS NOT NULL) EXECUTE FUNCTION invoice_final()""",
)


def upgrade() -> None:
    """Add the columns; they too are final with the invoice's number."""
    op.add_column("billing_account", sa.Column("buyer", sa.JSON()))
    op.add_column("invoice", sa.Column("buyer", sa.JSON()))
    op.add_column("invoice", sa.Column("tax", sa.JSON()))
    op.add_column("credit_note", sa.Column("taxes", sa.JSON()))
    for rule in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRES:
        op.execute(rule)
