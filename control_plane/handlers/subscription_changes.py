"""The moves of a subscription that change what is had: plan, cancellation, pause, method. Not those of money alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from control_plane.billing.book import Book
from control_plane.billing.by_hand import close_for_another_method
from control_plane.billing.change_quote import Wanted
from control_plane.billing.ending import cancel_later, cancel_now, keep, pause, resume
from control_plane.billing.plan_change import commit, quote
from control_plane.billing.taxing import require_taxable
from control_plane.commands import Command
from control_plane.domain.terms import Method
from control_plane.errors import BadInput, Refused
from control_plane.handlers import stack_steps
from control_plane.handlers.handler import Observed, Step, Work
from control_plane.handlers.subscription_move import SubscriptionMove
from control_plane.handlers.subscription_plan import expired
from control_plane.handlers.subscription_steps import (
    COLLECT,
    FINISH,
    PROVISION,
    booking,
    stack_of,
)
from control_plane.handlers.tenant_moves import tenant_now
from control_plane.subscription_commands import (
    CancelSubscription,
    ChangeSubscription,
    PauseSubscription,
    ResumeSubscription,
    SetBillingDetails,
    SetPaymentMethod,
    WantedSubscription,
)


def wanted_of(command: Command) -> Wanted:
    """What a change asks for."""
    assert isinstance(command, WantedSubscription)
    names = Wanted.model_fields
    return Wanted.model_validate({name: getattr(command, name) for name in names})


def change_plan(
    connection: Connection, book: Book, command: Command, at: datetime, reference: str
) -> None:
    """Make the change that a command asks for in a book, as of an instant. Raises as `quote` does."""
    began = book.subscription.current_period_start
    if began is not None and at < began:
        # The period that was quoted is over.
        raise expired("current_period_start")
    commit(book, quote(book, wanted_of(command), at, reference), at, reference)


class ChangeSubscriptionHandler(SubscriptionMove):
    """Another plan, seats or add-ons: one plan over money, entitlement and infrastructure."""

    # Its stack changes with it, so no other run may be about the tenant.
    holds = True
    operation = "change"
    kind = "change_subscription"
    command_type: type[Command] = ChangeSubscription
    move = staticmethod(change_plan)
    steps: tuple[Step, ...] = (booking(change_plan, collects=True), COLLECT, PROVISION, FINISH)

    def observe(self, work: Work) -> Observed:
        """The money on a copy of the book; the stack against what stands, where the plan is another."""
        money = super().observe(work)
        assert isinstance(work.command, ChangeSubscription)
        plan = work.command.plan
        if plan == tenant_now(work).plan or _comes_later(money):
            return money
        provisioner = stack_steps.provisioner_of(work)
        seen = provisioner.observe(stack_of(work, plan), should_stop=work.should_stop)
        stack = stack_steps.observed(seen)
        return replace(money, parts=money.parts | stack.parts, artifact=stack.artifact)


def _comes_later(money: Observed) -> bool:
    """Whether it waits for the period's end: then the stack stays as it is until it has come."""
    told = money.parts["entitlement"]
    assert isinstance(told, dict), "a plan names its entitlement"
    return told["pending_plan"] is not None and not told["waits_for_payment"]


def _cancel(
    connection: Connection, book: Book, command: Command, at: datetime, reference: str
) -> None:
    assert isinstance(command, CancelSubscription)
    if command.ends == "now":
        cancel_now(book, at, reference)
    else:
        cancel_later(book, at)


class CancelSubscriptionHandler(SubscriptionMove):
    """Ends it, with its period or at once."""

    operation = "cancel"
    kind = "cancel_subscription"
    command_type: type[Command] = CancelSubscription
    move = staticmethod(_cancel)
    steps: tuple[Step, ...] = (booking(_cancel, final=True),)

    def ends_now(self, command: Command) -> bool:
        """At once, where that is asked for."""
        assert isinstance(command, CancelSubscription)
        return command.ends == "now"


def _pause(
    connection: Connection, book: Book, command: Command, at: datetime, reference: str
) -> None:
    assert isinstance(command, PauseSubscription)
    pause(book, command.until, at, reference)


class PauseSubscriptionHandler(SubscriptionMove):
    """No bills and no rights for a while."""

    operation = "pause"
    kind = "pause_subscription"
    command_type: type[Command] = PauseSubscription
    move = staticmethod(_pause)
    steps: tuple[Step, ...] = (booking(_pause, final=True),)


def _resume(
    connection: Connection, book: Book, command: Command, at: datetime, reference: str
) -> None:
    if book.subscription.cancel_at_period_end:
        keep(book, at)
    else:
        resume(book, at)


class ResumeSubscriptionHandler(SubscriptionMove):
    """Lifts a pause, or takes a cancellation back."""

    operation = "resume"
    kind = "resume_subscription"
    command_type: type[Command] = ResumeSubscription
    move = staticmethod(_resume)
    steps: tuple[Step, ...] = (booking(_resume, final=True),)


def _set_method(
    connection: Connection, book: Book, command: Command, at: datetime, reference: str
) -> None:
    assert isinstance(command, SetPaymentMethod)
    method = Method(provider=command.provider, reference=command.reference)
    if book.subscription.method == method:
        raise BadInput("reference", "is the payment method already")
    close_for_another_method(book, at)
    book.revise(method=method, method_set_at=at)
    book.note(at, "subscription.method_set", detail=method.provider)


class SetPaymentMethodHandler(SubscriptionMove):
    """Collects from another method; what waited for one is tried at once."""

    operation = "set_method"
    kind = "set_payment_method"
    command_type: type[Command] = SetPaymentMethod
    move = staticmethod(_set_method)
    steps: tuple[Step, ...] = (booking(_set_method, final=True),)

    def observe(self, work: Work) -> Observed:
        """The same, by a provider that there is: only the worker knows which there are."""
        assert isinstance(work.command, SetPaymentMethod)
        if work.command.provider not in (work.ports.payments or {}):
            raise Refused(
                "There is no such payment provider here.",
                code="provider_unknown",
                rule="subscription.method",
                fact="provider",
            )
        return super().observe(work)


def _set_details(
    connection: Connection, book: Book, command: Command, at: datetime, reference: str
) -> None:
    assert isinstance(command, SetBillingDetails)
    require_taxable(book.sources.tax, command.buyer, at)
    book.revise(buyer=command.buyer)
    book.note(at, "subscription.details_set", detail=command.buyer.country)


class SetBillingDetailsHandler(SubscriptionMove):
    """Makes invoices out to a customer, from the next one on; those that are final stay as they are."""

    operation = "set_details"
    kind = "set_billing_details"
    command_type: type[Command] = SetBillingDetails
    move = staticmethod(_set_details)
    steps: tuple[Step, ...] = (booking(_set_details, final=True),)
