"""Handlers of a tenant's records: a page, and one more. A write is an outside effect in every isolation model."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection, bindparam, select

from control_plane.commands import Command, CreateRecord, QueryRecords
from control_plane.data.applied import apply_once, was_applied
from control_plane.data.collection import Collection
from control_plane.data.cursor import cursor_scope, open_cursor, seal_cursor
from control_plane.data.filters import parse_filter
from control_plane.data.models import input_model
from control_plane.data.rows import Row, get_row, insert_row, query_page
from control_plane.data.sort import Sort, check_sort
from control_plane.data.tables import collection_table
from control_plane.data.values import to_json
from control_plane.domain.call import Call
from control_plane.domain.canonical import Json, plain
from control_plane.domain.isolation import Isolation
from control_plane.domain.tenant import Tenant
from control_plane.errors import BadInput, NotFound, Refused
from control_plane.facts.load import record_facts, tenant_row
from control_plane.handlers.handler import Ports, SingleAnswer, Subject, View
from control_plane.store import tables

# The field group that whoever may read the record may read; each other has an action of its own.
_OPEN_GROUP = "general"


def _collection(ports: Ports, name: str) -> Collection:
    found = ports.catalog.collections.get(name)
    if found is None:
        raise NotFound
    return found


def _subject(view: View, tenant: str, collection: str, act: str) -> Subject:
    facts, found = record_facts(view.connection, view.caller, tenant, collection)
    declared = view.ports.catalog.collections.get(collection)
    # A collection that is not declared is as absent as a tenant that is not there.
    known = {"exists": False} if declared is None else {"reference": declared.reference}
    facts = facts.model_copy(update=known)
    return Subject(
        id=f"{tenant}/{collection}",
        facts=facts,
        reads=("read",),
        acts=(act,),
        extras=_group_actions(view.ports, collection),
        tenant=tenant,
        loaded=_place(view.connection, tenant, found),
    )


class _Place(NamedTuple):
    """Where a tenant's data is, and the epoch at which it stands open."""

    isolation: Isolation
    epoch: int


def _group_actions(ports: Ports, collection: str) -> tuple[str, ...]:
    declared = ports.catalog.collections.get(collection)
    if declared is None:
        return ()
    groups = {field.group for field in declared.fields.values()} - {_OPEN_GROUP}
    return tuple(f"read_{group}" for group in sorted(groups))


_DATA_EPOCH = select(tables.fence.c.data_epoch).where(tables.fence.c.tenant == bindparam("tenant"))


def _place(connection: Connection, tenant: str, found: Tenant | None) -> _Place | None:
    epoch = connection.execute(_DATA_EPOCH, {"tenant": tenant}).scalar()
    if found is None or epoch is None:
        return None
    return _Place(found.isolation, int(epoch))


def _located(subject: Subject) -> _Place:
    if not isinstance(subject.loaded, _Place):
        raise Refused("The tenant has no database yet.", code="no_database", fact="tenant_state")
    return subject.loaded


def readable_fields(collection: Collection, may: frozenset[str]) -> frozenset[str]:
    """The columns that a caller may read: those in a field group only with that group's action."""
    hidden = {
        name
        for name, field in collection.fields.items()
        if field.group != _OPEN_GROUP and f"read_{field.group}" not in may
    }
    return frozenset(collection.columns) - hidden - {"tenant_id"}


def masked(row: Row, readable: frozenset[str]) -> dict[str, Json]:
    """A row with only the fields that may be read; the others are absent, not empty."""
    return {name: to_json(value) for name, value in row.items() if name in readable}


class QueryRecordsHandler(SingleAnswer):
    """Reads a page of records."""

    def subject(self, command: Command, view: View) -> Subject:
        """The collection of the tenant."""
        assert isinstance(command, QueryRecords)
        return _subject(view, command.tenant, command.collection, "query")

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The page, and a cursor that is good for this caller and this query alone."""
        assert isinstance(command, QueryRecords)
        collection = _collection(view.ports, command.collection)
        readable = readable_fields(collection, may)
        model, _ = _located(subject)
        tree = None
        if command.filter is not None:
            tree = parse_filter(command.filter, collection, readable)
        sort = check_sort(_sort(command.sort), collection, readable)
        scope = cursor_scope(
            caller=f"{view.caller.principal}\0{view.caller.actor}",
            tenant=command.tenant,
            collection=collection,
            predicate=tree,
            sort=sort,
            bundle=view.ports.catalog.digest,
        )
        key = view.ports.cursor_key
        position = None
        if command.cursor is not None:
            position = open_cursor(key, scope, collection, command.cursor)
        with view.ports.databases.reading(command.tenant, model) as connection:
            found = query_page(
                connection,
                collection_table(collection),
                command.tenant,
                tree,
                sort,
                min(command.limit, view.ports.limits.rows_max),
                position,
                deadline_ms=view.ports.limits.statement_ms_max,
            )
        following = None if found.next is None else seal_cursor(key, scope, found.next)
        return {
            "records": [masked(row, readable) for row in found.rows],
            "next_cursor": following,
        }


def _sort(text: str | None) -> Sort:
    if text is None:
        return Sort()
    return Sort(field=text.removeprefix("-"), descending=text.startswith("-"))


class CreateRecordHandler:
    """Adds one record, by the protocol for writes in a tenant's database."""

    outside = True
    command_type: type[Command] = CreateRecord

    def subject(self, command: Command, view: View) -> Subject:
        """The collection of the tenant."""
        assert isinstance(command, CreateRecord)
        return _subject(view, command.tenant, command.collection, "create")

    def parts(
        self, command: Command, call: Call, subject: Subject, ports: Ports
    ) -> dict[str, Json]:
        """The row that would be; its values are checked here, before anything is written."""
        assert isinstance(command, CreateRecord)
        values = _values(_collection(ports, command.collection), command)
        return {
            "rows": {
                "collection": command.collection,
                "id": _row_id(call),
                "values": plain(values),
            }
        }

    def affect(
        self,
        command: Command,
        call: Call,
        subject: Subject,
        ports: Ports,
        connection: Connection | None,
    ) -> Json:
        """Insert once: the row and the proof of this call commit together in the tenant's database."""
        assert isinstance(command, CreateRecord)
        collection = _collection(ports, command.collection)
        model, epoch = _located(subject)
        values = _values(collection, command)
        row_id = _row_id(call)
        now = ports.clock.now()

        def insert(inside: Connection) -> None:
            table = collection_table(collection)
            insert_row(inside, table, command.tenant, row_id, values, now=now)

        with ports.databases.transaction(command.tenant, model) as tenant_connection:
            apply_once(
                tenant_connection,
                command.tenant,
                epoch,
                call.id,
                command.digest(),
                insert,
                now=now,
            )
        return row_id

    def recover(self, call: Call, ports: Ports) -> Json:
        """The proof of the call in the tenant's database says whether the row was written."""
        with ports.store.read() as connection:
            place = _place(connection, call.tenant, tenant_row(connection, call.tenant))
        if place is None:
            return None
        with ports.databases.reading(call.tenant, place[0]) as connection:
            applied = was_applied(connection, call.tenant, call.id)
        return None if applied is None else _row_id(call)

    def answer(
        self, effect: Json, command: Command, view: View, may: frozenset[str]
    ) -> dict[str, Json]:
        """The record as it stands now, masked for this caller."""
        assert isinstance(command, CreateRecord)
        collection = _collection(view.ports, command.collection)
        place = _place(view.connection, command.tenant, tenant_row(view.connection, command.tenant))
        if place is None:
            raise NotFound
        with view.ports.databases.reading(command.tenant, place[0]) as connection:
            row = get_row(connection, collection_table(collection), command.tenant, str(effect))
        if row is None:
            raise NotFound
        return {"record": masked(row, readable_fields(collection, may))}


def _row_id(call: Call) -> str:
    # In the form that the kind `uuid` has everywhere: an id that was answered can be filtered by.
    return str(UUID(call.derive_id("record")))


def _values(collection: Collection, command: CreateRecord) -> dict[str, Any]:
    model: type[BaseModel] = input_model(collection)
    try:
        parsed = model.model_validate(dict(command.values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = "".join(f".{str(part)[:60]}" for part in first["loc"])
        raise BadInput(f"values{field}", str(first["type"]).replace("_", " ")) from None
    return {name: getattr(parsed, name) for name in type(parsed).model_fields}
