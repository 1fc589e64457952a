"""Filter trees, the policy's and the agent's: parsed and compiled here, nowhere else. Not SQL.

A tree has three truth values: a comparison with a missing value is unknown, `not` of unknown is
unknown, and only rows for which the tree is true are selected. `is_null` asks for absence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Collection as AnyCollection
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast, get_args

from sqlalchemy import ColumnElement, Table, and_, not_, or_

from control_plane.data.collection import Collection
from control_plane.data.handles import is_handle_text
from control_plane.data.values import Value, ValueReader, to_json
from control_plane.domain.canonical import Json, digest
from control_plane.errors import BadInput, Refused

JunctionOp: TypeAlias = Literal["and", "or", "not"]
ComparisonOp: TypeAlias = Literal["eq", "ne", "lt", "le", "gt", "ge", "in", "is_null"]

DEPTH_MAX: Final = 8
NODES_MAX: Final = 64
IN_VALUES_MAX: Final = 100
_RULE_DEPTH_MAX: Final = 24
_RULE_NODES_MAX: Final = 1_000
_RULE_IN_VALUES_MAX: Final = 1_000
_JUNCTIONS: Final = frozenset(get_args(JunctionOp))
_COMPARISONS: Final = frozenset(get_args(ComparisonOp))
_ORDERING: Final = frozenset({"lt", "le", "gt", "ge"})
_UNORDERED_KINDS: Final = frozenset({"boolean", "enum", "uuid", "reference"})


@dataclass(frozen=True, slots=True)
class Comparison:
    """One field against one typed value; `in` has a tuple, `is_null` a boolean."""

    op: ComparisonOp
    field: str
    value: Value | tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Junction:
    """Trees under `and`, `or` or `not` (which has exactly one)."""

    op: JunctionOp
    args: tuple[Tree, ...]


Tree: TypeAlias = Comparison | Junction


Redeem: TypeAlias = Callable[[str, str, str], Json]
"""What a handle stands for, from the field it is compared with, its text and its path; BadInput."""


def parse_filter(
    data: object,
    collection: Collection,
    readable_fields: AnyCollection[str],
    redeem: Redeem | None = None,
) -> Tree:
    """Read a tree over the fields that the caller may read (the implicit ones must be named too).

    A field that leaves as a handle is compared with handles alone, which `redeem` resolves: an
    order, or equality with a value of the caller's choice, would tell the value. Raises BadInput naming the path and the rule, never a value; a field that may not be read
    answers what an unknown one does.
    """
    parser = _Parser(collection, readable_fields, _AGENTS, collection.handled, redeem)
    return parser.node(data, "filter", 1)


def parse_rule(data: object, collection: Collection) -> Tree:
    """Read a policy's tree, over every field. Raises Refused (`rule_unreadable`): it fails closed."""
    try:
        return _Parser(collection, collection.columns, _RULES).node(data, "rule", 1)
    except BadInput:
        raise Refused(
            "The policy's rule for rows does not fit the collection.", code="rule_unreadable"
        ) from None


def fields_of(data: object) -> frozenset[str]:
    """The names that a tree not parsed yet gives as fields; bounded, and nothing is checked."""
    names: set[str] = set()
    waiting = [data]
    for _ in range(NODES_MAX + 1):
        if not waiting:
            break
        node = waiting.pop()
        if isinstance(node, Mapping):
            node = cast("Mapping[object, object]", node)
            if isinstance(name := node.get("field"), str):
                names.add(name)
            if isinstance(args := node.get("args"), list | tuple):
                waiting.extend(cast("Sequence[object]", args)[:NODES_MAX])
    return frozenset(names)


def all_of(*trees: Tree | None) -> Tree | None:
    """The trees joined by `and`; None is no restriction."""
    present = tuple(tree for tree in trees if tree is not None)
    return Junction("and", present) if len(present) > 1 else next(iter(present), None)


def plain_filter(tree: Tree) -> Json:
    """The tree as the plain nested data it came from."""
    if isinstance(tree, Junction):
        return {"op": tree.op, "args": [plain_filter(arg) for arg in tree.args]}
    if isinstance(tree.value, tuple):
        values = cast("tuple[Value, ...]", tree.value)
        return {"op": tree.op, "field": tree.field, "value": [to_json(one) for one in values]}
    return {"op": tree.op, "field": tree.field, "value": to_json(tree.value)}


def filter_digest(tree: Tree | None) -> str:
    """SHA-256 of the tree in canonical JSON."""
    return digest(None if tree is None else plain_filter(tree))


_COMPILED: Final[Mapping[str, Callable[[ColumnElement[Any], Any], ColumnElement[bool]]]] = {
    "eq": lambda column, value: column == value,
    "ne": lambda column, value: column != value,
    "lt": lambda column, value: column < value,
    "le": lambda column, value: column <= value,
    "gt": lambda column, value: column > value,
    "ge": lambda column, value: column >= value,
    "in": lambda column, value: column.in_(value),
    "is_null": lambda column, value: column.is_(None) if value else column.is_not(None),
}


def compile_filter(tree: Tree, table: Table) -> ColumnElement[bool]:
    """The one compiler: a tree as a condition on the collection's table, every value bound."""
    if isinstance(tree, Comparison):
        return _COMPILED[tree.op](table.c[tree.field], tree.value)
    args = [compile_filter(arg, table) for arg in tree.args]
    if tree.op == "not":
        return not_(args[0])
    return and_(*args) if tree.op == "and" else or_(*args)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """How large a tree may be."""

    depth_max: int
    nodes_max: int
    in_values_max: int


_AGENTS: Final = _Bounds(DEPTH_MAX, NODES_MAX, IN_VALUES_MAX)
_RULES: Final = _Bounds(_RULE_DEPTH_MAX, _RULE_NODES_MAX, _RULE_IN_VALUES_MAX)


class _Parser:
    """Counts the nodes of one tree while it reads them."""

    def __init__(
        self,
        collection: Collection,
        readable_fields: AnyCollection[str],
        bounds: _Bounds,
        handled: AnyCollection[str] = (),
        redeem: Redeem | None = None,
    ) -> None:
        self._bounds = bounds
        self._handled = handled
        self._redeem = redeem
        self._fields = {
            name: field for name, field in collection.columns.items() if name in readable_fields
        }
        self._nodes = 0

    def node(self, data: object, path: str, depth: int) -> Tree:
        """One node and what is under it."""
        if depth > self._bounds.depth_max:
            raise BadInput(path, f"must be at most {self._bounds.depth_max} deep")
        self._nodes += 1
        if self._nodes > self._bounds.nodes_max:
            raise BadInput(path, f"the filter must have at most {self._bounds.nodes_max} nodes")
        if not isinstance(data, Mapping):
            raise BadInput(path, "must be an object with op")
        node = cast("Mapping[object, object]", data)
        op = node.get("op")
        if isinstance(op, str) and op in _JUNCTIONS:
            return self._junction(node, cast("JunctionOp", op), path, depth)
        if isinstance(op, str) and op in _COMPARISONS:
            return self._comparison(node, cast("ComparisonOp", op), path)
        ops = ", ".join((*get_args(JunctionOp), *get_args(ComparisonOp)))
        raise BadInput(f"{path}.op", f"must be one of {ops}")

    def _junction(
        self, node: Mapping[object, object], op: JunctionOp, path: str, depth: int
    ) -> Junction:
        _require_keys(node, {"op", "args"}, path)
        args = _sequence(node["args"], f"{path}.args", 1 if op == "not" else self._bounds.nodes_max)
        return Junction(
            op,
            tuple(self.node(arg, f"{path}.args[{i}]", depth + 1) for i, arg in enumerate(args)),
        )

    def _comparison(self, node: Mapping[object, object], op: ComparisonOp, path: str) -> Comparison:
        keys = (
            {"op", "field"} if op == "is_null" and "value" not in node else {"op", "field", "value"}
        )
        _require_keys(node, keys, path)
        name = node["field"]
        field = self._fields.get(name) if isinstance(name, str) else None
        if field is None:
            raise BadInput(f"{path}.field", "unknown field")
        unordered = op in _ORDERING and field.kind in _UNORDERED_KINDS
        if unordered or (op != "is_null" and field.kind == "json"):
            raise BadInput(f"{path}.op", f"does not fit kind {field.kind}")
        if op in _ORDERING and name in self._handled:
            raise BadInput(f"{path}.op", "leaves as a handle: it has no order")
        operand = self._operand(op, cast("str", name), node, f"{path}.value")
        return Comparison(op, cast("str", name), operand)

    def _operand(
        self, op: ComparisonOp, name: str, node: Mapping[object, object], path: str
    ) -> Value | tuple[Value, ...]:
        if op == "is_null":
            value = node.get("value", True)
            if not isinstance(value, bool):
                raise BadInput(path, "must be true or false")
            return value
        reader = ValueReader(self._fields[name])
        if op == "in":
            items = _sequence(node["value"], path, self._bounds.in_values_max)
            return tuple(
                self._read(reader, name, item, f"{path}[{i}]") for i, item in enumerate(items)
            )
        return self._read(reader, name, node["value"], path)

    def _read(self, reader: ValueReader, name: str, value: object, path: str) -> Value:
        if value is None:
            raise BadInput(path, "must not be null: use is_null")
        if name not in self._handled:
            return _read(reader, value, path)
        if self._redeem is None or not is_handle_text(value):
            raise BadInput(path, "must be a handle")
        return _read(reader, self._redeem(name, value, path), path)


def _read(reader: ValueReader, value: object, path: str) -> Value:
    try:
        return reader.read(value)
    except ValueError as error:
        raise BadInput(path, str(error)) from None


def _require_keys(node: Mapping[object, object], keys: set[str], path: str) -> None:
    if set(node) != keys:
        raise BadInput(path, "must have exactly " + ", ".join(sorted(keys)))


def _sequence(data: object, path: str, count_max: int) -> Sequence[object]:
    items = cast("Sequence[object]", data) if isinstance(data, list | tuple) else ()
    if not 1 <= len(items) <= count_max:
        raise BadInput(path, f"must be a list of 1 to {count_max}")
    return items
