"""Where a customer acts, until when quota is held, and the table of refunds. Not what they mean: see `store/billing_tables.py`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns and make the table."""
    op.add_column("payment_attempt", sa.Column("action_url", sa.String(2048)))
    op.add_column("reservation", sa.Column("expires_at", sa.String(32)))
    op.create_table(
        "refund",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("credit_note", sa.String(64), nullable=False),
        sa.Column("invoice", sa.String(64), nullable=False),
        sa.Column("attempt", sa.String(64), nullable=False),
        sa.Column("amount_minor", _COUNT, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("reference", sa.String(255), nullable=False),
        sa.Column("decline_code", sa.String(80), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("changed_at", sa.String(32), nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.String(32)),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_refund_amount_minor")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refund")),
        sa.UniqueConstraint("credit_note", name=op.f("uq_refund_credit_note")),
        comment="What goes back by the way it was paid; promised in the ledger before its provider is asked.",
    )
    op.create_index("ix_refund_invoice", "refund", ["invoice"])
    op.create_index(
        "ix_refund_pending",
        "refund",
        ["tenant"],
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
