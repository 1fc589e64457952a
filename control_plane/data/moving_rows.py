"""A tenant's rows on their way from one database to another, typed or as they stand. Not which ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, TypeAlias, cast

from sqlalchemy import ColumnElement, Connection, delete, func, select

from control_plane.data.moving_ends import MovingEnd, Survey, Writing
from control_plane.data.moving_parts import Moved, Part
from control_plane.data.tables import COUNT
from control_plane.errors import Refused

ROWS_PER_STEP: Final = 10_000
BYTES_PER_STEP: Final = 16 * 2**20
_FETCHED_ROWS: Final = 1_000
_SUM_MODULUS: Final = 2**256

Row: TypeAlias = dict[str, Any]
# A batch of rows of one table: typed, or as lines of the engine's own.
Batch: TypeAlias = Sequence[Row] | Sequence[bytes]


def is_raw(survey: Survey, other: Survey | Writing) -> bool:
    """Whether rows can go as they stand: both ends write them in the same way."""
    return survey.raw_format is not None and survey.raw_format == other.raw_format


def batches(survey: Survey, part: Part, tenant: str, *, raw: bool) -> Iterator[Batch]:
    """All the tenant's rows of a table, so many at a time as memory may hold."""
    if raw:
        yield from _heaped(survey.raw_rows(part))
        return
    rows = _typed(survey.connection, part, tenant)
    while found := list(islice(rows, ROWS_PER_STEP)):
        yield found


def batches_of(
    survey: Survey, part: Part, tenant: str, keys: Iterable[str], *, raw: bool
) -> Iterator[Batch]:
    """The tenant's rows of the keys, as far as they are there."""
    for some in in_steps(part, keys):
        if raw:
            yield list(survey.raw_rows(part, some))
        else:
            yield list(_typed(survey.connection, part, tenant, some))


@contextmanager
def fitting(target: MovingEnd) -> Generator[Writing]:
    """A transaction in the target. Raises Refused (`rows_do_not_fit`) where a row breaks a rule there."""
    try:
        with target.writing() as writing:
            yield writing
    except Refused as error:
        if error.code != "constraint":
            raise
        raise Refused(
            "A row of the source breaks a rule of the target.",
            code="rows_do_not_fit",
            rule=error.rule,
        ) from error


def put(writing: Writing, part: Part, batch: Batch, *, raw: bool) -> None:
    """Add rows that are not there. Raises Refused (`rows_do_not_fit`)."""
    if not batch:
        return
    if raw:
        writing.put_raw(part, cast("Sequence[bytes]", batch))
        return
    try:
        writing.put_rows(part, cast("Sequence[Row]", batch))
    except (ValueError, TypeError, ArithmeticError) as error:
        raise _unfit(part) from error


def take(writing: Writing, part: Part, tenant: str, keys: Iterable[str]) -> int:
    """Remove the tenant's rows of the keys; how many were there. Raises Refused (`rows_do_not_fit`)."""
    gone = 0
    for some in in_steps(part, keys):
        mine = delete(part.table).where(_named(writing.connection, part, tenant, some))
        gone += writing.connection.execute(mine).rowcount
    return gone


def take_some(writing: Writing, part: Part, tenant: str, rows_max: int | None) -> int:
    """Remove the tenant's rows, so many at most; how many."""
    mine = part.of(tenant)
    if rows_max is not None:
        mine = part.among(tenant, rows_max, writing.connection.dialect.name)
    return writing.connection.execute(delete(part.table).where(mine)).rowcount


def in_steps(part: Part, keys: Iterable[str]) -> Iterator[list[str]]:
    """The keys, in order, a statement's worth at a time."""
    ordered = sorted(keys)
    for start in range(0, len(ordered), part.keys_per_step):
        yield ordered[start : start + part.keys_per_step]


def count(connection: Connection, part: Part, tenant: str) -> int:
    """How many rows of the table the tenant has."""
    counted = select(func.count()).select_from(part.table).where(part.of(tenant))
    return int(connection.execute(counted).scalar_one())


def records_counted(connection: Connection, moved: Moved) -> int:
    """How many records the tenant has, by looking."""
    every = (part for part in moved.parts.values() if part.is_collection)
    return sum(count(connection, part, moved.tenant) for part in every)


def records_said(connection: Connection, tenant: str) -> int | None:
    """How many records the tenant is said to have."""
    said = select(COUNT.c.records).where(COUNT.c.tenant_id == tenant)
    return connection.execute(said).scalar_one_or_none()


def summed(part: Part, some: Iterable[Batch]) -> tuple[int, str]:
    """How many rows, and the sum of their digests: the same in whatever order they come."""
    rows, total = 0, 0
    for batch in some:
        for row in batch:
            line = row if isinstance(row, bytes) else _line(part, row)
            total += int.from_bytes(hashlib.sha256(line).digest(), "big")
        rows += len(batch)
    return rows, f"{total % _SUM_MODULUS:064x}"


def _line(part: Part, row: Row) -> bytes:
    # Not canonical JSON: who writes past us may have put fractions into a json column.
    try:
        return json.dumps(part.told(row), sort_keys=True, ensure_ascii=False).encode()
    except (ValueError, TypeError, ArithmeticError) as error:
        raise _unfit(part) from error


def _typed(
    connection: Connection, part: Part, tenant: str, keys: Sequence[str] | None = None
) -> Iterator[Row]:
    mine = part.of(tenant) if keys is None else _named(connection, part, tenant, keys)
    wanted = select(*part.columns).where(mine).order_by(*part.keys)
    try:
        found = connection.execute(wanted, execution_options={"yield_per": _FETCHED_ROWS})
        yield from (dict(row) for row in found.mappings())
    except (ValueError, TypeError, ArithmeticError) as error:
        raise _unfit(part) from error


def _named(
    connection: Connection, part: Part, tenant: str, keys: Sequence[str]
) -> ColumnElement[bool]:
    try:
        return part.named(tenant, keys, connection.dialect.name)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise _unfit(part) from error


def _heaped(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    heap: list[bytes] = []
    size_bytes = 0
    for line in lines:
        heap.append(line)
        size_bytes += len(line)
        if len(heap) == ROWS_PER_STEP or size_bytes >= BYTES_PER_STEP:
            yield heap
            heap, size_bytes = [], 0
    if heap:
        yield heap


def _unfit(part: Part) -> Refused:
    # Who writes a file past us is held to no type.
    return Refused(
        f"A row of {part.name} holds what its column cannot.",
        code="rows_do_not_fit",
        rule="type",
        fact=part.name,
    )
