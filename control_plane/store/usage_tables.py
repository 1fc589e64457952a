"""The tables of usage: events, what they add up to, what is reserved. Not what a meter counts, nor a limit."""

from __future__ import annotations

from sqlalchemy import JSON, Column, PrimaryKeyConstraint, String, Table

from control_plane.store.base import INSTANT, SLUG, metadata
from control_plane.store.usage_rules import keep

EVENT_NAME = String(128)
METER = String(64)
# A decimal in plain digits: no number type of both engines keeps nine places exactly.
QUANTITY = String(40)

usage_event = Table(
    "usage_event",
    metadata,
    Column("tenant", SLUG, nullable=False),
    Column("source", EVENT_NAME, nullable=False),
    Column("id", EVENT_NAME, nullable=False),
    Column("meter", METER, nullable=False),
    Column("quantity", QUANTITY, nullable=False),
    # What a meter of distinct things counts; empty for every other.
    Column("counted_key", String(200), nullable=False),
    Column("occurred_at", INSTANT, nullable=False),
    Column("received_at", INSTANT, nullable=False),
    # Where it counts, which for a late one is not where it occurred.
    Column("period_start", INSTANT, nullable=False),
    PrimaryKeyConstraint("tenant", "source", "id"),
    comment="One use of a meter, as its sender told it; written once, never changed.",
    sqlite_with_rowid=False,
)
keep(usage_event)

usage_tally = Table(
    "usage_tally",
    metadata,
    Column("tenant", SLUG, nullable=False),
    Column("meter", METER, nullable=False),
    Column("period_start", INSTANT, nullable=False),
    Column("tally", JSON, nullable=False),
    PrimaryKeyConstraint("tenant", "meter", "period_start"),
    comment="What the events of a meter add up to in one period, kept up with every event.",
    sqlite_with_rowid=False,
)

reservation = Table(
    "reservation",
    metadata,
    Column("tenant", SLUG, nullable=False),
    Column("feature", METER, nullable=False),
    Column("resource", EVENT_NAME, nullable=False),
    Column("quantity", QUANTITY, nullable=False),
    Column("reserved_at", INSTANT, nullable=False),
    # When it ends by itself, should nobody release it; null where it lasts as its resource does.
    Column("expires_at", INSTANT),
    PrimaryKeyConstraint("tenant", "feature", "resource"),
    comment="What one resource holds under an entitlement, for as long as it lives.",
    sqlite_with_rowid=False,
)

soft_limit_passed = Table(
    "soft_limit_passed",
    metadata,
    Column("tenant", SLUG, nullable=False),
    Column("feature", METER, nullable=False),
    Column("passed_at", INSTANT, nullable=False),
    PrimaryKeyConstraint("tenant", "feature"),
    comment="Since when a tenant is above a soft limit: from then on its grace is counted.",
    sqlite_with_rowid=False,
)
