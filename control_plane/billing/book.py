"""One tenant's billing while it is worked on: what stands, what moves, what is booked. Not the rules, and not the store.

A book is made of what the store holds and lives for one transaction. The rules (starting.py,
renewal.py, plan_change.py, ending.py, collecting.py) move it; nothing of it reaches a clock, a
provider or a table, so that a forecast and the real thing are the same lines of code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from control_plane.billing.calendar import Cycle, Period
from control_plane.billing.dunning import DunningFacts, debts_of, gate_steps, grace_end
from control_plane.billing.ledger import Account, Balances, CauseKind, Entry, Occurrence
from control_plane.billing.proration import ProrationBasis
from control_plane.billing.tax_file import Taxation
from control_plane.domain import canonical
from control_plane.domain.coupon_catalog import NO_COUPONS, CouponCatalog
from control_plane.domain.credit_note import CreditNote
from control_plane.domain.invoice import Invoice, refuse_edit
from control_plane.domain.money import Money
from control_plane.domain.payment import PaymentAttempt
from control_plane.domain.plans import PlanCatalog, PlanOffer
from control_plane.domain.redemption import Redemption
from control_plane.domain.refund import Refund
from control_plane.domain.subscription import SUBSCRIPTION, Subscription
from control_plane.domain.terms import Terms
from control_plane.errors import Refused

Series: TypeAlias = Literal["invoice", "credit_note"]
NextNumber: TypeAlias = Callable[[Series], str]
"""The next number of a series. Taken in the transaction that uses it, so that none is left out."""
UsageOf: TypeAlias = Callable[[datetime, datetime], Mapping[str, Decimal]]
"""What was used from one instant up to but without another, by meter."""
FindEntry: TypeAlias = Callable[[str], Entry | None]
Unfit: TypeAlias = Callable[[PlanOffer, Terms], tuple[str, ...]]
"""What of a tenant does not fit into a plan on such terms, each by its name."""

UPGRADE_OPEN_H: Final = 23  # what card schemes leave a customer for a first payment


@dataclass(frozen=True)
class Note:
    """Something that happened, for the timeline, the audit log and webhooks. `at` is aware."""

    at: datetime
    kind: str
    reference: str = ""
    amount: Money | None = None
    detail: str = ""


@dataclass(frozen=True)
class Sources:
    """What a book asks for while it is worked on."""

    plans: PlanCatalog
    numbers: NextNumber
    usage: UsageOf
    find_entry: FindEntry = lambda _: None
    unfit: Unfit = lambda _offer, _terms: ()
    records: Callable[[], int] = lambda: 0
    """How many records the tenant has. Raises Unavailable and Failed: they lie elsewhere."""
    coupons: CouponCatalog = NO_COUPONS
    redeemed: Callable[[str], int] = lambda _: 0
    """How often a coupon was redeemed so far, by its code, over all tenants."""
    tax: Taxation | None = None
    """How what is billed is taxed; None where it is not."""


@dataclass
class Book:
    """A tenant's subscription with its invoices and attempts that may still move, and the balances."""

    subscription: Subscription
    sources: Sources
    invoices: dict[str, Invoice] = field(default_factory=dict[str, Invoice])
    attempts: dict[str, PaymentAttempt] = field(default_factory=dict[str, PaymentAttempt])
    refunds: dict[str, Refund] = field(default_factory=dict[str, Refund])
    balances: Balances = field(default_factory=dict[tuple[Account, str], int])
    entries: list[Entry] = field(default_factory=list[Entry])
    credit_notes: list[CreditNote] = field(default_factory=list[CreditNote])
    redemptions: dict[str, Redemption] = field(default_factory=dict[str, Redemption])
    """Every coupon that the tenant has redeemed, by its code."""
    redemptions_before: Mapping[str, Redemption] = field(default_factory=dict[str, Redemption])
    """The same as the store holds them."""
    notes: list[Note] = field(default_factory=list[Note])
    touched: set[str] = field(default_factory=set[str])
    """Ids of the invoices, attempts and refunds that moved."""

    # what is agreed -------------------------------------------------------------------------

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return self.subscription.tenant

    @property
    def offer(self) -> PlanOffer:
        """The version of the plan that the subscription is on."""
        return self.sources.plans.offer(self.subscription.plan, self.subscription.plan_version)

    @property
    def terms(self) -> Terms:
        """The agreed terms; Refused (`no_terms`) where the plan is free and there are none."""
        if self.subscription.terms is None:
            raise Refused(
                "The subscription is free: nothing was agreed on.",
                code="no_terms",
                rule="subscription.terms",
                fact="terms",
            )
        return self.subscription.terms

    @property
    def basis(self) -> ProrationBasis:
        """What a part of the period that runs is measured by."""
        return ProrationBasis(period=self.period, mode=self.offer.proration, zone=self.terms.zone)

    @property
    def period(self) -> Period:
        """The period that runs; its index plays no part here, and a stored period does not keep it."""
        start, end = self.subscription.current_period_start, self.subscription.current_period_end
        assert start is not None, "a period runs"
        assert end is not None, "a period runs"
        return Period(index=0, start=start, end=end)

    # moves -----------------------------------------------------------------------------------

    def fire(self, event: str, at: datetime, /, detail: str = "", **changes: object) -> None:
        """One event of the subscription's machine, with what else changes; IllegalTransition."""
        state = SUBSCRIPTION.next(self.subscription.state, event)
        self.revise(state=state, **changes)
        self.note(at, f"subscription.{event}", detail=detail)

    def revise(self, **changes: object) -> None:
        """Change what is no matter of the machine."""
        held = {name: getattr(self.subscription, name) for name in Subscription.model_fields}
        self.subscription = Subscription.model_validate({**held, **changes})

    def put(self, invoice: Invoice) -> Invoice:
        """Keep an invoice, new or moved; Refused (`invoice_final`) for an edit of a final one."""
        before = self.invoices.get(invoice.id)
        if before is not None and (refused := refuse_edit(before, invoice)) is not None:
            raise refused
        self.invoices[invoice.id] = invoice
        self.touched.add(invoice.id)
        return invoice

    def put_attempt(self, attempt: PaymentAttempt) -> PaymentAttempt:
        """Keep an attempt, new or moved."""
        self.attempts[attempt.id] = attempt
        self.touched.add(attempt.id)
        return attempt

    def put_refund(self, refund: Refund) -> Refund:
        """Keep a refund, new or moved."""
        self.refunds[refund.id] = refund
        self.touched.add(refund.id)
        return refund

    def note(
        self,
        at: datetime,
        kind: str,
        reference: str = "",
        amount: Money | None = None,
        detail: str = "",
    ) -> None:
        """Write down that something happened."""
        self.notes.append(Note(at, kind, reference, amount, detail))

    # money -----------------------------------------------------------------------------------

    def occurrence(self, reference: str, at: datetime) -> Occurrence:
        """What an entry is about: this tenant, in the currency of the terms."""
        return Occurrence(
            tenant=self.tenant, reference=reference, occurred_at=at, currency=self.terms.currency
        )

    def post(self, entry: Entry | None) -> None:
        """Book an entry; None, an event that moves nothing, is no entry."""
        if entry is None:
            return
        sums = Counter(dict(self.balances))
        for one in entry.postings:
            sums[one.account, one.currency] += one.amount_minor
        self.balances = {key: amount for key, amount in sums.items() if amount}
        self.entries.append(entry)

    def entry_of(self, kind: CauseKind, reference: str) -> Entry | None:
        """The entry that an event has made, in this book or before; None where it made none."""
        wanted = canonical.digest([self.tenant, kind, reference])
        here = next((one for one in self.entries if one.id == wanted), None)
        return here or self.sources.find_entry(wanted)

    def balance_minor(self, account: Account) -> int:
        """What an account holds in the terms' currency: debits positive, credits negative."""
        return self.balances.get((account, self.terms.currency), 0)

    @property
    def credit_minor(self) -> int:
        """What stands to the tenant's credit, zero or above."""
        return self.credit_minor_in(self.terms.currency)

    def credit_minor_in(self, currency: str) -> int:
        """The same in a currency."""
        return -self.balances.get(("credit_balance", currency), 0)

    @property
    def deferred_minor(self) -> int:
        """What was invoiced for service still to come, zero or above."""
        return -self.balance_minor("deferred_revenue")

    # what follows ----------------------------------------------------------------------------

    def owed(self) -> tuple[Invoice, ...]:
        """The invoices on which something is due, by their due instants."""
        found = (one for one in self.invoices.values() if one.due_minor > 0)
        return tuple(sorted(found, key=lambda one: (one.due_at or one.finalized_at, one.id)))

    def attempts_of(self, invoice: str) -> tuple[PaymentAttempt, ...]:
        """An invoice's attempts, by their numbers."""
        found = (one for one in self.attempts.values() if one.invoice == invoice)
        return tuple(sorted(found, key=lambda one: one.number))

    def dunning_facts(self) -> DunningFacts:
        """What the ladder follows from. What must be paid before a change holds is no debt."""
        change = self.subscription.pending_change
        waiting = "" if change is None else change.invoice
        owed = (one for one in self.owed() if one.id != waiting)
        # Of a first invoice nothing was had yet; and who collects nothing presses nobody.
        first = self.subscription.state in ("incomplete", "incomplete_expired")
        spared = first or self.subscription.collection_paused
        return DunningFacts(
            debts=() if spared else debts_of(owed),
            never_suspend=self.subscription.never_suspend,
            canceled=self.subscription.state in SUBSCRIPTION.terminal,
        )

    def refresh(self) -> None:
        """Write down what the debts close, and until when the rights hold; last in every move."""
        if self.subscription.terms is None:
            return
        policy, facts = self.offer.dunning, self.dunning_facts()
        steps = gate_steps(policy, facts)
        ends = grace_end(policy, facts) if self.subscription.state == "past_due" else None
        if (steps, ends) != (self.subscription.gates, self.subscription.grace_ends_at):
            self.revise(gates=steps, grace_ends_at=ends)


def cycle_of(terms: Terms) -> Cycle:
    """How long the terms' periods are."""
    return Cycle(interval=terms.interval)
