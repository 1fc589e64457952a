"""The dunning ladder: when to try again, and what a debt closes by now. Not who charges or suspends.

Everything here follows from facts and an instant. Nothing is remembered, so that a late sweep gives
no rights, a sweep that never ran takes none away, and a payment lifts everything at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from control_plane.domain.dunning_policy import DunningPolicy
from control_plane.domain.gate import GATES, LEVELS, Gate, GateLevel, GateStep
from control_plane.domain.instant import Instant
from control_plane.domain.invoice import BillingId, Invoice
from control_plane.domain.money import MINOR_MAX, Currency, Money, add
from control_plane.domain.payment import IN_FLIGHT, PaymentAttempt
from control_plane.domain.subscription import SubscriptionState, exhaustion_event

# A missing end of grace means none, so grace without an end needs an instant after all others.
GRACE_WITHOUT_END: Final = datetime(9999, 12, 31, tzinfo=UTC)

_DAY = timedelta(days=1)
_NEVER_SUSPEND_MOST: Final[GateLevel] = "no_new_resources"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Debt(_Strict):
    """What one invoice still owes (minor units, above zero), and the aware instant it was due."""

    invoice: BillingId
    due_at: Instant
    amount_minor: Annotated[int, Field(ge=1, le=MINOR_MAX)]
    currency: Currency


class DunningFacts(_Strict):
    """What a tenant's standing follows from.

    `never_suspend` is an operator's tag on the tenant. `canceled` says that its subscription has
    ended: then the tag protects nothing more.
    """

    debts: Annotated[tuple[Debt, ...], Field(max_length=1_000)] = ()
    never_suspend: bool = False
    canceled: bool = False


class Standing(_Strict):
    """Where a tenant stands on the ladder at an instant.

    `owed` is what must be paid for everything to lift, one amount a currency, sorted. `days_overdue`
    counts whole days of 24 hours. `retain_until` stands where deprovisioning is planned.
    """

    level: GateLevel = "clear"
    overdue_since: Instant | None = None
    days_overdue: Annotated[int, Field(ge=0)] = 0
    owed: tuple[Money, ...] = ()
    retain_until: Instant | None = None

    @property
    def gate(self) -> Gate:
        """What is closed."""
        return GATES[self.level]


def debts_of(invoices: Iterable[Invoice]) -> tuple[Debt, ...]:
    """The debts among a tenant's invoices, in their order: whatever is owed and has a due instant."""
    return tuple(
        Debt(invoice=one.id, due_at=one.due_at, amount_minor=one.due_minor, currency=one.currency)
        for one in invoices
        if one.due_at is not None and one.due_minor > 0
    )


def overdue_since(policy: DunningPolicy, facts: DunningFacts) -> datetime | None:
    """Since when, or from when on, the debts of some currency exceed its threshold; None if never.

    Days are counted from there, not from the oldest debt: else the cent that crosses the threshold
    would bring a tenant from full access to the last rung at once. Currencies are never added.
    """
    crossings = (
        _crossing(debts, policy.threshold_minor(currency))
        for currency, debts in _by_currency(facts.debts).items()
    )
    return min((one for one in crossings if one is not None), default=None)


def standing(policy: DunningPolicy, facts: DunningFacts, now: datetime) -> Standing:
    """Where the tenant stands at `now` (aware): of all rungs that match, the highest holds.

    BadInput where the overdue total of a currency leaves the exact range.
    """
    since = overdue_since(policy, facts)
    if since is None or now < since:
        return Standing()
    days = (now - since) // _DAY
    level = _capped(_level(policy, days), facts)
    return Standing(
        level=level,
        overdue_since=since,
        days_overdue=days,
        owed=_owed(policy, facts, now),
        retain_until=_retain_until(policy, since, level),
    )


def next_change(policy: DunningPolicy, facts: DunningFacts, now: datetime) -> datetime | None:
    """The first instant after `now` at which time alone changes the level; None where it never does."""
    level = standing(policy, facts, now).level
    steps = gate_steps(policy, facts)
    return next((one.at for one in steps if one.at > now and one.level != level), None)


def gate_steps(policy: DunningPolicy, facts: DunningFacts) -> tuple[GateStep, ...]:
    """The whole ladder of these debts, written down: `level_at` of it is the level of `standing`."""
    since = overdue_since(policy, facts)
    if since is None:
        return ()
    return tuple(
        GateStep(at=since + rung.day * _DAY, level=_capped(rung.level, facts))
        for rung in policy.rungs
    )


def grace_end(policy: DunningPolicy, facts: DunningFacts) -> datetime:
    """Until when a tenant that is past due keeps its rights: the rung from which access is not full.

    `GRACE_WITHOUT_END` where no rung ever takes them: below the threshold, or tagged.
    """
    since = overdue_since(policy, facts)
    day = policy.day_of("read_only")
    if since is None or day is None or _is_protected(facts):
        return GRACE_WITHOUT_END
    return since + day * _DAY


def subscription_event(
    state: SubscriptionState, reached: Standing, policy: DunningPolicy
) -> str | None:
    """The event that the ladder fires at a subscription that lags behind `reached`, or None.

    Asked again after each event, so that a sweep that comes late takes every step in order.
    """
    if state == "past_due" and reached.gate.suspended:
        return exhaustion_event(policy.when_exhausted)
    if state == "unpaid" and reached.gate.deprovision_planned:
        return "end_dunning"
    return None


def next_attempt(
    policy: DunningPolicy,
    invoice: Invoice,
    attempts: Sequence[PaymentAttempt],
    method_set_at: datetime | None = None,
) -> datetime | None:
    """When to try to collect an invoice next, given all its attempts; it may lie in the past.

    None where nothing is owed, an attempt is in flight or unknown, a hard decline or a missing
    method waits for a new method (set at `method_set_at`), or the days are used up. Days that were
    slept through are made up for by one attempt, not by several.
    """
    if invoice.state != "open" or invoice.due_at is None or invoice.due_minor <= 0:
        return None
    if any(one.state in IN_FLIGHT for one in attempts):
        return None
    tried = sorted((one for one in attempts if one.state != "canceled"), key=lambda one: one.number)
    if not tried:
        return invoice.due_at + policy.retry_days[0] * _DAY
    last = tried[-1]
    if method_set_at is not None and method_set_at > last.changed_at:
        return method_set_at
    if last.failure in {"hard_decline", "no_method"}:
        return None
    errors = sum(one.failure == "gateway_error" for one in tried)
    if last.failure == "gateway_error" and errors <= len(policy.gateway_waits_s):
        return last.changed_at + timedelta(seconds=policy.gateway_waits_s[errors - 1])
    days = (invoice.due_at + day * _DAY for day in policy.retry_days)
    return next((at for at in days if at > last.changed_at), None)


def is_exhausted(
    policy: DunningPolicy,
    invoice: Invoice,
    attempts: Sequence[PaymentAttempt],
    method_set_at: datetime | None = None,
) -> bool:
    """Whether an invoice owes, nothing is in flight and no further attempt comes by itself."""
    owes = invoice.state == "open" and invoice.due_minor > 0
    in_flight = any(one.state in IN_FLIGHT for one in attempts)
    return owes and not in_flight and next_attempt(policy, invoice, attempts, method_set_at) is None


def next_question(policy: DunningPolicy, attempt: PaymentAttempt) -> datetime | None:
    """When to ask the provider next about an attempt that is unknown or pending.

    None for any other attempt, and where the questions are used up: then a human attests.
    """
    if attempt.unsettled is None:
        return None
    pending = attempt.unsettled == "pending"
    waits_s = policy.pending_waits_s if pending else policy.unknown_waits_s
    if attempt.asked >= len(waits_s):
        return None
    return attempt.changed_at + timedelta(seconds=waits_s[attempt.asked])


def _by_currency(debts: Iterable[Debt]) -> dict[str, list[Debt]]:
    found: dict[str, list[Debt]] = {}
    for debt in sorted(debts, key=lambda one: (one.currency, one.due_at, one.invoice)):
        found.setdefault(debt.currency, []).append(debt)
    return found


def _crossing(debts: Sequence[Debt], threshold_minor: int) -> datetime | None:
    total_minor = 0
    for debt in debts:  # in the order in which they fell due
        total_minor += debt.amount_minor
        if total_minor > threshold_minor:
            return debt.due_at
    return None


def _level(policy: DunningPolicy, days: int) -> GateLevel:
    matching = (LEVELS.index(rung.level) for rung in policy.rungs if rung.day <= days)
    return LEVELS[max(matching, default=0)]


def _capped(level: GateLevel, facts: DunningFacts) -> GateLevel:
    if not _is_protected(facts):
        return level
    return LEVELS[min(LEVELS.index(level), LEVELS.index(_NEVER_SUSPEND_MOST))]


def _is_protected(facts: DunningFacts) -> bool:
    return facts.never_suspend and not facts.canceled


def _owed(policy: DunningPolicy, facts: DunningFacts, now: datetime) -> tuple[Money, ...]:
    found: list[Money] = []
    for currency, debts in _by_currency(facts.debts).items():
        total = Money(minor=0, currency=currency)
        for debt in debts:
            if debt.due_at <= now:
                total = add(total, Money(minor=debt.amount_minor, currency=currency))
        if total.minor > policy.threshold_minor(currency):
            found.append(total)
    return tuple(found)


def _retain_until(policy: DunningPolicy, since: datetime, level: GateLevel) -> datetime | None:
    day = policy.day_of("deprovision")
    if level != "deprovision" or day is None:
        return None
    return since + (day + policy.retention_days) * _DAY
