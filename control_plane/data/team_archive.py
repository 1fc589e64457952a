"""The rows of a team's own tables in a tenant's archive: written, read back, summed. Not the collections' rows.

They stand behind those, under a line that says of which engine they are and which migrations had made
their tables. A value is what that engine has, as it has it: as Postgres writes it, or as SQLite keeps
it. So a backup never depends on what another engine could hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import groupby, islice
from operator import itemgetter
from typing import IO, Annotated, Any, Final, Literal

from annotated_types import Ge
from pydantic import BaseModel, ConfigDict, StringConstraints
from sqlalchemy import Connection, Table, func, insert, select, text
from sqlalchemy.exc import DataError, StatementError

from control_plane.data.moving_comparison import has_lost
from control_plane.data.team_shape import OWNER, Carried, TeamShape, TeamTable, team_tables
from control_plane.data.team_values import Family, TeamKind, from_sqlite, kept, told_as_kept
from control_plane.domain.backup_manifest import TeamSaid
from control_plane.domain.canonical import Json, canonical
from control_plane.errors import Failed, Refused

_PAGE_ROWS: Final = 200
_SUM_MODULUS: Final = 2**256
_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Row = tuple[str, dict[str, Any]]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class TableSummary(_Strict):
    """One table's rows: how many, and the sum of their digests, whatever their order."""

    rows: Annotated[int, Ge(0)]
    checksum: _Digest


class _Kind(_Strict):
    family: Family
    scale: int | None


class _Head(_Strict):
    """Of which engine and migrations the rows are, and what each table's columns hold there."""

    team: Literal[1]
    said: TeamSaid
    columns: Mapping[str, Mapping[str, _Kind | None]]


class _End(_Strict):
    tables: Mapping[str, TableSummary]


class _Sums:
    def __init__(self, names: Iterable[str]) -> None:
        self._rows = dict.fromkeys(names, 0)
        self._sums = dict.fromkeys(self._rows, 0)

    def add(self, name: str, told: Json) -> None:
        line = json.dumps([name, told], sort_keys=True, ensure_ascii=False).encode()
        self._rows[name] += 1
        self._sums[name] += int.from_bytes(sha256(line).digest(), "big")

    def tables(self) -> dict[str, TableSummary]:
        return {
            name: TableSummary(rows=rows, checksum=f"{self._sums[name] % _SUM_MODULUS:064x}")
            for name, rows in self._rows.items()
        }


def said_of(shape: TeamShape) -> TeamSaid | None:
    """Of which engine and migrations a place's own tables are; None where it has had none."""
    if not shape.migrations:
        return None
    return TeamSaid(engine=_engine(shape.engine), migrations=dict(shape.migrations))


def write_team(
    connection: Connection, shape: TeamShape, tenant: str, target: IO[bytes]
) -> dict[str, TableSummary]:
    """Write the tenant's rows of the team's tables, a page in memory at a time; what was written."""
    typed, sums = _typed(shape), _Sums(one.name for one in shape.in_order)
    columns = {one.name: _kinds(one) for one in shape.in_order}
    target.write(canonical(_Head(team=1, said=_required(shape), columns=columns)) + b"\n")
    for name, row in _rows(connection, shape, typed, tenant):
        sums.add(name, _told(typed[name], row))
        values = (
            row
            if shape.engine != "sqlite"
            else {one: told_as_kept(value) for one, value in row.items()}
        )
        target.write(canonical([name, values]) + b"\n")
    made = sums.tables()
    target.write(canonical(_End(tables=made)) + b"\n")
    return made


def sum_team(connection: Connection, shape: TeamShape, tenant: str) -> dict[str, TableSummary]:
    """What the tenant's rows of the team's tables come to in a place."""
    typed, sums = _typed(shape), _Sums(one.name for one in shape.in_order)
    for name, row in _rows(connection, shape, typed, tenant):
        sums.add(name, _told(typed[name], row))
    return sums.tables()


def count_team(connection: Connection, shape: TeamShape, tenant: str) -> dict[str, int]:
    """How many rows of the team's tables the tenant has, by table."""
    found: dict[str, int] = {}
    for name, table in _typed(shape).items():
        counted = select(func.count()).select_from(table).where(table.c[OWNER] == tenant)
        found[name] = int(connection.execute(counted).scalar_one())
    return found


class TeamReading:
    """The rows of an archive's part as they are read, once. Raises Refused as an archive's reading does."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        try:
            self._head = _Head.model_validate_json(next(lines, b""))
        except ValueError:
            raise _unreadable() from None
        self._sums = _Sums(self._head.columns)

    @property
    def said(self) -> TeamSaid:
        """Of which engine and migrations the rows are."""
        return self._head.said

    def tables(self) -> dict[str, TableSummary]:
        """What was read so far."""
        return self._sums.tables()

    def run_through(self) -> None:
        """Read everything, and no more than that."""
        for _ in self.rows():
            pass

    def rows(self) -> Iterator[_Row]:
        """Each row, with its values as the archive's engine has them."""
        shape = self._shape()
        typed = _typed(shape)
        for line in self._lines:
            if line.startswith(b"{"):
                self._require_end(line)
                return
            name, row = self._row(line)
            try:
                self._sums.add(name, _told(typed[name], row))
            except ValueError:
                raise _unreadable() from None
            yield name, row
        raise _unreadable()

    def _shape(self) -> TeamShape:
        tables = tuple(
            TeamTable(
                name,
                {
                    one: None if kind is None else TeamKind(kind.family, kind.scale)
                    for one, kind in columns.items()
                },
                (),
            )
            for name, columns in self._head.columns.items()
        )
        return TeamShape(self.said.engine, tables=tables)

    def _row(self, line: bytes) -> _Row:
        try:
            name, values = json.loads(line)
            if values.keys() != self._head.columns[name].keys() - {OWNER}:
                raise _unreadable()
            if self.said.engine == "sqlite":
                values = {one: kept(value) for one, value in values.items()}
            elif not all(one is None or isinstance(one, str) for one in values.values()):
                raise _unreadable()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise _unreadable() from None
        return name, values

    def _require_end(self, line: bytes) -> None:
        try:
            end = _End.model_validate_json(line)
        except ValueError:
            raise _unreadable() from None
        if next(self._lines, None) is not None:
            raise _unreadable()
        if dict(end.tables) != self.tables():
            raise Refused("The archive's rows are not those it sums up.", code="archive_differs")

    def load(self, connection: Connection, shape: TeamShape, tenant: str) -> None:
        """Add the rows for the tenant, who must have none there.

        Raises Refused: `rows_do_not_fit` where the place's engine cannot hold a value, Failed
        (`migrations_differ`) where its tables are of other migrations.
        """
        theirs = {one.name: set(one.columns) for one in shape.tables}
        mine = {name: set(columns) for name, columns in self._head.columns.items()}
        if dict(self.said.migrations) != dict(shape.migrations) or mine != theirs:
            raise Failed("The tables are not those of the archive.", code="migrations_differ")
        from_engine = TeamShape(self.said.engine, shape.level, self._shape().tables)
        typed = team_tables(shape, from_engine)
        own = _typed(self._shape())
        _defer(connection)
        for name, some in groupby(self.rows(), itemgetter(0)):
            while page := list(islice(some, _PAGE_ROWS)):
                rows = [_carried(own[name], typed[name], row) for _, row in page]
                _insert(connection, typed[name], [{OWNER: tenant, **row} for row in rows])
        for one in typed.values():
            if has_lost(connection, one, tenant):
                raise Refused("A row refers to one that is not there.", code="archive_differs")


def _carried(own: Table, typed: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the place's engine takes it."""
    made: dict[str, Any] = {}
    for name, value in row.items():
        kind = _carrier(typed, name).kind
        # What SQLite kept is said as Postgres would; what Postgres said is kept as it is given.
        is_kept = _carrier(own, name).kind is None and kind is not None
        try:
            made[name] = from_sqlite(kind, value) if is_kept and kind else value
        except (ValueError, ArithmeticError) as error:
            raise _unfit(typed.name) from error
    return made


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    try:
        connection.execute(insert(table), rows)
    except DataError as error:
        raise _unfit(table.name) from error
    except StatementError as error:
        if isinstance(error.orig, ValueError | ArithmeticError):
            raise _unfit(table.name) from error
        raise


def _defer(connection: Connection) -> None:
    """Look at references when all rows are there."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("PRAGMA defer_foreign_keys = ON"))
    else:
        connection.execute(text("SET CONSTRAINTS ALL DEFERRED"))


def _rows(
    connection: Connection, shape: TeamShape, typed: Mapping[str, Table], tenant: str
) -> Iterator[_Row]:
    for one in shape.in_order:
        table = typed[one.name]
        columns = [column for column in table.columns if column.name != OWNER]
        wanted = select(*columns).where(table.c[OWNER] == tenant).order_by(*table.primary_key)
        options = {"yield_per": _PAGE_ROWS}
        with connection.execute(wanted, execution_options=options) as held:
            for row in held.mappings():
                yield one.name, {str(name): value for name, value in row.items()}


def _told(table: Table, row: Mapping[str, Any]) -> Json:
    return {name: _carrier(table, name).told(value) for name, value in row.items()}


def _carrier(table: Table, name: str) -> Carried:
    found = table.c[name].type
    assert isinstance(found, Carried), "a team's columns are carried"
    return found


def _typed(shape: TeamShape) -> dict[str, Table]:
    """The tables with the kinds that their own engine tells; on SQLite none."""
    other = TeamShape("" if shape.engine != "sqlite" else "sqlite", shape.level, shape.tables)
    return team_tables(shape, other)


def _kinds(one: TeamTable) -> dict[str, _Kind | None]:
    return {
        name: None if kind is None else _Kind(family=kind.family, scale=kind.scale)
        for name, kind in one.columns.items()
    }


def _required(shape: TeamShape) -> TeamSaid:
    said = said_of(shape)
    assert said is not None, "a place with tables of the team's has had a migration"
    return said


def _engine(dialect: str) -> Literal["sqlite", "postgresql"]:
    return "sqlite" if dialect == "sqlite" else "postgresql"


def _unfit(name: str) -> Refused:
    return Refused(
        f"A row of {name} holds what its column cannot.",
        code="rows_do_not_fit",
        rule="type",
        fact=name,
    )


def _unreadable() -> Refused:
    return Refused("The archive cannot be read.", code="archive_unreadable")
