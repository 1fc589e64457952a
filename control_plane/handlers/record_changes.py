"""Handlers that change one record: create, update, delete. Each is an outside effect in every isolation model."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from control_plane.commands import (
    Command,
    CreateRecord,
    DeleteRecord,
    UpdateRecord,
)
from control_plane.data.collection import Collection
from control_plane.data.rows import delete_row, insert_row, update_row
from control_plane.data.tables import collection_table
from control_plane.domain.call import Call
from control_plane.domain.canonical import Json
from control_plane.handlers.handler import Ports, Seen, Subject, View
from control_plane.handlers.record_change import (
    RecordChange,
    require_row,
    require_version,
    row_id_of,
    row_part,
    run_of,
    standing_row,
    told_of,
    weighed_change,
)
from control_plane.handlers.record_handles import (
    as_redeemed,
    planned_before,
    planned_image,
    redeemed,
)
from control_plane.handlers.record_place import offered
from control_plane.handlers.record_sight import Sight, image_of
from control_plane.handlers.record_values import changed_values, new_values, require_known
from control_plane.handlers.record_weights import RowChange
from control_plane.ports import RowGate


class CreateRecordHandler(RecordChange):
    """Adds one record."""

    command_type: type[Command] = CreateRecord
    verb = "create"
    adds = 1

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
        command, resolved = redeemed(command, collection, subject, ports, rows)
        image = image_of(new_values(collection, command.values))
        require_row(rows, collection, image, self.verb)
        return weighed_change(collection, RowChange("", 1, None, image), resolved)

    def parts(
        self, command: Command, call: Call, subject: Subject, ports: Ports, seen: Seen
    ) -> dict[str, Json]:
        """The row that would be; its values are checked here, before anything is written."""
        assert isinstance(command, CreateRecord)
        collection = offered(ports, command.collection, self.verb)
        values = image_of(new_values(collection, as_redeemed(command, seen).values))
        after = planned_image(command, call, collection, ports, values)
        return row_part(command, row_id_of(call), before=None, after=after)

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
        values, table = new_values(collection, command.values), collection_table(collection)
        insert_row(connection, table, command.tenant, row_id_of(call), values, now=now)

    def likely(self, command: Command, collection: Collection) -> RowChange:
        """The values that were sent."""
        assert isinstance(command, CreateRecord)
        return RowChange("", 1, None, command.values)

    def as_run(self, command: Command, call: Call, seen: Seen) -> Command:
        """The same row, under the id that this call makes."""
        assert isinstance(command, CreateRecord)
        values = as_redeemed(command, seen).values
        return run_of(command, self.verb, record_id=row_id_of(call), values=values)

    def made(self, command: Command, call: Call) -> str:
        """The id of the new row."""
        return row_id_of(call)

    def answer(
        self, effect: Json, command: Command, view: View, may: frozenset[str]
    ) -> dict[str, Json]:
        """The record as it stands now, with what this caller may see of it."""
        assert isinstance(command, CreateRecord)
        return told_of(view, command, str(effect), may)


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
        require_known(command.values, sight.searchable(command.values))
        command, resolved = redeemed(command, collection, subject, ports, rows)
        values = image_of(changed_values(collection, command.values))
        before, visible = standing_row(
            command, command.record_id, collection, subject, ports, sight
        )
        require_known(command.values, visible)
        require_row(rows, collection, before, self.verb)
        require_row(rows, collection, {**before, **values}, self.verb)
        require_version(before, command.version)
        change = RowChange(command.record_id, command.version, before, {**before, **values})
        told: dict[str, Json] = {name: before[name] for name in sorted(values)}
        return weighed_change(collection, change, {"before": told, **resolved})

    def parts(
        self, command: Command, call: Call, subject: Subject, ports: Ports, seen: Seen
    ) -> dict[str, Json]:
        """The row as it is and as it would be, in the fields that change."""
        assert isinstance(command, UpdateRecord)
        collection = offered(ports, command.collection, self.verb)
        values = image_of(changed_values(collection, as_redeemed(command, seen).values))
        after = planned_image(command, call, collection, ports, values)
        before, version = planned_before(command, call, collection, ports, seen), command.version
        return row_part(command, command.record_id, version=version, before=before, after=after)

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
        values, table = changed_values(collection, command.values), collection_table(collection)
        version = command.version
        update_row(connection, table, command.tenant, command.record_id, values, version=version)

    def likely(self, command: Command, collection: Collection) -> RowChange:
        """The values that were sent, over none."""
        assert isinstance(command, UpdateRecord)
        return RowChange(command.record_id, command.version, {}, command.values)

    def as_run(self, command: Command, call: Call, seen: Seen) -> Command:
        """The same fields of the same version."""
        assert isinstance(command, UpdateRecord)
        return run_of(
            command,
            self.verb,
            record_id=command.record_id,
            version=command.version,
            values=as_redeemed(command, seen).values,
        )

    def made(self, command: Command, call: Call) -> str:
        """The id of the row."""
        assert isinstance(command, UpdateRecord)
        return command.record_id

    def answer(
        self, effect: Json, command: Command, view: View, may: frozenset[str]
    ) -> dict[str, Json]:
        """The record as it stands now, with what this caller may see of it."""
        assert isinstance(command, UpdateRecord)
        return told_of(view, command, command.record_id, may)


class DeleteRecordHandler(RecordChange):
    """Removes one record that is still at the version that the caller read."""

    command_type: type[Command] = DeleteRecord
    verb = "delete"
    adds = -1

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
        before, _ = standing_row(command, command.record_id, collection, subject, ports, sight)
        require_row(rows, collection, before, self.verb)
        require_version(before, command.version)
        return weighed_change(
            collection, RowChange(command.record_id, command.version, before, None), {}
        )

    def parts(
        self, command: Command, call: Call, subject: Subject, ports: Ports, seen: Seen
    ) -> dict[str, Json]:
        """The row that would be gone, by its id and version."""
        assert isinstance(command, DeleteRecord)
        return row_part(command, command.record_id, version=command.version, after=None)

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

    def likely(self, command: Command, collection: Collection) -> RowChange:
        """A row with something in every field."""
        assert isinstance(command, DeleteRecord)
        every = dict.fromkeys(collection.fields, "")
        return RowChange(command.record_id, command.version, every, None)

    def as_run(self, command: Command, call: Call, seen: Seen) -> Command:
        """The same version of the same row."""
        assert isinstance(command, DeleteRecord)
        return run_of(command, self.verb, record_id=command.record_id, version=command.version)

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
