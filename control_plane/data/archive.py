"""A tenant's data as canonical JSON lines: written, read back, summed. Not the file they lie in.

The first line says whose it is and of which schema, each next one holds a row, the last one sums
them up. Rows that others refer to come before those. What the catalog gives (reference collections)
is not in it, nor the fence: the run that restores a tenant opens it. The proofs of applied calls
are: a call that is made again after a restore must still be known as applied. So is what rows were
before a run changed them; an archive of the first format has none of that, and means the same as
one without any. Behind all that stand the rows of the team's own tables, where a migration has made
such: those of the first two formats have none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import IO, Final, cast

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, exists, select

from control_plane.data.archive_lines import Page, paged
from control_plane.data.archive_parts import BESIDE, OWNER, Part, parts_of
from control_plane.data.archive_rows import Adding, has_rows, pages_of
from control_plane.data.carry_over import CarryOver, Row
from control_plane.data.collection import Collection
from control_plane.data.record_count import set_records
from control_plane.data.tables import UNDO, collection_table, schema_digest
from control_plane.data.team_archive import (
    TableSummary,
    TeamReading,
    count_team,
    said_of,
    sum_team,
    write_team,
)
from control_plane.data.values import Value
from control_plane.databases.team_catalog import team_shape
from control_plane.domain.backup_manifest import TeamSaid
from control_plane.domain.canonical import Json, canonical
from control_plane.errors import Refused

_PLAIN: Final = 2
_WITH_TEAM: Final = 3
_FORMATS: Final = (_WITH_TEAM, _PLAIN, 1)
# One line may hold all that a run has changed, and no page of it more than one such line.
LINE_BYTES_MAX: Final = 512 * 2**20
_SUM_MODULUS: Final = 2**256


class Summary(BaseModel):
    """What a tenant's data comes to; equal ones mean the same rows. It tells no value of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_digest: str
    tables: Mapping[str, TableSummary]
    team: TeamSaid | None = None

    def with_team(self, said: TeamSaid | None, tables: Mapping[str, TableSummary]) -> Summary:
        """The same with the rows of the team's own tables."""
        return Summary(
            schema_digest=self.schema_digest, tables={**self.tables, **tables}, team=said
        )


class _Sums:
    """Counts and checksums while rows go by."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self._rows = dict.fromkeys(parts, 0)
        self._sums = dict.fromkeys(parts, 0)

    def add(self, page: Page) -> Iterator[bytes]:
        """The page's lines, each added as it goes by."""
        name = page.part.table.name
        for line in page.lines():
            self._rows[name] += 1
            self._sums[name] += int.from_bytes(sha256(line).digest(), "big")
            yield line

    def summary(self, schema: str) -> Summary:
        tables = {
            name: TableSummary(rows=rows, checksum=f"{self._sums[name] % _SUM_MODULUS:064x}")
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
        self._end = b""
        self._number = 0

    def rows(self) -> Iterator[Row]:
        for page, _ in self.pages():
            for values in page.rows():
                yield page.part.table.name, values

    def pages(self) -> Iterator[tuple[Page, list[bytes]]]:
        """Each page with its lines: made anew of what was read, never passed on as they stood."""
        for page in paged(self._parts, self._read()):
            yield page, list(self._sums.add(page))
        _require_end(self._end, self.summary())
        if self._number != _WITH_TEAM and next(self._lines, None) is not None:
            raise _unreadable()

    def team(self) -> TeamReading | None:
        """What stands behind, once all pages were read; to be read to its end."""
        return TeamReading(self._lines) if self._number == _WITH_TEAM else None

    def summary(self) -> Summary:
        return self._sums.summary(self._schema)

    def _read(self) -> Iterator[Row]:
        first = next(self._lines, None)
        known = {_header(self._tenant, self._schema, one): one for one in _FORMATS}
        if first not in known:
            raise Refused("The archive is another tenant's or schema's.", code="archive_differs")
        self._number = known[first]
        for line in self._lines:
            if line.startswith(b"{"):
                self._end = line
                return
            yield _read_row(line, self._parts)


def export_tenant(
    connection: Connection,
    collections: Sequence[Collection],
    tenant: str,
    target: IO[bytes],
    *,
    team: bool = True,
) -> Summary:
    """Write the tenant's data to `target`, a page in memory at a time; gives what was written.

    The connection must read one snapshot throughout, as an engine's `reading` does. Without `team`,
    the rows of the team's own tables are left out.
    """
    parts = parts_of(collections).values()
    pages = (page for part in parts for page in pages_of(connection, part, tenant))
    shape = team_shape(connection)
    said = said_of(shape) if team else None
    number = _PLAIN if said is None else _WITH_TEAM
    made = _write(pages, collections, tenant, target, number)
    if said is None:
        return made
    return made.with_team(said, write_team(connection, shape, tenant, target))


def write_rows(
    rows: Iterable[tuple[str, Mapping[str, Value | None]]],
    collections: Sequence[Collection],
    tenant: str,
    target: IO[bytes],
) -> Summary:
    """Write rows as an archive, each under its table's name; gives what was written."""
    return _write(paged(parts_of(collections), rows), collections, tenant, target, _PLAIN)


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
    (another tenant, schema or sum, or a reference to no row of it), `tenant_not_empty`,
    `rows_do_not_fit` (the team's own, where the engine is another one); Failed (`migrations_differ`)
    where the team's tables are of other migrations. The transaction must then be rolled back.
    """
    parts, shape = parts_of(collections), team_shape(connection)
    if any(has_rows(connection, part, tenant) for part in parts.values()) or any(
        count_team(connection, shape, tenant).values()
    ):
        raise Refused("The tenant has rows already.", code="tenant_not_empty")
    adding = Adding(connection, tenant)
    if carry is None:
        reading = _Reading(source, collections, tenant)
        for page, lines in reading.pages():
            adding.add(page, lines)
        loaded = reading.summary()
    else:
        sums, reading = _Sums(parts), _Reading(source, carry.before, tenant)
        for page in paged(parts, carry.carried(reading.rows())):
            adding.add(page, list(sums.add(page)))
        loaded = sums.summary(schema_digest(collections))
    team = reading.team()
    if team is not None:
        team.load(connection, shape, tenant)
    _require_referred(connection, collections, tenant)
    # Past the plan's limit too: what is given back is the tenant's own.
    records = sum(one.rows for name, one in loaded.tables.items() if name not in BESIDE)
    set_records(connection, tenant, records)
    return loaded.with_team(said_of(shape), sum_team(connection, shape, tenant))


def foresee(source: IO[bytes], carry: CarryOver, tenant: str) -> tuple[Summary, Summary]:
    """What an archive comes to, and what its rows come to once they are carried over.

    Raises Refused: `archive_unreadable`, `archive_differs`, `rows_do_not_fit`; not for a value that
    may no longer be there twice, nor for a formula that makes too much of a row: a database tells.
    """
    reading, sums = _Reading(source, carry.before, tenant), _Sums(parts_of(carry.after))
    for page in paged(parts_of(carry.after), carry.carried(carry.counted(reading.rows()))):
        _run_through(sums.add(page))
    archived, carried = reading.summary(), sums.summary(schema_digest(carry.after))
    team = reading.team()
    if team is None:
        return archived, carried
    team.run_through()
    told = team.said, team.tables()
    return archived.with_team(*told), carried.with_team(*told)


def summary(connection: Connection, collections: Sequence[Collection], tenant: str) -> Summary:
    """What the tenant's data in a database comes to: equal to an archive's when it is the same."""
    parts = parts_of(collections)
    sums = _Sums(parts)
    for part in parts.values():
        for page in pages_of(connection, part, tenant):
            _run_through(sums.add(page))
    shape = team_shape(connection)
    found = sums.summary(schema_digest(collections))
    return found.with_team(said_of(shape), sum_team(connection, shape, tenant))


def told(contents: Mapping[str, Json]) -> dict[str, Json]:
    """What was written down of an archive, as a summary says it now.

    One of the first format knows of no images, which is as much as that there are none; and none of
    the first two of any table of the team's.
    """
    tables = cast("Mapping[str, Json]", contents["tables"])
    return {
        "team": None,
        **contents,
        "tables": {UNDO.name: {"rows": 0, "checksum": f"{0:064x}"}, **tables},
    }


def _header(tenant: str, schema: str, number: int) -> bytes:
    return canonical({"archive": number, "tenant": tenant, "schema": schema})


def _write(
    pages: Iterable[Page],
    collections: Sequence[Collection],
    tenant: str,
    target: IO[bytes],
    number: int,
) -> Summary:
    schema, sums = schema_digest(collections), _Sums(parts_of(collections))
    target.write(_header(tenant, schema, number) + b"\n")
    for page in pages:
        for line in sums.add(page):
            target.write(line + b"\n")
    made = sums.summary(schema)
    # Of the team's own tables another line tells.
    target.write(canonical(made.model_dump(exclude={"team"})) + b"\n")
    return made


def _run_through(lines: Iterator[bytes]) -> None:
    for _ in lines:
        pass


def _read_lines(source: IO[bytes]) -> Iterator[bytes]:
    while line := source.readline(LINE_BYTES_MAX + 1):
        if not line.endswith(b"\n"):
            raise _unreadable()
        yield line[:-1]


def _read_row(line: bytes, parts: Mapping[str, Part]) -> Row:
    try:
        name = line[2 : line.index(b'"', 2)].decode()
        return name, parts[name].read_line(line)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _unreadable() from None


def _require_end(end: bytes, loaded: Summary) -> None:
    try:
        said = Summary.model_validate(told(json.loads(end)))
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _unreadable() from None
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
