"""Usage as it is kept: events are added once, and what they add up to moves with them. Not which events count.

An event is one row for ever, under its tenant, source and id. What a meter comes to stands in one
row for each period, changed in the transaction that adds the events: to read it costs the same
however many there are.

Two writers at once lose nothing. Both add events, and lock tallies, in the order of their keys: the
second waits for the first, and then sees what it has written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, Select, Table, Text, bindparam, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert

from control_plane.billing.metering import (
    Meter,
    Schedule,
    Tally,
    Verdict,
    Window,
    empty,
    judge,
    merge,
    tallies,
    usage,
)
from control_plane.billing.usage_events import Event, Identity, UsageEvent
from control_plane.domain.canonical import instant
from control_plane.errors import BadInput, Unavailable
from control_plane.store.batch import PARAMETER, Engine, engine_of, rows_of, text_of
from control_plane.store.usage_tables import usage_event, usage_tally

_TALLY: Final[TypeAdapter[Tally]] = TypeAdapter(Tally)
_ENGINES: Final[tuple[Engine, ...]] = ("sqlite", "postgresql")
_EVENT: Final = (
    "source",
    "id",
    "meter",
    "quantity",
    "counted_key",
    "occurred_at",
    "received_at",
    "period_start",
)


def _insert(engine: Engine, table: Table) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if engine == "sqlite" else postgresql.insert(table)


def _adding(engine: Engine) -> ReturningInsert[str, str]:
    rows = rows_of(engine, _EVENT)
    columns = [bindparam("tenant", type_=Text), *(rows.c[name] for name in _EVENT)]
    # In order, so that of two batches with the same events the second waits, and neither for ever.
    ordered = select(*columns).order_by(rows.c.source, rows.c.id)
    return (
        _insert(engine, usage_event)
        .from_select(("tenant", *_EVENT), ordered)
        .on_conflict_do_nothing()
        .returning(usage_event.c.source, usage_event.c.id)
    )


def _knowing(engine: Engine) -> Select[Any]:
    rows, table = rows_of(engine, ("source", "id")), usage_event.c
    # Not as a join: SQLite would go through every event of the tenant for each row.
    asked = tuple_(table.source, table.id).in_(select(rows.c.source, rows.c.id))
    return select(usage_event).where(table.tenant == bindparam("tenant"), asked)


# Made once: to build a statement costs more than to run it.
_ADDED: Final = {engine: _adding(engine) for engine in _ENGINES}
_KNOWN: Final = {engine: _knowing(engine) for engine in _ENGINES}
_OPENED: Final = {
    engine: _insert(engine, usage_tally).on_conflict_do_nothing() for engine in _ENGINES
}
_TALLIES: Final = (
    select(usage_tally)
    .where(
        usage_tally.c.tenant == bindparam("tenant"),
        tuple_(usage_tally.c.meter, usage_tally.c.period_start).in_(
            bindparam("windows", expanding=True)
        ),
    )
    .order_by(usage_tally.c.meter, usage_tally.c.period_start)
    .with_for_update()
)
_MOVED: Final = (
    update(usage_tally)
    .where(
        usage_tally.c.tenant == bindparam("of_tenant"),
        usage_tally.c.meter == bindparam("of_meter"),
        usage_tally.c.period_start == bindparam("of_period"),
    )
    .values(tally=bindparam("moved"))
)
_TOTALS: Final = (
    select(usage_tally)
    .where(
        usage_tally.c.tenant == bindparam("tenant"),
        usage_tally.c.period_start >= bindparam("start"),
        usage_tally.c.period_start < bindparam("end"),
    )
    .order_by(usage_tally.c.meter, usage_tally.c.period_start)
)


def record(
    connection: Connection,
    tenant: str,
    events: Sequence[Event],
    meters: Mapping[str, Meter],
    schedule: Schedule,
) -> tuple[Verdict, ...]:
    """Add what counts of 1 to 1,000 events of one tenant; one verdict for each, in their order.

    Four statements, and one more where an event was not new: only what was accepted is kept. It is
    all in the transaction that is given. BadInput for an event of another tenant, or as `judge`.
    """
    if any(event.tenant != tenant for event in events):
        raise BadInput("events", "must all be of the tenant")
    schedules = {tenant: schedule}
    # As if none stood already: of most batches none does, and the insert itself tells.
    verdicts = judge(events, meters, schedules, {})
    added = _added(connection, tenant, events, verdicts)
    if len(added) < len(events):
        stood = {(event.source, event.id) for event in events} - set(added)
        known = _digests(connection, tenant, stood) if stood else {}
        verdicts = judge(events, meters, schedules, known) if known else verdicts
    _move(connection, tenant, tallies(events, verdicts, meters))
    return verdicts


def totals(
    connection: Connection, tenant: str, start: datetime, end: datetime
) -> dict[Window, Tally]:
    """What a tenant's meters add up to, in each period that begins from `start` to before `end`.

    A meter without events has none. Raises Unavailable (`usage_broken`).
    """
    given = {"tenant": tenant, "start": instant(start), "end": instant(end)}
    return {
        Window(
            tenant=tenant, meter=row.meter, start=datetime.fromisoformat(row.period_start)
        ): _tally(row.tally)
        for row in connection.execute(_TOTALS, given)
    }


def used(connection: Connection, tenant: str, start: datetime) -> dict[str, Decimal]:
    """What each meter comes to in the one period that begins at `start`; without events, it is not there."""
    found = totals(connection, tenant, start, start + timedelta(microseconds=1))
    return {window.meter: usage(tally) for window, tally in found.items()}


def _added(
    connection: Connection, tenant: str, events: Sequence[Event], verdicts: Sequence[Verdict]
) -> list[Identity]:
    texts = dict[datetime, str]()

    def text(moment: datetime) -> str:
        # A batch was received at one instant, and counts in few periods.
        return texts.get(moment) or texts.setdefault(moment, instant(moment))

    rows = [
        {
            "source": event.source,
            "id": event.id,
            "meter": event.meter,
            "quantity": format(event.quantity, "f"),
            "counted_key": event.key,
            "occurred_at": event.occurred_text,
            "received_at": text(event.received_at),
            "period_start": text(verdict.period.start),
        }
        for event, verdict in zip(events, verdicts, strict=True)
        if verdict.period is not None
    ]
    if not rows:
        return []
    given = {"tenant": tenant, PARAMETER: text_of(rows)}
    found = connection.execute(_ADDED[engine_of(connection)], given).all()
    return [(source, id_) for source, id_ in found]


def _digests(
    connection: Connection, tenant: str, identities: Iterable[Identity]
) -> dict[Identity, str]:
    asked = text_of([{"source": source, "id": id_} for source, id_ in identities])
    known = _KNOWN[engine_of(connection)]
    found = [_event(row) for row in connection.execute(known, {"tenant": tenant, PARAMETER: asked})]
    return {event.identity: event.digest() for event in found}


def _event(row: Row[Any]) -> UsageEvent:
    return UsageEvent(
        source=row.source,
        id=row.id,
        tenant=row.tenant,
        meter=row.meter,
        occurred_at=datetime.fromisoformat(row.occurred_at),
        received_at=datetime.fromisoformat(row.received_at),
        quantity=Decimal(row.quantity),
        key=row.counted_key,
    )


def _move(connection: Connection, tenant: str, added: Mapping[Window, Tally]) -> None:
    if not added:
        return
    windows = {(one.meter, instant(one.start)): tally for one, tally in added.items()}
    keys = sorted(windows)
    connection.execute(
        _OPENED[engine_of(connection)],
        [
            {
                "tenant": tenant,
                "meter": meter,
                "period_start": start,
                "tally": _plain(empty(windows[meter, start].aggregation)),
            }
            for meter, start in keys
        ],
    )
    standing = connection.execute(_TALLIES, {"tenant": tenant, "windows": keys}).all()
    connection.execute(
        _MOVED,
        [
            {
                "of_tenant": tenant,
                "of_meter": row.meter,
                "of_period": row.period_start,
                "moved": _plain(merge(_tally(row.tally), windows[row.meter, row.period_start])),
            }
            for row in standing
        ],
    )


def _plain(tally: Tally) -> dict[str, Any]:
    return tally.model_dump(mode="json")


def _tally(stored: object) -> Tally:
    try:
        # As JSON: only there a strict model takes a list for a set.
        return _TALLY.validate_json(json.dumps(stored))
    except ValueError:
        raise Unavailable("What is kept of usage does not read.", code="usage_broken") from None
