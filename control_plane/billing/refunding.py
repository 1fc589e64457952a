"""Giving money back by the way it came: the promise, when it is asked for, and what its end books. Not the provider."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from control_plane.billing import ledger
from control_plane.billing.book import Book
from control_plane.billing.calendar import utc
from control_plane.billing.collecting import after_payment
from control_plane.billing.invoicing import use_credit
from control_plane.billing.provider import Answer, PaymentContradiction
from control_plane.domain.credit_note import CreditNote
from control_plane.domain.money import Money
from control_plane.domain.payment import PaymentAttempt
from control_plane.domain.refund import REFUND, Refund, refund_id
from control_plane.errors import Refused

# From one asking to the next while a provider is not done, or does not answer. A bank takes days.
REFUND_WAITS: Final = (timedelta(minutes=5), timedelta(hours=1), *(timedelta(days=1),) * 30)


def promise(book: Book, note: CreditNote, at: datetime) -> Refund:
    """The refund of a credit note that was just issued, to be asked for at once.

    It goes back to one attempt that collected the invoice. Refused (`refund_not_covered`) where
    none has so much left: what was paid by credit or by transfer came through no provider.
    """
    source = covering(book.attempts_of(note.invoice), book.refunds.values(), note.amount_minor)
    if source is None:
        raise Refused(
            "No payment through a provider has so much left to be given back: give it as balance.",
            code="refund_not_covered",
            rule="refund.bound",
            fact="amount_minor",
        )
    made = Refund(
        id=refund_id(note.id),
        tenant=book.tenant,
        credit_note=note.id,
        invoice=note.invoice,
        attempt=source.id,
        amount_minor=note.amount_minor,
        currency=note.currency,
        created_at=at,
        changed_at=at,
    )
    return book.put_refund(made)


def covering(
    attempts: Iterable[PaymentAttempt], refunds: Iterable[Refund], amount_minor: int
) -> PaymentAttempt | None:
    """The newest attempt of those that succeeded of which so much is left; None where none is."""
    given = [one for one in refunds if one.state != "failed"]

    def left_minor(attempt: PaymentAttempt) -> int:
        gone = sum(one.amount_minor for one in given if one.attempt == attempt.id)
        return attempt.amount_minor - gone

    found = [
        one for one in attempts if one.state == "succeeded" and left_minor(one) >= amount_minor
    ]
    return max(found, key=lambda one: one.number, default=None)


def refund_due_at(refund: Refund) -> datetime | None:
    """When to ask for a refund: at once, then at growing intervals; None once it is over.

    None too where it was asked for as often as is sensible: then a human looks at the provider.
    """
    if refund.state != "pending":
        return None
    if refund.asked_at is None:
        return refund.created_at
    if refund.asked > len(REFUND_WAITS):
        return None
    return refund.asked_at + REFUND_WAITS[refund.asked - 1]


def heard(refund: Refund, answer: Answer, at: datetime) -> Refund:
    """The refund after its provider's word at the aware instant `at`; of one that is over, unchanged.

    PaymentContradiction where it has ended otherwise, or the word is of another refund.
    """
    if refund.reference and answer.reference and refund.reference != answer.reference:
        raise PaymentContradiction("the refund is another one at its provider", "reference")
    over = {"succeeded": "succeeded", "failed": "failed", "canceled": "failed"}.get(answer.kind)
    if refund.state in REFUND.terminal:
        if over is not None and over != refund.state:
            raise PaymentContradiction(
                "the provider says otherwise of how the refund ended", "state"
            )
        return refund
    event = {"succeeded": "succeed", "failed": "fail"}.get(over or "", "ask_again")
    return _moved(
        refund,
        event,
        at,
        reference=refund.reference or answer.reference,
        decline_code=answer.decline_code,
    )


def unheard(refund: Refund, at: datetime) -> Refund:
    """The refund after it was asked for and nobody answered; of one that is over, unchanged."""
    return refund if refund.state in REFUND.terminal else _moved(refund, "ask_again", at)


def take_in(book: Book, refund: Refund, at: datetime) -> Refund:
    """A refund as its provider's word has left it, and what that books. Told again, nothing does.

    What could not be given back stands to the tenant's credit, and pays what is owed.
    """
    before = book.refunds.get(refund.id)
    if before == refund:
        return refund
    book.put_refund(refund)
    amount = Money(minor=refund.amount_minor, currency=refund.currency)
    of = ledger.Occurrence(
        tenant=book.tenant, reference=refund.id, occurred_at=at, currency=refund.currency
    )
    if refund.state == "succeeded":
        book.post(ledger.payment_refunded(of, amount_minor=refund.amount_minor))
        book.note(at, "refund.succeeded", refund.credit_note, amount)
    elif refund.state == "failed":
        book.post(ledger.credit_granted(of, amount_minor=refund.amount_minor, out_of="refunds"))
        book.note(at, "refund.failed", refund.credit_note, amount, refund.decline_code)
        for owed in book.owed() if book.subscription.terms is not None else ():
            use_credit(book, at, owed)
            after_payment(book, owed.id, at)
    return refund


def _moved(refund: Refund, event: str, at: datetime, **told: object) -> Refund:
    changed = {
        "state": REFUND.next(refund.state, event),
        "asked": refund.asked + 1,
        "asked_at": utc(at),
        # A word may be booked with an instant before the last one's: time does not run back.
        "changed_at": max(refund.changed_at, utc(at)),
        "version": refund.version + 1,
    }
    return Refund.model_validate(dict(refund) | changed | told)
