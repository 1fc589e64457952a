"""The tables of usage events, tallies and reservations. Not what they mean: see `store/usage_tables.py`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def _usage_event() -> None:
    op.create_table(
        "usage_event",
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("source", sa.String(128), nullable=False),
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("meter", sa.String(64), nullable=False),
        sa.Column("quantity", sa.String(40), nullable=False),
        sa.Column("counted_key", sa.String(200), nullable=False),
        sa.Column("occurred_at", sa.String(32), nullable=False),
        sa.Column("received_at", sa.String(32), nullable=False),
        sa.Column("period_start", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "source", "id", name=op.f("pk_usage_event")),
        comment="One use of a meter, as its sender told it; written once, never changed.",
        sqlite_with_rowid=False,
    )


def _usage_tally() -> None:
    op.create_table(
        "usage_tally",
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("meter", sa.String(64), nullable=False),
        sa.Column("period_start", sa.String(32), nullable=False),
        sa.Column("tally", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "meter", "period_start", name=op.f("pk_usage_tally")),
        comment="What the events of a meter add up to in one period, kept up with every event.",
        sqlite_with_rowid=False,
    )


def _reservation() -> None:
    op.create_table(
        "reservation",
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("feature", sa.String(64), nullable=False),
        sa.Column("resource", sa.String(128), nullable=False),
        sa.Column("quantity", sa.String(40), nullable=False),
        sa.Column("reserved_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "feature", "resource", name=op.f("pk_reservation")),
        comment="What one resource holds under an entitlement, for as long as it lives.",
        sqlite_with_rowid=False,
    )


def _soft_limit_passed() -> None:
    op.create_table(
        "soft_limit_passed",
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("feature", sa.String(64), nullable=False),
        sa.Column("passed_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "feature", name=op.f("pk_soft_limit_passed")),
        comment="Since when a tenant is above a soft limit: from then on its grace is counted.",
        sqlite_with_rowid=False,
    )


def upgrade() -> None:
    """Make the tables."""
    _usage_event()
    _usage_tally()
    _reservation()
    _soft_limit_passed()
