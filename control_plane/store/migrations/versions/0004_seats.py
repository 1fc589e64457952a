"""The table of seats. Not what it means: see `store/seat_tables.py`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_HOLDER = sa.String(200).with_variant(sa.String(200, collation="C"), "postgresql")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "seat",
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("holder", _HOLDER, nullable=False),
        sa.Column("assigned_at", sa.String(32), nullable=False),
        sa.Column("reserved_until", sa.String(32)),
        sa.Column("assigned_by", sa.String(120), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "holder", name=op.f("pk_seat")),
        comment="Who holds a seat of a tenant's: assigned, or reserved until an instant.",
    )
