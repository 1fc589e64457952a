"""Where a tenant's database stands, and the tables of databases. Not what they mean: see `store/database_tables.py`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_STANDING = sa.text("state <> 'deleted'")


def upgrade() -> None:
    """Add the columns and make the tables."""
    op.add_column("tenant", sa.Column("server", sa.String(40)))
    op.add_column("tenant", sa.Column("slot", sa.Integer()))
    _databases()
    _handovers()
    _fleets()
    _keys_of_backups()


def _databases() -> None:
    op.create_table(
        "database",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("server", sa.String(40), nullable=False),
        sa.Column("isolation", sa.String(40), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.String(40), nullable=False),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("made_at", sa.String(32), nullable=False),
        sa.Column("changed_at", sa.String(32), nullable=False),
        sa.Column("kept_until", sa.String(32)),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "purpose IN ('serving','incoming','former','clone')", name=op.f("ck_database_purpose")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_database")),
        comment="A tenant's database: where it stands, what for, and in which state of its life.",
    )
    op.create_index(
        "uq_database_place",
        "database",
        ["tenant", "server", "isolation", "slot"],
        unique=True,
        sqlite_where=_STANDING,
        postgresql_where=_STANDING,
    )
    op.create_index("ix_database_kept_until", "database", ["kept_until"])


def _handovers() -> None:
    op.create_table(
        "handover",
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("database_id", sa.String(64), nullable=False),
        sa.Column("access", sa.String(40), nullable=False),
        sa.Column("half", sa.String(40), nullable=False),
        sa.Column("secret", sa.String(400), nullable=False),
        sa.Column("changed_at", sa.String(32), nullable=False),
        sa.Column("acked_version", sa.Integer(), nullable=False),
        sa.Column("acked_at", sa.String(32)),
        sa.Column("acked_by", sa.String(120)),
        sa.CheckConstraint(
            "access IN ('full','read_only','none')", name=op.f("ck_handover_access")
        ),
        sa.CheckConstraint("half IN ('a','b','')", name=op.f("ck_handover_half")),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_handover")),
        comment="Which database the SaaS's own services connect to, under which credential; a reference, never the secret.",
    )
    op.create_table(
        "tenant_move",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("records", _COUNT, nullable=False),
        sa.Column("frozen_ms", _COUNT),
        sa.Column("cutover_at", sa.String(32)),
        sa.Column("kept_until", sa.String(32)),
        sa.Column("changed_at", sa.String(32), nullable=False),
        sa.CheckConstraint(
            "state IN ('moving','observing','finalised','rolled_back','aborted')",
            name=op.f("ck_tenant_move_state"),
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_tenant_move")),
        comment="A move of a tenant from one database to another, and how long it was read-only for it.",
    )
    op.create_index("ix_tenant_move_tenant", "tenant_move", ["tenant", "changed_at"])


def _keys_of_backups() -> None:
    op.create_table(
        "data_key",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary()),
        sa.Column("kek", sa.String(200), nullable=False),
        sa.Column("made_at", sa.String(32), nullable=False),
        sa.Column("shredded_at", sa.String(32)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_key")),
        sa.UniqueConstraint("tenant", "version", name="uq_data_key_version"),
        sa.CheckConstraint(
            "wrapped IS NULL OR shredded_at IS NULL", name=op.f("ck_data_key_shredded")
        ),
        comment="A version of the key of a tenant's backups, wrapped under another; shredded, nothing opens any more.",
    )
    op.add_column("backup", sa.Column("kind", sa.String(40)))
    op.add_column("backup", sa.Column("key_version", sa.Integer()))
    op.add_column("backup", sa.Column("removed_at", sa.String(32)))


def _fleets() -> None:
    op.create_table(
        "fleet_migration",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("asked", sa.String(40), nullable=False),
        sa.Column("asked_by", sa.String(120), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("catalog", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("failures_max", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("changed_at", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("asked IN ('','pause','abort')", name=op.f("ck_fleet_migration_asked")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fleet_migration")),
        comment="A change of all tenants' databases by the team's migrations, and how far it is.",
    )
    op.create_table(
        "fleet_receipt",
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("place", sa.String(60), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("migration", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("campaign", sa.String(64), nullable=False),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("before", sa.String(64), nullable=False),
        sa.Column("after", sa.String(64), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(40), nullable=False),
        sa.Column("detail", sa.String(200), nullable=False),
        sa.Column("changed_at", sa.String(32), nullable=False),
        sa.CheckConstraint(
            "state IN ('pending','done','failed')", name=op.f("ck_fleet_receipt_state")
        ),
        sa.PrimaryKeyConstraint("tenant", "place", "number", name=op.f("pk_fleet_receipt")),
        comment="What one of the team's migrations has come to in one database of one tenant.",
    )
    op.create_index("ix_fleet_receipt_campaign", "fleet_receipt", ["campaign", "state"])
