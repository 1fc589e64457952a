"""Reading real databases: what is found, what is refused, and that nothing is changed or told."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, event, text

from control_plane.data.pulling import reading
from control_plane.data.pulling.declaring import declare
from control_plane.data.pulling.draft import CollectionDraft
from control_plane.data.pulling.reading import read_schema
from control_plane.data.pulling.schema import Link
from control_plane.errors import BadInput, Failed, PaybillError, Unavailable
from tests.support.postgres import Postgres

SECRET = "hunter2-not-to-be-told"
ON_POSTGRES = """
CREATE SCHEMA sales;
CREATE DOMAIN sales.year AS integer CHECK (VALUE >= 1901 AND VALUE <= 2155);
CREATE TYPE sales.mood AS ENUM ('sad', 'glad');
CREATE TABLE public.outside (id int PRIMARY KEY);
CREATE TABLE sales.person (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    born sales.year,
    mood sales.mood NOT NULL DEFAULT 'glad',
    state varchar(10) NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'old')),
    level text CHECK (level = 'only'),
    price numeric(10, 2) DEFAULT 4.99,
    upper_state text GENERATED ALWAYS AS ('x' || 'y') STORED,
    tags text[], span int4range, picture bytea, share real, cost money, words tsvector, doc xml,
    seen timestamp, at timestamptz, extra jsonb, slug text UNIQUE,
    outside_id int REFERENCES public.outside
);
COMMENT ON TABLE sales.person IS 'Who buys.';
COMMENT ON COLUMN sales.person.price IS 'What it costs.';
CREATE INDEX ON sales.person USING gin (extra);
CREATE INDEX ON sales.person (lower(slug));
CREATE INDEX ON sales.person (price) WHERE price > 0;
CREATE INDEX ON sales.person (price DESC, at);
CREATE TABLE sales.part (id bigint GENERATED ALWAYS AS IDENTITY, at date NOT NULL)
    PARTITION BY RANGE (at);
CREATE TABLE sales.part_2020 PARTITION OF sales.part
    FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE sales.heir (more text) INHERITS (sales.part_base);
"""


@pytest.fixture
def database(postgres: Postgres) -> Iterator[URL]:
    with postgres.database() as url:
        yield url


def run(url: URL, script: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(script.replace(":", "\\:")))
    engine.dispose()


def address(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def sqlite(folder: Path, script: str) -> str:
    file = folder / "own file.db"
    connection = sqlite3.connect(file)
    connection.executescript(f"BEGIN;{script};COMMIT;")
    connection.close()
    return f"sqlite:///{file}"


def drafts(found: str, **more: Any) -> dict[str, CollectionDraft]:
    return {one.table: one for one in declare(read_schema(found, **more)).collections}


def test_what_postgres_tells_of_a_table_is_declared(database: URL) -> None:
    base = "CREATE TABLE sales.part_base (id int);"
    run(
        database,
        ON_POSTGRES.replace("CREATE TABLE sales.part (", f"{base}CREATE TABLE sales.part ("),
    )
    schema = read_schema(address(database), schema="sales")
    assert [one.name for one in schema.tables] == ["heir", "part", "part_base", "person"]
    assert schema.left_out == (("part_2020", "a part of part"),)
    person = declare(schema).collections[-1]
    fields = person.declared()["fields"]
    assert person.description == "Who buys."
    assert fields["price"] == {
        "kind": "decimal",
        "precision": 10,
        "scale": 2,
        "description": "What it costs.",
        "nullable": True,
        "default": "4.99",
    }
    assert fields["mood"] == {"kind": "enum", "values": ["sad", "glad"], "default": "glad"}
    assert fields["state"] == {"kind": "enum", "values": ["new", "old"], "default": "new"}
    assert fields["level"] == {"kind": "enum", "values": ["only"], "nullable": True}
    assert {name: one["kind"] for name, one in fields.items()} == {
        "born": "integer",
        "mood": "enum",
        "state": "enum",
        "level": "enum",
        "price": "decimal",
        "seen": "timestamp",
        "at": "timestamp",
        "extra": "json",
        "slug": "string",
        "outside_id": "integer",
    }
    assert person.indexes == (("price", "at"),)
    lost = {one.part for one in person.remarks.not_mapped}
    assert lost == {
        *("upper_state", "tags", "span", "picture", "share", "cost", "words", "doc"),
        *("outside_id", "index (extra)", "index (expression)", "index (price)"),
    }


def test_the_logins_own_schema_is_read_unless_another_is_named(database: URL) -> None:
    run(database, "CREATE TABLE a (name text); CREATE SCHEMA s; CREATE TABLE s.b (name text);")
    for schema, names in ((None, ["a"]), ("public", ["a"]), ("s", ["b"])):
        assert list(drafts(address(database), schema=schema)) == names
    for schema in ("nowhere", "pg_catalog", "information_schema"):
        with pytest.raises(BadInput) as refused:
            read_schema(address(database), schema=schema)
        assert refused.value.field == "--schema"


def test_the_transaction_cannot_write_and_ends_in_time(
    database: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(database, "CREATE TABLE a (name text)")
    seen: dict[str, str] = {}
    read = reading._read

    def looked(connection: Any, *more: Any) -> Any:
        for name in ("transaction_read_only", "transaction_isolation", "statement_timeout"):
            seen[name] = connection.execute(text(f"SHOW {name}")).scalar_one()
        return read(connection, *more)

    monkeypatch.setattr(reading, "_read", looked)
    read_schema(address(database), deadline_ms=4_000)
    assert seen == {
        "transaction_read_only": "on",
        "transaction_isolation": "repeatable read",
        "statement_timeout": "4s",
    }


def test_a_lock_that_is_held_too_long_ends_the_reading(
    database: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(connection: Any, *_: Any) -> Any:
        connection.execute(text("SELECT pg_sleep(30)"))

    monkeypatch.setattr(reading, "_read", slow)
    with pytest.raises(Failed) as failed:
        read_schema(address(database), deadline_ms=100)
    assert failed.value.code == "statement_deadline"


def test_a_file_is_opened_for_reading_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = sqlite(tmp_path, "CREATE TABLE a (name TEXT)")

    def write(connection: Any, *_: Any) -> Any:
        connection.execute(text("DROP TABLE a"))

    monkeypatch.setattr(reading, "_read", write)
    with pytest.raises(Unavailable):
        read_schema(found)
    monkeypatch.undo()
    assert list(drafts(found)) == ["a"]


def test_what_sqlite_tells_of_a_table_is_declared(tmp_path: Path) -> None:
    found = sqlite(
        tmp_path,
        """
        CREATE TABLE Person (
            PersonId INTEGER PRIMARY KEY,
            State TEXT NOT NULL DEFAULT 'new' CHECK (State IN ('new', 'old')),
            Active BOOLEAN NOT NULL DEFAULT 1,
            Price NUMERIC(8, 2),
            Twice INTEGER GENERATED ALWAYS AS (PersonId * 2) VIRTUAL,
            Slug TEXT NOT NULL UNIQUE,
            Anything,
            Picture BLOB
        );
        CREATE TABLE Note (PersonId INTEGER NOT NULL REFERENCES Person, Body TEXT);
        CREATE INDEX one_way ON Note (PersonId) WHERE Body IS NOT NULL;
        """,
    )
    note, person = (one.declared()["fields"] for one in drafts(found).values())
    assert note["person_id"]["collection"] == "person"
    assert {name: one["kind"] for name, one in person.items()} == {
        "state": "enum",
        "active": "boolean",
        "price": "decimal",
        "slug": "string",
    }
    assert (person["state"]["default"], person["active"]["default"]) == ("new", True)
    assert person["slug"]["unique"] is True
    lost = {one.part for draft in drafts(found).values() for one in draft.remarks.not_mapped}
    assert lost == {"Twice", "Anything", "Picture", "index (PersonId)"}


def test_named_tables_are_read_alone_and_must_be_there(tmp_path: Path) -> None:
    found = sqlite(tmp_path, "CREATE TABLE a (n TEXT); CREATE TABLE b (n TEXT REFERENCES a (n));")
    (table,) = read_schema(found, only=["b"]).tables
    assert table.links == (Link(("n",), "a", ("n",)),)
    with pytest.raises(BadInput) as refused:
        read_schema(found, only=["A"])
    assert refused.value.field == "--only"


def test_more_tables_than_a_catalog_holds_must_be_chosen(tmp_path: Path) -> None:
    found = sqlite(tmp_path, "".join(f"CREATE TABLE t{n} (a TEXT);" for n in range(257)))
    with pytest.raises(BadInput) as refused:
        read_schema(found)
    assert refused.value.field == "--only"
    assert len(read_schema(found, only=["t0", "t256"]).tables) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        f"no url at all {SECRET}",
        f"mysql://u:{SECRET}@h/d",
        f"postgresql+psycopg2://u:{SECRET}@h/d",
        f"postgresql://u:{SECRET}@h",
        f"postgresql://u:{SECRET}@h:port/d",
        f"postgresql://u:{SECRET}@h/d?options=-c%20statement_timeout=0",
        f"postgresql://u:{SECRET}@h/d?passfile=/etc/passwd",
        "sqlite://",
        "sqlite:///:memory:",
        f"sqlite:////nowhere/{SECRET}.db",
        f"sqlite:////nowhere/{SECRET}.db?mode=rw",
    ],
)
def test_an_address_that_will_not_do_is_refused_without_a_word_of_it(wrong: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_schema(wrong)
    assert refused.value.field == "the address"
    assert SECRET not in str(refused.value)


def test_no_error_tells_host_login_or_password(postgres: Postgres, tmp_path: Path) -> None:
    broken = tmp_path / f"{SECRET}.db"
    broken.write_bytes(b"no database " * 200)
    nobody = postgres.owner.set(username=SECRET, password=SECRET, database=SECRET)
    for wrong in (
        f"postgresql://{SECRET}:{SECRET}@127.0.0.1:1/{SECRET}",
        address(nobody),
        f"sqlite:///{broken}",
    ):
        with pytest.raises(Unavailable) as failed:
            read_schema(wrong)
        error: BaseException | None = failed.value
        assert failed.value.code == "database_unavailable"
        assert SECRET not in str(error)
        assert failed.value.__cause__ is None
        assert failed.value.__suppress_context__


def test_a_schema_without_tables_is_refused(tmp_path: Path, database: URL) -> None:
    for empty in (sqlite(tmp_path, ""), address(database)):
        with pytest.raises(PaybillError) as refused:
            read_schema(empty)
        assert "table" in str(refused.value)


def test_the_statements_are_few_whatever_the_number_of_tables(database: URL) -> None:
    counted: list[int] = []
    for tables in (1, 40):
        script = "".join(f"CREATE TABLE t{tables}_{n} (a text);" for n in range(tables))
        run(database, script)
        count = 0

        def counting(*_: object) -> None:
            nonlocal count
            count += 1

        # Whatever engine is made: reading makes one of its own.
        from sqlalchemy import Engine

        event.listen(Engine, "before_cursor_execute", counting)
        try:
            read_schema(address(database))
        finally:
            event.remove(Engine, "before_cursor_execute", counting)
        counted.append(count)
    assert counted[0] == counted[1] < 20
