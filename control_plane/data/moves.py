"""The moves that take a declaration to the next one, as they are shown to people. Not their statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

Phase: TypeAlias = Literal["expand", "contract"]
MovePhase: TypeAlias = Literal["expand", "contract", "refused"]
MoveKind: TypeAlias = Literal[
    "add_collection",
    "add_field",
    "add_index",
    "widen_length",
    "widen_precision",
    "add_values",
    "reorder_values",
    "drop_not_null",
    "drop_unique",
    "loosen_pattern",
    "replace_rows",
    "drop_default",
    "drop_index",
    "add_unique",
    "set_not_null",
    "narrow_length",
    "narrow_precision",
    "remove_values",
    "tighten_pattern",
    "remove_rows",
    "drop_field",
    "drop_collection",
    "change_kind",
    "change_target",
    "change_currency",
    "change_scale",
    "change_formula",
    "change_tenant_key",
    "change_key",
    "require_field",
    "unique_default",
    "rename",
    "too_wide",
]


@dataclass(frozen=True, slots=True)
class _Nature:
    phase: MovePhase
    # Whether the opposite change can be made later, whatever has been written by then.
    reversible: bool
    message: str


_NATURES: Final[Mapping[MoveKind, _Nature]] = {
    "add_collection": _Nature("expand", True, "A new collection: an empty table."),
    "add_field": _Nature("expand", True, "A new field; rows that stand get {what}."),
    "add_index": _Nature("expand", True, "A new index over {what}."),
    "widen_length": _Nature("expand", False, "May have {what} characters instead of {was}."),
    "widen_precision": _Nature("expand", False, "May have {what} digits instead of {was}."),
    "add_values": _Nature("expand", False, "May also be {what}."),
    "reorder_values": _Nature("expand", True, "The same values, named in another order."),
    "drop_not_null": _Nature("expand", False, "May be empty{what}."),
    "drop_unique": _Nature("expand", False, "Rows of a tenant may have the same value."),
    "loosen_pattern": _Nature("expand", True, "Needs to match no pattern any more."),
    "replace_rows": _Nature("expand", True, "The declared rows are written anew."),
    "drop_default": _Nature(
        "contract", True, "The database fills in the default no longer: calls do."
    ),
    "drop_index": _Nature("contract", True, "The index over {what} goes."),
    "add_unique": _Nature(
        "contract", True, "No two rows of a tenant may have the same value; all rows are checked."
    ),
    "set_not_null": _Nature("contract", True, "May not be empty any more; all rows are checked."),
    "narrow_length": _Nature(
        "contract", True, "May have {what} characters, no longer {was}; {rows} checked."
    ),
    "narrow_precision": _Nature(
        "contract", True, "May have {what} digits, no longer {was}; all rows are checked."
    ),
    "remove_values": _Nature("contract", True, "May no longer be {what}; all rows are checked."),
    "tighten_pattern": _Nature(
        "contract", True, "Must match a new pattern from now on; rows that stand are not checked."
    ),
    "remove_rows": _Nature(
        "contract", True, "{what} of the declared rows go; what refers to them is not checked."
    ),
    "drop_field": _Nature("contract", False, "The field goes, with {what}."),
    "drop_collection": _Nature("contract", False, "The collection goes, with {what}."),
    "change_kind": _Nature(
        "refused", False, "The kind cannot change from {was} to {what}: add another field instead."
    ),
    "change_target": _Nature(
        "refused", False, "What it refers to cannot change: add another field instead."
    ),
    "change_currency": _Nature(
        "refused", False, "The currency cannot change: amounts that stand would mean another sum."
    ),
    "change_scale": _Nature(
        "refused", False, "The scale cannot change: add another field instead."
    ),
    "change_formula": _Nature(
        "refused", False, "The formula cannot change: add another field instead."
    ),
    "change_tenant_key": _Nature(
        "refused", False, "A collection cannot begin or cease to be the same for every tenant."
    ),
    "change_key": _Nature(
        "refused", False, "The key cannot change: the ids of the declared rows are made of it."
    ),
    "require_field": _Nature(
        "refused",
        False,
        "A new field of a collection that may have rows must be nullable or have a default.",
    ),
    "unique_default": _Nature(
        "refused",
        False,
        "A new field cannot be unique and have a default: rows that stand would all have it.",
    ),
    "rename": _Nature(
        "refused",
        False,
        "A renamed {what} is one that goes and one that comes, without its values ({was} looks "
        "the same). Add it, carry the values over, and drop {was} in a later change.",
    ),
    "too_wide": _Nature(
        "refused", False, "Both declarations cannot hold at once: {what}. Make two changes of it."
    ),
}
_PHASES: Final[Sequence[MovePhase]] = ("expand", "contract", "refused")


class Move(BaseModel):
    """One difference between two declarations, and what it does to a tenant's database.

    `phase` says when it is made: `expand` while calls under the old declaration go on, `contract`
    when there are none any more, `refused` never. `reversible`: the opposite change can be made
    later, whatever has been written by then. `loses_data`: values that tenants wrote are gone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: MoveKind
    collection: str
    field: str | None = None
    index: tuple[str, ...] = ()
    phase: MovePhase
    reversible: bool
    loses_data: bool = False
    message: str

    @property
    def name(self) -> str:
        """What it is about: `collection`, or `collection.field`."""
        return self.collection if self.field is None else f"{self.collection}.{self.field}"

    def order(self) -> tuple[int, str, str, str, tuple[str, ...]]:
        """Its place among the moves of one evolution."""
        return (
            _PHASES.index(self.phase),
            self.collection,
            self.field or "",
            self.kind,
            self.index,
        )


def move(
    kind: MoveKind,
    collection: str,
    field: str | None = None,
    *,
    index: Sequence[str] = (),
    loses_data: bool = False,
    **told: object,
) -> Move:
    """A move of the kind; `told` fills its message, and is never a row's value."""
    nature = _NATURES[kind]
    return Move(
        kind=kind,
        collection=collection,
        field=field,
        index=tuple(index),
        phase=nature.phase,
        reversible=nature.reversible,
        loses_data=loses_data,
        message=nature.message.format(**told),
    )
