"""What tables really are in a database, as one digest. Not what anybody declared of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, inspect

from control_plane.databases.migrated import Migrated, tables_behind
from control_plane.domain.canonical import Json, digest

_DOMAIN: Final = "paybill-shape-1"


def shape_digest(connection: Connection, tables: Sequence[str]) -> str:
    """SHA-256 over columns, keys, checks and indexes of those of the tables that stand.

    It is asked of the engine's own catalog. Two databases of one engine that were made by the same
    statements have the same; the order in which indexes and constraints came says nothing.
    """
    seen = inspect(connection)
    wanted = set(tables)
    names = sorted(wanted & set(seen.get_table_names())) if wanted else []
    shape: dict[str, Json] = {}
    for name in names:
        shape[name] = {
            "columns": [_column(one) for one in seen.get_columns(name)],
            "primary": list(seen.get_pk_constraint(name)["constrained_columns"]),
            "foreign": _sorted(map(_foreign, seen.get_foreign_keys(name))),
            "unique": _sorted(
                {"name": one["name"], "columns": list(one["column_names"])}
                for one in seen.get_unique_constraints(name)
            ),
            "checks": _sorted(
                {"name": one.get("name"), "text": one["sqltext"]}
                for one in seen.get_check_constraints(name)
            ),
            "indexes": _sorted(map(_index, seen.get_indexes(name))),
        }
    return digest({"domain": _DOMAIN, "tables": shape})


def standing(connection: Connection, known: Mapping[int, Migrated]) -> tuple[str, bool]:
    """The digest of what the team's tables are, and whether it is what the last migration left."""
    now = shape_digest(connection, tables_behind(known))
    done = [one for one in known.values() if one.state == "done"]
    return now, not done or max(done, key=lambda one: one.number).after == now


def _column(found: Mapping[str, Any]) -> dict[str, Json]:
    computed = found.get("computed")
    default = found.get("default")
    return {
        "name": str(found["name"]),
        "type": str(found["type"]),
        "nullable": bool(found["nullable"]),
        "default": None if default is None else str(default),
        "computed": None if not computed else str(computed.get("sqltext")),
    }


def _foreign(found: Mapping[str, Any]) -> dict[str, Json]:
    said: dict[str, Any] = found.get("options") or {}
    options = {key: str(value) for key, value in sorted(said.items())}
    return {
        "name": found.get("name"),
        "columns": list(found["constrained_columns"]),
        "table": str(found["referred_table"]),
        "target": list(found["referred_columns"]),
        "options": dict(options),
    }


def _index(found: Mapping[str, Any]) -> dict[str, Json]:
    options: dict[str, Any] = found.get("dialect_options") or {}
    sorting: dict[str, Any] = found.get("column_sorting") or {}
    where = next((value for key, value in options.items() if key.endswith("_where")), None)
    return {
        "name": found.get("name"),
        "columns": [str(one) for one in found["column_names"]],
        "unique": bool(found.get("unique")),
        "sorting": {str(key): [str(one) for one in value] for key, value in sorting.items()},
        "where": None if where is None else str(where),
    }


def _sorted(parts: Iterable[dict[str, Json]]) -> list[Json]:
    ordered = sorted(parts, key=lambda one: (str(one.get("name")), str(one)))
    return list(ordered)
