"""How a subscription pauses, ends, or is kept after all. Not why a debt ends one, and not the tenant's own end."""

from __future__ import annotations

from datetime import datetime

from control_plane.billing.arrears import close_draft, end_billing
from control_plane.billing.book import Book
from control_plane.billing.calendar import utc
from control_plane.billing.charging import credit_lines
from control_plane.billing.coupons import close, is_covered
from control_plane.billing.fixed_term import require_over
from control_plane.billing.invoicing import (
    annul,
    drafted,
    finalised,
    own_invoice_id,
    use_credit,
)
from control_plane.billing.plan_change import drop_change
from control_plane.billing.starting import expire_incomplete, reopen
from control_plane.domain.canonical import instant
from control_plane.domain.subscription import SUBSCRIPTION
from control_plane.errors import BadInput, Refused


def cancel_later(book: Book, at: datetime) -> None:
    """End with the period that runs; until then everything holds, and it may be undone.

    Refused where it is ending already, and while a fixed term goes on beyond the period
    (`term_runs`).
    """
    SUBSCRIPTION.next(book.subscription.state, "cancel_at_period_end")
    if book.subscription.cancel_at_period_end:
        raise Refused(
            "The subscription ends with its period already.",
            code="already_ending",
            rule="subscription.cancel_at_period_end",
            fact="cancel_at_period_end",
        )
    ends = book.subscription.current_period_end
    if ends is None:
        raise Refused(
            "There is no period with which it could end: cancel it now.",
            code="no_period",
            rule="subscription.cancel_at_period_end",
            fact="current_period_end",
        )
    require_over(book.subscription, ends)
    if book.subscription.pending_change is not None:
        drop_change(book, at)
    book.fire("cancel_at_period_end", at, cancel_at_period_end=True)


def keep(book: Book, at: datetime) -> None:
    """Undo `cancel_later`, as long as the period runs."""
    SUBSCRIPTION.next(book.subscription.state, "keep")
    if not book.subscription.cancel_at_period_end:
        raise Refused(
            "The subscription is not ending.",
            code="not_ending",
            rule="subscription.cancel_at_period_end",
            fact="cancel_at_period_end",
        )
    book.fire("keep", at, cancel_at_period_end=False)


def cancel_now(book: Book, at: datetime, reference: str, *, released: bool = False) -> None:
    """End at once: what is unused is credited, and pays for what is owed first.

    Refused while a fixed term runs (`term_runs`), unless the tenant is `released` from it.
    """
    SUBSCRIPTION.next(book.subscription.state, "cancel")
    if not released:
        require_over(book.subscription, at)
    if book.subscription.state == "incomplete":
        for invoice in book.owed():
            annul(book, invoice, at, "cancellation")
    else:
        _give_back(book, at, reference)
    close(book, at, unused=book.subscription.state == "incomplete")
    if book.subscription.terms is not None:
        end_billing(book, at)
    book.fire("cancel", at, cancel_at_period_end=False, paused_until=None)


def end(book: Book, event: str, at: datetime) -> None:
    """The period, the term, a trial or the ladder is over, and with it the subscription."""
    if event == "expire_incomplete":
        expire_incomplete(book, at)
        return
    if event == "end_term":
        # A pause has moved the periods: the last one may reach beyond the term.
        _give_back(book, at, f"term.{instant(at)}")
    elif book.subscription.pending_change is not None:
        drop_change(book, at)
    # Unpaid it is not over: what it was invoiced for is had once it is paid.
    over = SUBSCRIPTION.next(book.subscription.state, event) != "unpaid"
    if over and book.subscription.terms is not None:
        end_billing(book, at)
    if over:
        close(book, at)
    book.fire(event, at, cancel_at_period_end=False, paused_until=None)


def pause(book: Book, until: datetime, at: datetime, reference: str) -> None:
    """No bills and no rights until `until`; what is unused is credited. Refused where the plan forbids it."""
    SUBSCRIPTION.next(book.subscription.state, "pause")
    if not book.offer.pausable:
        raise Refused(
            "The plan may not be paused.",
            code="pause_not_offered",
            rule="catalog.plans",
            fact="pausable",
        )
    if utc(until) <= utc(at):
        raise BadInput("until", "must lie in the future")
    _give_back(book, at, reference)
    if book.subscription.terms is not None:
        end_billing(book, at)
    if book.subscription.state == "trialing":
        book.revise(trial_ends_at=at)
    book.fire("pause", at, paused_until=until, cancel_at_period_end=False)


def pause_at_trial_end(book: Book, at: datetime) -> None:
    """A trial is over and there is nothing to pay with: it waits, without an end."""
    end_billing(book, at)
    book.fire("end_trial_paused", at, paused_until=None)


def resume(book: Book, at: datetime) -> None:
    """Active again, with a new period from now. Refused without a payment method."""
    SUBSCRIPTION.next(book.subscription.state, "resume")
    terms = book.subscription.terms
    needs_method = terms is not None and terms.collection == "automatic" and book.offer.priced
    if needs_method and book.subscription.method is None and not is_covered(book):
        raise Refused(
            "A payment method is needed first.",
            code="payment_method_required",
            rule="subscription.method",
            fact="method",
        )
    reopen(book, "resume", at)


def _give_back(book: Book, at: datetime, reference: str) -> None:
    """Credit what is unused, after a change that is pending was dropped."""
    running, named = book.subscription.running, own_invoice_id(book, reference)
    # First, as it refuses an instant that lies before them.
    lines = credit_lines(book, running, named, at) if running else ()
    if book.subscription.pending_change is not None:
        drop_change(book, at)
    close_draft(book, at)
    if lines:
        finalised(book, drafted(book, named, lines), at)
        for invoice in book.owed():
            use_credit(book, at, invoice)
