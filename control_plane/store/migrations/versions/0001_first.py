"""The store's first tables. Not what they mean: that stands in `store/tables.py`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _setting() -> None:
    op.create_table(
        "setting",
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_setting")),
        comment="Workspace settings that a decision may depend on: approval rule, applied catalog digest, keys in force.",
    )


def _access_grant() -> None:
    op.create_table(
        "access_grant",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("principal", sa.String(120), nullable=False),
        sa.Column("actor", sa.String(120), nullable=False),
        sa.Column("actor_kind", sa.String(40), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("ceiling", sa.JSON(), nullable=False),
        sa.Column("tenants", sa.JSON(), nullable=False),
        sa.Column("issued_at", sa.String(32), nullable=False),
        sa.Column("expires_at", sa.String(32), nullable=False),
        sa.Column("revoked_at", sa.String(32)),
        sa.CheckConstraint(
            "actor_kind IN ('human','agent','service')", name=op.f("ck_access_grant_actor_kind")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_grant")),
        comment="A revocable right; a token names one and carries no right itself.",
    )


def _tenant() -> None:
    op.create_table(
        "tenant",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("display_name", sa.String(120), nullable=False),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("isolation", sa.String(40), nullable=False),
        sa.Column("plan", sa.String(40), nullable=False),
        sa.Column("region", sa.String(40), nullable=False),
        sa.Column("access_mode", sa.String(40), nullable=False),
        sa.Column("suspend_reasons", sa.JSON(), nullable=False),
        sa.Column("cordoned", sa.Boolean(), nullable=False),
        sa.Column("deletion_protection", sa.Boolean(), nullable=False),
        sa.Column("legal_hold", sa.Boolean(), nullable=False),
        sa.Column("restorable_until", sa.String(32)),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "isolation IN ('silo','bridge','pooled')", name=op.f("ck_tenant_isolation")
        ),
        sa.CheckConstraint(
            "access_mode IN ('full','read_only','none')", name=op.f("ck_tenant_access_mode")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenant")),
        comment="A tenant; its id is its slug and is never used again.",
    )


def _subscription() -> None:
    op.create_table(
        "subscription",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("plan", sa.String(40), nullable=False),
        sa.Column("plan_version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("cancel_at_period_end", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription")),
        sa.UniqueConstraint("tenant", name=op.f("uq_subscription_tenant")),
        comment="What a tenant has taken; one a tenant.",
    )


def _fence() -> None:
    op.create_table(
        "fence",
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(64)),
        sa.Column("data_epoch", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_fence")),
        comment="The epoch that every write for a tenant must hold; it stands before the tenant does.",
    )


def _call() -> None:
    op.create_table(
        "call",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("principal", sa.String(120), nullable=False),
        sa.Column("actor", sa.String(120), nullable=False),
        sa.Column("grant_id", sa.String(64), nullable=False),
        sa.Column("tool", sa.String(120), nullable=False),
        sa.Column("command", sa.String(40), nullable=False),
        sa.Column("arguments_hmac", sa.String(64), nullable=False),
        sa.Column("as_of", sa.String(32), nullable=False),
        sa.Column("seed", sa.String(64), nullable=False),
        sa.Column("catalog", sa.String(64), nullable=False),
        sa.Column("bundle", sa.String(40), nullable=False),
        sa.Column("idempotency_key", sa.String(120)),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("run_id", sa.String(64)),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("effect", sa.JSON()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_call")),
        comment="A changing call: asked by whom, as of when, with which seed.",
    )
    op.create_index(
        "ix_call_unsettled",
        "call",
        ["as_of"],
        sqlite_where=sa.text("settled IS 0"),
        postgresql_where=sa.text("settled IS false"),
    )


def _idempotency() -> None:
    op.create_table(
        "idempotency",
        sa.Column("principal", sa.String(120), nullable=False),
        sa.Column("actor", sa.String(120), nullable=False),
        sa.Column("tool", sa.String(120), nullable=False),
        sa.Column("key", sa.String(120), nullable=False),
        sa.Column("arguments_hmac", sa.String(64), nullable=False),
        sa.Column("call_id", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("principal", "actor", "tool", "key", name=op.f("pk_idempotency")),
        comment="Which call a key stands for; the call is stored, never an answer.",
    )


def _run() -> None:
    op.create_table(
        "run",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("call_id", sa.String(64), nullable=False),
        sa.Column("principal", sa.String(120), nullable=False),
        sa.Column("actor", sa.String(120), nullable=False),
        sa.Column("grant_id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("tool", sa.String(120), nullable=False),
        sa.Column("holds", sa.Boolean(), nullable=False),
        sa.Column("command", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("as_of", sa.String(32), nullable=False),
        sa.Column("seed", sa.String(64), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("updated_at", sa.String(32), nullable=False),
        sa.Column("deadline_at", sa.String(32)),
        sa.Column("heartbeat_at", sa.String(32)),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("plan", sa.JSON()),
        sa.Column("plan_digest", sa.String(64), nullable=False),
        sa.Column("plan_facts", sa.JSON()),
        sa.Column("artifact", sa.String(64)),
        sa.Column("approval_id", sa.String(64)),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("detail", sa.String(400), nullable=False),
        sa.Column("retryable", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        comment="Work that the worker executes; at most one that is not over holds a tenant.",
    )
    where = sa.text(
        "state NOT IN ('applied','discarded','canceled','failed','compensated') AND holds"
    )
    op.create_index(
        "uq_run_holds_tenant",
        "run",
        ["tenant"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )
    op.create_index("ix_run_created_at", "run", ["created_at", "id"])
    op.create_index("ix_run_tenant", "run", ["tenant", "created_at", "id"])


def _run_step() -> None:
    op.create_table(
        "run_step",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("permit_id", sa.String(64)),
        sa.Column("dispatched_at", sa.String(32)),
        sa.Column("ended_at", sa.String(32)),
        sa.Column("observed", sa.JSON()),
        sa.PrimaryKeyConstraint("run_id", "name", name=op.f("pk_run_step")),
        comment="One side effect of a run: intent before, outcome after.",
    )


def _job() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("routine", sa.String(40), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.CheckConstraint("state IN ('pending','enqueued','finished')", name=op.f("ck_job_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        comment="What a face asks of the worker; the worker's intake hands it to the engine.",
    )
    op.create_index("ix_job_pending", "job", ["state"])


def _permit() -> None:
    op.create_table(
        "permit",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("command_digest", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("step", sa.String(40), nullable=False),
        sa.Column("decision_id", sa.String(64), nullable=False),
        sa.Column("facts_digest", sa.String(64), nullable=False),
        sa.Column("issued_at", sa.String(32), nullable=False),
        sa.Column("consumed_at", sa.String(32)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_permit")),
        comment="Evidence of a decision for one side effect; single use.",
    )


def _approval() -> None:
    op.create_table(
        "approval",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("requester", sa.String(120), nullable=False),
        sa.Column("requester_actor", sa.String(120), nullable=False),
        sa.Column("rule", sa.String(40), nullable=False),
        sa.Column("plan_digest", sa.String(64), nullable=False),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("expires_at", sa.String(32), nullable=False),
        sa.Column("decided_by", sa.String(120)),
        sa.Column("decided_at", sa.String(32)),
        sa.Column("key_id", sa.String(64)),
        sa.Column("signature", sa.String(200)),
        sa.Column("checkpoint", sa.String(1000)),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval")),
        comment="A question to a human, bound to a digest, consumed once.",
    )
    op.create_index("ix_approval_created_at", "approval", ["created_at", "id"])
    op.create_index("ix_approval_tenant", "approval", ["tenant", "created_at", "id"])


def _approver() -> None:
    op.create_table(
        "approver",
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("principal", sa.String(120), nullable=False),
        sa.Column("public_key", sa.String(100), nullable=False),
        sa.Column("enrolled_at", sa.String(32), nullable=False),
        sa.Column("enrolled_by", sa.String(64), nullable=False),
        sa.Column("signature", sa.String(200), nullable=False),
        sa.Column("revoked_at", sa.String(32)),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_approver")),
        comment="An approver's public key, its enrolment signed by the root key or an approver in force.",
    )


def _tenant_key() -> None:
    op.create_table(
        "tenant_key",
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("wrapped_private", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_tenant_key")),
        comment="A tenant's sealing key; forgetting the wrapped private half forgets the tenant's payloads.",
    )


def _artifact() -> None:
    op.create_table(
        "artifact",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifact")),
        comment="A sealed plan artifact; it dies on expiry.",
    )


def _backup() -> None:
    op.create_table(
        "backup",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("isolation", sa.String(40), nullable=False),
        sa.Column("made_at", sa.String(32), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("bytes", _COUNT, nullable=False),
        sa.Column("contents", sa.JSON(), nullable=False),
        sa.Column("schema_digest", sa.String(64), nullable=False),
        sa.Column("verified_at", sa.String(32)),
        sa.Column("keep_until", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backup")),
        comment="A tenant's data at an instant: where it lies is the worker's; verified by restoring it.",
    )
    op.create_index("ix_backup_tenant", "backup", ["tenant"])


def _audit_leaf() -> None:
    op.create_table(
        "audit_leaf",
        sa.Column("written", _COUNT, sa.Identity(always=True), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("recorded_at", sa.String(32), nullable=False),
        sa.Column("commitment", sa.String(64), nullable=False),
        sa.Column("sealed_digest", sa.String(64), nullable=False),
        sa.Column("guards", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("position", _COUNT),
        sa.PrimaryKeyConstraint("written", name=op.f("pk_audit_leaf")),
        sa.UniqueConstraint("id", name=op.f("uq_audit_leaf_id")),
        sa.UniqueConstraint("position", name=op.f("uq_audit_leaf_position")),
        comment="An audit leaf beside its sealed payload; the sequencer gives the position.",
    )
    if op.get_bind().dialect.name == "postgresql":
        op.create_index(
            "ix_audit_leaf_waiting",
            "audit_leaf",
            ["written"],
            postgresql_where=sa.text("position IS NULL"),
        )
    op.create_index("ix_audit_leaf_recorded_at", "audit_leaf", ["recorded_at", "written"])
    op.create_index("ix_audit_leaf_tenant", "audit_leaf", ["tenant", "recorded_at", "written"])


def _checkpoint() -> None:
    op.create_table(
        "checkpoint",
        sa.Column("size", _COUNT, autoincrement=False, nullable=False),
        sa.Column("note", sa.String(2000), nullable=False),
        sa.Column("frontier", sa.Text(), nullable=False),
        sa.Column("signed_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_checkpoint")),
        comment="A signed tree head.",
    )


def upgrade() -> None:
    """Make every table."""
    _setting()
    _access_grant()
    _tenant()
    _subscription()
    _fence()
    _call()
    _idempotency()
    _run()
    _run_step()
    _job()
    _permit()
    _approval()
    _approver()
    _tenant_key()
    _artifact()
    _backup()
    _audit_leaf()
    _checkpoint()
