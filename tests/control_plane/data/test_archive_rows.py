"""Archived rows on their way out of a database and into one: a page at a time, by few statements. Not what they are."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from sqlalchemy import Connection, delete, event, insert, select

from control_plane.data.archive import load_tenant, summary, write_rows
from control_plane.data.archive_parts import PAGE_ROWS, parts_of
from control_plane.data.collection import Collection
from control_plane.data.tables import APPLIED, UNDO, collection_table, tenant_metadata

NOW: Final = datetime(2024, 1, 1, 12, 30, 0, 123456, tzinfo=UTC)
PAGES: Final = 12


def archive_of(things: Collection, rows: int, story: str) -> io.BytesIO:
    """So many rows in an archive, and beside them a proof and two images."""
    plain: dict[str, Any] = dict.fromkeys(parts_of([things])["things"].fields)
    plain |= {"code": "x", "version": 1, "created_at": NOW, "story": story}
    content = io.BytesIO()
    records = [
        ("things", {**plain, "id": f"00000000-0000-4000-8000-{number:012d}"})
        for number in range(rows)
    ]
    proof: dict[str, Any] = {"call_id": "a", "digest": "d" * 64, "applied_at": NOW}
    # Who writes past us may have put anything into a text.
    image: dict[str, Any] = {"images": [["x", 1, {"label": "\x00\xe9"}]], "kept_at": NOW}
    images = [("paybill_undo", {"call_id": call, **image}) for call in ("a", "b")]
    write_rows([*records, ("paybill_applied", proof), *images], [things], "acme", content)
    content.seek(0)
    return content


@contextmanager
def noted(connection: Connection) -> Generator[list[tuple[str, bool]]]:
    """The statements that are executed, and whether each was handed many rows."""
    told: list[tuple[str, bool]] = []

    def note(_a: object, _b: object, statement: str, _c: object, _d: object, many: bool) -> None:
        told.append((statement, many))

    event.listen(connection, "before_cursor_execute", note)
    try:
        yield told
    finally:
        event.remove(connection, "before_cursor_execute", note)


@pytest.mark.long_but_one
def test_a_load_holds_no_more_than_a_few_pages(connection: Connection, things: Collection) -> None:
    story = "s" * 5_000
    content = archive_of(things, PAGES * PAGE_ROWS, story)
    tracemalloc.start()
    try:
        load_tenant(connection, [things], "acme", content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < PAGES / 2 * PAGE_ROWS * len(story)


def test_a_page_is_added_by_one_statement(connection: Connection, things: Collection) -> None:
    content = archive_of(things, 2 * PAGE_ROWS + 1, "s")
    with noted(connection) as told:
        load_tenant(connection, [things], "acme", content)
    added = [many for statement, many in told if statement.startswith("INSERT")]
    # Three pages of records, one proof, and each line of images by itself.
    assert len(added) == 6
    on_server = connection.dialect.name == "postgresql"
    # Many rows of one statement are many statements to a server, each with its own triggers.
    assert any(added) == (not on_server)


def test_a_table_is_read_by_one_statement(connection: Connection, things: Collection) -> None:
    loaded = load_tenant(connection, [things], "acme", archive_of(things, 2 * PAGE_ROWS + 1, "s"))
    with noted(connection) as told:
        assert summary(connection, [things], "acme") == loaded
    # Whether the team has tables of its own, the catalog tells.
    rows = [said for said, _ in told if "pg_catalog" not in said and "PRAGMA" not in said]
    assert len(rows) == len(loaded.tables)


def test_rows_that_are_read_are_those_of_the_tenant(
    connection: Connection, things: Collection
) -> None:
    table = collection_table(things)
    loaded = load_tenant(connection, [things], "acme", archive_of(things, 3, "s"))
    mine = [dict(row) for row in connection.execute(select(table)).mappings()]
    computed = things.computed
    others = [
        {name: value for name, value in row.items() if name not in computed}
        | {"tenant_id": "other", "story": "another"}
        for row in mine
    ]
    connection.execute(insert(table), others)
    assert summary(connection, [things], "acme") == loaded
    assert summary(connection, [things], "other") != loaded
    for one in (table, APPLIED, UNDO):
        connection.execute(delete(one).where(one.c.tenant_id == "other"))
    assert summary(connection, [things], "other").tables["things"].rows == 0


def test_a_column_may_have_any_name(connection: Connection, things: Collection) -> None:
    words = ("rows", "tenant", "given", "order", "user", "value", "as", "line")
    fields = dict.fromkeys(words, things.fields["label"])
    named = things.model_copy(update={"name": "given", "fields": fields})
    tenant_metadata([things, named]).create_all(connection)
    kept: dict[str, Any] = {"id": "00000000-0000-4000-8000-000000000000", "version": 1}
    row: dict[str, Any] = {**kept, "created_at": NOW, **{word: word for word in words}}
    content = io.BytesIO()
    made = write_rows([("given", row)], [named], "acme", content)
    content.seek(0)
    assert load_tenant(connection, [named], "acme", content) == made
    assert summary(connection, [named], "acme") == made
