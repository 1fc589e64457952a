"""Handlers of usage: record events, and tell what they add up to. Not what counts, nor what it costs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Final

from sqlalchemy import Connection

from control_plane.billing.calendar import utc
from control_plane.billing.entitlements import check, entitlement_to
from control_plane.billing.granted import in_force
from control_plane.billing.metering import Verdict
from control_plane.billing.quota_store import Quotas
from control_plane.billing.usage_events import ReportedEvent
from control_plane.billing.usage_store import record, used
from control_plane.billing.usage_terms import late_hours, meters_of, open_hours, schedule_of
from control_plane.commands import Command, RecordUsage, SummarizeUsage
from control_plane.domain.call import Call
from control_plane.domain.canonical import Json, instant
from control_plane.domain.entitlement import Entitlement, MeteredEntitlement
from control_plane.domain.plans import PlanCatalog, PlanOffer
from control_plane.domain.prices import PLACES_MAX
from control_plane.domain.subscription import Subscription
from control_plane.facts.usage import UsageFacts
from control_plane.handlers.handler import BlindChange, Ports, Seen, SingleAnswer, Subject, View
from control_plane.handlers.quota_told import check_told, quantity_told
from control_plane.handlers.subscribed import (
    Subscribed,
    declared,
    require_declared,
    subscribed,
)

_ZERO: Final = Decimal(0)
_LEAST: Final = Decimal(1).scaleb(-PLACES_MAX)


def _subject(view: View, tenant: str, acts: tuple[str, ...]) -> Subject:
    found, member = subscribed(view, tenant), view.caller.member_of(tenant)
    facts = UsageFacts(exists=False, member=member)
    if found is not None:
        facts = UsageFacts(exists=True, member=member, **found.standing())
    return Subject(id=tenant, facts=facts, acts=acts, tenant=tenant, loaded=found)


def _subscription(subject: Subject) -> Subscription:
    assert isinstance(subject.loaded, Subscribed), "the subject was decided to exist"
    return subject.loaded.subscription


class RecordUsageHandler(BlindChange):
    """Adds events of a tenant's meters, each once, and tells which were not accepted."""

    outside = False
    command_type: type[Command] = RecordUsage

    def subject(self, command: Command, view: View) -> Subject:
        """The tenant's usage."""
        assert isinstance(command, RecordUsage)
        return _subject(view, command.tenant, ("record",))

    def parts(
        self, command: Command, call: Call, subject: Subject, ports: Ports, seen: Seen
    ) -> dict[str, Json]:
        """How many events, and their digest: which of them count is seen when they are added."""
        assert isinstance(command, RecordUsage)
        told = sha256(command.events.encode()).hexdigest()
        return {"usage": {"events": len(json.loads(command.events)), "events_digest": told}}

    def affect(
        self,
        command: Command,
        call: Call,
        subject: Subject,
        ports: Ports,
        connection: Connection | None,
    ) -> Json:
        """Add them, keep the tallies, and note which soft limits are passed."""
        assert connection is not None
        assert isinstance(command, RecordUsage)
        subscription, now = _subscription(subject), datetime.fromisoformat(call.as_of)
        offer, tenant = require_declared(ports.catalog.plans, subscription), command.tenant
        schedule, events = schedule_of(subscription), _events(command, now)
        meters = meters_of(
            offer,
            *_offer_before(ports.catalog.plans, subscription),
            late_hours=late_hours(subscription, now),
        )
        verdicts = record(connection, tenant, events, meters, schedule)
        running = schedule.period_at(now)
        moved = {
            event.meter
            for event, verdict in zip(events, verdicts, strict=True)
            if verdict.period is not None and verdict.period.start == running.start
        }
        limits = _metered(in_force(subscription, offer, now)).values()
        limited = [one for one in limits if one.soft_limit is not None and one.feature in moved]
        if limited:
            Quotas(connection, tenant, running, now).observe(limited, now)
        return _counted(verdicts)

    def recover(self, call: Call, ports: Ports) -> Json:
        """Never asked: the change and its outcome are one transaction."""
        return None

    def answer(
        self, effect: Json, command: Command, view: View, may: frozenset[str]
    ) -> dict[str, Json]:
        """What became of the events when they were recorded."""
        assert isinstance(effect, dict)
        return effect


def _offer_before(plans: PlanCatalog, subscription: Subscription) -> tuple[PlanOffer, ...]:
    # What was used on the plan before, and is still to be billed, may come after the change.
    waits = subscription.unbilled
    if waits is None:
        return ()
    before = declared(plans, waits.plan, waits.plan_version)
    return () if before is None else (before,)


def _events(command: RecordUsage, received_at: datetime) -> list[ReportedEvent]:
    tenant = command.tenant
    # An instant that no calendar holds is bad input here, and not a broken event.
    return [
        ReportedEvent(
            source,
            event_id,
            tenant,
            meter,
            Decimal(quantity),
            utc(datetime.fromisoformat(occurred_at)),
            occurred_at,
            received_at,
        )
        for source, event_id, meter, quantity, occurred_at in json.loads(command.events)
    ]


def _counted(verdicts: Sequence[Verdict]) -> dict[str, Json]:
    rejected: list[Json] = [
        {"index": index, "code": verdict.code}
        for index, verdict in enumerate(verdicts)
        if verdict.status not in ("accepted", "duplicate")
    ]
    kinds = [verdict.status for verdict in verdicts]
    return {
        "accepted": kinds.count("accepted"),
        "duplicates": kinds.count("duplicate"),
        "rejected": len(rejected),
        "rejections": rejected,
    }


class SummarizeUsageHandler(SingleAnswer):
    """Tells what each meter of a tenant comes to in one period."""

    def subject(self, command: Command, view: View) -> Subject:
        """The tenant's usage."""
        assert isinstance(command, SummarizeUsage)
        return _subject(view, command.tenant, ())

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """Each meter that the plan declares; its limits only where the period runs."""
        assert isinstance(command, SummarizeUsage)
        subscription, now = _subscription(subject), view.ports.clock.now()
        offer = require_declared(view.ports.catalog.plans, subscription)
        at = datetime.fromisoformat(command.at) if command.at else now
        asked = schedule_of(subscription).period_at(at)
        meters = meters_of(offer, late_hours=open_hours(subscription))
        running = asked.holds(now)
        if running:
            quotas = Quotas(view.connection, command.tenant, asked, now)
            limits = _metered(in_force(subscription, offer, now))
            told = [_running(name, quotas, limits.get(name), now) for name in meters]
        else:
            found = used(view.connection, command.tenant, asked.start)
            told = [_line(name, found.get(name, _ZERO)) for name in meters]
        open_until = max((one.deadline(asked) for one in meters.values()), default=asked.end)
        return {
            "tenant": command.tenant,
            "period_start": instant(asked.start),
            "period_end": instant(asked.end),
            "open_until": instant(open_until),
            "running": running,
            "meters": [*told],
        }


def _metered(granted: Iterable[Entitlement]) -> dict[str, MeteredEntitlement]:
    return {one.feature: one for one in granted if isinstance(one, MeteredEntitlement)}


def _line(meter: str, total: Decimal, **limits: Json) -> dict[str, Json]:
    none = dict.fromkeys(
        ("reserved", "soft_limit", "limit", "status", "code", "remaining", "grace_ends_at")
    )
    return {"meter": meter, "total": quantity_told(total), **none, **limits}


def _running(
    meter: str, quotas: Quotas, granted: MeteredEntitlement | None, now: datetime
) -> dict[str, Json]:
    total, reserved = quotas.used(meter), quantity_told(quotas.reserved(meter))
    if granted is None:
        refused = check(entitlement_to((), meter), _ZERO, _ZERO, _ZERO, now)
        return _line(meter, total, reserved=reserved, **check_told(refused))
    standing = quotas.standing(granted)
    found = standing.check(_ZERO, now)
    if found.remaining == _ZERO:
        # To read is allowed all the same: the least that could be asked for tells why it ends here.
        found = standing.check(_LEAST, now)
    return _line(
        meter,
        total,
        reserved=reserved,
        soft_limit=quantity_told(granted.soft_limit),
        limit=quantity_told(granted.hard_limit),
        **check_told(found),
    )
