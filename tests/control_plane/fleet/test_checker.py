"""What a migration file may say, by file, line and rule; and what is refused of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import BadInput
from control_plane.fleet.checker import check, ready, require_sound
from control_plane.fleet.migration_file import migration_names
from tests.support.fleet_files import BODILESS, FILES, NOTES, TITLES, contract, first, header

DECLARED = frozenset({"contacts"})
_LINES = header().count("\n")
BOTH = "(tenant_id varchar(40) NOT NULL, id varchar(20) NOT NULL, PRIMARY KEY (tenant_id, id)"


def rules(**files: str) -> list[str]:
    """`file:line rule` of every finding, the files after one that makes the table `note`."""
    given = {"0001_notes.sql": NOTES.encode()}
    given |= {f"{name}.sql": text.encode() for name, text in files.items()}
    return [f"{one.file}:{one.line} {one.rule}" for one in check(given, DECLARED)[1]]


def rules_of(text: str, *, phase: str = "expand") -> set[str]:
    """The rules that a second file with the statements breaks."""
    head = header() if phase == "expand" else contract("0001_notes")
    return {one.split()[1] for one in rules(**{"0002_more": head + text})}


def test_a_folder_in_order_has_no_finding_and_is_read_for_both_engines() -> None:
    migrations, findings = check(FILES, DECLARED)
    assert findings == []
    assert [(one.number, one.name, one.is_contract) for one in migrations] == [
        (1, "0001_notes", False),
        (2, "0002_titles", False),
        (3, "0003_by_title", False),
        (4, "0004_bodiless", True),
    ]
    postgres = ready(migrations, "postgres", DECLARED)
    assert [one.concurrently for one in postgres[2].changes] == [True]
    assert [one.tables for one in ready(migrations, "sqlite", DECLARED)] == [("note",)] * 4


def test_the_line_of_a_finding_is_that_of_its_statement() -> None:
    text = header() + "ALTER TABLE note ADD COLUMN a text;\n\nDROP TABLE note;\n"
    assert rules(**{"0002_more": text}) == [f"0002_more.sql:{_LINES + 3} expand"]


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE note",
        "DROP INDEX ix_note_rank",
        "ALTER TABLE note DROP COLUMN body",
        "ALTER TABLE note ALTER COLUMN body SET NOT NULL",
        "ALTER TABLE note ADD CONSTRAINT few CHECK (rank > 0)",
        "DELETE FROM note WHERE rank = 0",
    ],
)
def test_what_takes_away_or_demands_is_not_for_expand(statement: str) -> None:
    assert "expand" in rules_of(statement)


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("ALTER TABLE note ADD COLUMN a text NOT NULL", "not_null"),
        ("ALTER TABLE note ADD COLUMN a text NOT NULL DEFAULT NULL", "not_null"),
        ("ALTER TABLE note ADD COLUMN a timestamptz DEFAULT now()", "default"),
        ("ALTER TABLE note ADD COLUMN body text", "name"),
        ("ALTER TABLE note ADD COLUMN a text UNIQUE", "tenant_id"),
        ("ALTER TABLE note ADD COLUMN a text REFERENCES note (id)", "tenant_id"),
        ("ALTER TABLE note ADD COLUMN a serial", "type"),
        ("ALTER TABLE note RENAME COLUMN body TO text", "statement"),
        ("ALTER TABLE note RENAME TO notes", "statement"),
        ("ALTER TABLE note ALTER COLUMN rank TYPE bigint", "statement"),
        ("CREATE INDEX ix_more ON note (tenant_id, body)", "locking"),
        ("CREATE UNIQUE INDEX ix_more ON note (tenant_id, body)", "unique"),
        ("CREATE INDEX ix_more ON note (body)", "tenant_id"),
        ("CREATE INDEX ix_more ON note (tenant_id, lower(body))", "statement"),
        ("CREATE INDEX ix_note_rank ON note (tenant_id, body)", "name"),
        ("CREATE INDEX CONCURRENTLY ix_more ON note (tenant_id, body)", "concurrently"),
        (f"CREATE TABLE contacts {BOTH})", "collection"),
        (f"CREATE TABLE paybill_x {BOTH})", "name"),
        (f'CREATE TABLE "Upper" {BOTH})', "name"),
        (f"CREATE TABLE note {BOTH})", "name"),
        ("CREATE TABLE more (id text NOT NULL, PRIMARY KEY (id))", "tenant_id"),
        ("CREATE TABLE more (tenant_id text NOT NULL, id text)", "primary_key"),
        (f"CREATE TABLE more {BOTH}, UNIQUE (id))", "tenant_id"),
        (f"CREATE TABLE more {BOTH}, FOREIGN KEY (id) REFERENCES note (id))", "tenant_id"),
        (
            f"CREATE TABLE more {BOTH}, FOREIGN KEY (tenant_id, id) REFERENCES contacts (tenant_id, id))",
            "unknown",
        ),
        ("UPDATE note SET tenant_id = 'other'", "tenant_id"),
        ("UPDATE note SET body = nothing", "unknown"),
        ('UPDATE note SET body = "text"', "unknown"),
        ("UPDATE note SET body = (SELECT max(body) FROM note)", "statement"),
        ("UPDATE note SET body = pg_read_file('x')", "statement"),
        ("UPDATE contacts SET name = 'x'", "collection"),
        ("INSERT INTO note (tenant_id, id) SELECT id, id FROM note", "tenant_id"),
        ("INSERT INTO note (tenant_id, id) SELECT 'other', id FROM note", "tenant_id"),
        ("INSERT INTO note (tenant_id, id) SELECT tenant_id, id FROM contacts", "collection"),
        ("ALTER TABLE contacts ADD COLUMN a text", "collection"),
        ("CREATE INDEX ix_more ON contacts (tenant_id)", "collection"),
        ("ALTER TABLE paybill_fence ADD COLUMN a text", "unknown"),
    ],
)
def test_a_change_that_could_harm_is_refused_by_its_rule(statement: str, rule: str) -> None:
    assert rule in rules_of(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SET ROLE x",
        "SET SESSION AUTHORIZATION x",
        "RESET ROLE",
        "GRANT SELECT ON note TO x",
        "CREATE ROLE x",
        "COPY note FROM PROGRAM 'x'",
        "COPY note TO '/tmp/x'",
        "CREATE EXTENSION x",
        "CREATE SCHEMA x",
        "CREATE VIEW v AS SELECT * FROM note",
        "CREATE TRIGGER t AFTER INSERT ON note EXECUTE FUNCTION f()",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'select 1'",
        "DO $$ BEGIN END $$",
        "ALTER TABLE note DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE note NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE note OWNER TO x",
        "DROP POLICY paybill_tenant ON note",
        "CREATE TABLE other.more (id text)",
        "UPDATE paybill.entry SET digest = ''",
        "UPDATE other.note SET body = ''",
        "DELETE FROM pg_catalog.pg_class",
        "ATTACH DATABASE 'x' AS y",
        "PRAGMA foreign_keys = OFF",
        "VACUUM",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SELECT pg_sleep(1)",
        "SELECT set_config('role', 'x', false)",
        "LOCK TABLE note",
        "TRUNCATE note",
        "NOTIFY x",
        "UPDATE note SET body = 'x' FROM contacts",
        "WITH q AS (DELETE FROM note RETURNING *) UPDATE note SET body = 'x'",
    ],
)
def test_nothing_reaches_beyond_the_tables_of_the_team(statement: str) -> None:
    for phase in ("expand", "contract"):
        assert rules_of(statement, phase=phase)


def test_what_takes_away_is_for_contract() -> None:
    assert rules(**{"0002_titles": TITLES, "0003_bodiless": BODILESS}) == []
    assert rules_of("DROP TABLE note", phase="contract") == set()
    assert rules_of("DELETE FROM note WHERE rank < 0", phase="contract") == set()
    assert rules_of("DELETE FROM note", phase="contract") == {"destructive"}
    assert rules_of("ALTER TABLE note DROP COLUMN tenant_id", phase="contract") == {"tenant_id"}
    assert rules_of("ALTER TABLE note ADD COLUMN a text", phase="contract") == {"contract"}


def test_an_engine_that_cannot_is_named() -> None:
    found = rules_of("ALTER TABLE note ALTER COLUMN body SET NOT NULL", phase="contract")
    assert found == {"engine"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ALTER TABLE note ADD COLUMN a text;", "phase must be said"),
        (header().replace("expand", "expnd"), "phase must be one of expand, contract"),
        (header().replace("lock_timeout_ms", "lock_timeout"), "did you mean lock_timeout_ms?"),
        (header().replace("20000", "1000"), "must not be above statement_timeout_ms"),
        (header().replace("2000\n", "0\n"), "must be a number from 1 to 30000"),
        (header(more="-- phase: expand\n"), "phase stands twice"),
        (header(more="-- completes: 0001_notes\n"), "an expand names none"),
        (header("contract"), "a contract names the expand"),
        (contract("0009_absent"), "must be an expand that stands before it"),
        (header(more="-- reversible_by: 0001_notes\n"), "must be a migration that stands behind"),
        (header(more="-- a note\n"), "must be `-- key: value`"),
    ],
)
def test_a_header_that_is_not_strict_is_named(text: str, message: str) -> None:
    statement = "ALTER TABLE note ADD COLUMN a text;"
    files = {"0001_notes.sql": NOTES.encode(), "0002_more.sql": (text + statement).encode()}
    told = [one.told() for one in check(files, DECLARED)[1]]
    assert any(message in one for one in told), told


@pytest.mark.parametrize(
    "names",
    [
        ("0002_notes.sql",),
        ("0001_Notes.sql",),
        ("0001_notes.mysql.sql",),
        ("0001_notes.postgres.sql",),
        ("0001_notes.sql", "0001_notes.sqlite.sql", "0001_notes.postgres.sql"),
        ("0001_notes.sql", "0001_others.sql"),
    ],
)
def test_a_name_that_leaves_a_doubt_is_refused(names: tuple[str, ...]) -> None:
    assert check(dict.fromkeys(names, NOTES.encode()), DECLARED)[1]


def test_both_engines_come_to_the_same_tables() -> None:
    files = {**first(3), "0003_by_title.sqlite.sql": TITLES.replace("title", "other").encode()}
    assert [one.rule for one in check(files, DECLARED)[1]] == ["engines"]


def test_the_first_finding_stands_in_the_error_of_who_wants_none() -> None:
    files = {**first(1), "0002_more.sql": (header() + "DROP TABLE note").encode()}
    with pytest.raises(BadInput) as caught:
        require_sound(files, DECLARED)
    assert caught.value.field == "migrations/0002_more.sql"
    assert caught.value.rule.startswith(f"line {_LINES + 1}: expand: ")
    assert require_sound(first(1), DECLARED)[0].digest == check(FILES, DECLARED)[0][0].digest


@given(st.text(max_size=200))
def test_no_text_brings_the_check_down(text: str) -> None:
    check({"0001_any.sql": (header() + text).encode("utf-8", "replace")}, DECLARED)


def test_only_sql_is_a_migration() -> None:
    assert migration_names(["b.sql", "a.sql", "README.md", "x.py"]) == ["a.sql", "b.sql"]
