"""The moves between two declarations of one field, and of a field that comes or goes. Not a table's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from control_plane.data.field import Field
from control_plane.data.moves import Move, MoveKind, move

_LONG_KINDS: Final = frozenset({"string", "text", "json"})
# What a field's values mean; where it changes, those that stand would mean something else.
_MEANING: Final[Mapping[str, MoveKind]] = {
    "collection": "change_target",
    "currency": "change_currency",
    "scale": "change_scale",
    "formula": "change_formula",
}
_NOT_SHAPE: Final = frozenset({"description", "group", "default", "nullable"})


def changed(collection: str, name: str, old: Field, new: Field) -> Iterator[Move]:
    """What a field that stays asks of a database: nothing where only its description changes."""
    if old.kind != new.kind:
        yield move("change_kind", collection, name, was=old.kind, what=new.kind)
        return
    for option, kind in _MEANING.items():
        if getattr(old, option) != getattr(new, option):
            yield move(kind, collection, name)
    yield from _bounds(collection, name, old, new)
    yield from _values(collection, name, old, new)
    if old.nullable != new.nullable and new.kind != "computed":
        if new.nullable:
            yield move("drop_not_null", collection, name, what="")
        else:
            yield move("set_not_null", collection, name)
    if old.unique != new.unique:
        yield move("add_unique" if new.unique else "drop_unique", collection, name)
    if old.pattern != new.pattern:
        # Whether one pattern takes all that another takes is not to be known.
        loosened = new.pattern is None
        yield move("loosen_pattern" if loosened else "tighten_pattern", collection, name)


def _bounds(collection: str, name: str, old: Field, new: Field) -> Iterator[Move]:
    if new.kind in _LONG_KINDS and old.length_max != new.length_max:
        kind: MoveKind = "widen_length" if new.length_max > old.length_max else "narrow_length"
        rows = "rows that stand are not" if new.kind == "json" else "all rows are"
        was, what = old.length_max, new.length_max
        yield move(kind, collection, name, was=was, what=what, rows=rows)
    if old.precision != new.precision:
        was, what = old.precision or 0, new.precision or 0
        kind = "widen_precision" if what > was else "narrow_precision"
        yield move(kind, collection, name, was=was, what=what)


def _values(collection: str, name: str, old: Field, new: Field) -> Iterator[Move]:
    was, what = old.values or (), new.values or ()
    come = [value for value in what if value not in was]
    gone = [value for value in was if value not in what]
    if come:
        yield move("add_values", collection, name, what=", ".join(come))
    if gone:
        yield move("remove_values", collection, name, what=", ".join(gone))
    if was != what and not come and not gone:
        yield move("reorder_values", collection, name)


def added(collection: str, name: str, field: Field) -> Iterator[Move]:
    """A field that comes to a collection which may have rows."""
    if field.kind == "computed":
        yield move("add_field", collection, name, what="what its formula makes of them")
    elif field.default is not None and field.unique:
        yield move("unique_default", collection, name)
    elif field.default is not None:
        yield move("add_field", collection, name, what="the default")
        yield move("drop_default", collection, name)
    elif field.nullable:
        yield move("add_field", collection, name, what="no value")
    else:
        yield move("require_field", collection, name)


def dropped(collection: str, name: str, field: Field) -> Iterator[Move]:
    """A field that goes, once nobody uses it any more."""
    is_computed = field.kind == "computed"
    if not field.nullable and not is_computed:
        yield move("drop_not_null", collection, name, what=", for it is about to go")
    what = "what its formula made" if is_computed else "all its values"
    yield move("drop_field", collection, name, loses_data=not is_computed, what=what)


def shape(field: Field) -> Mapping[str, Any]:
    """What tells whether two fields could be one under two names."""
    return field.model_dump(exclude=set(_NOT_SHAPE))
