"""What leads from one set of declared collections to another, in two phases. Not what carries it out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from control_plane.data import field_moves
from control_plane.data.collection import Collection
from control_plane.data.declaration_errors import DeclarationError
from control_plane.data.expansion import joined
from control_plane.data.moves import Move, Phase, move
from control_plane.domain.canonical import digest
from control_plane.errors import Refused


class Evolution(BaseModel):
    """All moves from one declaration to the next, in their one order.

    `before` and `after` are digests of the whole declarations; without a move they may still
    differ, in what no database knows of (descriptions, groups, limits, defaults).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    before: str
    after: str
    moves: tuple[Move, ...]

    def of(self, phase: Phase) -> tuple[Move, ...]:
        """The moves of one phase."""
        return tuple(one for one in self.moves if one.phase == phase)

    @property
    def refused(self) -> tuple[Move, ...]:
        """What no database follows; where there is any, none of the moves is made."""
        return tuple(one for one in self.moves if one.phase == "refused")

    @property
    def loses_data(self) -> bool:
        """Whether any move takes away what tenants wrote."""
        return any(one.loses_data for one in self.moves)

    def digest(self) -> str:
        """SHA-256 of the canonical form, 64 hexadecimal digits."""
        return digest(self)

    def require_possible(self) -> None:
        """Raise Refused (`evolution_refused`; `rule` is the first move's kind, `fact` its name)."""
        for one in self.refused:
            raise Refused(
                f"{one.name}: {one.message}", code="evolution_refused", rule=one.kind, fact=one.name
            )


def evolve(before: Sequence[Collection], after: Sequence[Collection]) -> Evolution:
    """The moves from `before` to `after`, each a set of collections that stand together."""
    old = {one.name: one for one in before}
    new = {one.name: one for one in after}
    moves = [*_renamed(old, new)]
    for name in sorted({*old, *new}):
        moves += _moves(old.get(name), new.get(name))
    return Evolution(
        before=_declared(before),
        after=_declared(after),
        moves=tuple(sorted(moves, key=Move.order)),
    )


def _declared(collections: Sequence[Collection]) -> str:
    return digest({one.name: one.digest() for one in collections})


def _renamed(old: Mapping[str, Collection], new: Mapping[str, Collection]) -> Iterator[Move]:
    gone = [one for name, one in sorted(old.items()) if name not in new and not one.reference]
    for name in sorted(set(new) - set(old)):
        for one in gone:
            if dict(one.fields) == dict(new[name].fields):
                yield move("rename", name, what="collection", was=one.name)


def _moves(old: Collection | None, new: Collection | None) -> Iterator[Move]:
    if old is None:
        if new is not None:
            yield move("add_collection", new.name)
    elif new is None:
        what = "its declared rows" if old.reference else "all its rows"
        yield move("drop_collection", old.name, loses_data=not old.reference, what=what)
    elif old.reference != new.reference:
        yield move("change_tenant_key", new.name)
    elif new.reference:
        yield from _of_reference(old, new)
    else:
        yield from _of_fields(old, new)
        yield from _of_indexes(old, new)


def _of_fields(old: Collection, new: Collection) -> Iterator[Move]:
    gone = {name: field for name, field in old.fields.items() if name not in new.fields}
    come = {name: field for name, field in new.fields.items() if name not in old.fields}
    for name, field in gone.items():
        yield from field_moves.dropped(new.name, name, field)
    for name, field in come.items():
        alike = [one for one in gone if field_moves.shape(gone[one]) == field_moves.shape(field)]
        if alike and field.kind != "computed":
            yield move("rename", new.name, name, what="field", was=alike[0])
        yield from field_moves.added(new.name, name, field)
    for name, field in new.fields.items():
        if name in old.fields:
            yield from field_moves.changed(new.name, name, old.fields[name], field)
    yield from _beside_each_other(old, new)


def _beside_each_other(old: Collection, new: Collection) -> Iterator[Move]:
    both = joined(old, new)
    try:
        _ = both.reference_rows() if both.reference else both.columns
    except DeclarationError as error:
        yield move("too_wide", new.name, what=error.rule)


def _of_indexes(old: Collection, new: Collection) -> Iterator[Move]:
    for index in old.indexes:
        if index not in new.indexes:
            yield move("drop_index", new.name, index=index, what=", ".join(index))
    for index in new.indexes:
        if index not in old.indexes:
            yield move("add_index", new.name, index=index, what=", ".join(index))


def _of_reference(old: Collection, new: Collection) -> Iterator[Move]:
    """Declared rows are written anew, so nothing that stands has to fit."""
    if old.digest() == new.digest():
        return
    if old.key != new.key:
        yield move("change_key", new.name)
        return
    for name, field in new.fields.items():
        known = old.fields.get(name)
        if known is None:
            yield move("add_field", new.name, name, what="the declared value")
        elif known.kind != field.kind:
            yield move("change_kind", new.name, name, was=known.kind, what=field.kind)
    for name in old.fields:
        if name not in new.fields:
            yield move("drop_field", new.name, name, what="its declared values")
    yield move("replace_rows", new.name)
    kept = {str(row["id"]) for row in new.reference_rows()}
    gone = sum(str(row["id"]) not in kept for row in old.reference_rows())
    if gone:
        yield move("remove_rows", new.name, what=gone)
    yield from _beside_each_other(old, new)
