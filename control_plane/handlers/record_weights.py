"""What a change of records weighs: how many rows, which field groups, how much money. Policy says what is too much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from control_plane.data.collection import Collection
from control_plane.data.values import INTEGER_MAX
from control_plane.domain.canonical import Json
from control_plane.facts.record import RecordFacts
from control_plane.handlers.handler import Subject
from control_plane.handlers.record_sight import OPEN_GROUP


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row, before and after, as plain values by field; None where there is none.

    ``version`` is the one at which the row must stand, or at which it comes to be. ``shown`` is
    what the caller may see of ``before``; ``shown_after`` of ``after``, where it was not they who
    said it.
    """

    id: str
    version: int
    before: Mapping[str, Json] | None
    after: Mapping[str, Json] | None
    shown: Mapping[str, Json] | None = None
    shown_after: Mapping[str, Json] | None = None

    def changed(self, collection: Collection) -> tuple[str, ...]:
        """The declared fields that differ, in order; those of a row that comes or goes are all."""
        before, after = self.before, self.after
        if before is None or after is None:
            there = before or after or {}
            return tuple(name for name in collection.fields if there.get(name) is not None)
        return tuple(
            name for name in collection.fields if name in after and after[name] != before.get(name)
        )


def weigh(collection: Collection, changes: Sequence[RowChange]) -> dict[str, Json]:
    """The facts of a change: ``change_rows``, ``change_groups``, ``change_money_max``.

    The last is the largest amount in a field that changes, before or after, in minor units.
    """
    named: set[str] = set()
    amounts: list[int] = [0]
    for change in changes:
        fields = change.changed(collection)
        named |= set(fields)
        amounts += _amounts(collection, fields, (change.before, change.after))
    groups = {collection.fields[name].group for name in named} - {OPEN_GROUP}
    told: list[Json] = [*sorted(groups)]
    return {"change_rows": len(changes), "change_groups": told, "change_money_max": max(amounts)}


def weighing(subject: Subject, weight: Mapping[str, Json]) -> Subject:
    """The subject with what a change of it weighs among its facts."""
    facts = RecordFacts.model_validate(
        {
            **subject.facts.model_dump(),
            **weight,
            "change_groups": group_names(weight["change_groups"]),
        }
    )
    return replace(subject, facts=facts)


def group_names(told: Json) -> tuple[str, ...]:
    """The groups of a weight, as it was kept."""
    return tuple(str(name) for name in cast("Sequence[object]", told))


def _amounts(
    collection: Collection,
    fields: Iterable[str],
    images: Iterable[Mapping[str, Json] | None],
) -> list[int]:
    money = [name for name in fields if collection.fields[name].kind == "money"]
    found = [image.get(name) for image in images if image is not None for name in money]
    # Of values that were sent and not yet read: what is no amount, or too large for one, is refused
    # when it is.
    return [min(abs(value), INTEGER_MAX) for value in found if isinstance(value, int)]
