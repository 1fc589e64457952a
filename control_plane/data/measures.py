"""What may be asked of rows that are added up: figures, and fields to group by. Not the adding up."""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from control_plane.data.collection import Collection
from control_plane.data.field import Field
from control_plane.domain.canonical import Json
from control_plane.errors import BadInput

AggregateOp: TypeAlias = Literal["count", "sum", "min", "max", "avg"]

MEASURES_MAX: Final = 8
GROUP_FIELDS_MAX: Final = 3
GROUPS_MAX: Final = 100
_NUMBERS: Final = frozenset({"integer", "money", "decimal"})
_ORDERED: Final = _NUMBERS | {"date", "timestamp", "string"}
_KINDS: Final[Mapping[AggregateOp, frozenset[str] | None]] = {
    "count": None,
    "sum": _NUMBERS,
    "min": _ORDERED,
    "max": _ORDERED,
    "avg": _NUMBERS,
}
_OPS: Final[Mapping[str, AggregateOp]] = {op: op for op in _KINDS}
_UNGROUPED_KINDS: Final = frozenset({"text", "json", "decimal", "timestamp"})


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a group; `count` without a field counts rows, with one its values."""

    op: AggregateOp
    field: str | None = None

    @property
    def name(self) -> str:
        """What the figure is called in the answer."""
        return self.op if self.field is None else f"{self.op}_{self.field}"


def parse_measures(
    data: Sequence[Mapping[str, Json]], collection: Collection, readable: AnyCollection[str]
) -> tuple[Measure, ...]:
    """Read the figures that are asked for. Raises BadInput naming the place and the rule.

    A field that may not be read answers what an unknown one does.
    """
    if not 1 <= len(data) <= MEASURES_MAX:
        raise BadInput("measures", f"must be a list of 1 to {MEASURES_MAX}")
    measures = tuple(
        _measure(one, collection, readable, f"measures[{place}]") for place, one in enumerate(data)
    )
    if len({one.name for one in measures}) != len(measures):
        raise BadInput("measures", "must not repeat a figure")
    return measures


def check_groups(
    fields: Sequence[str], collection: Collection, readable: AnyCollection[str]
) -> tuple[str, ...]:
    """The fields to group by. Raises BadInput."""
    if len(fields) > GROUP_FIELDS_MAX or len(set(fields)) != len(fields):
        raise BadInput("group_by", f"must be at most {GROUP_FIELDS_MAX} fields, each once")
    for place, name in enumerate(fields):
        field = _known(name, collection, readable, f"group_by[{place}]")
        if name in collection.handled:
            raise BadInput(f"group_by[{place}]", "leaves as a handle: it makes no groups")
        if not makes_groups(field):
            raise BadInput(f"group_by[{place}]", f"kind {field.kind} makes no groups")
    return tuple(fields)


def fits(op: AggregateOp, field: Field) -> bool:
    """Whether the figure can be taken of such a field."""
    kinds = _KINDS[op]
    return kinds is None or field.kind in kinds


def makes_groups(field: Field) -> bool:
    """Whether rows can be grouped by such a field."""
    return field.kind not in _UNGROUPED_KINDS


def _measure(
    data: Mapping[str, Json], collection: Collection, readable: AnyCollection[str], path: str
) -> Measure:
    op, name = data.get("op"), data.get("field")
    known = _OPS.get(op) if isinstance(op, str) else None
    if known is None:
        raise BadInput(f"{path}.op", "must be one of " + ", ".join(_OPS))
    if name is None and known == "count":
        return Measure(known)
    field = _known(name, collection, readable, f"{path}.field")
    if name in collection.handled and known != "count":
        raise BadInput(f"{path}.op", "leaves as a handle: only counted")
    if not fits(known, field):
        raise BadInput(f"{path}.op", f"does not fit kind {field.kind}")
    return Measure(known, str(name))


def _known(name: object, collection: Collection, readable: AnyCollection[str], path: str) -> Field:
    field = collection.columns.get(name) if isinstance(name, str) and name in readable else None
    if field is None:
        raise BadInput(path, "unknown field")
    return field
