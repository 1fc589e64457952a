"""What a statement of a migration changes, as plain values. Not whether that is allowed, and no SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from sqlglot import exp

from control_plane.fleet.grammar import Statement

Kind: TypeAlias = Literal[
    "create_table",
    "drop_table",
    "add_column",
    "drop_column",
    "set_not_null",
    "drop_not_null",
    "set_default",
    "drop_default",
    "add_constraint",
    "drop_constraint",
    "create_index",
    "drop_index",
    "insert",
    "update",
    "delete",
    "unknown",
]


@dataclass(frozen=True, slots=True)
class ColumnSaid:
    """A column as it is written."""

    name: str
    is_text: bool
    nullable: bool
    default: exp.Expr | None
    # What stands at the column, and cannot name the tenant: UNIQUE, REFERENCES.
    own_keys: bool


@dataclass(frozen=True, slots=True)
class KeySaid:
    """A constraint of a table, or an index: which columns, in order, and what it refers to."""

    kind: Literal["primary", "unique", "foreign", "check", "index"]
    columns: tuple[str, ...]
    name: str = ""
    target: str = ""
    target_columns: tuple[str, ...] = ()
    # Named in a condition, in no order.
    mentions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one table. `names` are what an expression of it mentions of the table."""

    statement: Statement
    kind: Kind
    table: str = ""
    name: str = ""
    columns: tuple[ColumnSaid, ...] = ()
    keys: tuple[KeySaid, ...] = ()
    concurrently: bool = False
    not_valid: bool = False
    unique: bool = False
    source: str = ""
    targets: tuple[str, ...] = ()
    picks: tuple[str, ...] = ()
    mentions: frozenset[str] = frozenset()
    has_where: bool = False


def changes_of(statement: Statement) -> list[Change]:
    """Every change of a statement, in order; `unknown` where it is put as we do not know it."""
    read = _READERS.get(type(statement.tree))
    return list(read(statement)) if read else [Change(statement, "unknown")]


def _create(said: Statement) -> Iterator[Change]:
    tree = said.tree
    kind, this = tree.args.get("kind"), tree.this
    if kind == "TABLE" and isinstance(this, exp.Schema) and not tree.args.get("unique"):
        parts = list(this.expressions)
        columns = tuple(_column(one) for one in parts if isinstance(one, exp.ColumnDef))
        keys = [_key(one) for one in parts if not isinstance(one, exp.ColumnDef)]
        if None not in keys:
            yield Change(
                said,
                "create_table",
                table=_name(this.this),
                columns=columns,
                keys=tuple(one for one in keys if one is not None) + _checks(parts),
            )
            return
    elif kind == "INDEX" and isinstance(this, exp.Index) and this.this is not None:
        yield from _index(said, this)
        return
    yield Change(said, "unknown")


def _index(said: Statement, index: exp.Expr) -> Iterator[Change]:
    params = index.args.get("params")
    ordered: list[Any] = [] if params is None else list(params.args.get("columns") or ())
    columns: list[Any] = [one.this if isinstance(one, exp.Ordered) else one for one in ordered]
    if params is None or not columns or not all(isinstance(one, exp.Column) for one in columns):
        # An index on an expression could be one over all tenants' values.
        yield Change(said, "unknown")
        return
    where = params.args.get("where")
    named = tuple(one.name for one in columns)
    key = KeySaid("index", named, name=index.name, mentions=_mentions(where))
    yield Change(
        said,
        "create_index",
        table=_name(index.args.get("table")),
        name=index.name,
        keys=(key,),
        unique=bool(said.tree.args.get("unique")),
        concurrently=bool(said.tree.args.get("concurrently")),
    )


def _drop(said: Statement) -> Iterator[Change]:
    kinds: Mapping[str, Kind] = {"TABLE": "drop_table", "INDEX": "drop_index"}
    kind = kinds.get(str(said.tree.args.get("kind")))
    concurrently = bool(said.tree.args.get("concurrently"))
    for one in said.tree.args.get("tables") or ():
        name = _name(one)
        if kind == "drop_table" and not concurrently:
            yield Change(said, kind, table=name)
        elif kind == "drop_index":
            yield Change(said, kind, name=name, concurrently=concurrently)
        else:
            yield Change(said, "unknown")


def _alter(said: Statement) -> Iterator[Change]:
    tree = said.tree
    if tree.args.get("kind") != "TABLE":
        yield Change(said, "unknown")
        return
    table, not_valid = _name(tree.this), bool(tree.args.get("not_valid"))
    for action in tree.args.get("actions") or ():
        yield from _action(said, table, action, not_valid)


def _action(said: Statement, table: str, action: exp.Expr, not_valid: bool) -> Iterator[Change]:
    if isinstance(action, exp.ColumnDef):
        column, keys = _column(action), _checks([action])
        yield Change(said, "add_column", table=table, columns=(column,), keys=keys)
    elif isinstance(action, exp.Drop):
        kinds: Mapping[str, Kind] = {"COLUMN": "drop_column", "CONSTRAINT": "drop_constraint"}
        kind: Kind = kinds.get(str(action.args.get("kind")), "unknown")
        for one in action.args.get("tables") or ():
            yield Change(said, kind, table=table, name=one.name)
    elif isinstance(action, exp.AlterColumn):
        yield _altered(said, table, action)
    elif isinstance(action, exp.AddConstraint):
        for one in action.expressions:
            key = _key(one)
            if key is None or not key.name:
                yield Change(said, "unknown", table=table)
            else:
                yield Change(said, "add_constraint", table=table, keys=(key,), not_valid=not_valid)
    else:
        yield Change(said, "unknown", table=table)


def _altered(said: Statement, table: str, action: exp.Expr) -> Change:
    name, args = action.this.name, action.args
    default = args.get("default")
    if default is not None:
        column = ColumnSaid(name, False, True, default, False)
        return Change(said, "set_default", table=table, name=name, columns=(column,))
    if args.get("allow_null") is not None:
        kind: Kind = "drop_not_null" if args["allow_null"] else "set_not_null"
        return Change(said, kind, table=table, name=name)
    if args.get("drop"):
        return Change(said, "drop_default", table=table, name=name)
    return Change(said, "unknown", table=table)


def _update(said: Statement) -> Iterator[Change]:
    tree = said.tree
    sets = list(tree.expressions)
    if not all(isinstance(one, exp.EQ) and isinstance(one.this, exp.Column) for one in sets):
        yield Change(said, "unknown")
        return
    where = tree.args.get("where")
    mentioned = [_mentions(one.expression) for one in sets]
    yield Change(
        said,
        "update",
        table=_name(tree.this),
        targets=tuple(one.this.name for one in sets),
        mentions=_mentions(where).union(*mentioned),
        has_where=where is not None,
    )


def _delete(said: Statement) -> Iterator[Change]:
    where = said.tree.args.get("where")
    table = _name(said.tree.this)
    yield Change(
        said, "delete", table=table, mentions=_mentions(where), has_where=where is not None
    )


def _insert(said: Statement) -> Iterator[Change]:
    into, rows = said.tree.this, said.tree.args.get("expression")
    if not isinstance(into, exp.Schema) or not isinstance(rows, exp.Select):
        yield Change(said, "unknown")
        return
    found = rows.args.get("from_")
    if found is None:
        yield Change(said, "unknown")
        return
    yield Change(
        said,
        "insert",
        table=_name(into.this),
        source=_name(found.this),
        targets=tuple(one.name for one in into.expressions),
        picks=tuple(one.name if isinstance(one, exp.Column) else "" for one in rows.expressions),
        mentions=_mentions(rows),
    )


def _column(said: exp.ColumnDef) -> ColumnSaid:
    kinds = [one.args.get("kind") for one in said.args.get("constraints") or ()]
    defaults = [one.this for one in kinds if isinstance(one, exp.DefaultColumnConstraint)]
    not_null = any(
        isinstance(one, exp.NotNullColumnConstraint) and not one.args.get("allow_null")
        for one in kinds
    )
    wanted = said.args.get("kind")
    return ColumnSaid(
        name=said.name,
        is_text=wanted is not None and wanted.this in (exp.DType.TEXT, exp.DType.VARCHAR),
        nullable=not not_null,
        default=defaults[0] if defaults else None,
        own_keys=wanted is None
        or any(isinstance(one, exp.UniqueColumnConstraint | exp.Reference) for one in kinds),
    )


def _checks(parts: Sequence[exp.Expr]) -> tuple[KeySaid, ...]:
    """The conditions that stand at columns."""
    return tuple(
        KeySaid("check", (), mentions=_mentions(one))
        for part in parts
        if isinstance(part, exp.ColumnDef)
        for one in part.find_all(exp.CheckColumnConstraint)
    )


def _key(said: exp.Expr, name: str = "") -> KeySaid | None:
    if isinstance(said, exp.Constraint) and len(said.expressions) == 1 and not name:
        return _key(said.expressions[0], said.name)
    if isinstance(said, exp.PrimaryKey):
        return KeySaid("primary", _named(said.expressions), name)
    if isinstance(said, exp.UniqueColumnConstraint) and isinstance(said.this, exp.Schema):
        return KeySaid("unique", _named(said.this.expressions), name)
    if isinstance(said, exp.CheckColumnConstraint):
        return KeySaid("check", (), name, mentions=_mentions(said))
    if isinstance(said, exp.ForeignKey):
        refers = said.args.get("reference")
        target = None if refers is None else refers.this
        if isinstance(target, exp.Schema):
            own, other = _named(said.expressions), _named(target.expressions)
            return KeySaid("foreign", own, name, _name(target.this), other)
    return None


def _named(parts: Sequence[Any]) -> tuple[str, ...]:
    plain = [one.this if isinstance(one, exp.Ordered) else one for one in parts]
    return tuple(str(one.name) for one in plain)


def _name(node: Any) -> str:
    return str(node.name) if isinstance(node, exp.Table) else ""


def _mentions(node: exp.Expr | None) -> frozenset[str]:
    if node is None:
        return frozenset()
    return frozenset(one.name for one in node.find_all(exp.Column))


_READERS: Final[Mapping[type[exp.Expr], Callable[[Statement], Iterator[Change]]]] = {
    exp.Create: _create,
    exp.Alter: _alter,
    exp.Drop: _drop,
    exp.Update: _update,
    exp.Delete: _delete,
    exp.Insert: _insert,
}
