"""What a place's own catalog says of the tables that a team's migrations have made. Not their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Inspector, inspect, types

from control_plane.data.team_shape import OWNER, TeamReference, TeamShape, TeamTable
from control_plane.data.team_values import Family, TeamKind
from control_plane.databases.migrated import Migrated, migrated, tables_behind
from control_plane.domain.canonical import digest

# Of a type and its heirs, the most special first.
_FAMILIES: Final[tuple[tuple[type[Any], Family], ...]] = (
    (types.Boolean, "boolean"),
    (types.Integer, "integer"),
    (types.Double, "double"),
    (types.Numeric, "decimal"),
    (types.Date, "date"),
    (types.Uuid, "uuid"),
    (types.JSON, "json"),
    (types.String, "text"),
)


def level_of(connection: Connection) -> str:
    """A digest of the migrations that the place has had; empty where it has had none."""
    return _level(migrated(connection))


def team_shape(connection: Connection) -> TeamShape:
    """Every table that stands behind the place's last migration, as it really is.

    One that somebody has dropped by hand is left out.
    """
    engine, known = connection.dialect.name, migrated(connection)
    names = tables_behind(known)
    had = {one.name: one.digest for one in known.values() if one.state == "done"}
    if not names:
        return TeamShape(engine, _level(known), migrations=had)
    seen = _Seen(inspect(connection), names)
    tables = tuple(seen.table(name) for name in names if name in seen.columns)
    return TeamShape(engine, _level(known), tables, had)


class _Seen:
    """What is asked of the catalog, once for all tables."""

    def __init__(self, inspector: Inspector, names: tuple[str, ...]) -> None:
        wanted: dict[str, Any] = {"filter_names": names}
        self._is_typed = inspector.dialect.name != "sqlite"
        self.columns = _by_name(inspector.get_multi_columns(**wanted))
        self._primary = _by_name(inspector.get_multi_pk_constraint(**wanted))
        self._foreign = _by_name(inspector.get_multi_foreign_keys(**wanted))
        # Nothing is driven out by a value that is there, but on SQLite.
        kept = () if self._is_typed else names
        self._unique = {name: _uniques(inspector, name) for name in kept}

    def table(self, name: str) -> TeamTable:
        """One of those that are there."""
        return TeamTable(
            name,
            {
                str(one["name"]): _kind(one["type"]) if self._is_typed else None
                for one in self.columns[name]
            },
            tuple(one for one in self._primary[name]["constrained_columns"] if one != OWNER),
            tuple(
                TeamReference(
                    tuple(one["constrained_columns"]),
                    str(one["referred_table"]),
                    tuple(one["referred_columns"]),
                )
                for one in self._foreign.get(name, ())
                if one["referred_table"] in self.columns
            ),
            self._unique.get(name, ()),
        )


def _level(known: Mapping[int, Migrated]) -> str:
    if not known:
        return ""
    return digest({"had": [[one.number, one.digest, one.state] for one in known.values()]})


def _by_name(found: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): said for (_, name), said in found.items()}


def _uniques(inspector: Inspector, name: str) -> tuple[tuple[str, ...], ...]:
    said: list[Sequence[str | None]] = [
        one["column_names"] for one in inspector.get_unique_constraints(name)
    ]
    said += [one["column_names"] for one in inspector.get_indexes(name) if one["unique"]]
    return tuple(tuple(str(column) for column in one) for one in said)


def _kind(found: types.TypeEngine[Any]) -> TeamKind | None:
    if isinstance(found, types.DateTime):
        return TeamKind("timestamptz" if found.timezone else "timestamp")
    for kind, family in _FAMILIES:
        if isinstance(found, kind):
            scale = found.scale if isinstance(found, types.Numeric) else None
            return TeamKind(family, scale if family == "decimal" else None)
    return None
