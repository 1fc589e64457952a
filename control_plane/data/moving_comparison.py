"""Whether a tenant's rows are the same in two databases, of one moment each. Not what is done then."""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Table, and_, exists, select

from control_plane.data.moving_ends import Survey
from control_plane.data.moving_parts import Moved, Part
from control_plane.data.moving_rows import (
    batches,
    batches_of,
    count,
    is_raw,
    records_said,
    summed,
)
from control_plane.data.team_shape import OWNER
from control_plane.errors import Failed


@dataclass(frozen=True, slots=True)
class Sums:
    """Rows of one table: how many it has, how many were compared, and what those come to.

    A checksum is the sum of the rows' digests, in hexadecimal: it tells no value, nor an order.
    """

    rows: int
    compared: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two databases. `lost_references` are tables of the target with a row that refers to none."""

    source: Mapping[str, Sums]
    target: Mapping[str, Sums]
    records: int
    records_said: int | None
    lost_references: tuple[str, ...]

    @property
    def differing(self) -> tuple[str, ...]:
        """The tables whose rows are not the same."""
        return tuple(name for name, sums in self.source.items() if self.target[name] != sums)

    @property
    def is_equal(self) -> bool:
        """Whether the target is what it should be, as far as was compared."""
        return not self.differing and not self.lost_references and self.records == self.records_said

    def require_equal(self) -> None:
        """Raise Failed (`move_differs`), naming a table, unless it is."""
        if self.is_equal:
            return
        wrong = (*self.differing, *self.lost_references, "paybill_count")[0]
        raise Failed(f"The rows of {wrong} are not the same in the target.", code="move_differs")


def compare_all(source: Survey, target: Survey, moved: Moved) -> Comparison:
    """Every row of every table, and that no row of the target refers to one that is not there."""
    raw = is_raw(source, target)
    both = [
        {name: _all(survey, part, moved.tenant, raw) for name, part in moved.parts.items()}
        for survey in (source, target)
    ]
    lost = tuple(
        part.name
        for part in moved.parts.values()
        if has_lost(target.connection, part.table, moved.tenant)
    )
    return _compared(both[0], both[1], target.connection, moved, lost)


def compare_touched(
    source: Survey, target: Survey, moved: Moved, keys: Mapping[str, AnyCollection[str]]
) -> Comparison:
    """The rows of the keys, there or not there, and how many rows each table has."""
    raw = is_raw(source, target)
    both = [
        {
            name: _some(survey, part, moved.tenant, keys.get(name, ()), raw)
            for name, part in moved.parts.items()
        }
        for survey in (source, target)
    ]
    return _compared(both[0], both[1], target.connection, moved, ())


def _compared(
    source: Mapping[str, Sums],
    target: Mapping[str, Sums],
    connection: Connection,
    moved: Moved,
    lost: tuple[str, ...],
) -> Comparison:
    records = sum(target[name].rows for name, part in moved.parts.items() if part.is_collection)
    said = records_said(connection, moved.tenant)
    return Comparison(source, target, records, said, lost)


def _all(survey: Survey, part: Part, tenant: str, raw: bool) -> Sums:
    rows, checksum = summed(part, batches(survey, part, tenant, raw=raw))
    return Sums(rows, rows, checksum)


def _some(survey: Survey, part: Part, tenant: str, keys: AnyCollection[str], raw: bool) -> Sums:
    found, checksum = summed(part, batches_of(survey, part, tenant, keys, raw=raw))
    return Sums(count(survey.connection, part, tenant), found, checksum)


def has_lost(connection: Connection, table: Table, tenant: str) -> bool:
    """Whether a row of the tenant's refers to one that is not there."""
    return any(
        connection.execute(select(1).where(one).limit(1)).first() is not None
        for one in _lost(table, tenant)
    )


def _lost(table: Table, tenant: str) -> Iterator[ColumnElement[bool]]:
    """For each reference, what is true of a row of the tenant's that refers to none."""
    for key in table.foreign_key_constraints:
        other: Table = key.referred_table.alias()  # type: ignore[assignment]
        pairs = [(one.parent, other.c[one.column.name]) for one in key.elements]
        referred = exists().where(*(target == own for own, target in pairs))
        mine = table.c[OWNER] == tenant
        yield and_(mine, *(own.is_not(None) for own, _ in pairs), ~referred)
