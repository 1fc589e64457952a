"""The tables of what a tenant has agreed on, owes and has paid. Not the ledger, and not usage or seats."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    text,
)

from control_plane.store.base import COUNT, ID, INSTANT, NAME, SLUG, WORD, metadata
from control_plane.store.invoice_rules import keep

billing_account = Table(
    "billing_account",
    metadata,
    Column("tenant", SLUG, primary_key=True),
    Column("starts_at", INSTANT),
    Column("incomplete_ends_at", INSTANT),
    Column("trial_ends_at", INSTANT),
    Column("grace_ends_at", INSTANT),
    Column("paused_until", INSTANT),
    Column("term_ends_at", INSTANT),
    Column("current_period_start", INSTANT),
    Column("current_period_end", INSTANT),
    Column("collection_paused", Boolean, nullable=False),
    Column("never_suspend", Boolean, nullable=False),
    Column("terms", JSON),
    Column("method", JSON),
    Column("method_set_at", INSTANT),
    Column("running", JSON, nullable=False),
    Column("unbilled", JSON),
    Column("gates", JSON, nullable=False),
    Column("pending_change", JSON),
    # When to look at it again; null where time alone changes nothing.
    Column("next_due_at", INSTANT),
    Column("buyer", JSON),
    Index("ix_billing_account_next_due_at", "next_due_at"),
    comment="How a tenant's subscription stands with money: terms, dates, and what its debts close.",
)

invoice = Table(
    "invoice",
    metadata,
    Column("id", ID, primary_key=True),
    Column("tenant", SLUG, nullable=False),
    Column("subscription", ID),
    Column("state", WORD, nullable=False),
    Column("number", WORD, unique=True),
    Column("currency", String(3), nullable=False),
    Column("period_start", INSTANT),
    Column("period_end", INSTANT),
    Column("lines", JSON, nullable=False),
    Column("total_minor", COUNT, nullable=False),
    Column("allocated_minor", COUNT, nullable=False),
    Column("credited_minor", COUNT, nullable=False),
    Column("collection_deadline", INSTANT),
    Column("finalized_at", INSTANT),
    Column("due_at", INSTANT),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", INSTANT),
    Column("version", Integer, nullable=False),
    # To whom it is made out, and how it was taxed: both as of when it became final.
    Column("buyer", JSON),
    Column("tax", JSON),
    CheckConstraint("total_minor >= 0", name="total_minor"),
    UniqueConstraint("subscription", "period_start"),
    Index("ix_invoice_tenant", "tenant", "finalized_at", "id"),
    # What may still move is found without what is over; the closed list is domain/invoice.py's.
    Index(
        "ix_invoice_moving",
        "tenant",
        sqlite_where=text("state IN ('draft','open','uncollectible')"),
        postgresql_where=text("state IN ('draft','open','uncollectible')"),
    ),
    comment="An invoice with its lines; from its number on only its standing moves.",
)
keep(invoice)

payment_attempt = Table(
    "payment_attempt",
    metadata,
    Column("id", ID, primary_key=True),
    Column("invoice", ID, nullable=False),
    Column("tenant", SLUG, nullable=False),
    Column("number", Integer, nullable=False),
    Column("amount_minor", COUNT, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("provider", WORD, nullable=False),
    Column("method_reference", NAME, nullable=False),
    Column("provider_reference", String(255), nullable=False),
    Column("state", WORD, nullable=False),
    Column("failure", WORD),
    Column("unsettled", WORD),
    Column("decline_code", String(80), nullable=False),
    Column("created_at", INSTANT, nullable=False),
    Column("changed_at", INSTANT, nullable=False),
    Column("deadline_at", INSTANT),
    Column("heartbeat_at", INSTANT),
    Column("asked", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("action_url", String(2048)),
    UniqueConstraint("invoice", "number"),
    Index("ix_payment_attempt_tenant", "tenant"),
    comment="One attempt at collecting an invoice; committed before its provider is asked.",
)

credit_note = Table(
    "credit_note",
    metadata,
    Column("id", ID, primary_key=True),
    Column("tenant", SLUG, nullable=False),
    Column("invoice", ID, nullable=False),
    Column("number", WORD, nullable=False, unique=True),
    Column("kind", WORD, nullable=False),
    Column("reason", WORD, nullable=False),
    Column("amount_minor", COUNT, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("issued_at", INSTANT, nullable=False),
    Column("taxes", JSON),
    CheckConstraint("amount_minor > 0", name="amount_minor"),
    Index("ix_credit_note_tenant", "tenant", "issued_at", "id"),
    comment="What was taken back of an invoice; issued once, and never changed.",
)

refund = Table(
    "refund",
    metadata,
    Column("id", ID, primary_key=True),
    Column("tenant", SLUG, nullable=False),
    Column("credit_note", ID, nullable=False, unique=True),
    Column("invoice", ID, nullable=False),
    Column("attempt", ID, nullable=False),
    Column("amount_minor", COUNT, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("state", WORD, nullable=False),
    Column("reference", String(255), nullable=False),
    Column("decline_code", String(80), nullable=False),
    Column("created_at", INSTANT, nullable=False),
    Column("changed_at", INSTANT, nullable=False),
    Column("asked", Integer, nullable=False),
    Column("asked_at", INSTANT),
    Column("version", Integer, nullable=False),
    CheckConstraint("amount_minor > 0", name="amount_minor"),
    Index("ix_refund_invoice", "invoice"),
    # What is still promised is found without what is over.
    Index(
        "ix_refund_pending",
        "tenant",
        sqlite_where=text("state = 'pending'"),
        postgresql_where=text("state = 'pending'"),
    ),
    comment="What goes back by the way it was paid; promised in the ledger before its provider is asked.",
)

series = Table(
    "series",
    metadata,
    Column("name", WORD, primary_key=True),
    Column("last", COUNT, nullable=False),
    comment="The last number given of each series; taken in the transaction that uses it, so none is missing.",
)
