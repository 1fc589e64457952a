"""The tables of infrastructure: which stack stands where, and what a run told while it was at work. Not how one is made."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
)

from control_plane.store.base import COUNT, ID, INSTANT, SLUG, WORD, metadata

stack = Table(
    "stack",
    metadata,
    Column("tenant", SLUG, nullable=False),
    Column("cloud", WORD, nullable=False),
    Column("isolation", WORD, nullable=False),
    Column("region", WORD, nullable=False),
    Column("plan", WORD, nullable=False),
    Column("size", WORD, nullable=False),
    Column("state", WORD, nullable=False),
    Column("run_id", ID, nullable=False),
    Column("plan_digest", ID, nullable=False),
    Column("resources", JSON, nullable=False),
    Column("outputs", JSON, nullable=False),
    Column("monthly_cost_minor", COUNT),
    Column("price_table", WORD),
    Column("applied_at", INSTANT, nullable=False),
    Column("checked_at", INSTANT),
    Column("drift", JSON),
    PrimaryKeyConstraint("tenant", "cloud", "isolation"),
    CheckConstraint("state IN ('stands','drifted','gone')", name="state"),
    Index("ix_stack_checked", "state", "checked_at"),
    comment="A tenant's stack as the last run left it, and as the last look found it.",
)

run_event = Table(
    "run_event",
    metadata,
    Column("run_id", ID, nullable=False),
    Column("position", Integer, nullable=False),
    Column("at", INSTANT, nullable=False),
    Column("address", String(256), nullable=False),
    Column("doing", WORD, nullable=False),
    Column("stage", WORD, nullable=False),
    Column("elapsed_s", Integer, nullable=False),
    PrimaryKeyConstraint("run_id", "position"),
    comment="What a run told of a resource while it was at work; names and stages, never a value.",
)
