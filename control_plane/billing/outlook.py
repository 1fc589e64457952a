"""What a book comes to in the months ahead: what happens, what is billed, what debts close. Not the rules, and no store.

The book is driven by `forecast.run`, stop by stop, so that what holds between two stops is seen too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeAlias

from control_plane.billing.book import Book, Note, UsageOf
from control_plane.billing.calendar import MONTHLY, boundary, utc, zone_info
from control_plane.billing.clockwork import advance, next_due_at
from control_plane.billing.collecting import after_payment
from control_plane.billing.forecast import Answers, collect, run
from control_plane.billing.invoicing import receive
from control_plane.billing.provider import Answer
from control_plane.domain.gate import level_at
from control_plane.domain.money import Money
from control_plane.errors import BadInput

Payments: TypeAlias = Literal["succeed", "fail"]

MONTHS_MAX: Final = 36
DEPROVISION_PLANNED: Final = "tenant.deprovision_planned"
_STOPS_MAX: Final = 20_000
_ZERO: Final = Decimal(0)
_COUNTED: Final[Mapping[str, str]] = {
    "invoice.finalised": "invoiced_minor",
    "payment.succeeded": "collected_minor",
    "credit_note.issued": "credited_minor",
    "invoice.voided": "voided_minor",
}


class Stretch(NamedTuple):
    """From `since` up to but without `until` (aware) it was `name`."""

    name: str
    since: datetime
    until: datetime


@dataclass
class MonthSums:
    """What one calendar month, as `2026-03`, comes to in one currency, in its minor units."""

    month: str
    currency: str
    invoiced_minor: int = 0
    collected_minor: int = 0
    credited_minor: int = 0
    voided_minor: int = 0


@dataclass(frozen=True)
class Outlook:
    """What was seen from `since` to `until`; the book itself stands as it does at `until`.

    Among the notes is where a deprovisioning is planned, which nothing in the book tells.
    """

    since: datetime
    until: datetime
    notes: tuple[Note, ...]
    states: tuple[Stretch, ...]
    gates: tuple[Stretch, ...]
    months: tuple[MonthSums, ...]


def foresee(book: Book, now: datetime, months: int, payments: Payments) -> Outlook:
    """Drive the book from `now` (aware) through so many months, 1 to 36, with payments as they say.

    A debt that is paid by transfer is paid as its invoice is made out, where payments succeed.
    Without a method nothing is collected. BadInput where it is more than can be shown.
    """
    if not 1 <= months <= MONTHS_MAX:
        raise BadInput("months", f"must be 1 to {MONTHS_MAX}")
    zone = "UTC" if book.subscription.terms is None else book.terms.zone
    until = boundary(now, MONTHLY, zone, months)
    answers, seen = _answers(payments), _Seen(now)
    advance(book, now)
    collect(book, now, answers)
    for _ in range(_STOPS_MAX):
        _transfer(book, payments, now)
        book.refresh()
        seen.at(book, now)
        following = next_due_at(book)
        if following is None or following > until:
            break
        seen.between(book, now, following)
        now = max(now, following)
        run(book, now, answers)
    else:
        raise BadInput("months", "is more than a forecast can show")
    seen.between(book, now, until)
    gates = seen.gates.until(until)
    return Outlook(
        since=seen.since,
        until=until,
        notes=_with_plans(book, gates),
        states=seen.states.until(until),
        gates=gates,
        months=_sums(book, zone),
    )


def expected_usage(known: UsageOf, now: datetime, last_whole: Mapping[str, Decimal]) -> UsageOf:
    """Usage as far as it is known at `now` (aware); of a period to come, that of the last whole one.

    Of the period that runs, by meter, the larger of the two: what was used is not taken back.
    """

    def used(start: datetime, end: datetime) -> Mapping[str, Decimal]:
        so_far: Mapping[str, Decimal] = known(start, end) if start <= now else {}
        if end <= now:
            return so_far
        meters = {*so_far, *last_whole}
        return {one: max(so_far.get(one, _ZERO), last_whole.get(one, _ZERO)) for one in meters}

    return used


def _with_plans(book: Book, gates: tuple[Stretch, ...]) -> tuple[Note, ...]:
    # No move of the book: from that instant on the house asks a human, who may say no.
    planned = [
        Note(one.since, DEPROVISION_PLANNED, book.tenant, detail="waits for a human's approval")
        for one in gates
        if one.name == "deprovision"
    ]
    return tuple(sorted([*book.notes, *planned], key=lambda one: one.at))


def _answers(payments: Payments) -> Answers:
    answer = Answer(kind="succeeded")
    if payments == "fail":
        # A decline that is tried again: it walks the whole ladder.
        answer = Answer(kind="failed", failure="soft_decline")
    return lambda _: answer


def _transfer(book: Book, payments: Payments, at: datetime) -> None:
    terms = book.subscription.terms
    if payments == "fail" or terms is None or terms.collection != "by_invoice":
        return
    for invoice in book.owed():
        amount = Money(minor=invoice.due_minor, currency=invoice.currency)
        reference = f"transfer.{invoice.id}.{invoice.version}"
        receive(book, invoice.id, reference, amount, at, into="cash")
        after_payment(book, invoice.id, at)


class _Band:
    """What held when, told in order; what held for no time is left out."""

    def __init__(self) -> None:
        self._told: list[tuple[str, datetime]] = []

    def tell(self, name: str, at: datetime) -> None:
        if self._told and self._told[-1][1] == at:
            self._told.pop()
        if not self._told or self._told[-1][0] != name:
            self._told.append((name, at))

    def until(self, end: datetime) -> tuple[Stretch, ...]:
        ends = [*(at for _, at in self._told[1:]), end]
        pairs = zip(self._told, ends, strict=True)
        return tuple(Stretch(name, at, over) for (name, at), over in pairs if at < over)


@dataclass
class _Seen:
    """States and gates as they stood."""

    since: datetime
    states: _Band = field(default_factory=_Band)
    gates: _Band = field(default_factory=_Band)

    def at(self, book: Book, at: datetime) -> None:
        self.states.tell(book.subscription.state, at)
        self.gates.tell(level_at(book.subscription.gates, at), at)

    def between(self, book: Book, after: datetime, before: datetime) -> None:
        # Time alone climbs the ladder: a rung at which nothing moves is no stop.
        steps = (one.at for one in book.subscription.gates if after < one.at < before)
        for at in sorted(steps):
            self.gates.tell(level_at(book.subscription.gates, at), at)


def _sums(book: Book, zone: str) -> tuple[MonthSums, ...]:
    place, found = zone_info(zone), dict[tuple[str, str], MonthSums]()
    for note in book.notes:
        counted = _COUNTED.get(note.kind)
        amount = _voided(book, note) if note.kind == "invoice.voided" else note.amount
        if counted is None or amount is None:
            continue
        key = f"{utc(note.at).astimezone(place):%Y-%m}", amount.currency
        sums = found.setdefault(key, MonthSums(*key))
        setattr(sums, counted, getattr(sums, counted) + amount.minor)
    return tuple(found[key] for key in sorted(found))


def _voided(book: Book, note: Note) -> Money:
    invoice = book.invoices[note.reference]
    return Money(minor=invoice.total_minor, currency=invoice.currency)
