"""Handlers of quota that is held ahead of its use: reserve it, release it. Not the limits, nor how they are kept."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection

from control_plane.billing.entitlements import check, entitlement_to, require
from control_plane.billing.granted import in_force
from control_plane.billing.quota_store import Quotas
from control_plane.billing.usage_terms import schedule_of
from control_plane.commands import Command, ReleaseQuota, ReserveQuota
from control_plane.domain.call import Call
from control_plane.domain.canonical import Json
from control_plane.domain.entitlement import Entitlement, MeteredEntitlement
from control_plane.domain.subscription import Subscription
from control_plane.errors import BadInput, Refused
from control_plane.facts.usage import UsageFacts
from control_plane.handlers.handler import BlindChange, Ports, Seen, Subject, View
from control_plane.handlers.quota_told import check_told, quantity_told
from control_plane.handlers.subscribed import Subscribed, declared, subscribed
from control_plane.ports import RowGate

HELD_MAX: Final = timedelta(days=90)
_ZERO: Final = Decimal(0)


class _QuotaChange(BlindChange):
    """What both changes have in common: they are the store's own, and each is one transaction."""

    outside = False

    def subject(self, command: Command, view: View) -> Subject:
        """The tenant's usage: what is held ahead of it counts as used."""
        assert isinstance(command, ReserveQuota | ReleaseQuota)
        tenant = command.tenant
        found, member = subscribed(view, tenant), view.caller.member_of(tenant)
        facts = UsageFacts(exists=False, member=member)
        if found is not None:
            facts = UsageFacts(exists=True, member=member, **found.standing())
        return Subject(id=tenant, facts=facts, acts=("record",), tenant=tenant, loaded=found)

    def recover(self, call: Call, ports: Ports) -> Json:
        """Never asked: the change and its outcome are one transaction."""
        return None

    def answer(
        self, effect: Json, command: Command, view: View, may: frozenset[str]
    ) -> dict[str, Json]:
        """How the quota stood after it."""
        assert isinstance(effect, dict)
        return effect


class ReserveQuotaHandler(_QuotaChange):
    """Holds so much of a meter for a resource, unless a limit denies it."""

    command_type: type[Command] = ReserveQuota

    def look(
        self,
        command: Command,
        subject: Subject,
        ports: Ports,
        rows: RowGate,
        may: frozenset[str],
    ) -> Seen:
        """Whether it may be held as things stand. Refused as when it is done."""
        assert isinstance(command, ReserveQuota)
        now = ports.clock.now()
        _until(command, now)
        with ports.store.read() as connection:
            granted = _metered(command.feature, subject, ports, now)
            quotas = _quotas(connection, subject, now)
            if quotas.held_by(command.feature, command.resource) is None:
                require(quotas.standing(granted).check(Decimal(command.quantity), now))
        return {}

    def parts(
        self, command: Command, call: Call, subject: Subject, ports: Ports, seen: Seen
    ) -> dict[str, Json]:
        """What would be held, for what."""
        assert isinstance(command, ReserveQuota)
        told = {"feature": command.feature, "resource": command.resource}
        return {"quota": {"change": "reserve", "quantity": command.quantity, **told}}

    def affect(
        self,
        command: Command,
        call: Call,
        subject: Subject,
        ports: Ports,
        connection: Connection | None,
    ) -> Json:
        """Reserve it by what the same transaction has read: two at once never pass a hard limit."""
        assert connection is not None
        assert isinstance(command, ReserveQuota)
        now = datetime.fromisoformat(call.as_of)
        granted = _metered(command.feature, subject, ports, now)
        quotas = _quotas(connection, subject, now)
        new = quotas.held_by(command.feature, command.resource) is None
        until, quantity = _until(command, now), Decimal(command.quantity)
        require(quotas.reserve(granted, command.resource, quantity, now, until=until))
        return _told(command, quotas, granted, now, changed=new)


class ReleaseQuotaHandler(_QuotaChange):
    """Lets go of what a resource holds; nothing happens where it holds nothing."""

    command_type: type[Command] = ReleaseQuota

    def parts(
        self, command: Command, call: Call, subject: Subject, ports: Ports, seen: Seen
    ) -> dict[str, Json]:
        """What would be let go."""
        assert isinstance(command, ReleaseQuota)
        told = {"feature": command.feature, "resource": command.resource}
        return {"quota": {"change": "release", **told}}

    def affect(
        self,
        command: Command,
        call: Call,
        subject: Subject,
        ports: Ports,
        connection: Connection | None,
    ) -> Json:
        """Release it, whatever the plan grants by now."""
        assert connection is not None
        assert isinstance(command, ReleaseQuota)
        now = datetime.fromisoformat(call.as_of)
        found = _granted(command.feature, subject, ports, now)
        granted = found
        if not isinstance(granted, MeteredEntitlement):
            # Nothing grants it any more: what is held is let go all the same.
            granted = MeteredEntitlement(kind="metered", feature=command.feature)
        quotas = _quotas(connection, subject, now)
        released = quotas.release(granted, command.resource, now)
        return _told(command, quotas, found, now, changed=released)


def _subscription(subject: Subject) -> Subscription:
    assert isinstance(subject.loaded, Subscribed), "the subject was decided to exist"
    return subject.loaded.subscription


def _quotas(connection: Connection, subject: Subject, now: datetime) -> Quotas:
    running = schedule_of(_subscription(subject)).period_at(now)
    return Quotas(connection, subject.id, running, now)


def _granted(feature: str, subject: Subject, ports: Ports, now: datetime) -> Entitlement | None:
    subscription = _subscription(subject)
    offer = declared(ports.catalog.plans, subscription.plan, subscription.plan_version)
    granted = () if offer is None else in_force(subscription, offer, now)
    return next((one for one in granted if one.feature == feature), None)


def _metered(feature: str, subject: Subject, ports: Ports, now: datetime) -> MeteredEntitlement:
    found = _granted(feature, subject, ports, now)
    if isinstance(found, MeteredEntitlement):
        return found
    if found is None:
        require(check(entitlement_to((), feature), _ZERO, _ZERO, _ZERO, now))
    raise Refused(
        "Only of a meter may something be held.",
        code="feature_not_metered",
        rule="entitlement.kind",
        fact="feature",
    )


def _until(command: ReserveQuota, now: datetime) -> datetime | None:
    if not command.expires_at:
        return None
    until = datetime.fromisoformat(command.expires_at)
    if not now < until <= now + HELD_MAX:
        raise BadInput("expires_at", f"must lie within {HELD_MAX.days} days from now")
    return until


def _told(
    command: ReserveQuota | ReleaseQuota,
    quotas: Quotas,
    granted: Entitlement | None,
    now: datetime,
    *,
    changed: bool,
) -> dict[str, Json]:
    found = check(entitlement_to((), command.feature), _ZERO, _ZERO, _ZERO, now)
    if isinstance(granted, MeteredEntitlement):
        found = quotas.standing(granted).check(_ZERO, now)
    return {
        "tenant": command.tenant,
        "feature": command.feature,
        "resource": command.resource,
        "changed": changed,
        "used": quantity_told(quotas.used(command.feature)),
        "reserved": quantity_told(quotas.reserved(command.feature)),
        **check_told(found),
    }
