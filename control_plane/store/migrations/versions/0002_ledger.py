"""The ledger's tables, and the rules that the database holds them to. Not what they mean: see `store/tables.py`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_SQLITE = (
    """CREATE TRIGGER ledger_entry_no_update BEFORE UPDATE ON ledger_entry BEGIN
    SELECT RAISE(ABORT, 'the ledger is append only');
END""",
    """CREATE TRIGGER ledger_entry_no_delete BEFORE DELETE ON ledger_entry BEGIN
    SELECT RAISE(ABORT, 'the ledger is append only');
END""",
    """CREATE TRIGGER ledger_entry_balanced BEFORE INSERT ON ledger_entry BEGIN
    SELECT RAISE(ABORT, 'the ledger is append only') WHERE EXISTS (
        SELECT 1 FROM ledger_entry WHERE id = NEW.id OR (tenant = NEW.tenant
            AND cause_kind = NEW.cause_kind AND cause_reference = NEW.cause_reference));
    SELECT RAISE(ABORT, 'the entry is not balanced') WHERE
        NOT EXISTS (SELECT 1 FROM ledger_posting WHERE entry = NEW.id)
        OR EXISTS (SELECT 1 FROM ledger_posting WHERE entry = NEW.id
            GROUP BY currency HAVING sum(amount_minor) <> 0);
END""",
    """CREATE TRIGGER ledger_posting_no_update BEFORE UPDATE ON ledger_posting BEGIN
    SELECT RAISE(ABORT, 'the ledger is append only');
END""",
    """CREATE TRIGGER ledger_posting_no_delete BEFORE DELETE ON ledger_posting BEGIN
    SELECT RAISE(ABORT, 'the ledger is append only');
END""",
    """CREATE TRIGGER ledger_posting_open BEFORE INSERT ON ledger_posting BEGIN
    SELECT RAISE(ABORT, 'the ledger is append only')
        WHERE EXISTS (SELECT 1 FROM ledger_entry WHERE id = NEW.entry);
END""",
)

_POSTGRES = (
    """CREATE FUNCTION ledger_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append only' USING ERRCODE = 'restrict_violation';
END $$""",
    """CREATE FUNCTION ledger_entry_balanced() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM ledger_posting WHERE entry = NEW.id)
        OR EXISTS (SELECT FROM ledger_posting WHERE entry = NEW.id
            GROUP BY currency HAVING sum(amount_minor) <> 0) THEN
        RAISE EXCEPTION 'the entry is not balanced' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$""",
    """CREATE FUNCTION ledger_posting_open() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT FROM ledger_entry WHERE id = NEW.entry) THEN
        RAISE EXCEPTION 'the ledger is append only' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$""",
    """CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entry
FOR EACH STATEMENT EXECUTE FUNCTION ledger_append_only()""",
    """CREATE TRIGGER balanced BEFORE INSERT ON ledger_entry
FOR EACH ROW EXECUTE FUNCTION ledger_entry_balanced()""",
    """CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_posting
FOR EACH STATEMENT EXECUTE FUNCTION ledger_append_only()""",
    """CREATE TRIGGER open BEFORE INSERT ON ledger_posting
FOR EACH ROW EXECUTE FUNCTION ledger_posting_open()""",
)


def _ledger_entry() -> None:
    op.create_table(
        "ledger_entry",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("occurred_at", sa.String(32), nullable=False),
        sa.Column("cause_kind", sa.String(40), nullable=False),
        sa.Column("cause_reference", sa.String(120), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entry")),
        sa.UniqueConstraint(
            "tenant", "cause_kind", "cause_reference", name=op.f("uq_ledger_entry_tenant")
        ),
        comment="One event of billing in double entry; written after its postings, which it closes.",
        sqlite_with_rowid=False,
    )
    op.create_index("ix_ledger_entry_tenant", "ledger_entry", ["tenant", "occurred_at", "id"])


def _ledger_posting() -> None:
    op.create_table(
        "ledger_posting",
        sa.Column("entry", sa.String(64), nullable=False),
        sa.Column("account", sa.String(40), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("amount_minor", _COUNT, nullable=False),
        sa.PrimaryKeyConstraint("entry", "account", "currency", name=op.f("pk_ledger_posting")),
        sa.ForeignKeyConstraint(
            ["entry"],
            ["ledger_entry.id"],
            name=op.f("fk_ledger_posting_entry"),
            deferrable=True,
            initially="DEFERRED",
        ),
        sa.CheckConstraint("amount_minor <> 0", name=op.f("ck_ledger_posting_amount_minor")),
        comment="What an entry moves on one account in one currency; debits positive, credits negative.",
        sqlite_with_rowid=False,
    )


def upgrade() -> None:
    """Make the tables, then their rules."""
    _ledger_entry()
    _ledger_posting()
    for rule in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRES:
        op.execute(rule)
