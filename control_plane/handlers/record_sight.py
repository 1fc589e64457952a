"""What one caller may see of a collection: which rows, which fields of each. Reads no row itself.

Where the rows have a policy of their own, it decides row by row; else what was decided on the
collection as a whole holds for every row. A field in a group needs the group's action, and whoever
seeks or sorts by such a field is shown only the rows in which it may be read: an order or a match
tells as much as a value. What leaves as a handle is seen as one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from control_plane.data.collection import Collection
from control_plane.data.filters import Tree, parse_rule
from control_plane.data.handles import Giving, leaving
from control_plane.data.rows import Row
from control_plane.data.values import to_json
from control_plane.domain.canonical import Json
from control_plane.ports import RowGate

# The field group that whoever may read the record may read; each other has an action of its own.
OPEN_GROUP: Final = "general"
_HIDDEN: Final = "tenant_id"
# A value of each kind that the policy's schema takes, for a row that is not there.
_EMPTY: Final[Mapping[str, Json]] = {"integer": 0, "money": 0, "boolean": False}
_LOG = logging.getLogger("paybill.rows")


class Sight:
    """One caller before one collection; ``may`` is what was decided on the collection."""

    def __init__(
        self,
        collection: Collection,
        rows: RowGate,
        may: frozenset[str],
        giving: Giving | None = None,
    ) -> None:
        self._collection = collection
        self._giving = giving
        self._rows = rows
        self._ruled = rows.ruled(collection.name)
        granted = {name for name in group_actions(collection) if name in may}
        self._groups = frozenset(group_actions(collection)) if self._ruled else frozenset(granted)

    def searchable(self, named: Iterable[str]) -> frozenset[str]:
        """The fields that the caller may name. Asks nothing where all that is named is open.

        Else it asks for every group: a field that may not be read costs what an unknown one does.
        """
        groups = self._groups
        if self._ruled and not all(self._is_open(name) for name in named):
            groups = frozenset(one for one in groups if self._restricted((one,)) is not None)
        return self._fields(groups)

    def _is_open(self, name: str) -> bool:
        field = self._collection.columns.get(name)
        return field is not None and field.group == OPEN_GROUP

    def rule(self, named: Iterable[str], acts: tuple[str, ...] = ()) -> tuple[bool, Tree | None]:
        """Whether any row may be seen, and the policy's tree over them, when fields are named.

        ``acts`` are what must be allowed on them besides.
        """
        restricted = self._restricted(("read", *self._actions_of(named), *acts))
        return (False, None) if restricted is None else (True, restricted[0])

    def seen(
        self,
        rows: Sequence[Row],
        fields: frozenset[str] | None,
        named: Iterable[str] = (),
    ) -> list[dict[str, Json]]:
        """The rows that may be seen, each with only the fields that may be; in one question.

        ``fields`` narrows further. Without ``giving`` a handle is one that opens nothing. A row
        that the plan let through and the rule does not is left out.
        """
        images = {str(row["id"]): image_of(row) for row in rows}
        may = self._rows.judged(self._collection.name, images, ("read", *sorted(self._groups)))
        needed = {"read", *self._actions_of(named)}
        kept = [
            self._masked(image, may[row_id], fields)
            for row_id, image in images.items()
            if needed <= may[row_id]
        ]
        if len(kept) < len(rows):
            dropped = len(rows) - len(kept)
            _LOG.warning("%d rows of %s: plan and rule differ", dropped, self._collection.name)
        return kept

    def phantom(self) -> None:
        """Ask what is asked of one row, of none: an absent row costs what a hidden one does."""
        image = {
            name: _EMPTY.get(field.kind, "") for name, field in self._collection.columns.items()
        }
        asked = ("read", *sorted(self._groups))
        self._rows.judged(self._collection.name, {"absent": image}, asked)

    def _masked(
        self, image: Mapping[str, Json], may: frozenset[str], fields: frozenset[str] | None
    ) -> dict[str, Json]:
        # The others are absent, not empty.
        readable = self._fields(self._groups & may)
        kept = {
            name: value
            for name, value in image.items()
            if name in readable and (fields is None or name in fields)
        }
        if not self._collection.handled:
            return kept
        row_id, version = str(image["id"]), int(str(image["version"]))
        return leaving(self._collection, kept, row_id, version, self._giving)

    def _restricted(self, actions: tuple[str, ...]) -> tuple[Tree | None] | None:
        left = self._rows.restriction(self._collection.name, actions)
        if left.none:
            return None
        return (None if left.filter is None else parse_rule(left.filter, self._collection),)

    def _actions_of(self, named: Iterable[str]) -> tuple[str, ...]:
        columns = self._collection.columns
        groups = {columns[name].group for name in named if name in columns} - {OPEN_GROUP}
        return tuple(f"read_{group}" for group in sorted(groups))

    def _fields(self, groups: frozenset[str]) -> frozenset[str]:
        return frozenset(
            name
            for name, field in self._collection.columns.items()
            if (field.group == OPEN_GROUP or f"read_{field.group}" in groups) and name != _HIDDEN
        )


def group_actions(collection: Collection) -> tuple[str, ...]:
    """The actions of the collection's field groups, in a fixed order."""
    groups = {field.group for field in collection.fields.values()} - {OPEN_GROUP}
    return tuple(f"read_{group}" for group in sorted(groups))


def image_of(row: Row) -> dict[str, Json]:
    """A row as plain values."""
    return {name: to_json(value) for name, value in row.items()}


def untrusted(collection: Collection, records: Sequence[Mapping[str, Json]]) -> list[str]:
    """The fields of the records that hold free text of people: data, never instructions."""
    return sorted(
        name
        for name, field in collection.fields.items()
        if field.kind in {"text", "json"}
        and name not in collection.handled
        and any(name in record for record in records)
    )
