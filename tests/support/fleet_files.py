"""Migration files as the tests of fleet migration write them. Not a check, and no database."""

from __future__ import annotations

from collections.abc import Mapping


def header(phase: str = "expand", *, transactional: bool = True, more: str = "") -> str:
    """The comment lines in front of the statements, and an empty line."""
    said = "true" if transactional else "false"
    return (
        f"-- phase: {phase}\n-- transactional: {said}\n-- lock_timeout_ms: 2000\n"
        f"-- statement_timeout_ms: 20000\n{more}\n"
    )


def contract(completes: str, *, transactional: bool = True) -> str:
    """The same of a contract."""
    return header("contract", transactional=transactional, more=f"-- completes: {completes}\n")


NOTES = (
    header()
    + "CREATE TABLE note (\n  tenant_id varchar(40) NOT NULL,\n  id varchar(20) NOT NULL,\n"
    "  body text,\n  rank int NOT NULL DEFAULT 0,\n  PRIMARY KEY (tenant_id, id)\n);\n"
    "CREATE INDEX ix_note_rank ON note (tenant_id, rank);\n"
)
TITLED = "ALTER TABLE note ADD COLUMN title text DEFAULT 'none';\n"
BACKFILL = "UPDATE note SET title = lower(body) WHERE body IS NOT NULL;\n"
TITLES = header() + TITLED + BACKFILL
INDEXED_POSTGRES = (
    header(transactional=False)
    + "CREATE INDEX CONCURRENTLY ix_note_title ON note (tenant_id, title);\n"
)
INDEXED_SQLITE = header() + "CREATE INDEX ix_note_title ON note (tenant_id, title);\n"
BODILESS = contract("0002_titles") + "ALTER TABLE note DROP COLUMN body;\n"

FILES: Mapping[str, bytes] = {
    "0001_notes.sql": NOTES.encode(),
    "0002_titles.sql": TITLES.encode(),
    "0003_by_title.postgres.sql": INDEXED_POSTGRES.encode(),
    "0003_by_title.sqlite.sql": INDEXED_SQLITE.encode(),
    "0004_bodiless.sql": BODILESS.encode(),
}


def first(count: int) -> dict[str, bytes]:
    """The first files, up to the migration of that number."""
    return {name: text for name, text in FILES.items() if int(name[:4]) <= count}
