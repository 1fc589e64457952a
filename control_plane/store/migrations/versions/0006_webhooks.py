"""The tables of webhooks, those that arrive and those that go out. Not what they mean: see `store/webhook_tables.py`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def _inbound_event() -> None:
    op.create_table(
        "inbound_event",
        sa.Column("provider", sa.String(40), nullable=False),
        sa.Column("id", sa.String(255), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("received_at", sa.String(32), nullable=False),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.String(32)),
        sa.Column("leased_by", sa.String(64)),
        sa.Column("settled_at", sa.String(32)),
        sa.Column("outcome", sa.String(120)),
        sa.PrimaryKeyConstraint("provider", "id", name=op.f("pk_inbound_event")),
        sa.CheckConstraint(
            "state IN ('received','processing','completed','dead')",
            name=op.f("ck_inbound_event_state"),
        ),
        comment="A verified event of a provider, by its id; its body is sealed, and gone once it is done with.",
    )
    op.create_index("ix_inbound_event_due_at", "inbound_event", ["due_at"])
    op.create_index("ix_inbound_event_settled_at", "inbound_event", ["settled_at"])


def _webhook_endpoint() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("url", sa.String(2048), nullable=False),
        sa.Column("kinds", sa.JSON(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("former_secret", sa.LargeBinary()),
        sa.Column("former_until", sa.String(32)),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("disabled_at", sa.String(32)),
        sa.Column("disabled_cause", sa.String(40)),
        sa.Column("removed_at", sa.String(32)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoint")),
        comment="Where webhooks go: a tenant's own, or with no tenant the workspace's; its secrets are sealed.",
    )
    op.create_index("ix_webhook_endpoint_tenant", "webhook_endpoint", ["tenant"])


def _webhook_message() -> None:
    op.create_table(
        "webhook_message",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(120), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_message")),
        comment="What is told of a change, as the very bytes that are sent; written with the change.",
    )
    op.create_index("ix_webhook_message_made_at", "webhook_message", ["made_at"])


def _webhook_delivery() -> None:
    op.create_table(
        "webhook_delivery",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("endpoint", sa.String(64), nullable=False),
        sa.Column("message", sa.String(64), nullable=False),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("replays", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.String(32)),
        sa.Column("cause", sa.String(40)),
        sa.Column("last_status", sa.Integer()),
        sa.Column("last_fault", sa.String(40)),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("changed_at", sa.String(32), nullable=False),
        sa.Column("deadline_at", sa.String(32)),
        sa.Column("heartbeat_at", sa.String(32)),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_delivery")),
        sa.ForeignKeyConstraint(
            ["endpoint"], ["webhook_endpoint.id"], name=op.f("fk_webhook_delivery_endpoint")
        ),
        sa.ForeignKeyConstraint(
            ["message"], ["webhook_message.id"], name=op.f("fk_webhook_delivery_message")
        ),
        comment="One message on its way to one endpoint.",
    )
    for column in ("next_attempt_at", "deadline_at", "message", "endpoint"):
        op.create_index(f"ix_webhook_delivery_{column}", "webhook_delivery", [column])


def upgrade() -> None:
    """Make the tables."""
    _inbound_event()
    _webhook_endpoint()
    _webhook_message()
    _webhook_delivery()
