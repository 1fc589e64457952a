"""A query plan as a plain filter tree, by an allow-list of operators. Not the engine's plan or SQL.

    {"op": "and" | "or", "args": [tree, ...]}       {"op": "not", "args": [tree]}
    {"op": "eq" | "ne" | "lt" | "le" | "gt" | "ge", "field": name, "value": scalar}
    {"op": "in", "field": name, "value": [scalar, ...]}
    {"op": "is_null", "field": name, "value": true | false}

A tree has three truth values: any comparison with a missing value is unknown. The engine has other
rules: a missing value equals nothing and differs from everything, and what orders it errs. So a
negation is carried down to the comparisons, and `ne` asks for the missing value as well: a row
that the engine allows is a row of the tree, and the other way round, with two exceptions.

- A rule whose condition errs denies even where another rule allows; no plan can say that, so the
  tree selects more: what is selected must be checked.
- A condition that is a bare attribute and nothing else does not err where the value is missing,
  but is false. Under a DENY or `none` the plan looks like `!R.attr.x`, which errs: the tree
  selects less.

Neither is so where a nullable attribute is guarded (`R.attr.x != null && ...`) or compared
(`R.attr.x == true`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from cerbos.engine.v1 import engine_pb2

from policies.errors import GateUnavailable, Untranslatable
from policies.request import Attribute, is_name

if TYPE_CHECKING:
    from google.protobuf.struct_pb2 import Value

Tree: TypeAlias = "Mapping[str, Attribute]"
_Said: TypeAlias = "Tree | bool"
_Scalar: TypeAlias = "bool | int | float | str | None"
_Filter = engine_pb2.PlanResourcesFilter
_Operand = engine_pb2.PlanResourcesFilter.Expression.Operand
_Expression = engine_pb2.PlanResourcesFilter.Expression

DEPTH_MAX: Final = 16
NODES_MAX: Final = 500

_VARIABLE: Final = re.compile(r"(?:request\.resource|R)\.attr\.(\w+)")
_INTEGER_MAX: Final = 2**53 - 1  # beyond it a double is no longer one integer
_JUNCTIONS: Final = {"and": "or", "or": "and"}
_OPPOSITE: Final = {"lt": "ge", "ge": "lt", "gt": "le", "le": "gt"}
_SWAPPED: Final = {"eq": "eq", "ne": "ne", "lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}


@dataclass(frozen=True, slots=True)
class RowPlan:
    """Which rows: all, none, or those for which `filter` is true (a tree only with `some`).

    `decision_id` names the engine's call.
    """

    kind: Literal["all", "none", "some"]
    filter: Tree | None = None
    decision_id: str = field(default="", compare=False)


def translate(answer: engine_pb2.PlanResourcesFilter, part: str, decision_id: str = "") -> RowPlan:
    """Read the engine's filter for the resource kind `part`.

    Raises `Untranslatable` for what is not in the allow-list, or is deeper than `DEPTH_MAX` or
    larger than `NODES_MAX`; `GateUnavailable` for an answer that makes no sense.
    """
    conditional = answer.kind == _Filter.KIND_CONDITIONAL
    if answer.HasField("condition") is not conditional:
        raise GateUnavailable("the policy engine's plan and its condition contradict each other")
    if conditional:
        said = _Translator(part).node(answer.condition, wanted=True, depth=1)
    elif answer.kind in (_Filter.KIND_ALWAYS_ALLOWED, _Filter.KIND_ALWAYS_DENIED):
        said = answer.kind == _Filter.KIND_ALWAYS_ALLOWED
    else:
        raise GateUnavailable("the policy engine answered with an unknown kind of plan")
    if isinstance(said, bool):
        return RowPlan("all" if said else "none", None, decision_id)
    return RowPlan("some", said, decision_id)


class _Translator:
    """Counts the nodes of one plan while it reads them."""

    def __init__(self, part: str) -> None:
        self._part = part
        self._nodes = 0

    def node(self, operand: _Operand, *, wanted: bool, depth: int) -> _Said:
        """The tree that is true where `operand` is `wanted`; a bool where that is known."""
        self._count()
        if depth > DEPTH_MAX:
            raise self._cannot("depth")
        which = operand.WhichOneof("node")
        if which == "value" and operand.value.WhichOneof("kind") == "bool_value":
            return operand.value.bool_value is wanted
        if which == "variable":
            return {"op": "eq", "field": self._field(operand.variable), "value": wanted}
        if which != "expression":
            raise self._cannot("value")
        return self._expression(operand.expression, wanted=wanted, depth=depth)

    def _expression(self, expression: _Expression, *, wanted: bool, depth: int) -> _Said:
        op = expression.operator
        if op == "not" and len(expression.operands) == 1:
            return self.node(expression.operands[0], wanted=not wanted, depth=depth + 1)
        if op in _JUNCTIONS:
            members = self._members(expression)
            said = [self.node(one, wanted=wanted, depth=depth + 1) for one in members]
            return _join(op if wanted else _JUNCTIONS[op], said)
        if len(expression.operands) != 2:  # noqa: PLR2004 - what is compared, and with what
            raise self._cannot(op)
        left, right = expression.operands
        if right.WhichOneof("node") == "variable" and op in _SWAPPED:
            left, right, op = right, left, _SWAPPED[op]
        if left.WhichOneof("node") != "variable" or right.WhichOneof("node") != "value":
            raise self._cannot(op)
        self._count()
        return self._comparison(op, self._field(left.variable), right.value, wanted=wanted)

    def _members(self, expression: _Expression) -> list[_Operand]:
        # The engine nests one `or` a rule: in the tree they are one, so their depth is no depth.
        members: list[_Operand] = []
        waiting = [_Operand(expression=expression)]
        while waiting:
            operand = waiting.pop()
            inner = operand.expression
            if inner.operator != expression.operator:
                members.append(operand)
                continue
            self._count()
            if not inner.operands:
                raise self._cannot(inner.operator)
            waiting.extend(reversed(inner.operands))
        return members

    def _comparison(self, op: str, name: str, value: Value, *, wanted: bool) -> _Said:
        if op == "in" and value.WhichOneof("kind") == "list_value":
            items = [self._scalar(item, op) for item in value.list_value.values]
            return _among(name, items) if wanted else _not_among(name, items)
        scalar = self._scalar(value, op)
        if op in ("eq", "ne"):
            equal = (op == "eq") is wanted
            if scalar is None:
                return _is_null(name, equal)
            if equal:
                return {"op": "eq", "field": name, "value": scalar}
            return _or_null(name, {"op": "ne", "field": name, "value": scalar})
        if op not in _OPPOSITE or scalar is None or isinstance(scalar, bool):
            raise self._cannot(op)
        return {"op": op if wanted else _OPPOSITE[op], "field": name, "value": scalar}

    def _scalar(self, value: Value, op: str) -> _Scalar:
        self._count()
        match value.WhichOneof("kind"):
            case "null_value":
                return None
            case "bool_value":
                return value.bool_value
            case "string_value":
                return value.string_value
            case "number_value" if math.isfinite(value.number_value):
                return _number(value.number_value)
            case _:
                raise self._cannot(op)

    def _field(self, variable: str) -> str:
        found = _VARIABLE.fullmatch(variable)
        if found is None or not is_name(found[1]):
            raise self._cannot("variable")
        return found[1]

    def _count(self) -> None:
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise self._cannot("size")

    def _cannot(self, operator: str) -> Untranslatable:
        return Untranslatable(self._part, operator)


def _number(double: float) -> int | float:
    integral = double.is_integer() and abs(double) <= _INTEGER_MAX
    return int(double) if integral else double


def _join(op: str, said: Iterable[_Said]) -> _Said:
    settles = op == "or"
    args: list[Attribute] = []
    for one in said:
        if isinstance(one, bool):
            if one is settles:
                return settles
        elif one["op"] == op and isinstance(inner := one["args"], Sequence):
            args.extend(inner)
        else:
            args.append(one)
    if not args:
        return not settles
    only = args[0]
    return only if len(args) == 1 and isinstance(only, Mapping) else {"op": op, "args": args}


def _is_null(name: str, asked: bool) -> Tree:
    return {"op": "is_null", "field": name, "value": asked}


def _or_null(name: str, tree: Tree) -> Tree:
    return {"op": "or", "args": [_is_null(name, True), tree]}


def _among(name: str, items: Sequence[_Scalar]) -> _Said:
    values = [item for item in items if item is not None]
    found: list[_Said] = [{"op": "in", "field": name, "value": values}] if values else []
    if len(values) < len(items):
        found.insert(0, _is_null(name, True))
    return _join("or", found)


def _not_among(name: str, items: Sequence[_Scalar]) -> _Said:
    values = [item for item in items if item is not None]
    if not values:
        return _is_null(name, False) if items else True
    tree: Tree = {"op": "not", "args": [{"op": "in", "field": name, "value": values}]}
    if len(values) < len(items):
        return {"op": "and", "args": [_is_null(name, False), tree]}
    return _or_null(name, tree)
