"""The tables of coupons: which tenant has redeemed which, and how often each was in all. Not what a coupon takes off."""

from __future__ import annotations

from sqlalchemy import JSON, CheckConstraint, Column, Index, Integer, Table

from control_plane.store.base import COUNT, ID, INSTANT, SLUG, WORD, metadata

redemption = Table(
    "redemption",
    metadata,
    # Follows from tenant and code: no tenant redeems a coupon twice.
    Column("id", ID, primary_key=True),
    Column("tenant", SLUG, nullable=False),
    Column("coupon", JSON, nullable=False),
    Column("redeemed_at", INSTANT, nullable=False),
    Column("periods", Integer, nullable=False),
    Column("period_start", INSTANT),
    Column("ended_at", INSTANT),
    Index("ix_redemption_tenant", "tenant"),
    comment="A coupon as a tenant redeemed it, and how many of its periods have been.",
)

coupon_tally = Table(
    "coupon_tally",
    metadata,
    Column("code", WORD, primary_key=True),
    Column("redeemed", COUNT, nullable=False),
    CheckConstraint("redeemed >= 0", name="redeemed"),
    comment="How often a coupon is redeemed, over all tenants; its row is the lock that keeps it within its maximum.",
)
