"""A tenant's data as lines: whole, exact in every type, on both engines, and never half read."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Table, create_engine, delete, insert, select

from control_plane.data.archive import (
    Summary,
    export_tenant,
    load_tenant,
    summary,
    told,
)
from control_plane.data.archive_parts import PAGE_ROWS
from control_plane.data.collection import SAMPLES, Collection, load_collection
from control_plane.data.tables import APPLIED, FENCE, UNDO, tenant_metadata
from control_plane.data.undo import Image, images_of, keep_images
from control_plane.domain.canonical import canonical, plain
from control_plane.errors import Refused
from tests.support.postgres import Postgres

NOW: Final = datetime(2024, 1, 1, 12, 30, 0, 123456, tzinfo=UTC)
BIG: Final = 2**53 - 1
WORDS: Final = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
MOMENTS: Final = st.datetimes(datetime(1000, 1, 2), datetime(9999, 12, 30)).map(  # noqa: DTZ001
    lambda moment: moment.replace(tzinfo=UTC)
)
DOCUMENTS: Final = st.recursive(
    st.booleans() | st.integers(-BIG, BIG) | WORDS.map(lambda word: word[:9]),
    lambda parts: (
        st.lists(parts | st.none(), max_size=2)
        | st.dictionaries(WORDS.map(lambda word: word[:5]), parts | st.none(), max_size=2)
    ),
    max_leaves=3,
)
VALUES: Final = st.fixed_dictionaries(
    {
        "label": st.none() | WORDS.map(lambda word: word[:20]),
        "code": st.from_regex(r"[a-z]{1,8}", fullmatch=True),
        "story": st.none() | WORDS,
        "count": st.none() | st.integers(-BIG, BIG),
        "active": st.none() | st.booleans(),
        "born": st.none() | st.dates(date(1000, 1, 1)),
        "seen": st.none() | MOMENTS,
        "other": st.none() | st.uuids().map(str),
        "status": st.none() | st.sampled_from(["lead", "customer"]),
        "balance": st.none() | st.integers(-BIG, BIG),
        "price": st.none() | st.integers(1 - 10**8, 10**8 - 1).map(lambda n: Decimal(n).scaleb(-2)),
        "details": st.none() | DOCUMENTS,
        "parent": st.none() | st.just("00000000-0000-4000-8000-000000000000"),
        "version": st.integers(1, BIG),
        "created_at": MOMENTS,
    }
)
ROWS: Final = st.lists(VALUES, max_size=6)
PROOFS: Final = st.dictionaries(
    st.from_regex(r"[a-z0-9]{1,64}", fullmatch=True), MOMENTS, max_size=4
)


def row_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def fill(connection: Connection, table: Table, tenant: str, rows: Sequence[dict[str, Any]]) -> None:
    for number, values in enumerate(rows):
        connection.execute(insert(table).values(tenant_id=tenant, id=row_id(number), **values))


def prove(connection: Connection, tenant: str, proofs: dict[str, datetime]) -> None:
    for call, moment in proofs.items():
        values = {"tenant_id": tenant, "call_id": call, "digest": "d" * 64, "applied_at": moment}
        connection.execute(insert(APPLIED).values(values))


def clear(connection: Connection, table: Table) -> None:
    for one in (table, APPLIED, UNDO, FENCE):
        connection.execute(delete(one))


def all_rows(connection: Connection, table: Table) -> list[dict[str, Any]]:
    found = connection.execute(select(table).order_by(*table.primary_key.columns)).mappings()
    return [dict(row) for row in found]


def exported(connection: Connection, things: Collection) -> tuple[bytes, Summary]:
    target = io.BytesIO()
    made = export_tenant(connection, [things], "acme", target)
    return target.getvalue(), made


def plain_row(number: int, **changed: Any) -> dict[str, Any]:
    base = dict.fromkeys(
        (
            *("label", "story", "count", "active", "born", "seen", "other", "status", "balance"),
            *("price", "details", "parent"),
        )
    )
    return {**base, "code": "x", "version": number, "created_at": NOW, **changed}


@pytest.fixture(scope="module")
def elsewhere(postgres: Postgres, things: Collection) -> Iterator[Connection]:
    """The same tables in a Postgres database."""
    with postgres.database() as url:
        engine = create_engine(url)
        with engine.begin() as connection:
            tenant_metadata([things]).create_all(connection)
        with engine.connect() as connection:
            yield connection
        engine.dispose()


def round_trip(
    source: Connection,
    target: Connection,
    things: Collection,
    table: Table,
    rows: list[dict[str, Any]],
    proofs: dict[str, datetime],
) -> None:
    clear(source, table)
    fill(source, table, "acme", rows)
    fill(source, table, "other", rows)
    prove(source, "acme", proofs)
    prove(source, "other", proofs)
    content, made = exported(source, things)
    mine = [row for row in all_rows(source, table) if row["tenant_id"] == "acme"]
    kept = [row for row in all_rows(source, APPLIED) if row["tenant_id"] == "acme"]
    assert summary(source, [things], "acme") == made
    clear(target, table)
    assert load_tenant(target, [things], "acme", io.BytesIO(content)) == made
    assert summary(target, [things], "acme") == made
    assert all_rows(target, table) == mine
    assert all_rows(target, APPLIED) == kept
    assert exported(target, things) == (content, made)


@pytest.mark.long_but_one
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=ROWS, proofs=PROOFS)
def test_what_is_restored_is_what_was_archived(
    connection: Connection,
    things: Collection,
    table: Table,
    rows: list[dict[str, Any]],
    proofs: dict[str, datetime],
) -> None:
    round_trip(connection, connection, things, table, rows, proofs)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=ROWS, proofs=PROOFS, back=st.booleans())
def test_data_survives_the_way_between_engines(
    connection: Connection,
    elsewhere: Connection,
    things: Collection,
    table: Table,
    rows: list[dict[str, Any]],
    proofs: dict[str, datetime],
    back: bool,
) -> None:
    source, target = (elsewhere, connection) if back else (connection, elsewhere)
    try:
        round_trip(source, target, things, table, rows, proofs)
    finally:
        elsewhere.rollback()


def test_pages_and_batches_lose_nothing(
    connection: Connection, things: Collection, table: Table
) -> None:
    count = 2 * PAGE_ROWS + 1
    fill(connection, table, "acme", [plain_row(number + 1) for number in range(count)])
    content, made = exported(connection, things)
    assert made.tables["things"].rows == count
    assert content.count(b"\n") == count + 2
    clear(connection, table)
    assert load_tenant(connection, [things], "acme", io.BytesIO(content)) == made


def test_no_more_than_a_page_is_in_memory(
    connection: Connection, things: Collection, table: Table
) -> None:
    story = "s" * 5_000
    fill(connection, table, "acme", [plain_row(1, story=story) for _ in range(4 * PAGE_ROWS)])

    class Nowhere(io.BytesIO):
        def write(self, content: Any, /) -> int:
            return len(content)

    tracemalloc.start()
    try:
        export_tenant(connection, [things], "acme", Nowhere())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * PAGE_ROWS * len(story)


def test_neither_the_fence_nor_reference_rows_are_in_it(
    connection: Connection, things: Collection
) -> None:
    currencies = load_collection(SAMPLES / "currencies.yaml")
    connection.execute(insert(FENCE).values(tenant_id="acme", epoch=7, open=True))
    target = io.BytesIO()
    made = export_tenant(connection, [things, currencies], "acme", target)
    assert set(made.tables) == {"things", "paybill_applied", "paybill_undo"}
    assert b"fence" not in target.getvalue()
    assert b"currencies" not in target.getvalue()


@pytest.mark.parametrize(
    "changed", [{"count": 2}, {"label": ""}, {"active": False}, {"version": 9}]
)
def test_any_other_value_has_another_sum(
    connection: Connection, things: Collection, table: Table, changed: dict[str, Any]
) -> None:
    fill(connection, table, "acme", [plain_row(1, count=1, active=True)])
    before = summary(connection, [things], "acme")
    connection.execute(table.update().values(**changed))
    after = summary(connection, [things], "acme")
    assert after.tables["things"].rows == before.tables["things"].rows
    assert after != before


def test_the_sum_does_not_depend_on_the_order(
    connection: Connection, things: Collection, table: Table
) -> None:
    rows = [plain_row(number + 1, code="x" * (number + 1)) for number in range(3)]
    fill(connection, table, "acme", rows)
    content, made = exported(connection, things)
    head, *lines, end = content.splitlines(keepends=True)
    clear(connection, table)
    turned = b"".join([head, *lines[::-1], end])
    assert load_tenant(connection, [things], "acme", io.BytesIO(turned)) == made


def test_a_reference_to_a_row_that_is_not_there_is_refused(
    connection: Connection, things: Collection, table: Table
) -> None:
    fill(connection, table, "acme", [plain_row(1), plain_row(2, parent=row_id(0))])
    fill(connection, table, "other", [plain_row(1), plain_row(2), plain_row(3)])
    connection.execute(table.update().values(parent=row_id(2)).where(table.c.version == 2))
    # Where nothing is committed, no engine has looked: only the load does.
    content, _ = exported(connection, things)
    connection.execute(delete(table).where(table.c.tenant_id == "acme"))
    with pytest.raises(Refused) as caught:
        load_tenant(connection, [things], "acme", io.BytesIO(content))
    assert caught.value.code == "archive_differs"


def _changed(lines: list[bytes], **values: Any) -> list[bytes]:
    name, row = json.loads(lines[1])
    return [lines[0], canonical([name, {**row, **values}]) + b"\n", *lines[2:]]


Mutilate = Callable[[list[bytes]], list[bytes]]


MUTILATED: Final[dict[str, tuple[Mutilate, str]]] = {
    "nothing": (lambda lines: [], "archive_differs"),
    "no head": (lambda lines: lines[1:], "archive_differs"),
    "another tenant": (
        lambda lines: [lines[0].replace(b"acme", b"acmf"), *lines[1:]],
        "archive_differs",
    ),
    "no end": (lambda lines: lines[:-1], "archive_unreadable"),
    "a row less": (lambda lines: lines[:-2] + lines[-1:], "archive_differs"),
    "a row behind the end": (lambda lines: [*lines, lines[1]], "archive_unreadable"),
    "cut off": (lambda lines: [*lines[:-1], lines[-1][:-1]], "archive_unreadable"),
    "no summary": (lambda lines: [*lines[:-1], b"{}\n"], "archive_unreadable"),
    "an empty line": (lambda lines: [lines[0], b"\n", *lines[2:]], "archive_unreadable"),
    "no row": (lambda lines: [lines[0], b"[1]\n", *lines[2:]], "archive_unreadable"),
    "another table": (
        lambda lines: [lines[0], b'["nothing",{}]\n', *lines[2:]],
        "archive_unreadable",
    ),
    "no columns": (
        lambda lines: [lines[0], b'["things",{}]\n', *lines[2:]],
        "archive_unreadable",
    ),
    "too deep": (lambda lines: [lines[0], b"[" * 50_000 + b"\n", *lines[2:]], "archive_unreadable"),
    "another value": (lambda lines: _changed(lines, count=6), "archive_differs"),
    "text for a number": (lambda lines: _changed(lines, count="5"), "archive_unreadable"),
    "null where none may be": (lambda lines: _changed(lines, code=None), "archive_unreadable"),
    "no such word": (lambda lines: _changed(lines, status="other"), "archive_unreadable"),
    "one column more": (lambda lines: _changed(lines, tenant_id="other"), "archive_unreadable"),
    "no such decimal": (lambda lines: _changed(lines, price="1.5"), "archive_unreadable"),
    "a fraction": (
        lambda lines: [lines[0], lines[1].replace(b'ls":null', b'ls":1.5'), *lines[2:]],
        "archive_unreadable",
    ),
    "a computed value": (lambda lines: _changed(lines, tag="x-lead"), "archive_unreadable"),
    "no such day": (lambda lines: _changed(lines, born="2024-02-30"), "archive_unreadable"),
}


@pytest.mark.slice_of(4)
@pytest.mark.parametrize("wrong", MUTILATED)
def test_a_mutilated_archive_is_refused(
    connection: Connection, things: Collection, table: Table, wrong: str
) -> None:
    mutilate, code = MUTILATED[wrong]
    fill(connection, table, "acme", [plain_row(1, count=5), plain_row(2)])
    content, _ = exported(connection, things)
    clear(connection, table)
    broken = b"".join(mutilate(content.splitlines(keepends=True)))
    with pytest.raises(Refused) as caught:
        load_tenant(connection, [things], "acme", io.BytesIO(broken))
    assert caught.value.code == code


def test_a_document_that_outgrew_a_later_bound_is_restored(
    connection: Connection, things: Collection, table: Table
) -> None:
    fill(connection, table, "acme", [plain_row(1, details=["x" * 190])])
    details = things.fields["details"].model_copy(update={"max_length": 20})
    narrower = things.model_copy(update={"fields": {**things.fields, "details": details}})
    # A change of declarations leaves such rows as they are.
    content, made = exported(connection, narrower)
    clear(connection, table)
    assert load_tenant(connection, [narrower], "acme", io.BytesIO(content)) == made


def test_what_an_undo_needs_is_in_it_whatever_its_size(
    connection: Connection, things: Collection, table: Table
) -> None:
    long = {"label": "x" * 200_000, "deep": [[None, {"n": BIG}]]}
    images = [Image(row_id(1), 2, long), Image(row_id(2), 1, None)]
    for call in ("one", "two"):
        keep_images(connection, "acme", call, images, now=NOW)
    keep_images(connection, "other", "one", images, now=NOW)
    content, made = exported(connection, things)
    assert made.tables["paybill_undo"].rows == 2
    connection.execute(delete(UNDO))
    assert load_tenant(connection, [things], "acme", io.BytesIO(content)) == made
    assert images_of(connection, "acme", "two", now=NOW) == tuple(images)
    assert exported(connection, things) == (content, made)


def test_an_archive_of_the_first_format_is_one_without_images(
    connection: Connection, things: Collection, table: Table
) -> None:
    fill(connection, table, "acme", [plain_row(1)])
    content, made = exported(connection, things)
    head, *lines, end = content.splitlines(keepends=True)
    before = json.loads(end)
    del before["tables"]["paybill_undo"]
    first = head.replace(b'"archive":2', b'"archive":1')
    clear(connection, table)
    old = b"".join([first, *lines, canonical(before) + b"\n"])
    assert load_tenant(connection, [things], "acme", io.BytesIO(old)) == made
    assert told(before) == plain(made)
    clear(connection, table)
    later = head.replace(b'"archive":2', b'"archive":3')
    with pytest.raises(Refused):
        load_tenant(connection, [things], "acme", io.BytesIO(b"".join([later, *lines, end])))


def test_an_archive_of_other_collections_is_refused(
    connection: Connection, things: Collection
) -> None:
    content, _ = exported(connection, things)
    other = things.model_copy(update={"name": "others"})
    tenant_metadata([things, other]).create_all(connection)
    with pytest.raises(Refused) as caught:
        load_tenant(connection, [other], "acme", io.BytesIO(content))
    assert caught.value.code == "archive_differs"


def test_a_tenant_who_has_rows_is_not_loaded(
    connection: Connection, things: Collection, table: Table
) -> None:
    fill(connection, table, "acme", [plain_row(1)])
    content, _ = exported(connection, things)
    with pytest.raises(Refused) as caught:
        load_tenant(connection, [things], "acme", io.BytesIO(content))
    assert caught.value.code == "tenant_not_empty"
    assert len(all_rows(connection, table)) == 1
