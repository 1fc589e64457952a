"""Where a tenant's stack stands, and the tables of infrastructure. Not what they mean: see `store/infrastructure_tables.py`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the column and make the tables."""
    op.add_column("tenant", sa.Column("cloud", sa.String(40)))
    op.create_table(
        "stack",
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("cloud", sa.String(40), nullable=False),
        sa.Column("isolation", sa.String(40), nullable=False),
        sa.Column("region", sa.String(40), nullable=False),
        sa.Column("plan", sa.String(40), nullable=False),
        sa.Column("size", sa.String(40), nullable=False),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("plan_digest", sa.String(64), nullable=False),
        sa.Column("resources", sa.JSON(), nullable=False),
        sa.Column("outputs", sa.JSON(), nullable=False),
        sa.Column("monthly_cost_minor", _COUNT),
        sa.Column("price_table", sa.String(40)),
        sa.Column("applied_at", sa.String(32), nullable=False),
        sa.Column("checked_at", sa.String(32)),
        sa.Column("drift", sa.JSON()),
        sa.CheckConstraint("state IN ('stands','drifted','gone')", name=op.f("ck_stack_state")),
        sa.PrimaryKeyConstraint("tenant", "cloud", "isolation", name=op.f("pk_stack")),
        comment="A tenant's stack as the last run left it, and as the last look found it.",
    )
    op.create_index("ix_stack_checked", "stack", ["state", "checked_at"])
    op.create_table(
        "run_event",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("address", sa.String(256), nullable=False),
        sa.Column("doing", sa.String(40), nullable=False),
        sa.Column("stage", sa.String(40), nullable=False),
        sa.Column("elapsed_s", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "position", name=op.f("pk_run_event")),
        comment="What a run told of a resource while it was at work; names and stages, never a value.",
    )
