"""A tenant's data as canonical JSON lines: written, read back, summed. Not the file they lie in.

The first line says whose it is and of which schema, each next one holds a row, the last one sums
them up. Rows that others refer to come before those. What the catalog gives (reference collections)
is not in it, nor the fence: the run that restores a tenant opens it. The proofs of applied calls
are: a call that is made again after a restore must still be known as applied. So is what rows were
before a run changed them; an archive of the first format has none of that, and means the same as
one without any.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import IO, Annotated, Any, Final, cast

from annotated_types import Ge
from pydantic import BaseModel, ConfigDict, StringConstraints
from sqlalchemy import Connection, exists, insert, select

from control_plane.data.archive_parts import BESIDE, OWNER, PAGE_ROWS, Part, parts_of, read_value
from control_plane.data.carry_over import CarryOver, Row
from control_plane.data.collection import Collection
from control_plane.data.record_count import set_records
from control_plane.data.tables import UNDO, collection_table, schema_digest
from control_plane.data.values import Value, to_json
from control_plane.domain.canonical import Json, canonical
from control_plane.errors import Refused

FORMAT: Final = 2
_FORMATS: Final = (2, 1)
# One line may hold all that a run has changed, and no page of it more than one such line.
LINE_BYTES_MAX: Final = 512 * 2**20
_SUM_MODULUS: Final = 2**256


class TableSummary(BaseModel):
    """One table's rows: how many, and the sum of their digests, whatever their order."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    rows: Annotated[int, Ge(0)]
    checksum: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Summary(BaseModel):
    """What a tenant's data comes to; equal ones mean the same rows. It tells no value of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_digest: str
    tables: Mapping[str, TableSummary]


class _Sums:
    """Counts and checksums while rows go by."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self._rows = dict.fromkeys(parts, 0)
        self._sums = dict.fromkeys(parts, 0)

    def add(self, name: str, line: bytes) -> None:
        self._rows[name] += 1
        number = int.from_bytes(hashlib.sha256(line).digest(), "big")
        self._sums[name] = (self._sums[name] + number) % _SUM_MODULUS

    def summary(self, schema: str) -> Summary:
        tables = {
            name: TableSummary(rows=rows, checksum=f"{self._sums[name]:064x}")
            for name, rows in self._rows.items()
        }
        return Summary(schema_digest=schema, tables=tables)


class _Reading:
    """The rows of an archive as they are read, once, and what they have come to at the end."""

    def __init__(self, source: IO[bytes], collections: Sequence[Collection], tenant: str) -> None:
        self._lines = _read_lines(source)
        self._parts = parts_of(collections)
        self._schema = schema_digest(collections)
        self._tenant = tenant
        self._sums = _Sums(self._parts)

    def __iter__(self) -> Iterator[Row]:
        first = next(self._lines, None)
        if first not in [_header(self._tenant, self._schema, one) for one in _FORMATS]:
            raise Refused("The archive is another tenant's or schema's.", code="archive_differs")
        end = b""
        for line in self._lines:
            if line.startswith(b"{"):
                end = line
                break
            name, values = _read_row(line, self._parts)
            self._sums.add(name, _row_line(name, values))
            yield name, values
        _require_end(end, self.summary(), self._lines)

    def summary(self) -> Summary:
        return self._sums.summary(self._schema)


def export_tenant(
    connection: Connection, collections: Sequence[Collection], tenant: str, target: IO[bytes]
) -> Summary:
    """Write the tenant's data to `target`, a page in memory at a time; gives what was written.

    The connection must read one snapshot throughout, as an engine's `reading` does.
    """
    parts = parts_of(collections)
    rows = ((name, row) for name, part in parts.items() for row in _rows(connection, part, tenant))
    return write_rows(rows, collections, tenant, target)


def write_rows(
    rows: Iterable[tuple[str, Mapping[str, Value | None]]],
    collections: Sequence[Collection],
    tenant: str,
    target: IO[bytes],
) -> Summary:
    """Write rows as an archive, each under its table's name; gives what was written."""
    schema, sums = schema_digest(collections), _Sums(parts_of(collections))
    target.write(_header(tenant, schema, FORMAT) + b"\n")
    for name, values in rows:
        line = _row_line(name, values)
        sums.add(name, line)
        target.write(line + b"\n")
    made = sums.summary(schema)
    target.write(canonical(made) + b"\n")
    return made


def load_tenant(
    connection: Connection,
    collections: Sequence[Collection],
    tenant: str,
    source: IO[bytes],
    carry: CarryOver | None = None,
) -> Summary:
    """Insert what `source` holds for the tenant, who must have no rows; gives what was inserted.

    Where the archive is of earlier declarations, `carry` leads from there to the collections; what
    they do not allow, the database refuses. Raises Refused: `archive_unreadable`, `archive_differs`
    (another tenant, schema or sum, or a reference to no row of it), `tenant_not_empty`. The
    transaction must then be rolled back.
    """
    parts = parts_of(collections)
    _require_empty(connection, parts, tenant)
    sums = _Sums(parts)
    reading = _Reading(source, collections if carry is None else carry.before, tenant)
    batch: list[tuple[str, dict[str, Any]]] = []
    for name, values in reading if carry is None else carry.carried(reading):
        sums.add(name, _row_line(name, values))
        if batch and (batch[0][0] != name or len(batch) == PAGE_ROWS):
            _insert(connection, parts, batch)
            batch = []
        batch.append((name, {OWNER: tenant, **values}))
    if batch:
        _insert(connection, parts, batch)
    _require_referred(connection, collections, tenant)
    loaded = sums.summary(schema_digest(collections))
    # Past the plan's limit too: what is given back is the tenant's own.
    records = sum(one.rows for name, one in loaded.tables.items() if name not in BESIDE)
    set_records(connection, tenant, records)
    return loaded


def foresee(source: IO[bytes], carry: CarryOver, tenant: str) -> tuple[Summary, Summary]:
    """What an archive comes to, and what its rows come to once they are carried over.

    Raises Refused: `archive_unreadable`, `archive_differs`, `rows_do_not_fit`; not for a value that
    may no longer be there twice, nor for a formula that makes too much of a row: a database tells.
    """
    reading, sums = _Reading(source, carry.before, tenant), _Sums(parts_of(carry.after))
    for name, values in carry.carried(carry.counted(reading)):
        sums.add(name, _row_line(name, values))
    return reading.summary(), sums.summary(schema_digest(carry.after))


def summary(connection: Connection, collections: Sequence[Collection], tenant: str) -> Summary:
    """What the tenant's data in a database comes to: equal to an archive's when it is the same."""
    parts = parts_of(collections)
    sums = _Sums(parts)
    for name, line in _lines(connection, parts, tenant):
        sums.add(name, line)
    return sums.summary(schema_digest(collections))


def told(contents: Mapping[str, Json]) -> dict[str, Json]:
    """What was written down of an archive, as a summary says it now.

    One of the first format knows of no images, which is as much as that there are none.
    """
    tables = cast("Mapping[str, Json]", contents["tables"])
    return {**contents, "tables": {UNDO.name: {"rows": 0, "checksum": f"{0:064x}"}, **tables}}


def _header(tenant: str, schema: str, number: int) -> bytes:
    return canonical({"archive": number, "tenant": tenant, "schema": schema})


def _row_line(name: str, values: Mapping[str, Value | None]) -> bytes:
    return canonical([name, {column: to_json(value) for column, value in values.items()}])


def _lines(
    connection: Connection, parts: Mapping[str, Part], tenant: str
) -> Iterator[tuple[str, bytes]]:
    for name, part in parts.items():
        for values in _rows(connection, part, tenant):
            yield name, _row_line(name, values)


def _rows(connection: Connection, part: Part, tenant: str) -> Generator[Mapping[str, Value | None]]:
    (key,) = (column for column in part.table.primary_key.columns if column.name != OWNER)
    wanted = select(*(part.table.c[name] for name in part.fields)).where(
        part.table.c[OWNER] == tenant
    )
    page = wanted.order_by(key).limit(part.page_rows)
    # Each page begins behind the last row of the one before, so the table bounds the loop.
    while found := [dict(row) for row in connection.execute(page).mappings()]:
        yield from found
        page = wanted.where(key > found[-1][key.name]).order_by(key).limit(part.page_rows)


def _require_empty(connection: Connection, parts: Mapping[str, Part], tenant: str) -> None:
    for part in parts.values():
        if next(_rows(connection, part, tenant), None) is not None:
            raise Refused("The tenant has rows already.", code="tenant_not_empty")


def _read_lines(source: IO[bytes]) -> Iterator[bytes]:
    while line := source.readline(LINE_BYTES_MAX + 1):
        if not line.endswith(b"\n"):
            raise _unreadable()
        yield line[:-1]


def _read_row(line: bytes, parts: Mapping[str, Part]) -> tuple[str, dict[str, Value | None]]:
    try:
        name, values = json.loads(line)
        part = parts[name]
        if values.keys() != part.fields.keys():
            raise _unreadable()
        return name, {column: read_value(part, column, values[column]) for column in part.fields}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _unreadable() from None


def _insert(
    connection: Connection,
    parts: Mapping[str, Part],
    batch: Sequence[tuple[str, dict[str, Any]]],
) -> None:
    connection.execute(insert(parts[batch[0][0]].table), [values for _, values in batch])


def _require_end(end: bytes, loaded: Summary, rest: Iterator[bytes]) -> None:
    try:
        said = Summary.model_validate(told(json.loads(end)))
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _unreadable() from None
    if next(rest, None) is not None:
        raise _unreadable()
    if said != loaded:
        raise Refused("The archive's rows are not those it sums up.", code="archive_differs")


def _require_referred(
    connection: Connection, collections: Sequence[Collection], tenant: str
) -> None:
    # A trial restore never commits, which is when an engine would look.
    own = {one.name: one for one in collections if not one.reference}
    for one in own.values():
        for name, field in one.fields.items():
            if field.collection in own:
                table = collection_table(one)
                target = collection_table(own[field.collection]).alias()
                referred = exists().where(target.c[OWNER] == tenant, target.c.id == table.c[name])
                lost = select(table.c.id).where(
                    table.c[OWNER] == tenant, table.c[name].is_not(None), ~referred
                )
                if connection.execute(lost.limit(1)).first() is not None:
                    raise Refused("A row refers to one that is not there.", code="archive_differs")


def _unreadable() -> Refused:
    return Refused("The archive cannot be read.", code="archive_unreadable")
