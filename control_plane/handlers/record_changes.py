"""Handlers that change one record: create, update, delete. Each is an outside effect in every isolation model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection

from control_plane.commands import Command, CreateRecord, DeleteRecord, RecordCommand, UpdateRecord
from control_plane.data.applied import apply_once, was_applied
from control_plane.data.collection import Collection, Verb
from control_plane.data.models import input_model, patch_model
from control_plane.data.rows import Row, delete_row, get_row, insert_row, update_row
from control_plane.data.tables import collection_table
from control_plane.domain.call import Call
from control_plane.domain.canonical import Json
from control_plane.errors import BadInput, NotFound, Refused
from control_plane.handlers.handler import Ports, Seen, Subject, View
from control_plane.handlers.record_place import located, offered, place_of, record_subject
from control_plane.handlers.record_sight import Sight, image_of, untrusted
from control_plane.ports import RowGate


class RecordChange(ABC):
    """What the three have in common: where it is done, that it is done once, whether it was."""

    outside = True
    verb: ClassVar[Verb]

    def subject(self, command: Command, view: View) -> Subject:
        """The collection of the tenant."""
        return record_subject(view, *_place(command), self.verb)

    def affect(
        self,
        command: Command,
        call: Call,
        subject: Subject,
        ports: Ports,
        connection: Connection | None,
    ) -> Json:
        """The rows and the proof of this call commit together in the tenant's database."""
        tenant, name = _place(command)
        collection = offered(ports, name, self.verb)
        isolation, epoch = located(subject)
        now = ports.clock.now()
        with ports.databases.transaction(tenant, isolation) as inside:
            apply_once(
                inside,
                tenant,
                epoch,
                call.id,
                command.digest(),
                lambda writing: self.write(writing, command, call, collection, now),
                now=now,
            )
        return self.made(command, call)

    def recover(self, call: Call, ports: Ports) -> Json:
        """The proof of the call in the tenant's database says whether it was done."""
        with ports.store.read() as connection:
            place = place_of(connection, call.tenant)
        if place is None:
            return None
        with ports.databases.reading(call.tenant, place.isolation) as connection:
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
    def made(self, command: Command, call: Call) -> str:
        """The id of the row."""


class CreateRecordHandler(RecordChange):
    """Adds one record."""

    command_type: type[Command] = CreateRecord
    verb = "create"

    def look(
        self,
        command: Command,
        subject: Subject,
        ports: Ports,
        rows: RowGate,
        may: frozenset[str],
    ) -> Seen:
        """Nothing is read; the row is decided on as it would be."""
        assert isinstance(command, CreateRecord)
        collection = offered(ports, command.collection, self.verb)
        _require(rows, collection, image_of(_new(collection, command)), self.verb)
        return {}

    def parts(
        self, command: Command, call: Call, subject: Subject, ports: Ports, seen: Seen
    ) -> dict[str, Json]:
        """The row that would be; its values are checked here, before anything is written."""
        assert isinstance(command, CreateRecord)
        values = _new(offered(ports, command.collection, self.verb), command)
        return _rows(command, row_id_of(call), before=None, after=image_of(values))

    def write(
        self,
        connection: Connection,
        command: Command,
        call: Call,
        collection: Collection,
        now: datetime,
    ) -> None:
        """Insert it."""
        assert isinstance(command, CreateRecord)
        values, table = _new(collection, command), collection_table(collection)
        insert_row(connection, table, command.tenant, row_id_of(call), values, now=now)

    def made(self, command: Command, call: Call) -> str:
        """The id of the new row."""
        return row_id_of(call)

    def answer(
        self, effect: Json, command: Command, view: View, may: frozenset[str]
    ) -> dict[str, Json]:
        """The record as it stands now, with what this caller may see of it."""
        assert isinstance(command, CreateRecord)
        return _standing(view, command, str(effect), may)


class UpdateRecordHandler(RecordChange):
    """Changes fields of one record that is still at the version that the caller read."""

    command_type: type[Command] = UpdateRecord
    verb = "update"

    def look(
        self,
        command: Command,
        subject: Subject,
        ports: Ports,
        rows: RowGate,
        may: frozenset[str],
    ) -> Seen:
        """The fields as they are; the row is decided on as it is and as it would be."""
        assert isinstance(command, UpdateRecord)
        collection = offered(ports, command.collection, self.verb)
        sight = Sight(collection, rows, may)
        _require_known(command.values, sight.searchable(command.values))
        values = image_of(_changed(collection, command))
        before, visible = _before(command, command.record_id, collection, subject, ports, sight)
        _require_known(command.values, visible)
        _require(rows, collection, before, self.verb)
        _require(rows, collection, {**before, **values}, self.verb)
        _require_version(before, command.version)
        return {"before": {name: before[name] for name in sorted(values)}}

    def parts(
        self, command: Command, call: Call, subject: Subject, ports: Ports, seen: Seen
    ) -> dict[str, Json]:
        """The row as it is and as it would be, in the fields that change."""
        assert isinstance(command, UpdateRecord)
        after = image_of(_changed(offered(ports, command.collection, self.verb), command))
        before, version = seen["before"], command.version
        return _rows(command, command.record_id, version=version, before=before, after=after)

    def write(
        self,
        connection: Connection,
        command: Command,
        call: Call,
        collection: Collection,
        now: datetime,
    ) -> None:
        """Change it, and only the version that was decided on."""
        assert isinstance(command, UpdateRecord)
        values, table = _changed(collection, command), collection_table(collection)
        version = command.version
        update_row(connection, table, command.tenant, command.record_id, values, version=version)

    def made(self, command: Command, call: Call) -> str:
        """The id of the row."""
        assert isinstance(command, UpdateRecord)
        return command.record_id

    def answer(
        self, effect: Json, command: Command, view: View, may: frozenset[str]
    ) -> dict[str, Json]:
        """The record as it stands now, with what this caller may see of it."""
        assert isinstance(command, UpdateRecord)
        return _standing(view, command, command.record_id, may)


class DeleteRecordHandler(RecordChange):
    """Removes one record that is still at the version that the caller read."""

    command_type: type[Command] = DeleteRecord
    verb = "delete"

    def look(
        self,
        command: Command,
        subject: Subject,
        ports: Ports,
        rows: RowGate,
        may: frozenset[str],
    ) -> Seen:
        """The row is decided on as it is; what it holds is no part of the plan."""
        assert isinstance(command, DeleteRecord)
        collection = offered(ports, command.collection, self.verb)
        sight = Sight(collection, rows, may)
        before, _ = _before(command, command.record_id, collection, subject, ports, sight)
        _require(rows, collection, before, self.verb)
        _require_version(before, command.version)
        return {}

    def parts(
        self, command: Command, call: Call, subject: Subject, ports: Ports, seen: Seen
    ) -> dict[str, Json]:
        """The row that would be gone, by its id and version."""
        assert isinstance(command, DeleteRecord)
        return _rows(command, command.record_id, version=command.version, after=None)

    def write(
        self,
        connection: Connection,
        command: Command,
        call: Call,
        collection: Collection,
        now: datetime,
    ) -> None:
        """Remove it, and only the version that was decided on."""
        assert isinstance(command, DeleteRecord)
        table = collection_table(collection)
        delete_row(connection, table, command.tenant, command.record_id, version=command.version)

    def made(self, command: Command, call: Call) -> str:
        """The id of the row that was."""
        assert isinstance(command, DeleteRecord)
        return command.record_id

    def answer(
        self, effect: Json, command: Command, view: View, may: frozenset[str]
    ) -> dict[str, Json]:
        """That it is gone."""
        assert isinstance(command, DeleteRecord)
        return {"deleted": command.record_id}


def row_id_of(call: Call) -> str:
    """The id of the row that a call makes."""
    # In the form that the kind `uuid` has everywhere: an id that was answered can be filtered by.
    return str(UUID(call.derive_id("record")))


def _place(command: Command) -> tuple[str, str]:
    assert isinstance(command, RecordCommand)
    return command.tenant, command.collection


def _rows(command: RecordCommand, row_id: str, **told: Json) -> dict[str, Json]:
    return {"rows": {"collection": command.collection, "id": row_id, **told}}


def _new(collection: Collection, command: CreateRecord) -> Row:
    parsed = _parsed(input_model(collection), command.values)
    return {name: getattr(parsed, name) for name in type(parsed).model_fields}


def _changed(collection: Collection, command: UpdateRecord) -> Row:
    parsed = _parsed(patch_model(collection), command.values)
    return {name: getattr(parsed, name) for name in sorted(parsed.model_fields_set)}


def _parsed(model: type[BaseModel], values: Mapping[str, Json]) -> BaseModel:
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = "".join(f".{str(part)[:60]}" for part in first["loc"])
        raise BadInput(f"values{field}", str(first["type"]).replace("_", " ")) from None


def _before(
    command: RecordCommand,
    row_id: str,
    collection: Collection,
    subject: Subject,
    ports: Ports,
    sight: Sight,
) -> tuple[dict[str, Json], frozenset[str]]:
    """The row as it is, and the fields of it that the caller may see. Raises NotFound."""
    isolation, _ = located(subject)
    with ports.databases.reading(command.tenant, isolation) as connection:
        row = get_row(connection, collection_table(collection), command.tenant, row_id)
    if row is None:
        sight.phantom()
        raise NotFound
    seen = sight.seen([row], None)
    if not seen:
        raise NotFound
    return image_of(row), frozenset(seen[0])


def _require_known(named: Iterable[str], visible: frozenset[str]) -> None:
    # What may not be seen is as unknown as what is not there, before its value is looked at.
    for name in named:
        if name not in visible:
            raise BadInput(f"values.{name[:60]}", "unknown field")


def _require_version(before: Mapping[str, Json], version: int) -> None:
    if before["version"] != version:
        raise Refused("The row has changed since it was read.", code="stale", rule="version")


def _require(
    rows: RowGate, collection: Collection, image: Mapping[str, Json], action: Verb
) -> None:
    said = rows.judged(collection.name, {"row": image}, (action,))
    if action not in said["row"]:
        raise Refused(
            "The policy does not allow this for the row.",
            code="row_denied",
            rule=f"rows_{collection.name}#{action}",
        )


def _standing(
    view: View, command: RecordCommand, row_id: str, may: frozenset[str]
) -> dict[str, Json]:
    place = place_of(view.connection, command.tenant)
    collection = view.ports.catalog.collections.get(command.collection)
    if place is None or collection is None:
        raise NotFound
    with view.ports.databases.reading(command.tenant, place.isolation) as connection:
        row = get_row(connection, collection_table(collection), command.tenant, row_id)
    seen = [] if row is None else Sight(collection, view.rows, may).seen([row], None)
    # It was done all the same: gone again, or out of this caller's sight, it has only its name.
    record = seen[0] if seen else {"id": row_id}
    return {"record": record, "untrusted_fields": untrusted(collection, [record])}
