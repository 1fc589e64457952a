"""The tables of coupons. Not what they mean: see `store/coupon_tables.py`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "redemption",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("coupon", sa.JSON(), nullable=False),
        sa.Column("redeemed_at", sa.String(32), nullable=False),
        sa.Column("periods", sa.Integer(), nullable=False),
        sa.Column("period_start", sa.String(32)),
        sa.Column("ended_at", sa.String(32)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_redemption")),
        comment="A coupon as a tenant redeemed it, and how many of its periods have been.",
    )
    op.create_index("ix_redemption_tenant", "redemption", ["tenant"])
    op.create_table(
        "coupon_tally",
        sa.Column("code", sa.String(40), nullable=False),
        sa.Column("redeemed", _COUNT, nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_coupon_tally")),
        sa.CheckConstraint("redeemed >= 0", name=op.f("ck_coupon_tally_redeemed")),
        comment="How often a coupon is redeemed, over all tenants; its row is the lock that keeps it within its maximum.",
    )
