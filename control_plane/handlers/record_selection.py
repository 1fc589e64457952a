"""Which rows a run of changes is about, each before and after, for one caller. Decides by the gate; writes nothing.

The same way three times: shown to who asks, planned by the worker, and once more before it writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Final, cast

from sqlalchemy import Connection

from control_plane.commands import ChangeRecords
from control_plane.data.collection import Collection
from control_plane.data.filters import all_of, fields_of, parse_filter
from control_plane.data.handles import Giving
from control_plane.data.rows import Row, get_rows, query_page, stale
from control_plane.data.sort import Sort
from control_plane.data.tables import collection_table
from control_plane.data.undo import Image, images_of
from control_plane.domain.canonical import Json, keyed_digest
from control_plane.domain.run_record import Run
from control_plane.errors import NotFound, Refused
from control_plane.facts.load import run_row
from control_plane.handlers.handler import Ports
from control_plane.handlers.record_place import Place
from control_plane.handlers.record_sight import Sight, image_of
from control_plane.handlers.record_values import changed_values, new_values, require_known
from control_plane.handlers.record_weights import RowChange
from control_plane.ports import Asker

RUN_KIND: Final = "change_records"
_BY_ID: Final = Sort()


class Selection:
    """The rows of one command in one collection."""

    def __init__(
        self,
        command: ChangeRecords,
        collection: Collection,
        place: Place,
        ports: Ports,
        asker: Asker,
        giving: Giving | None = None,
    ) -> None:
        self._command = command
        self._collection = collection
        self._place = place
        self._ports = ports
        self._rows = asker.rows
        self._sight = Sight(collection, asker.rows, asker.may, giving)
        self._table = collection_table(collection)

    def found(self) -> list[RowChange]:
        """Every row as it is and as it would be, each decided on. Raises NotFound, Refused, BadInput."""
        how: Mapping[str, Callable[[], list[RowChange]]] = {
            "create": self._created,
            "update": self._one,
            "delete": self._one,
            "bulk_update": self._filtered,
            "bulk_delete": self._filtered,
            "undo": self._undone,
        }
        return self._judged(how[self._command.op]())

    def again(self, ids: Sequence[str]) -> list[RowChange]:
        """The rows of a plan, as they are now: what the filter finds meanwhile is not asked."""
        if self._command.filter is None:
            return self.found()
        return self._judged(self._as_changes(self._read(ids)))

    # which -----------------------------------------------------------------------------------

    def _created(self) -> list[RowChange]:
        after = image_of(new_values(self._collection, self._command.values))
        return [RowChange(self._command.record_id, 1, None, after)]

    def _one(self) -> list[RowChange]:
        changes = self._as_changes(self._read([self._command.record_id]))
        if not changes:
            self._sight.phantom()
            raise NotFound
        if changes[0].version != self._command.version:
            raise stale()
        return changes

    def _filtered(self) -> list[RowChange]:
        command, collection = self._command, self._collection
        named = (*sorted(fields_of(command.filter)), *command.values)
        readable = self._sight.searchable(named)
        require_known(command.values, readable)
        tree = parse_filter(command.filter, collection, readable)
        any_row, rule = self._sight.rule(named, acts=(_verb(command.op),))
        if not any_row:
            return []
        with self._place.reading(self._ports, command.tenant) as connection:
            page = query_page(
                connection,
                self._table,
                command.tenant,
                all_of(tree, rule),
                _BY_ID,
                collection.limits.bulk_rows_max,
                None,
                deadline_ms=self._ports.limits.statement_ms_max,
            )
        if page.next is not None:
            raise Refused(
                "More rows fit than one change may touch: narrow the filter.",
                code="too_many_rows",
                rule="collection.limits.bulk_rows_max",
            )
        return self._as_changes(page.rows)

    def _undone(self) -> list[RowChange]:
        command, now = self._command, self._ports.clock.now()
        with self._reading() as connection:
            images = images_of(connection, command.tenant, command.undone_run, now=now)
            standing = self._standing(connection, [one.id for one in images or ()])
        if images is None:
            raise Refused(
                "Nothing of that run can be undone, or no longer.", code="undo_gone", rule="undo"
            )
        seen = self._seen(list(standing.values()))
        changes = [self._back(one, standing.get(one.id), seen.get(one.id)) for one in images]
        again = self._seen([cast("Row", one.after) for one in changes if one.after is not None])
        return [replace(one, shown_after=again.get(one.id, {})) for one in changes]

    # each ------------------------------------------------------------------------------------

    def _as_changes(self, found: Sequence[Row]) -> list[RowChange]:
        """The rows with what they would be; only what the caller may see of each is shown."""
        values: dict[str, Json] = {}
        if _verb(self._command.op) == "update":
            values = image_of(changed_values(self._collection, self._command.values))
        seen = self._seen(found)
        if len(seen) < len(found) and self._command.filter is not None:
            raise self._differs()
        changes: list[RowChange] = []
        for row in found:
            before = image_of(row)
            shown = seen.get(str(before["id"]))
            if shown is None:
                raise NotFound
            require_known(values, frozenset(shown))
            after = {**before, **values} if _verb(self._command.op) == "update" else None
            changes.append(
                RowChange(str(row["id"]), int(str(row["version"])), before, after, shown)
            )
        return changes

    def _back(self, image: Image, row: Row | None, shown: Mapping[str, Json] | None) -> RowChange:
        """The inverse of what was done to one row, if it still stands as that left it."""
        if (0 if row is None else row["version"]) != image.version:
            raise stale()
        if row is None:
            assert image.before is not None, "a row that is gone was there before"
            # One further than it ever was: no older reading of it counts.
            return RowChange(image.id, int(str(image.before["version"])) + 1, None, image.before)
        if shown is None:
            raise NotFound
        before = image_of(row)
        after = None if image.before is None else {**before, **image.before}
        return RowChange(image.id, image.version, before, after, shown)

    def _judged(self, changes: list[RowChange]) -> list[RowChange]:
        """Decide each image before and after by its verb. Raises Refused (`row_denied`)."""
        for verb in ("create", "update", "delete"):
            images: dict[str, Mapping[str, Json]] = {}
            for change in changes:
                if _verb_of(change) != verb:
                    continue
                for when, image in (("before", change.before), ("after", change.after)):
                    if image is not None:
                        images[f"{change.id}/{when}"] = image
            said = self._rows.judged(self._collection.name, images, (verb,))
            if any(verb not in allowed for allowed in said.values()):
                raise Refused(
                    "The policy does not allow this for every row.",
                    code="row_denied",
                    rule=f"rows_{self._collection.name}#{verb}",
                )
        return changes

    def _seen(self, found: Sequence[Row]) -> dict[str, dict[str, Json]]:
        return {str(one["id"]): one for one in self._sight.seen(found, None)}

    # reading ---------------------------------------------------------------------------------

    def _read(self, ids: Sequence[str]) -> list[Row]:
        with self._reading() as connection:
            found = self._standing(connection, ids)
        return [found[row_id] for row_id in ids if row_id in found]

    def _reading(self) -> AbstractContextManager[Connection]:
        return self._place.reading(self._ports, self._command.tenant)

    def _standing(self, connection: Connection, ids: Sequence[str]) -> dict[str, Row]:
        return get_rows(connection, self._table, self._command.tenant, ids)

    def _differs(self) -> Refused:
        return Refused(
            "The policy's filter and its rules differ over these rows: none is changed.",
            code="policy_not_exact",
            rule=f"rows_{self._collection.name}",
        )


def resolved(asked: ChangeRecords, connection: Connection) -> ChangeRecords:
    """The same with its collection: of an undo, that of the run which it takes back.

    A run of another tenant's, or of none of these, leaves it empty: that is not found.
    """
    if asked.op != "undo":
        return asked
    run = run_row(connection, asked.undone_run)
    if run is None or (run.kind, run.tenant, run.state) != (RUN_KIND, asked.tenant, "applied"):
        return asked
    return asked.model_copy(update={"collection": str(planned_rows(run)["collection"])})


def planned_rows(run: Run) -> Mapping[str, Any]:
    """The part of a run's plan that is about rows: ``collection``, ``op``, ``changes``."""
    parts = cast("Mapping[str, Any]", (run.plan or {})["parts"])
    rows: Mapping[str, Any] = parts["rows"]
    return rows


def _verb(op: str) -> str:
    return op.removeprefix("bulk_")


def _verb_of(change: RowChange) -> str:
    if change.before is None:
        return "create"
    return "delete" if change.after is None else "update"


def bound(changes: Sequence[RowChange], key: bytes) -> list[Json]:
    """The rows as a plan names them: id, version, keyed digests of both images. No value.

    A plan is kept in our own store, and a tenant's data is not.
    """
    return [
        {
            "id": change.id,
            "version": change.version,
            "before": None if change.before is None else keyed_digest(key, {**change.before}),
            "after": None if change.after is None else keyed_digest(key, {**change.after}),
        }
        for change in changes
    ]
