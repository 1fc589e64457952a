"""Rows of an archive as canonical lines, a page at a time. Not where the rows come from, nor where they go.

A line is the RFC 8785 form of `[table, {column: value}]`, and is put together of the forms of its
values, column by column: to reduce each row as a whole takes several times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby, islice
from json.encoder import encode_basestring as quoted
from operator import itemgetter
from typing import Final, TypeAlias

from control_plane.data.archive_parts import Part
from control_plane.data.values import INTEGER_MAX, Value, to_json
from control_plane.domain.canonical import canonical, instant

Column: TypeAlias = Sequence[Value | None]


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one table: its columns in the order of the table's fields, each with the rows' values."""

    part: Part
    columns: Sequence[Column]

    def rows(self) -> Iterator[dict[str, Value | None]]:
        """The values of each row by column."""
        names = list(self.part.fields)
        return (dict(zip(names, row, strict=True)) for row in zip(*self.columns, strict=True))

    def lines(self) -> Iterator[bytes]:
        """The line of each row, without its end."""
        fields = self.part.fields
        # Names are of letters, digits and _: none is escaped.
        columns = ",".join(f'"{name}":%s' for name in fields)
        form = f"{_head(self.part)}{{{columns}}}]"
        told = [
            _TELLERS[field.kind](column)
            for field, column in zip(fields.values(), self.columns, strict=True)
        ]
        return ((form % row).encode() for row in zip(*told, strict=True))


def paged(
    parts: Mapping[str, Part], rows: Iterable[tuple[str, Mapping[str, Value | None]]]
) -> Iterator[Page]:
    """Rows as pages of one table each. Raises KeyError where a row is of another table."""
    for name, some in groupby(rows, itemgetter(0)):
        part = parts[name]
        while page := list(islice(some, part.page_rows)):
            yield Page(part, [[values[one] for _, values in page] for one in part.fields])


def objects_of(part: Part, lines: Iterable[bytes]) -> str:
    """The rows of a table's lines as a JSON array of objects."""
    start = len(_head(part))
    return f"[{b','.join([line[start:-1] for line in lines]).decode()}]"


def _head(part: Part) -> str:
    return f'["{part.table.name}",'


# Values ----------------------------------------------------------------------------------------


def _other(value: Value | None) -> str:
    """Whatever it is: who writes a SQLite file past us is held to no type."""
    return "null" if value is None else canonical(to_json(value)).decode()


def _texts(values: Column) -> list[str]:
    return [quoted(one) if type(one) is str else _other(one) for one in values]


def _numbers(values: Column) -> list[str]:
    return [
        str(one) if type(one) is int and -INTEGER_MAX <= one <= INTEGER_MAX else _other(one)
        for one in values
    ]


def _days(values: Column) -> list[str]:
    return [f'"{one.isoformat()}"' if type(one) is date else _other(one) for one in values]


def _instants(values: Column) -> list[str]:
    return [f'"{instant(one)}"' if type(one) is datetime else _other(one) for one in values]


def _decimals(values: Column) -> list[str]:
    return [f'"{one:f}"' if type(one) is Decimal else _other(one) for one in values]


def _others(values: Column) -> list[str]:
    return [_other(one) for one in values]


_TELLERS: Final[Mapping[str, Callable[[Column], list[str]]]] = {
    "string": _texts,
    "text": _texts,
    "integer": _numbers,
    "boolean": _others,
    "date": _days,
    "timestamp": _instants,
    "uuid": _texts,
    "enum": _texts,
    "money": _numbers,
    "decimal": _decimals,
    "json": _others,
    "reference": _texts,
}
