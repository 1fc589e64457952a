"""The tables of the ledger. Not the rules that the database holds them to: ledger_rules.py has those."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
)

from control_plane.store.base import COUNT, ID, INSTANT, NAME, SLUG, WORD, metadata
from control_plane.store.ledger_rules import keep

ledger_entry = Table(
    "ledger_entry",
    metadata,
    Column("id", ID, primary_key=True),
    Column("tenant", SLUG, nullable=False),
    Column("occurred_at", INSTANT, nullable=False),
    Column("cause_kind", WORD, nullable=False),
    Column("cause_reference", NAME, nullable=False),
    UniqueConstraint("tenant", "cause_kind", "cause_reference"),
    Index("ix_ledger_entry_tenant", "tenant", "occurred_at", "id"),
    comment="One event of billing in double entry; written after its postings, which it closes.",
    sqlite_with_rowid=False,
)

ledger_posting = Table(
    "ledger_posting",
    metadata,
    Column("entry", ID, nullable=False),
    Column("account", WORD, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("amount_minor", COUNT, nullable=False),
    PrimaryKeyConstraint("entry", "account", "currency"),
    ForeignKeyConstraint(
        ["entry"],
        ["ledger_entry.id"],
        name="fk_ledger_posting_entry",
        deferrable=True,
        initially="DEFERRED",
    ),
    CheckConstraint("amount_minor <> 0", name="amount_minor"),
    comment="What an entry moves on one account in one currency; debits positive, credits negative.",
    sqlite_with_rowid=False,
)
keep(ledger_posting)
