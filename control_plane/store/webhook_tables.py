"""The tables of webhooks, those that arrive and those that go out. Not what becomes of their rows."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
)

from control_plane.store.base import DIGEST, ID, INSTANT, NAME, SLUG, WORD, metadata

# Standard Webhooks lets an id be as long; what a URL may be, `billing/public_address.py` says.
EVENT_ID = String(255)
URL = String(2048)

inbound_event = Table(
    "inbound_event",
    metadata,
    Column("provider", WORD, nullable=False),
    Column("id", EVENT_ID, nullable=False),
    Column("digest", DIGEST, nullable=False),
    Column("sealed", LargeBinary),
    Column("received_at", INSTANT, nullable=False),
    Column("state", WORD, nullable=False),
    Column("attempts", Integer, nullable=False),
    # When a worker may take it: at once, after a wait, or when the lease of another has ended.
    Column("due_at", INSTANT),
    Column("leased_by", ID),
    Column("settled_at", INSTANT),
    Column("outcome", NAME),
    PrimaryKeyConstraint("provider", "id"),
    CheckConstraint("state IN ('received','processing','completed','dead')", name="state"),
    Index("ix_inbound_event_due_at", "due_at"),
    Index("ix_inbound_event_settled_at", "settled_at"),
    comment="A verified event of a provider, by its id; its body is sealed, and gone once it is done with.",
)

webhook_endpoint = Table(
    "webhook_endpoint",
    metadata,
    Column("id", ID, primary_key=True),
    Column("tenant", SLUG, nullable=False),
    Column("url", URL, nullable=False),
    Column("kinds", JSON, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("former_secret", LargeBinary),
    Column("former_until", INSTANT),
    Column("created_at", INSTANT, nullable=False),
    Column("disabled_at", INSTANT),
    Column("disabled_cause", WORD),
    Column("removed_at", INSTANT),
    Index("ix_webhook_endpoint_tenant", "tenant"),
    comment="Where webhooks go: a tenant's own, or with no tenant the workspace's; its secrets are sealed.",
)

webhook_message = Table(
    "webhook_message",
    metadata,
    Column("id", ID, primary_key=True),
    Column("tenant", SLUG, nullable=False),
    Column("kind", NAME, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("made_at", INSTANT, nullable=False),
    Index("ix_webhook_message_made_at", "made_at"),
    comment="What is told of a change, as the very bytes that are sent; written with the change.",
)

webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    Column("id", ID, primary_key=True),
    Column("tenant", SLUG, nullable=False),
    Column("endpoint", ID, nullable=False),
    Column("message", ID, nullable=False),
    Column("state", WORD, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("replays", Integer, nullable=False),
    Column("next_attempt_at", INSTANT),
    Column("cause", WORD),
    Column("last_status", Integer),
    Column("last_fault", WORD),
    Column("created_at", INSTANT, nullable=False),
    Column("changed_at", INSTANT, nullable=False),
    Column("deadline_at", INSTANT),
    Column("heartbeat_at", INSTANT),
    Column("version", Integer, nullable=False),
    ForeignKeyConstraint(
        ["endpoint"], ["webhook_endpoint.id"], name="fk_webhook_delivery_endpoint"
    ),
    ForeignKeyConstraint(["message"], ["webhook_message.id"], name="fk_webhook_delivery_message"),
    Index("ix_webhook_delivery_next_attempt_at", "next_attempt_at"),
    Index("ix_webhook_delivery_deadline_at", "deadline_at"),
    Index("ix_webhook_delivery_message", "message"),
    Index("ix_webhook_delivery_endpoint", "endpoint"),
    comment="One message on its way to one endpoint.",
)
