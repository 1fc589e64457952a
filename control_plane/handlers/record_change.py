"""What every change of one record has in common: where it is done, that it is done once, what is looked at before. Not a change itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, cast
from uuid import UUID

from sqlalchemy import Connection

from control_plane.commands import (
    ChangeRecords,
    Command,
    RecordCommand,
)
from control_plane.data.applied import apply_once, was_applied
from control_plane.data.collection import Collection, Verb
from control_plane.data.record_count import count_on
from control_plane.data.rows import get_row, stale
from control_plane.data.tables import collection_table
from control_plane.domain.call import Call
from control_plane.domain.canonical import Json
from control_plane.errors import NotFound, Refused
from control_plane.handlers.handler import Ports, Seen, Subject, View
from control_plane.handlers.record_handles import (
    giving,
    redeemed_again,
)
from control_plane.handlers.record_place import located, offered, place_of, record_subject
from control_plane.handlers.record_quota import records_max
from control_plane.handlers.record_sight import Sight, image_of, untrusted
from control_plane.handlers.record_weights import RowChange, weigh, weighing
from control_plane.ports import RowGate


class RecordChange(ABC):
    """What the three have in common: where it is done, that it is done once, whether it was."""

    outside = True
    can_wait = True
    verb: ClassVar[Verb]
    adds: ClassVar[int] = 0
    """How many records there are more afterwards."""

    def subject(self, command: Command, view: View) -> Subject:
        """The collection of the tenant, and what the change weighs as far as its arguments tell."""
        subject = record_subject(view, *place_named(command), self.verb)
        collection = view.ports.catalog.collections.get(place_named(command)[1])
        if collection is None:
            return subject
        return weighing(subject, weigh(collection, [self.likely(command, collection)]))

    def weighed(self, subject: Subject, seen: Seen) -> Subject | None:
        """With what the rows add to that."""
        again = weighing(subject, cast("Mapping[str, Json]", seen["weight"]))
        return None if again.facts == subject.facts else again

    def affect(
        self,
        command: Command,
        call: Call,
        subject: Subject,
        ports: Ports,
        connection: Connection | None,
    ) -> Json:
        """The rows and the proof of this call commit together in the tenant's database."""
        tenant, name = place_named(command)
        collection = offered(ports, name, self.verb)
        place = located(subject)
        now = ports.clock.now()
        most = self._records_max(tenant, ports)

        def write(writing: Connection) -> None:
            count_on(writing, tenant, self.adds, most)
            redeemed = redeemed_again(command, call, collection, ports, writing)
            self.write(writing, redeemed, call, collection, now)

        with place.transaction(ports, tenant) as inside:
            apply_once(inside, tenant, place.epoch, call.id, command.digest(), write, now=now)
        return self.made(command, call)

    def _records_max(self, tenant: str, ports: Ports) -> int | None:
        # As the plan is when it is written, and not when it was asked for.
        if self.adds <= 0:
            return None
        with ports.store.read() as connection:
            return records_max(connection, ports.catalog.plans, tenant)

    def recover(self, call: Call, ports: Ports) -> Json:
        """The proof of the call in the tenant's database says whether it was done."""
        with ports.store.read() as connection:
            place = place_of(connection, call.tenant)
        if place is None:
            return None
        with place.reading(ports, call.tenant) as connection:
            digest = was_applied(connection, call.tenant, call.id)
        # Update and delete name their row themselves: what is told of them is only that it was.
        return None if digest is None else row_id_of(call)

    @abstractmethod
    def write(
        self,
        connection: Connection,
        command: Command,
        call: Call,
        collection: Collection,
        now: datetime,
    ) -> None:
        """The change itself, inside the tenant's transaction."""

    @abstractmethod
    def likely(self, command: Command, collection: Collection) -> RowChange:
        """The change of the row as far as the arguments tell: it is decided on before any is read."""

    @abstractmethod
    def as_run(self, command: Command, call: Call, seen: Seen) -> Command:
        """The same as a run, which can wait for an approval."""

    @abstractmethod
    def made(self, command: Command, call: Call) -> str:
        """The id of the row."""


def run_of(command: RecordCommand, verb: Verb, **values: object) -> ChangeRecords:
    """The same change as a run's command."""
    given = {"tenant": command.tenant, "collection": command.collection, "op": verb}
    return ChangeRecords.model_validate({**given, **values})


def row_id_of(call: Call) -> str:
    """The id of the row that a call makes."""
    # In the form that the kind `uuid` has everywhere: an id that was answered can be filtered by.
    return str(UUID(call.derive_id("record")))


def place_named(command: Command) -> tuple[str, str]:
    """The tenant and the collection that a command names."""
    assert isinstance(command, RecordCommand)
    return command.tenant, command.collection


def row_part(command: RecordCommand, row_id: str, **told: Json) -> dict[str, Json]:
    """The plan's part: one row, and what would become of it."""
    return {"rows": {"collection": command.collection, "id": row_id, **told}}


def weighed_change(collection: Collection, change: RowChange, seen: Seen) -> Seen:
    """What was seen, with what the change weighs."""
    return {**seen, "weight": weigh(collection, [change])}


def standing_row(
    command: RecordCommand,
    row_id: str,
    collection: Collection,
    subject: Subject,
    ports: Ports,
    sight: Sight,
) -> tuple[dict[str, Json], frozenset[str]]:
    """The row as it is, and the fields of it that the caller may see. Raises NotFound."""
    with located(subject).reading(ports, command.tenant) as connection:
        row = get_row(connection, collection_table(collection), command.tenant, row_id)
    if row is None:
        sight.phantom()
        raise NotFound
    seen = sight.seen([row], None)
    if not seen:
        raise NotFound
    return image_of(row), frozenset(seen[0])


def require_version(before: Mapping[str, Json], version: int) -> None:
    """Refused (`stale`) where the row is at another version."""
    if before["version"] != version:
        raise stale()


def require_row(
    rows: RowGate, collection: Collection, image: Mapping[str, Json], action: Verb
) -> None:
    """Refused (`row_denied`) where the rows' policy does not allow it on this image."""
    said = rows.judged(collection.name, {"row": image}, (action,))
    if action not in said["row"]:
        raise Refused(
            "The policy does not allow this for the row.",
            code="row_denied",
            rule=f"rows_{collection.name}#{action}",
        )


def told_of(
    view: View, command: RecordCommand, row_id: str, may: frozenset[str]
) -> dict[str, Json]:
    """The record as it stands now, as far as this caller may see it."""
    place = place_of(view.connection, command.tenant)
    collection = view.ports.catalog.collections.get(command.collection)
    if place is None or collection is None:
        raise NotFound
    with place.reading(view.ports, command.tenant) as connection:
        row = get_row(connection, collection_table(collection), command.tenant, row_id)
    sight = Sight(collection, view.rows, may, giving(view, command.tenant, collection))
    seen = [] if row is None else sight.seen([row], None)
    # It was done all the same: gone again, or out of this caller's sight, it has only its name.
    record = seen[0] if seen else {"id": row_id}
    return {"record": record, "untrusted_fields": untrusted(collection, [record])}
