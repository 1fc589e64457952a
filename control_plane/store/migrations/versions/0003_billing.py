"""The tables of accounts, invoices and payments, and their rules. Not what they mean: see `store/billing_tables.py`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_SQLITE = (
    """CREATE TRIGGER invoice_final BEFORE UPDATE OF id, tenant, subscription, number, currency,
    period_start, period_end, lines, total_minor, finalized_at, due_at ON invoice
WHEN OLD.number IS NOT NULL BEGIN
    SELECT RAISE(ABORT, 'an invoice with a number is final');
END""",
    """CREATE TRIGGER invoice_stays BEFORE DELETE ON invoice
WHEN OLD.number IS NOT NULL BEGIN
    SELECT RAISE(ABORT, 'an invoice with a number is final');
END""",
)

_POSTGRES = (
    """CREATE FUNCTION invoice_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an invoice with a number is final' USING ERRCODE = 'restrict_violation';
END $$""",
    """CREATE TRIGGER final BEFORE UPDATE OF id, tenant, subscription, number, currency,
    period_start, period_end, lines, total_minor, finalized_at, due_at ON invoice
FOR EACH ROW WHEN (OLD.number IS NOT NULL) EXECUTE FUNCTION invoice_final()""",
    """CREATE TRIGGER stays BEFORE DELETE ON invoice
FOR EACH ROW WHEN (OLD.number IS NOT NULL) EXECUTE FUNCTION invoice_final()""",
)


def _billing_account() -> None:
    op.create_table(
        "billing_account",
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("starts_at", sa.String(32)),
        sa.Column("incomplete_ends_at", sa.String(32)),
        sa.Column("trial_ends_at", sa.String(32)),
        sa.Column("grace_ends_at", sa.String(32)),
        sa.Column("paused_until", sa.String(32)),
        sa.Column("term_ends_at", sa.String(32)),
        sa.Column("current_period_start", sa.String(32)),
        sa.Column("current_period_end", sa.String(32)),
        sa.Column("collection_paused", sa.Boolean(), nullable=False),
        sa.Column("never_suspend", sa.Boolean(), nullable=False),
        sa.Column("terms", sa.JSON()),
        sa.Column("method", sa.JSON()),
        sa.Column("method_set_at", sa.String(32)),
        sa.Column("running", sa.JSON(), nullable=False),
        sa.Column("unbilled", sa.JSON()),
        sa.Column("gates", sa.JSON(), nullable=False),
        sa.Column("pending_change", sa.JSON()),
        sa.Column("next_due_at", sa.String(32)),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_billing_account")),
        comment="How a tenant's subscription stands with money: terms, dates, and what its debts close.",
    )
    op.create_index("ix_billing_account_next_due_at", "billing_account", ["next_due_at"])


def _invoice() -> None:
    op.create_table(
        "invoice",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("subscription", sa.String(64)),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("number", sa.String(40)),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("period_start", sa.String(32)),
        sa.Column("period_end", sa.String(32)),
        sa.Column("lines", sa.JSON(), nullable=False),
        sa.Column("total_minor", _COUNT, nullable=False),
        sa.Column("allocated_minor", _COUNT, nullable=False),
        sa.Column("credited_minor", _COUNT, nullable=False),
        sa.Column("collection_deadline", sa.String(32)),
        sa.Column("finalized_at", sa.String(32)),
        sa.Column("due_at", sa.String(32)),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.String(32)),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("total_minor >= 0", name=op.f("ck_invoice_total_minor")),
        sa.UniqueConstraint("subscription", "period_start", name=op.f("uq_invoice_subscription")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice")),
        sa.UniqueConstraint("number", name=op.f("uq_invoice_number")),
        comment="An invoice with its lines; from its number on only its standing moves.",
    )
    op.create_index(
        "ix_invoice_moving",
        "invoice",
        ["tenant"],
        sqlite_where=sa.text("state IN ('draft','open','uncollectible')"),
        postgresql_where=sa.text("state IN ('draft','open','uncollectible')"),
    )
    op.create_index("ix_invoice_tenant", "invoice", ["tenant", "finalized_at", "id"])


def _payment_attempt() -> None:
    op.create_table(
        "payment_attempt",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("invoice", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("amount_minor", _COUNT, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("provider", sa.String(40), nullable=False),
        sa.Column("method_reference", sa.String(120), nullable=False),
        sa.Column("provider_reference", sa.String(255), nullable=False),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("failure", sa.String(40)),
        sa.Column("unsettled", sa.String(40)),
        sa.Column("decline_code", sa.String(80), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("changed_at", sa.String(32), nullable=False),
        sa.Column("deadline_at", sa.String(32)),
        sa.Column("heartbeat_at", sa.String(32)),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.UniqueConstraint("invoice", "number", name=op.f("uq_payment_attempt_invoice")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_attempt")),
        comment="One attempt at collecting an invoice; committed before its provider is asked.",
    )
    op.create_index("ix_payment_attempt_tenant", "payment_attempt", ["tenant"])


def _credit_note() -> None:
    op.create_table(
        "credit_note",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("invoice", sa.String(64), nullable=False),
        sa.Column("number", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("amount_minor", _COUNT, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("issued_at", sa.String(32), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_credit_note_amount_minor")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_note")),
        sa.UniqueConstraint("number", name=op.f("uq_credit_note_number")),
        comment="What was taken back of an invoice; issued once, and never changed.",
    )
    op.create_index("ix_credit_note_tenant", "credit_note", ["tenant", "issued_at", "id"])


def _series() -> None:
    op.create_table(
        "series",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("last", _COUNT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_series")),
        comment="The last number given of each series; taken in the transaction that uses it, so none is missing.",
    )


def upgrade() -> None:
    """Make the tables, then their rules."""
    _billing_account()
    _invoice()
    _payment_attempt()
    _credit_note()
    _series()
    for rule in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRES:
        op.execute(rule)
