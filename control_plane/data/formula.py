"""What a formula comes to: the kind of a computed field's values, from its parts. Not its SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from control_plane.data.declaration_errors import DeclarationError
from control_plane.data.field import OPEN_GROUP, PRECISION_MAX, Field, Formula, FormulaOp

_STRING_MAX: Final = 1_000
_NUMBER_KINDS: Final = frozenset({"integer", "money", "decimal"})
_TEXT_KINDS: Final = frozenset({"string", "enum"})


def computed_field(field: Field, formula: Formula, fields: Mapping[str, Field]) -> Field:
    """The field as its result is read: of kind string, integer, money or decimal.

    It has no value where a part has none. Raises DeclarationError, its path from the field.
    """
    parts = [_part(formula, place, fields) for place in range(len(formula.fields))]
    options = _RESULTS[formula.op](formula, parts)
    # A computed value tells of its parts: who may not read them may not read it.
    guarded = {part.group for part in parts} - {OPEN_GROUP, field.group}
    if guarded:
        raise DeclarationError("must be the one group of the fields it is made of", "group")
    nullable = any(part.nullable for part in parts)
    return Field(description=field.description, group=field.group, nullable=nullable, **options)


def _part(formula: Formula, place: int, fields: Mapping[str, Field]) -> Field:
    field = fields.get(formula.fields[place])
    if field is None:
        raise DeclarationError("must be a declared field", "formula", "fields", place)
    kinds = _TEXT_KINDS if formula.op == "concat" else _NUMBER_KINDS
    if field.kind not in kinds:
        known = ", ".join(sorted(kinds))
        rule = f"must be of a kind that {formula.op} takes: {known}"
        raise DeclarationError(rule, "formula", "fields", place)
    return field


def _concat(formula: Formula, parts: Sequence[Field]) -> dict[str, Any]:
    between = len(formula.separator or "") * (len(parts) - 1)
    longest = sum(part.length_max for part in parts) + between
    if longest > _STRING_MAX:
        rule = f"must have at most {_STRING_MAX} characters in all"
        raise DeclarationError(rule, "formula", "fields")
    return {"kind": "string", "max_length": longest}


def _sum(_: Formula, parts: Sequence[Field]) -> dict[str, Any]:
    units = [_unit(part) for part in parts]
    for place, unit in enumerate(units):
        if unit != units[0]:
            rule = "must be of the first one's kind, currency and scale"
            raise DeclarationError(rule, "formula", "fields", place)
    return units[0]


def _product(_: Formula, parts: Sequence[Field]) -> dict[str, Any]:
    measured = [place for place, part in enumerate(parts) if part.kind != "integer"]
    if len(measured) > 1:
        rule = "only one may be of kind money or decimal"
        raise DeclarationError(rule, "formula", "fields", measured[1])
    return _unit(parts[measured[0] if measured else 0])


def _unit(field: Field) -> dict[str, Any]:
    if field.kind == "money":
        return {"kind": "money", "currency": field.currency}
    if field.kind == "decimal":
        return {"kind": "decimal", "precision": PRECISION_MAX, "scale": field.scale}
    return {"kind": "integer"}


_RESULTS: Final[Mapping[FormulaOp, Callable[[Formula, Sequence[Field]], dict[str, Any]]]] = {
    "concat": _concat,
    "sum": _sum,
    "difference": _sum,
    "product": _product,
}
