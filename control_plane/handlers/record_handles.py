"""Handles resolved: what one stands for, read again as its caller may read it now. Not their sealing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Final, TypeVar, cast

from sqlalchemy import Connection

from control_plane.commands import Command, CreateRecord, UpdateRecord
from control_plane.data.collection import Collection
from control_plane.data.filters import Redeem
from control_plane.data.handles import (
    Giving,
    Handle,
    Handles,
    is_handle_text,
    leaving,
    takes_all_of,
)
from control_plane.data.rows import Row, get_row
from control_plane.data.tables import collection_table
from control_plane.data.values import to_json
from control_plane.domain.call import Call
from control_plane.domain.canonical import Json, keyed_digest
from control_plane.errors import BadInput, NotFound, Refused
from control_plane.facts.record import RecordFacts
from control_plane.handlers.handler import Ports, Seen, Subject, View
from control_plane.handlers.record_place import located
from control_plane.handlers.record_sight import Sight, group_actions
from control_plane.ports import RowGate

HANDLES_MAX: Final = 32
"""In one call: each is a read and a decision of its own."""
_UNKNOWN: Final = "unknown handle"
_MARK_CHARS: Final = 32
_Change = TypeVar("_Change", CreateRecord, UpdateRecord)


class Redeemer:
    """Resolves the handles of one call, for the caller that the gate over rows is bound to.

    What is forged, another's, too old, of a row that is hidden, gone or at another version, or of
    a field that may not be read: all answer the same.
    """

    def __init__(
        self, ports: Ports, rows: RowGate, subject: Subject, now: datetime | None = None
    ) -> None:
        self._ports = ports
        self._now = now or ports.clock.now()
        self._rows = rows
        self._subject = subject
        self._opened = 0

    def of(self, target: Collection) -> Redeem:
        """What resolves the handles in a filter over `target`."""
        return partial(self.value, target)

    def value(self, target: Collection, name: str, text: str, path: str) -> Json:
        """What the handle stands for, where a field of `target` takes it. Raises BadInput."""
        self._opened += 1
        if self._opened > HANDLES_MAX:
            raise BadInput(path, f"must not be more than {HANDLES_MAX} handles in one call")
        handle = self._open(text)
        source = None if handle is None else self._source(handle)
        if handle is None or source is None:
            raise BadInput(path, _UNKNOWN)
        if not takes_all_of(target.columns[name], source.columns[handle.field]):
            raise BadInput(path, "handle of a field that is declared otherwise")
        row = self._readable(source, handle)
        value = None if row is None else row[handle.field]
        if row is None or row["version"] != handle.version or value is None:
            raise BadInput(path, _UNKNOWN)
        return to_json(value)

    def values(self, target: Collection, values: Mapping[str, Json]) -> dict[str, Json]:
        """Of the values of a change those that are given by a handle, by field. Raises BadInput."""
        found: dict[str, Json] = {}
        for name, given in values.items():
            if not is_handle_text(given) or name not in target.columns:
                continue
            path = f"values.{name}"
            if name in target.handled:
                found[name] = self.value(target, name, given, path)
            elif self._open(given) is not None:
                # Else it would stand in the row as text, and nobody would know what for.
                raise BadInput(path, "takes no handle")
        return found

    def _open(self, text: str) -> Handle | None:
        principal, actor = self._rows.holder
        return _opened(self._ports, principal, actor, self._subject.tenant, text, self._now)

    def _source(self, handle: Handle) -> Collection | None:
        found = self._ports.catalog.collections.get(handle.collection)
        return found if found is not None and handle.field in found.handled else None

    def _readable(self, source: Collection, handle: Handle) -> Row | None:
        may = self._standing(source)
        if not {"read", "query"} <= may:
            return None
        tenant, place = self._subject.tenant, located(self._subject)
        sight = Sight(source, self._rows, may)
        with place.reading(self._ports, tenant) as connection:
            row = get_row(connection, collection_table(source), tenant, handle.row_id)
        if row is None:
            sight.phantom()
            return None
        seen = sight.seen([row], None)
        return row if seen and handle.field in seen[0] else None

    def _standing(self, source: Collection) -> frozenset[str]:
        facts = self._subject.facts
        assert isinstance(facts, RecordFacts), "a handle is given to a call about records"
        told = {"collection": source.name, "reference": source.reference}
        named = f"{self._subject.tenant}/{source.name}"
        actions = ("read", "query", *group_actions(source))
        return self._rows.standing(named, facts.model_copy(update=told), actions)


def giving(view: View, tenant: str, collection: Collection) -> Giving | None:
    """The handles that an answer about the collection gives; None where every field leaves clear."""
    if not collection.handled:
        return None
    caller, ports = view.caller, view.ports
    handles = _handles(ports, caller.principal, caller.actor, tenant)
    return Giving(handles, ports.clock.now())


def redeemed(
    command: _Change, collection: Collection, subject: Subject, ports: Ports, rows: RowGate
) -> tuple[_Change, Seen]:
    """The change with values in place of its handles, and what a replay needs to do so again."""
    values = Redeemer(ports, rows, subject).values(collection, command.values)
    return (_filled(command, values), {"redeemed": values}) if values else (command, {})


def as_redeemed(command: _Change, seen: Seen) -> _Change:
    """The change with the values that were read for its handles when it was looked at."""
    return _filled(command, cast("Mapping[str, Json]", seen.get("redeemed", {})))


def redeemed_again(
    command: Command, call: Call, collection: Collection, ports: Ports, connection: Connection
) -> Command:
    """The change as it is written: its handles were decided on, and must stand for the same still.

    Raises Refused (`stale`) where the row of one has changed since.
    """
    if not isinstance(command, CreateRecord | UpdateRecord):
        return command
    values: dict[str, Json] = {}
    for name, given in command.values.items():
        if is_handle_text(given) and name in collection.handled:
            values[name] = _standing_value(call, command.tenant, given, ports, connection)
    return command.model_copy(update={"values": {**command.values, **values}})


def planned_before(
    command: UpdateRecord, call: Call, collection: Collection, ports: Ports, seen: Seen
) -> dict[str, Json]:
    """What was seen of the row, as a plan tells it: with handles given as of the call."""
    before = cast("Mapping[str, Json]", seen["before"])
    handles = _handles(ports, call.principal, call.actor, command.tenant)
    given = Giving(handles, datetime.fromisoformat(call.as_of))
    return leaving(collection, before, command.record_id, command.version, given)


def planned_image(
    command: CreateRecord | UpdateRecord,
    call: Call,
    collection: Collection,
    ports: Ports,
    image: Mapping[str, Json],
) -> dict[str, Json]:
    """The row as it would be, as a plan tells it: a handle as it was given, of another value a mark.

    The mark makes the plan of one value another than that of the next; it opens nothing, and two
    calls never have the same.
    """
    told = dict(image)
    for name in collection.handled & told.keys():
        given = command.values.get(name)
        if is_handle_text(given):
            told[name] = given
        elif told[name] is not None:
            mark = keyed_digest(ports.hmac_key, [call.id, name, told[name]])[:_MARK_CHARS]
            told[name] = f"hdl_given_{mark}"
    return told


def _standing_value(
    call: Call, tenant: str, text: str, ports: Ports, connection: Connection
) -> Json:
    # As of the call: what was good when it began does not die on the way.
    as_of = datetime.fromisoformat(call.as_of)
    handle = _opened(ports, call.principal, call.actor, tenant, text, as_of)
    source = None if handle is None else ports.catalog.collections.get(handle.collection)
    if handle is not None and source is not None:
        row = get_row(connection, collection_table(source), tenant, handle.row_id)
        if row is not None and row["version"] == handle.version:
            return to_json(row[handle.field])
    raise Refused("The row of a handle has changed since.", code="stale", rule="handle")


def _opened(
    ports: Ports, principal: str, actor: str, tenant: str, text: str, now: datetime
) -> Handle | None:
    try:
        return _handles(ports, principal, actor, tenant).open(text, now=now)
    except NotFound:
        return None


def _handles(ports: Ports, principal: str, actor: str, tenant: str) -> Handles:
    return Handles(ports.cursor_key, principal=principal, actor=actor, tenant=tenant)


def _filled(command: _Change, values: Mapping[str, Json]) -> _Change:
    return command.model_copy(update={"values": {**command.values, **values}})
