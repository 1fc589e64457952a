"""The tables of tenants, calls and runs in our own store. Not those of billing, nor a tenant's own."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

from control_plane.store.base import COUNT, DIGEST, ID, INSTANT, NAME, SLUG, WORD, metadata

setting = Table(
    "setting",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("value", JSON, nullable=False),
    Column("updated_at", INSTANT, nullable=False),
    comment="Workspace settings that a decision may depend on: approval rule, applied catalog digest, keys in force.",
)

grant = Table(
    "access_grant",
    metadata,
    Column("id", ID, primary_key=True),
    Column("principal", NAME, nullable=False),
    Column("actor", NAME, nullable=False),
    Column("actor_kind", WORD, nullable=False),
    Column("roles", JSON, nullable=False),
    Column("ceiling", JSON, nullable=False),
    Column("tenants", JSON, nullable=False),
    Column("issued_at", INSTANT, nullable=False),
    Column("expires_at", INSTANT, nullable=False),
    Column("revoked_at", INSTANT),
    CheckConstraint("actor_kind IN ('human','agent','service')", name="actor_kind"),
    comment="A revocable right; a token names one and carries no right itself.",
)

tenant = Table(
    "tenant",
    metadata,
    Column("id", SLUG, primary_key=True),
    Column("display_name", NAME, nullable=False),
    Column("state", WORD, nullable=False),
    Column("isolation", WORD, nullable=False),
    Column("plan", WORD, nullable=False),
    Column("region", WORD, nullable=False),
    Column("access_mode", WORD, nullable=False),
    Column("suspend_reasons", JSON, nullable=False),
    Column("cordoned", Boolean, nullable=False),
    Column("deletion_protection", Boolean, nullable=False),
    Column("legal_hold", Boolean, nullable=False),
    Column("restorable_until", INSTANT),
    Column("version", Integer, nullable=False),
    # None is the embedded one: so it was for every tenant before there were others.
    Column("cloud", WORD),
    # Where its database stands; None is the workspace's own server, and the first place there.
    Column("server", WORD),
    Column("slot", Integer),
    CheckConstraint("isolation IN ('silo','bridge','pooled')", name="isolation"),
    CheckConstraint("access_mode IN ('full','read_only','none')", name="access_mode"),
    comment="A tenant; its id is its slug and is never used again.",
)

subscription = Table(
    "subscription",
    metadata,
    Column("id", ID, primary_key=True),
    Column("tenant", SLUG, nullable=False, unique=True),
    Column("plan", WORD, nullable=False),
    Column("plan_version", Integer, nullable=False),
    Column("state", WORD, nullable=False),
    Column("cancel_at_period_end", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    comment="What a tenant has taken; one a tenant.",
)

fence = Table(
    "fence",
    metadata,
    Column("tenant", SLUG, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("run_id", ID),
    # The epoch at which the tenant's database stands open for writes; 0 while it does not.
    Column("data_epoch", Integer, nullable=False, server_default="0"),
    comment="The epoch that every write for a tenant must hold; it stands before the tenant does.",
)

call = Table(
    "call",
    metadata,
    Column("id", ID, primary_key=True),
    Column("principal", NAME, nullable=False),
    Column("actor", NAME, nullable=False),
    Column("grant_id", ID, nullable=False),
    Column("tool", NAME, nullable=False),
    Column("command", WORD, nullable=False),
    Column("arguments_hmac", DIGEST, nullable=False),
    Column("as_of", INSTANT, nullable=False),
    Column("seed", ID, nullable=False),
    Column("catalog", DIGEST, nullable=False),
    Column("bundle", WORD, nullable=False),
    Column("idempotency_key", NAME),
    Column("dry_run", Boolean, nullable=False),
    Column("tenant", SLUG, nullable=False),
    Column("run_id", ID),
    Column("settled", Boolean, nullable=False),
    Column("effect", JSON),
    # SQLite takes a partial index only where a query says the same words: `settled IS 0`.
    Index(
        "ix_call_unsettled",
        "as_of",
        sqlite_where=text("settled IS 0"),
        postgresql_where=text("settled IS false"),
    ),
    comment="A changing call: asked by whom, as of when, with which seed.",
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("principal", NAME, nullable=False),
    Column("actor", NAME, nullable=False),
    Column("tool", NAME, nullable=False),
    Column("key", NAME, nullable=False),
    Column("arguments_hmac", DIGEST, nullable=False),
    Column("call_id", ID, nullable=False),
    PrimaryKeyConstraint("principal", "actor", "tool", "key"),
    comment="Which call a key stands for; the call is stored, never an answer.",
)

# The runs that hold their tenant; the closed list of states is those that are terminal (domain/run.py).
HOLDING = text("state NOT IN ('applied','discarded','canceled','failed','compensated') AND holds")

run = Table(
    "run",
    metadata,
    Column("id", ID, primary_key=True),
    Column("call_id", ID, nullable=False),
    Column("principal", NAME, nullable=False),
    Column("actor", NAME, nullable=False),
    Column("grant_id", ID, nullable=False),
    Column("tenant", SLUG, nullable=False),
    Column("kind", WORD, nullable=False),
    Column("tool", NAME, nullable=False),
    Column("holds", Boolean, nullable=False),
    Column("command", JSON, nullable=False),
    Column("state", WORD, nullable=False),
    Column("as_of", INSTANT, nullable=False),
    Column("seed", ID, nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("created_at", INSTANT, nullable=False),
    Column("updated_at", INSTANT, nullable=False),
    Column("deadline_at", INSTANT),
    Column("heartbeat_at", INSTANT),
    Column("attempts", Integer, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("plan", JSON),
    Column("plan_digest", DIGEST, nullable=False),
    Column("plan_facts", JSON),
    Column("artifact", ID),
    Column("approval_id", ID),
    Column("reason", WORD, nullable=False),
    Column("detail", String(400), nullable=False),
    Column("retryable", Boolean, nullable=False),
    Index(
        "uq_run_holds_tenant",
        "tenant",
        unique=True,
        sqlite_where=HOLDING,
        postgresql_where=HOLDING,
    ),
    Index("ix_run_created_at", "created_at", "id"),
    Index("ix_run_tenant", "tenant", "created_at", "id"),
    comment="Work that the worker executes; at most one that is not over holds a tenant.",
)

run_step = Table(
    "run_step",
    metadata,
    Column("run_id", ID, nullable=False),
    Column("name", WORD, nullable=False),
    Column("position", Integer, nullable=False),
    Column("state", WORD, nullable=False),
    Column("permit_id", ID),
    Column("dispatched_at", INSTANT),
    Column("ended_at", INSTANT),
    Column("observed", JSON),
    PrimaryKeyConstraint("run_id", "name"),
    comment="One side effect of a run: intent before, outcome after.",
)

job = Table(
    "job",
    metadata,
    Column("id", ID, primary_key=True),
    Column("routine", WORD, nullable=False),
    Column("run_id", ID, nullable=False),
    Column("tenant", SLUG, nullable=False),
    Column("state", WORD, nullable=False),
    Column("created_at", INSTANT, nullable=False),
    CheckConstraint("state IN ('pending','enqueued','finished')", name="state"),
    Index("ix_job_pending", "state"),
    comment="What a face asks of the worker; the worker's intake hands it to the engine.",
)

permit = Table(
    "permit",
    metadata,
    Column("id", ID, primary_key=True),
    Column("command_digest", DIGEST, nullable=False),
    Column("tenant", SLUG, nullable=False),
    Column("run_id", ID, nullable=False),
    Column("step", WORD, nullable=False),
    Column("decision_id", ID, nullable=False),
    Column("facts_digest", DIGEST, nullable=False),
    Column("issued_at", INSTANT, nullable=False),
    Column("consumed_at", INSTANT),
    comment="Evidence of a decision for one side effect; single use.",
)

approval = Table(
    "approval",
    metadata,
    Column("id", ID, primary_key=True),
    Column("run_id", ID, nullable=False),
    Column("tenant", SLUG, nullable=False),
    Column("requester", NAME, nullable=False),
    Column("requester_actor", NAME, nullable=False),
    Column("rule", WORD, nullable=False),
    Column("plan_digest", DIGEST, nullable=False),
    Column("state", WORD, nullable=False),
    Column("created_at", INSTANT, nullable=False),
    Column("expires_at", INSTANT, nullable=False),
    Column("decided_by", NAME),
    Column("decided_at", INSTANT),
    Column("key_id", ID),
    Column("signature", String(200)),
    Column("checkpoint", String(1000)),
    Column("reason", String(200), nullable=False),
    Index("ix_approval_created_at", "created_at", "id"),
    Index("ix_approval_tenant", "tenant", "created_at", "id"),
    comment="A question to a human, bound to a digest, consumed once.",
)

approver = Table(
    "approver",
    metadata,
    Column("key_id", ID, primary_key=True),
    Column("principal", NAME, nullable=False),
    Column("public_key", String(100), nullable=False),
    Column("enrolled_at", INSTANT, nullable=False),
    Column("enrolled_by", ID, nullable=False),
    Column("signature", String(200), nullable=False),
    Column("revoked_at", INSTANT),
    comment="An approver's public key, its enrolment signed by the root key or an approver in force.",
)

tenant_key = Table(
    "tenant_key",
    metadata,
    Column("tenant", SLUG, primary_key=True),
    Column("key_id", ID, nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("wrapped_private", LargeBinary),
    comment="A tenant's sealing key; forgetting the wrapped private half forgets the tenant's payloads.",
)

artifact = Table(
    "artifact",
    metadata,
    Column("id", ID, primary_key=True),
    Column("run_id", ID, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("expires_at", INSTANT, nullable=False),
    comment="A sealed plan artifact; it dies on expiry.",
)

backup = Table(
    "backup",
    metadata,
    Column("id", ID, primary_key=True),
    Column("tenant", SLUG, nullable=False),
    Column("run_id", ID, nullable=False),
    Column("isolation", WORD, nullable=False),
    Column("made_at", INSTANT, nullable=False),
    Column("digest", DIGEST, nullable=False),
    Column("bytes", COUNT, nullable=False),
    Column("contents", JSON, nullable=False),
    Column("schema_digest", DIGEST, nullable=False),
    Column("verified_at", INSTANT),
    Column("keep_until", INSTANT, nullable=False),
    # None is an archive of before: the canonical kind, in a box to the workspace's key.
    Column("kind", WORD),
    Column("key_version", Integer),
    Column("removed_at", INSTANT),
    Index("ix_backup_tenant", "tenant"),
    comment="A tenant's data at an instant: where it lies is the worker's; verified by restoring it.",
)

audit_leaf = Table(
    "audit_leaf",
    metadata,
    # The order of commits among leaves that guard the same row: they must be sequenced in it.
    Column("written", COUNT, Identity(always=True), primary_key=True),
    Column("id", ID, nullable=False, unique=True),
    Column("kind", WORD, nullable=False),
    Column("tenant", SLUG, nullable=False),
    Column("recorded_at", INSTANT, nullable=False),
    Column("commitment", DIGEST, nullable=False),
    Column("sealed_digest", DIGEST, nullable=False),
    Column("guards", JSON, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    # On SQLite its index also finds the leaves that wait, in their order: it ends in the rowid.
    Column("position", COUNT, unique=True),
    Index("ix_audit_leaf_waiting", "written", postgresql_where=text("position IS NULL")).ddl_if(
        dialect="postgresql"
    ),
    Index("ix_audit_leaf_recorded_at", "recorded_at", "written"),
    Index("ix_audit_leaf_tenant", "tenant", "recorded_at", "written"),
    comment="An audit leaf beside its sealed payload; the sequencer gives the position.",
)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("size", COUNT, primary_key=True, autoincrement=False),
    Column("note", String(2000), nullable=False),
    Column("frontier", Text, nullable=False),
    Column("signed_at", INSTANT, nullable=False),
    comment="A signed tree head.",
)
