"""What rows come to in plain Python: values, filters, orders, sums. Shares nothing with what it judges. Holds no test."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

Typed = Mapping[str, Any]
IMPLICIT: Final[Mapping[str, str]] = {
    "id": "uuid",
    "version": "integer",
    "created_at": "timestamp",
}
UNSORTED: Final = {"text", "boolean", "json", "reference"}
UNORDERED: Final = {"boolean", "enum", "uuid", "reference", "json"}
UNGROUPED: Final = {"text", "json", "decimal", "timestamp"}
NUMBERS: Final = {"integer", "money", "decimal"}
ORDERED: Final = NUMBERS | {"date", "timestamp", "string"}
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


def typed(kind: str, value: Any) -> Any:
    """A value as it is sent, as one that has an order."""
    if value is None:
        return None
    if kind == "date":
        return date.fromisoformat(value)
    if kind == "timestamp":
        return datetime.fromisoformat(value)
    return Decimal(value) if kind == "decimal" else value


def plain(value: Any) -> Any:
    """The same as it is answered."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if isinstance(value, date) else value


def computed(formula: Mapping[str, Any], row: Typed) -> int | None:
    """A sum, difference or product of whole numbers."""
    left, right = (row[name] for name in formula["fields"])
    if left is None or right is None:
        return None
    act = {"sum": operator.add, "difference": operator.sub, "product": operator.mul}
    made: int = act[formula["op"]](left, right)
    return made


def holds(tree: Any, row: Typed, kinds: Mapping[str, str]) -> bool | None:
    """A filter's value for a row: true, false, or None for unknown."""
    if tree is None:
        return True
    if "args" in tree:
        parts = [holds(arg, row, kinds) for arg in tree["args"]]
        if tree["op"] == "not":
            return None if parts[0] is None else not parts[0]
        settles = bool(tree["op"] == "or")
        if settles in parts:
            return settles
        return None if None in parts else not settles
    held, kind = row[tree["field"]], kinds[tree["field"]]
    if tree["op"] == "is_null":
        return bool((held is None) is tree["value"])
    if held is None:
        return None
    if tree["op"] == "in":
        return held in [typed(kind, one) for one in tree["value"]]
    return bool(_COMPARE[tree["op"]](held, typed(kind, tree["value"])))


def named(tree: Any) -> set[str]:
    """The fields of a filter."""
    if tree is None:
        return set()
    if "args" in tree:
        return {name for arg in tree["args"] for name in named(arg)}
    return {str(tree["field"])}


def in_order(rows: Iterable[Typed], sort: str | None) -> list[Typed]:
    """By one field and then by id, both the same way; rows without the field last."""
    field, downwards = (sort or "id").removeprefix("-"), (sort or "").startswith("-")
    by_id = sorted(rows, key=lambda row: str(row["id"]), reverse=downwards)
    valued = [row for row in by_id if row[field] is not None]
    # Sorting is stable, downwards as well: ties stay as they are.
    valued.sort(key=lambda row: row[field], reverse=downwards)
    return valued + [row for row in by_id if row[field] is None]


def groups_of(
    rows: Sequence[Typed],
    by: Sequence[str],
    measures: Sequence[Mapping[str, str]],
    rows_min: int,
    limit: int,
) -> tuple[list[dict[str, Any]], bool]:
    """The groups that are told, in order, and whether there are more."""
    found: dict[tuple[Any, ...], list[Typed]] = {} if by else {(): []}
    for row in rows:
        found.setdefault(tuple(row[name] for name in by), []).append(row)
    kept = {key: members for key, members in found.items() if len(members) >= rows_min}
    ordered = sorted(
        kept.items(),
        key=lambda one: [(value is None, value if value is not None else 0) for value in one[0]],
    )
    told = [
        {
            "by": {name: plain(value) for name, value in zip(by, key, strict=True)},
            "rows": len(members),
            "values": {"_".join(one.values()): _figure(one, members) for one in measures},
        }
        for key, members in ordered[:limit]
    ]
    return told, len(ordered) > limit


def _figure(measure: Mapping[str, str], rows: Sequence[Typed]) -> Any:
    if "field" not in measure:
        return len(rows)
    values = [row[measure["field"]] for row in rows if row[measure["field"]] is not None]
    if measure["op"] == "count":
        return len(values)
    if not values:
        return None
    match measure["op"]:
        case "min":
            return plain(min(values))
        case "max":
            return plain(max(values))
        case "avg":
            mean = Decimal(sum(values)) / len(values)
            return str(mean.quantize(Decimal("0.000001"), rounding=ROUND_HALF_EVEN))
        case _:
            return plain(sum(values[1:], values[0]))
