"""Books of billing to drive by hand: plans, terms, answers, and what must hold after every move. Holds no test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

from control_plane.billing.book import Book, Sources, Unfit, UsageOf
from control_plane.billing.change_quote import Quote, Wanted
from control_plane.billing.forecast import run
from control_plane.billing.plan_change import commit, quote
from control_plane.billing.provider import Answer
from control_plane.billing.starting import start
from control_plane.domain.invoice import Invoice, InvoiceLine
from control_plane.domain.payment import PaymentAttempt
from control_plane.domain.plans import PlanCatalog, PlanOffer, parse_plans
from control_plane.domain.subscription import Subscription
from control_plane.domain.terms import Method, Running, Terms

START: Final = datetime(2026, 1, 31, 10, 0, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
LATER: Final = START + timedelta(days=400)

_BASE: Final = (
    "tier: any, title: A plan, isolations: [pooled], regions: [local],"
    " quotas: {records_max: 10, seats_max: 50}"
)
_SEATS: Final = (
    "{component: seats, interval: month, prices: [{currency: EUR, model: per_seat,"
    " unit_amount_minor: 500}]}"
)
_YAML: Final = f"""
plans:
  - {{name: free, version: 1, rank: 1, {_BASE}, pausable: true}}
  - {{name: team, version: 1, rank: 10, {_BASE}, pausable: true,
     add_ons: [{{name: support, title: Support, quantity_max: 3}}],
     charges: [
       {{component: plan, interval: month, prices: [{{currency: EUR, model: flat, amount_minor: 2999}}]}},
       {{component: plan, interval: year, prices: [{{currency: EUR, model: flat, amount_minor: 29990}}]}},
       {_SEATS},
       {{component: seats, interval: year, prices: [{{currency: EUR, model: per_seat, unit_amount_minor: 5000}}]}},
       {{component: support, interval: month, prices: [{{currency: EUR, model: per_seat, unit_amount_minor: 700}}]}},
       {{component: support, interval: year, prices: [{{currency: EUR, model: per_seat, unit_amount_minor: 7000}}]}}]}}
  - {{name: pro, version: 1, rank: 20, {_BASE}, pausable: true,
     charges: [
       {{component: plan, interval: month, prices: [{{currency: EUR, model: flat, amount_minor: 9999}}]}},
       {{component: plan, interval: year, prices: [{{currency: EUR, model: flat, amount_minor: 99990}}]}}]}}
  - {{name: trial, version: 1, rank: 30, {_BASE}, pausable: true, trial: {{days: 14}},
     entitlements: [{{kind: metered, feature: api_calls}}],
     charges: [
       {{component: plan, interval: month, prices: [{{currency: EUR, model: flat, amount_minor: 4000}}]}},
       {{component: api_calls, interval: month, prices: [{{currency: EUR, model: per_seat, unit_amount_minor: 1}}]}}]}}
  - {{name: card_trial, version: 1, rank: 31, {_BASE},
     trial: {{days: 14, method_required: true, at_trial_end: cancel}},
     charges: [{{component: plan, interval: month, prices: [{{currency: EUR, model: flat, amount_minor: 4000}}]}}]}}
  - {{name: metered, version: 1, rank: 40, {_BASE}, pausable: true,
     entitlements: [{{kind: metered, feature: api_calls}}],
     charges: [
       {{component: plan, interval: month, prices: [{{currency: EUR, model: flat, amount_minor: 1000}}]}},
       {{component: api_calls, interval: month, prices: [{{currency: EUR, model: per_seat, unit_amount_minor: 2, minimum_minor: 50}}]}}]}}
  - {{name: by_use, version: 1, rank: 41, {_BASE},
     entitlements: [{{kind: metered, feature: api_calls}}],
     charges: [{{component: api_calls, interval: month, prices: [{{currency: EUR, model: per_seat, unit_amount_minor: 3}}]}}]}}
  - {{name: term, version: 1, rank: 50, {_BASE}, term_intervals: 2, pausable: true,
     charges: [{{component: plan, interval: month, prices: [{{currency: EUR, model: flat, amount_minor: 3000}}]}}]}}
  - {{name: strict, version: 1, rank: 60, {_BASE}, dunning: {{when_exhausted: cancel}},
     charges: [{{component: plan, interval: month, prices: [{{currency: EUR, model: flat, amount_minor: 5000}}]}}]}}
"""
PLANS: Final = parse_plans(_YAML, "plans.yaml")

Answers = Callable[[PaymentAttempt], Answer]


def paid(_: PaymentAttempt) -> Answer:
    """The provider collects it."""
    return Answer(kind="succeeded", reference="r")


def declined(_: PaymentAttempt) -> Answer:
    """Try again later."""
    return Answer(kind="failed", failure="soft_decline", reference="r")


def declined_for_good(_: PaymentAttempt) -> Answer:
    """Never try this method again."""
    return Answer(kind="failed", failure="hard_decline", reference="r")


def failing(_: PaymentAttempt) -> Answer:
    """The provider is out of order and charged nothing."""
    return Answer(kind="failed", failure="gateway_error", reference="r")


def pending(_: PaymentAttempt) -> Answer:
    """The provider has it and is not done."""
    return Answer(kind="pending", reference="r")


@dataclass
class Series:
    """Numbers without gaps, a series each."""

    given: Counter[str] = field(default_factory=Counter[str])

    def next(self, series: str) -> str:
        """The next number."""
        self.given[series] += 1
        return f"{series[:3].upper()}-{self.given[series]:06}"


def no_usage(_start: datetime, _end: datetime) -> Mapping[str, Decimal]:
    """Nothing was used."""
    return {}


def unfit_in(*names: str) -> Unfit:
    """Whatever the plan, the tenant does not fit into it in these."""

    def unfit(_offer: PlanOffer, _terms: Terms) -> tuple[str, ...]:
        return names

    return unfit


def every_hour(start: datetime, end: datetime) -> Mapping[str, Decimal]:
    """One call with every full hour, so that parts of a time add up to the whole."""
    return {"api_calls": Decimal(_hours(end) - _hours(start))}


def _hours(moment: datetime) -> int:
    return -int(-(moment - START).total_seconds() // 3600)


def new_book(
    plan: str = "team",
    *,
    method: bool = True,
    at: datetime = START,
    plans: PlanCatalog = PLANS,
    usage: UsageOf = no_usage,
    unfit: Unfit = lambda _offer, _terms: (),
    terms: Mapping[str, Any] | None = None,
    **facts: Any,
) -> Book:
    """A subscription to `plan` that is to start at `at`, with 2 seats, monthly, in euros and UTC."""
    agreed = Terms.model_validate(
        {"currency": "EUR", "anchor_at": at, "seats": 2, **(terms or {})}, strict=True
    )
    subscription = Subscription.model_validate(
        {
            "id": "sub_1",
            "tenant": "acme",
            "plan": plan,
            "plan_version": plans.offer(plan).version,
            "state": "scheduled",
            "starts_at": at,
            "terms": agreed,
            "method": Method(provider="sandbox", reference="card") if method else None,
            "method_set_at": at if method else None,
            **facts,
        }
    )
    return Book(subscription, Sources(plans, Series().next, usage, unfit=unfit))


def begun(plan: str = "team", *, at: datetime = START, **facts: Any) -> Book:
    """The same, started at `at` and paid."""
    book = new_book(plan, at=at, **facts)
    start(book, at)
    go(book, at)
    return book


def free_book(**facts: Any) -> Book:
    """A tenant that is on the free plan and agreed on nothing."""
    book = new_book("free", state="active", starts_at=None, **facts)
    book.revise(terms=None)
    return book


def go(book: Book, until: datetime, answers: Answers = paid) -> Book:
    """Everything that happens by then."""
    run(book, until, answers)
    book.refresh()
    return book


def change(book: Book, at: datetime, reference: str = "change", **wanted: Any) -> Quote:
    """Ask for a change and carry it out at the same instant."""
    asked = Wanted.model_validate({"plan": book.subscription.plan, **wanted})
    quoted = quote(book, asked, at, reference)
    commit(book, quoted, at, reference)
    return quoted


def told(book: Book, kind: str) -> list[datetime]:
    """When something of a kind happened."""
    return [one.at for one in book.notes if one.kind == kind]


def final(book: Book) -> list[Invoice]:
    """The final invoices, by their numbers."""
    found = (one for one in book.invoices.values() if one.number is not None)
    return sorted(found, key=lambda one: one.number or "")


def sums(invoice: Invoice) -> dict[str, int]:
    """An invoice's amounts by `kind:reference`."""
    return {f"{one.kind}:{one.reference}": one.amount_minor for one in invoice.lines}


def state_of(book: Book) -> str:
    """The state that its subscription is in."""
    return book.subscription.state


def facts_of(book: Book) -> tuple[Any, ...]:
    """All that a book holds, to compare before and after."""
    return (
        book.subscription,
        dict(book.invoices),
        dict(book.attempts),
        dict(book.balances),
        tuple(book.entries),
        tuple(book.credit_notes),
        tuple(book.notes),
        frozenset(book.touched),
        dict(book.redemptions),
    )


AHEAD: Final = frozenset({"base", "seats", "add_on", "proration_credit", "proration_debit"})
_TOLD_BY_A_DEBT: Final = frozenset(
    f"subscription.{one}"
    for one in (
        "invoice_overdue",
        "exhaust_retries",
        "exhaust_retries_canceled",
        "end_dunning",
        # A debt that ends the subscription ends its coupons with it.
        "coupon_returned",
        "coupon_ended",
    )
)
_FIXED: Final = (
    "tax",
    "buyer",
    "lines",
    "total_minor",
    "number",
    "finalized_at",
    "due_at",
    "currency",
    "tenant",
)


@dataclass
class Auditor:
    """Looks at a book after every move, by its own arithmetic; AssertionError says what does not hold."""

    entries_seen: int = 0
    notes_seen: int = 0
    fold: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    entry_ids: set[str] = field(default_factory=set[str])
    invoices: dict[str, Invoice] = field(default_factory=dict[str, Invoice])
    running: dict[str, tuple[Running, datetime, datetime, str, str]] = field(
        default_factory=dict[str, tuple[Running, datetime, datetime, str, str]]
    )
    reversed_by: dict[str, str] = field(default_factory=dict[str, str])
    used: dict[str, list[tuple[datetime, datetime]]] = field(
        default_factory=dict[str, list[tuple[datetime, datetime]]]
    )
    paid_minor: int = 0
    attempts_paid: set[str] = field(default_factory=set[str])
    spared: frozenset[str] = frozenset()
    """What was owed when collecting went on: what comes of it is as of its own days, which are past."""

    def look(self, book: Book) -> None:
        """Everything that must hold, of what has moved since the last look."""
        self._ledger(book)
        moved = (book.invoices[key] for key in book.touched if key in book.invoices)
        for invoice in sorted(moved, key=lambda one: one.number or ""):
            self._invoice(invoice)
        for one in (book.attempts[key] for key in book.touched if key in book.attempts):
            if one.state == "succeeded" and one.id not in self.attempts_paid:
                self.attempts_paid.add(one.id)
                self.paid_minor += one.amount_minor
        self._numbers(book)
        self._balances(book)
        self._remember(book)
        book.touched.clear()

    def _ledger(self, book: Book) -> None:
        for entry in book.entries[self.entries_seen :]:
            assert entry.id not in self.entry_ids, f"booked twice: {entry.cause}"
            self.entry_ids.add(entry.id)
            by_currency: Counter[str] = Counter()
            for one in entry.postings:
                by_currency[one.currency] += one.amount_minor
                self.fold[one.account, one.currency] += one.amount_minor
            assert not any(by_currency.values()), "an entry balances"
        self.entries_seen = len(book.entries)
        held = {key: amount for key, amount in self.fold.items() if amount}
        assert held == dict(book.balances), "the balances are the fold of the entries"

    def _invoice(self, after: Invoice) -> None:
        before = self.invoices.get(after.id)
        assert after.total_minor >= 0, "no invoice is negative"
        assert after.total_minor == sum(one.amount_minor for one in after.lines), "lines and total"
        for rate in () if after.tax is None else after.tax.charged:
            shared = sum(one.amount_minor for one in rate.shares)
            assert shared == rate.amount_minor, "the shares of a tax are the tax"
            exact = Fraction(rate.taxable_minor) * Fraction(rate.rate_percent) / 100
            assert abs(rate.amount_minor - exact) <= Fraction(1, 2), "rounded once"
        assert after.due_minor >= 0, "no more is paid than is owed"
        if before is not None and before.number is not None:
            for name in _FIXED:
                assert getattr(before, name) == getattr(after, name), f"final, but {name} moved"
        self.invoices[after.id] = after
        newly_void = after.state == "void" and before is not None and before.state != "void"
        newly_final = after.number is not None and (before is None or before.number is None)
        taken_back = newly_void or (
            after.credited_minor == after.total_minor > 0 and after.state == "paid"
        )
        for line in after.lines:
            if line.kind == "proration_credit" and newly_final:
                self._credit(line)
            if line.kind in ("usage", "minimum") and newly_final:
                self._usage(line)
            if line.kind == "proration_credit" and taken_back and line.reverses:
                self.reversed_by.pop(line.reverses, None)

    def _usage(self, line: InvoiceLine) -> None:
        start, end = line.period_start, line.period_end
        assert start is not None
        assert end is not None
        spans = self.used.setdefault(f"{line.kind}:{line.reference}", [])
        assert all(end <= one[0] or one[1] <= start for one in spans), "nothing is billed twice"
        spans.append((start, end))

    def _credit(self, line: InvoiceLine) -> None:
        assert line.reverses, "a credit says what it takes back"
        assert line.reverses not in self.reversed_by, "nothing is credited twice"
        self.reversed_by[line.reverses] = line.id
        known = self.running.get(line.reverses)
        if known is None:
            return
        one, start, end, mode, zone = known
        assert line.period_start is not None
        left = _units(end, mode, zone) - _units(line.period_start, mode, zone)
        whole = _units(end, mode, zone) - _units(start, mode, zone)
        begun = _units(end, mode, zone) - _units(one.since, mode, zone)
        due = _half_up(one.price_minor * left, whole)
        off = sum(taken.amount_minor for taken in one.taken_off)
        if off:
            due = _half_up((one.invoiced_minor - off) * left, begun)
        assert -line.amount_minor == due, "the credit is the rest of what was charged"
        charged = _half_up(one.price_minor * begun, whole)
        assert one.invoiced_minor == charged, "the charge was the price from its beginning on"
        assert off <= charged, "no more is taken off than was charged"

    def _remember(self, book: Book) -> None:
        held = book.subscription
        start, end = held.current_period_start, held.current_period_end
        if start is None or end is None or held.terms is None:
            return
        for one in held.running:
            known = self.running.get(one.line)
            if known is None or known[0] != one:
                offer = book.sources.plans.offer(held.plan, held.plan_version)
                self.running[one.line] = (one, start, end, offer.proration, held.terms.zone)

    def _numbers(self, book: Book) -> None:
        fresh = book.notes[self.notes_seen :]
        self._in_order(book)
        self.notes_seen = len(book.notes)
        if not any(one.kind in ("invoice.finalised", "credit_note.issued") for one in fresh):
            return
        for kind, prefix in (("invoice.finalised", "INV"), ("credit_note.issued", "CRE")):
            numbers = [one.detail for one in book.notes if one.kind == kind]
            expected = [f"{prefix}-{n + 1:06}" for n in range(len(numbers))]
            assert numbers == expected, "numbers run without a gap and in order"

    def _in_order(self, book: Book) -> None:
        if self.spared:
            self.spared &= {one.id for one in book.owed()}
            return
        # Of a free plan nothing says when it was resumed: an old debt is told of as of its own day.
        free = book.subscription.current_period_start is None
        instants = [
            one.at
            for one in book.notes[max(0, self.notes_seen - 1) :]
            if not (free and one.kind in _TOLD_BY_A_DEBT)
        ]
        in_order = all(early <= late for early, late in pairwise(instants))
        assert in_order, "nothing is done in the past"

    def _balances(self, book: Book) -> None:
        currencies = {key[1] for key in self.fold} or {"EUR"}
        assert len(currencies) == 1, "a life has one currency"
        currency = currencies.pop()
        balance = {name: self.fold[name, currency] for name, _ in self.fold}
        live = [one for one in self.invoices.values() if one.number and one.state != "void"]
        assert balance.get("receivable", 0) == sum(one.due_minor for one in live), "what is owed"
        credit, deferred = -balance.get("credit_balance", 0), -balance.get("deferred_revenue", 0)
        assert credit >= 0, "credit is never below zero"
        ahead = sum(
            one.amount_minor
            for invoice in live
            for one in invoice.lines
            if one.kind in AHEAD and one.amount_minor > 0
        )
        assert 0 <= deferred <= ahead, "deferred is what was invoiced ahead, or a part of it"
        assert balance.get("cash_clearing", 0) == self.paid_minor, "money in is what was paid"
        notes_minor = sum(one.amount_minor for one in book.credit_notes if one.kind == "balance")
        carried_minor = _sum(live, {"credit_carried"})
        allocated_minor = sum(one.allocated_minor for one in live)
        sources = self.paid_minor + carried_minor + notes_minor
        assert sources == allocated_minor + credit, "each cent paid an invoice or is credit"
        noted_minor = sum(one.amount_minor for one in book.credit_notes)
        invoiced_minor = sum(one.total_minor for one in live) - carried_minor - noted_minor
        tax_minor = -balance.get("tax_payable", 0)
        assert -balance.get("revenue", 0) + deferred + tax_minor == invoiced_minor, (
            "what was invoiced is earned, or is the state's"
        )
        returned_minor = sum(
            tax.amount_minor for one in book.credit_notes for tax in one.taxes or ()
        )
        assert tax_minor == _sum(live, {"tax"}) - returned_minor, "and no more than was charged"
        assert invoiced_minor >= 0, "nobody is given more than was charged"


def _sum(invoices: Iterable[Invoice], kinds: set[str]) -> int:
    return sum(one.amount_minor for each in invoices for one in each.lines if one.kind in kinds)


def _units(moment: datetime, mode: str, zone: str) -> int:
    if mode == "second":
        return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    # Of zones whose clocks are not put back across midnight, which are all that the books have.
    return moment.astimezone(ZoneInfo(zone)).date().toordinal()


def _half_up(amount: int, whole: int) -> int:
    return (2 * amount + whole) // (2 * whole)
