"""The steps of a run that changes records, with inverse and probe: all rows or none. Not which rows: the plan says that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Table

from control_plane.commands import ChangeRecords
from control_plane.data.applied import apply_once, was_applied
from control_plane.data.collection import Collection
from control_plane.data.record_count import count_on
from control_plane.data.rows import Row, delete_row, insert_row, restore_row, update_row
from control_plane.data.tables import collection_table
from control_plane.data.undo import Image, forget_images, images_of, keep_images
from control_plane.domain.canonical import Json
from control_plane.domain.run_record import Run
from control_plane.errors import NotFound, Refused
from control_plane.handlers.handler import Probe, Step, Work
from control_plane.handlers.record_place import Place, place_of
from control_plane.handlers.record_quota import records_max
from control_plane.handlers.record_selection import Selection, bound, planned_rows, resolved
from control_plane.handlers.record_values import kept_implicit, kept_values
from control_plane.handlers.record_weights import RowChange


def selection(
    work: Work, asked: ChangeRecords, ids: Sequence[str] | None = None
) -> tuple[Collection, list[RowChange]]:
    """The rows of the run for its asker, as they are now; with ``ids``, those of its plan."""
    collection = work.ports.catalog.collections.get(asked.collection)
    if collection is None:
        raise NotFound
    found = Selection(asked, collection, _place(work), work.ports, work.asker())
    return collection, found.found() if ids is None else found.again(ids)


def planned_ids(run: Run) -> tuple[str, ...]:
    """The ids of the rows that the run's plan names."""
    return tuple(str(one["id"]) for one in _planned(run))


def growth(changes: Sequence[RowChange]) -> int:
    """How many records there are more after the changes."""
    return sum((one.before is None) - (one.after is None) for one in changes)


def change(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Change exactly the planned rows at their versions, in one transaction of the tenant's."""
    run, place, now = work.run, _place(work), work.ports.clock.now()
    asked = _command(work)
    collection, changes = selection(work, asked, planned_ids(run))
    if bound(changes, work.ports.hmac_key) != [*_planned(run)]:
        raise Refused("A row has changed since it was planned.", code="stale", rule="version")
    table, more, most = collection_table(collection), growth(changes), _records_max(work)

    def write(inside: Connection) -> None:
        count_on(inside, run.tenant, more, most)
        writing = _Writing(inside, table, run.tenant, collection)
        images = [writing.carry_out(one, now=now) for one in changes]
        keep_images(inside, run.tenant, run.id, images, now=now)
        if asked.op == "undo":
            forget_images(inside, run.tenant, asked.undone_run)

    with place.transaction(work.ports, run.tenant) as inside:
        apply_once(inside, run.tenant, place.epoch, run.id, run.plan_digest, write, now=now)
    return {"rows": len(changes)}


def revert(work: Work, connection: Connection | None) -> None:
    """Put every row back as it was, where the change stands and is not put back already."""
    run, place, now = work.run, _place(work), work.ports.clock.now()
    collection = work.ports.catalog.collections.get(_command(work).collection)
    if collection is None:
        raise NotFound

    def write(inside: Connection) -> None:
        writing = _Writing(inside, collection_table(collection), run.tenant, collection)
        images = images_of(inside, run.tenant, run.id, now=now) or ()
        # Past the plan's limit too: what was there before the run is there after it.
        count_on(inside, run.tenant, sum(_put_back(one) for one in images))
        for image in images:
            writing.put_back(image)
        forget_images(inside, run.tenant, run.id)

    with place.transaction(work.ports, run.tenant) as inside:
        if was_applied(inside, run.tenant, run.id) is not None:
            undoing = f"undo-{run.id}"
            apply_once(inside, run.tenant, place.epoch, undoing, run.plan_digest, write, now=now)


def probe(work: Work) -> Probe:
    """Whether the proof of this run stands in the tenant's database."""
    with _place(work).reading(work.ports, work.run.tenant) as connection:
        standing = was_applied(connection, work.run.tenant, work.run.id)
    return "present" if standing == work.run.plan_digest else "absent"


def finish(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Come to rest: whoever asks the run to stop is heard before this, and refused from then on."""
    return {"rows": len(_planned(work.run))}


STEPS: tuple[Step, ...] = (
    Step("change", do=change, undo=revert, probe=probe, outside=True),
    Step("finish", do=finish, irreversible=True),
)


class _Writing(NamedTuple):
    """One transaction over one tenant's table."""

    connection: Connection
    table: Table
    tenant: str
    collection: Collection

    def carry_out(self, one: RowChange, *, now: datetime) -> Image:
        """Write one row; returns what it was."""
        if one.after is None:
            assert one.before is not None, "a change has one side at least"
            delete_row(self.connection, self.table, self.tenant, one.id, version=one.version)
            return Image(one.id, 0, one.before)
        if one.before is None:
            self._add(one.id, one.after, one.version, now)
            return Image(one.id, one.version, None)
        after = {name: one.after[name] for name in one.changed(self.collection)}
        values = kept_values(self.collection, after)
        left = self._update(one.id, values, one.version)
        return Image(one.id, left, {name: one.before[name] for name in values})

    def put_back(self, image: Image) -> None:
        """Write one row as it was; Refused (`stale`) where it is no longer as the run left it."""
        if image.before is None:
            delete_row(self.connection, self.table, self.tenant, image.id, version=image.version)
        elif image.version == 0:
            self._add(image.id, image.before, int(str(image.before["version"])) + 1, None)
        else:
            self._update(image.id, kept_values(self.collection, image.before), image.version)

    def _add(
        self, row_id: str, image: Mapping[str, Json], version: int, now: datetime | None
    ) -> None:
        values = kept_values(self.collection, image)
        if "created_at" not in image:
            assert now is not None, "a row that was never there begins now"
            insert_row(self.connection, self.table, self.tenant, row_id, values, now=now)
            return
        born = kept_implicit(image, "created_at")
        again = {**values, "created_at": born}
        restore_row(self.connection, self.table, self.tenant, row_id, again, version=version)

    def _update(self, row_id: str, values: Row, version: int) -> int:
        # What differs in nothing is left alone, and keeps its version.
        if not values:
            return version
        return update_row(self.connection, self.table, self.tenant, row_id, values, version=version)


def _put_back(image: Image) -> int:
    """How many records there are more once it is put back: it was made, removed, or only changed."""
    return -1 if image.before is None else int(image.version == 0)


def _records_max(work: Work) -> int:
    with work.ports.store.read() as connection:
        return records_max(connection, work.ports.catalog.plans, work.run.tenant)


def _planned(run: Run) -> Sequence[Mapping[str, Json]]:
    changes: Sequence[Mapping[str, Json]] = planned_rows(run)["changes"]
    return changes


def _command(work: Work) -> ChangeRecords:
    assert isinstance(work.command, ChangeRecords)
    with work.ports.store.read() as connection:
        return resolved(work.command, connection)


def _place(work: Work) -> Place:
    with work.ports.store.read() as connection:
        place = place_of(connection, work.run.tenant)
    if place is None:
        raise NotFound
    return place
