"""The tables of tenants' databases: which there are, who is given them, how they move. Not a tenant's own rows."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    text,
)

from control_plane.store.base import COUNT, DIGEST, ID, INSTANT, NAME, SLUG, WORD, metadata

# A place is nobody's once its database is gone: only there may two rows name the same one.
STANDING = text("state <> 'deleted'")

database = Table(
    "database",
    metadata,
    Column("id", ID, primary_key=True),
    Column("tenant", SLUG, nullable=False),
    Column("server", WORD, nullable=False),
    Column("isolation", WORD, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("purpose", WORD, nullable=False),
    Column("state", WORD, nullable=False),
    Column("run_id", ID, nullable=False),
    Column("made_at", INSTANT, nullable=False),
    Column("changed_at", INSTANT, nullable=False),
    Column("kept_until", INSTANT),
    Column("version", Integer, nullable=False),
    CheckConstraint("purpose IN ('serving','incoming','former','clone')", name="purpose"),
    Index(
        "uq_database_place",
        "tenant",
        "server",
        "isolation",
        "slot",
        unique=True,
        sqlite_where=STANDING,
        postgresql_where=STANDING,
    ),
    Index("ix_database_kept_until", "kept_until"),
    comment="A tenant's database: where it stands, what for, and in which state of its life.",
)

handover = Table(
    "handover",
    metadata,
    Column("tenant", SLUG, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("database_id", ID, nullable=False),
    Column("access", WORD, nullable=False),
    Column("half", WORD, nullable=False),
    Column("secret", String(400), nullable=False),
    Column("changed_at", INSTANT, nullable=False),
    Column("acked_version", Integer, nullable=False),
    Column("acked_at", INSTANT),
    Column("acked_by", NAME),
    CheckConstraint("access IN ('full','read_only','none')", name="access"),
    CheckConstraint("half IN ('a','b','')", name="half"),
    comment="Which database the SaaS's own services connect to, under which credential; a reference, never the secret.",
)

tenant_move = Table(
    "tenant_move",
    metadata,
    Column("run_id", ID, primary_key=True),
    Column("tenant", SLUG, nullable=False),
    Column("source", ID, nullable=False),
    Column("target", ID, nullable=False),
    Column("state", WORD, nullable=False),
    Column("records", COUNT, nullable=False),
    Column("frozen_ms", COUNT),
    Column("cutover_at", INSTANT),
    Column("kept_until", INSTANT),
    Column("changed_at", INSTANT, nullable=False),
    CheckConstraint(
        "state IN ('moving','observing','finalised','rolled_back','aborted')", name="state"
    ),
    Index("ix_tenant_move_tenant", "tenant", "changed_at"),
    comment="A move of a tenant from one database to another, and how long it was read-only for it.",
)

data_key = Table(
    "data_key",
    metadata,
    Column("id", ID, primary_key=True),
    Column("tenant", SLUG, nullable=False),
    Column("version", Integer, nullable=False),
    Column("wrapped", LargeBinary),
    Column("kek", String(200), nullable=False),
    Column("made_at", INSTANT, nullable=False),
    Column("shredded_at", INSTANT),
    UniqueConstraint("tenant", "version", name="uq_data_key_version"),
    CheckConstraint("wrapped IS NULL OR shredded_at IS NULL", name="shredded"),
    comment="A version of the key of a tenant's backups, wrapped under another; shredded, nothing opens any more.",
)

fleet_migration = Table(
    "fleet_migration",
    metadata,
    Column("id", ID, primary_key=True),
    Column("first", Integer, nullable=False),
    Column("last", Integer, nullable=False),
    Column("state", WORD, nullable=False),
    Column("asked", WORD, nullable=False),
    Column("asked_by", NAME, nullable=False),
    Column("digest", DIGEST, nullable=False),
    Column("catalog", DIGEST, nullable=False),
    Column("run_id", ID, nullable=False),
    Column("failures_max", Integer, nullable=False),
    Column("reason", String(200), nullable=False),
    Column("created_at", INSTANT, nullable=False),
    Column("changed_at", INSTANT, nullable=False),
    Column("version", Integer, nullable=False),
    CheckConstraint("asked IN ('','pause','abort')", name="asked"),
    comment="A change of all tenants' databases by the team's migrations, and how far it is.",
)

fleet_receipt = Table(
    "fleet_receipt",
    metadata,
    Column("tenant", SLUG, primary_key=True),
    Column("place", String(60), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("migration", String(200), nullable=False),
    Column("digest", DIGEST, nullable=False),
    Column("campaign", ID, nullable=False),
    Column("state", WORD, nullable=False),
    Column("before", String(64), nullable=False),
    Column("after", String(64), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("code", WORD, nullable=False),
    Column("detail", String(200), nullable=False),
    Column("changed_at", INSTANT, nullable=False),
    CheckConstraint("state IN ('pending','done','failed')", name="state"),
    Index("ix_fleet_receipt_campaign", "campaign", "state"),
    comment="What one of the team's migrations has come to in one database of one tenant.",
)
