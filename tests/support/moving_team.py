"""Tables of a team's own that a moved tenant has rows in, with keys of several columns. Holds no test."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Column, Connection, MetaData, Table, insert, types

from control_plane.data.collection import Collection
from control_plane.data.team_shape import TeamReference, TeamShape, TeamTable
from control_plane.data.team_values import TeamKind
from control_plane.databases.altering import Altering
from control_plane.fleet.apply import Applying, apply
from control_plane.fleet.checker import Ready, ready, require_sound
from control_plane.fleet.migration_file import Dialect
from tests.support.fleet_files import header

_COLUMNS: Final = {
    "small": "smallint",
    "big": "bigint",
    "price": "decimal(12, 4)",
    "loose": "decimal",
    "ratio": "double precision",
    "flag": "boolean",
    "day": "date",
    "seen": "timestamp",
    "doc": "json",
    "more": "jsonb",
    "body": "text",
}
_KINDS: Final = {
    "small": TeamKind("integer"),
    "big": TeamKind("integer"),
    "price": TeamKind("decimal", 4),
    "loose": TeamKind("decimal"),
    "ratio": TeamKind("double"),
    "flag": TeamKind("boolean"),
    "day": TeamKind("date"),
    "seen": TeamKind("timestamp"),
    "doc": TeamKind("json"),
    "more": TeamKind("json"),
    "body": TeamKind("text"),
}
_OWNER: Final = "tenant_id varchar(40) NOT NULL"
MADE: Final = f"""{header()}
CREATE TABLE board (
  {_OWNER}, code varchar(20) NOT NULL, number int NOT NULL, label text,
  PRIMARY KEY (tenant_id, code, number), UNIQUE (tenant_id, label)
);
CREATE TABLE card (
  {_OWNER}, at timestamptz NOT NULL, id uuid NOT NULL, code varchar(20), number int,
  {", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())},
  PRIMARY KEY (tenant_id, at, id),
  FOREIGN KEY (tenant_id, code, number) REFERENCES board (tenant_id, code, number)
);
CREATE TABLE setting (
  {_OWNER}, name text NOT NULL, size double precision NOT NULL, colour text,
  PRIMARY KEY (tenant_id, name, size)
);
CREATE TABLE link ({_OWNER}, id int NOT NULL, other int, PRIMARY KEY (tenant_id, id));
CREATE INDEX ix_link_other ON link (tenant_id, other);
"""
FILES: Final = {"0001_boards.sql": MADE.encode()}
_TEXT: Final = TeamKind("text")
_CODED: Final = {"code": _TEXT, "number": TeamKind("integer")}
TABLES: Final = (
    TeamTable("board", {"tenant_id": _TEXT, **_CODED, "label": _TEXT}, ("code", "number")),
    TeamTable(
        "card",
        {
            "tenant_id": _TEXT,
            "at": TeamKind("timestamptz"),
            "id": TeamKind("uuid"),
            **_CODED,
            **_KINDS,
        },
        ("at", "id"),
        (TeamReference(("tenant_id", "code", "number"), "board", ("tenant_id", "code", "number")),),
    ),
    TeamTable(
        "link",
        {"tenant_id": _TEXT, "id": TeamKind("integer"), "other": TeamKind("integer")},
        ("id",),
    ),
    TeamTable(
        "setting",
        {"tenant_id": _TEXT, "name": _TEXT, "size": TeamKind("double"), "colour": _TEXT},
        ("name", "size"),
    ),
)


class _Said(types.UserDefinedType[Any]):
    """What is said is given to the engine as it is."""

    cache_ok = True


def _table(one: TeamTable) -> Table:
    return Table(one.name, MetaData(), *(Column(name, _Said()) for name in one.columns))


BOARD, CARD, LINK, SETTING = (_table(one) for one in TABLES)
_AT: Final = "2024-02-03 04:05:06.70000{}"
_UUID: Final = "00000000-0000-4000-8000-00000000000{}"


@lru_cache(maxsize=4)
def texts(dialect: Dialect, names: frozenset[str]) -> Sequence[Ready]:
    """The migrations of an engine, beside collections of these names."""
    return ready(require_sound(FILES, names), dialect, names)


def bring(place: Altering, tenant: str, epoch: int, collections: Sequence[Collection]) -> None:
    """Have the team's tables in a place."""
    by = Applying(tenant, epoch, collections, datetime(2026, 5, 1, tzinfo=UTC))
    for one in texts(place.dialect, frozenset(each.name for each in collections)):
        apply(place, one, by)


def told_alike(shape: TeamShape) -> TeamShape:
    """A place of the other engine, with which the values of both are told alike."""
    other = "postgresql" if shape.engine == "sqlite" else "sqlite"
    return TeamShape(other, shape.level, TABLES if shape.tables else ())


def card(tenant: str, number: int, code: str = "a b") -> dict[str, Any]:
    """A row whose every column has a value; both engines read what is said so."""
    return {
        "tenant_id": tenant,
        "at": _AT.format(number),
        "id": _UUID.format(number),
        "code": code,
        "number": number,
        "small": -number,
        "big": 2**53 + number,
        "price": f"{number}.5",
        "loose": "0.125",
        "ratio": number / 3,
        "flag": bool(number % 2),
        "day": f"2024-02-0{number}",
        "seen": "1999-12-31 23:59:59.5",
        "doc": '{"b": [1, 2.50], "a": null}',
        "more": '{"a": 1.5, "b": {"c": "é"}}',
        "body": "tab\t line\n \\N",
    }


def fill_team(connection: Connection, tenant: str, rows: int = 3) -> None:
    """Boards, cards of theirs, links, and settings whose key no engine writes like the other."""
    boards = [
        {"tenant_id": tenant, "code": "a b", "number": number, "label": f"|{number}"}
        for number in range(1, rows + 1)
    ]
    connection.execute(insert(BOARD), boards)
    connection.execute(insert(CARD), [card(tenant, number) for number in range(1, rows + 1)])
    settings = [
        {"tenant_id": tenant, "name": "it's|a", "size": one / 10, "colour": "red"}
        for one in range(1, rows + 1)
    ]
    connection.execute(insert(SETTING), settings)
    links = [{"tenant_id": tenant, "id": one, "other": None} for one in range(1, rows + 1)]
    connection.execute(insert(LINK), links)
