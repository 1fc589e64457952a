"""The steps of a move of a subscription: the books, the money, the stack. Not their order of execution: the engine's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, TypeAlias

from sqlalchemy import Connection

from control_plane.billing import book_store
from control_plane.billing.book import Book
from control_plane.billing.collecting import begin
from control_plane.billing.coupons import give_back
from control_plane.billing.invoicing import annul
from control_plane.billing.plan_change import drop_change
from control_plane.domain.canonical import Json, plain
from control_plane.domain.payment import PaymentAttempt
from control_plane.domain.redemption import Redemption
from control_plane.domain.subscription import Subscription
from control_plane.errors import Failed, Refused
from control_plane.facts.load import subscription_row
from control_plane.handlers import stack_steps, teller
from control_plane.handlers.billing_moves import (
    attempt_of,
    closed_by_itself,
    closed_by_run,
    opened,
    take_word,
)
from control_plane.handlers.handler import Probe, Step, Work
from control_plane.handlers.stack_records import record_stack
from control_plane.handlers.subscription_plan import Move, carried_out, require_fresh
from control_plane.handlers.tenant_moves import (
    change_tenant,
    inside_of,
    noted,
    noted_now,
    tenant_now,
    tenant_of,
)
from control_plane.provisioning.stacks import StackRequest
from control_plane.store import rows
from control_plane.subscription_commands import ChangeSubscription

_KEPT: Final = (
    "plan",
    "plan_version",
    "terms",
    "running",
    "current_period_start",
    "current_period_end",
    "term_ends_at",
)
_AGREED: Final = ("plan", "plan_version", "terms")
_COUPONS: Final = "coupons"
Kept: TypeAlias = dict[str, Json]


def instant_of(work: Work) -> datetime:
    """The instant as of which a move is made: the one that was previewed, else the call's."""
    asked: object = getattr(work.command, "proration_at", None)
    return asked if isinstance(asked, datetime) else datetime.fromisoformat(work.run.as_of)


def booking(move: Move, *, collects: bool = False, final: bool = False) -> Step:
    """The step that makes a move in the books, exactly as it was planned and decided on.

    ``collects``: with an attempt to collect what is due. ``final``: it is the whole move.
    """

    def do(work: Work, connection: Connection | None) -> Kept:
        inside, at = inside_of(connection), instant_of(work)
        now = work.ports.clock.now()
        require_fresh(at, now)
        book = opened(inside, work.ports, work.run.tenant)
        before = _before(book)
        done = carried_out(inside, book, move, work.command, at, work.run.id)
        if done.parts["money"] != _approved(work):
            raise Refused("The facts behind the plan have changed.", code="digest_changed")
        attempt = _begun(book, work, now) if collects else None
        return {"before": before, "attempt": attempt, **closed_by_run(inside, book, work)}

    # With nothing to come after it, what is booked stays: a later move takes it back.
    if final:
        return Step("book", do=do, irreversible=True)
    return Step("book", do=do, undo=_unbook)


def _before(book: Book) -> Kept:
    held = {name: plain(getattr(book.subscription, name)) for name in _KEPT}
    return {**held, _COUPONS: [plain(one) for _, one in sorted(book.redemptions.items())]}


def _approved(work: Work) -> Json:
    parts = (work.run.plan or {}).get("parts")
    assert isinstance(parts, dict), "a run is planned before it is carried out"
    return parts.get("money")


def _begun(book: Book, work: Work, now: datetime) -> str | None:
    change = book.subscription.pending_change
    waiting = "" if change is None else change.invoice
    invoice = getattr(work.command, "invoice", waiting)
    if not invoice or book.invoices[invoice].due_minor <= 0:
        return None
    return begin(book, invoice, now).id


def _unbook(work: Work, connection: Connection | None) -> None:
    """A change of plan is taken back with its invoice; other moves end with the step that made them."""
    if not isinstance(work.command, ChangeSubscription):
        return
    inside = inside_of(connection)
    before = noted(work, inside, "book").get("before")
    assert isinstance(before, dict), "the books note what was"
    book = opened(inside, work.ports, work.run.tenant)
    now, change = work.ports.clock.now(), book.subscription.pending_change
    if change is not None:
        drop_change(book, now)
    elif any(_before(book)[name] != before[name] for name in (*_AGREED, _COUPONS)):
        _take_back(inside, book, before, work, now)
    closed_by_run(inside, book, work)


def _take_back(
    connection: Connection, book: Book, before: dict[str, Json], work: Work, now: datetime
) -> None:
    held = subscription_row(connection, book.tenant)
    assert held is not None, "a book has a subscription"
    # While the terms still say in which currency: a first plan leaves none behind.
    for invoice in _made(work, connection):
        annul(book, book_store.bring(connection, book, invoice), now, "mistake")
    others = {name: value for name, value in plain_of(held).items() if name not in _KEPT}
    known = {name: value for name, value in before.items() if value is not None}
    then = rows.parse(Subscription, {**others, **known})
    book.revise(**{name: getattr(then, name) for name in _KEPT})
    _restore_coupons(book, before[_COUPONS], now)
    book.note(now, "subscription.change_undone", detail=then.plan)


def _restore_coupons(book: Book, before: Json, now: datetime) -> None:
    assert isinstance(before, list), "the books note which coupons there were"
    then = [rows.parse(Redemption, one) for one in before if isinstance(one, dict)]
    for code in sorted(book.redemptions.keys() - {one.code for one in then}):
        give_back(book, code, now)
    book.redemptions |= {one.code: one for one in then}


def plain_of(subscription: Subscription) -> dict[str, Json]:
    """A subscription as a row would tell it."""
    told = plain(subscription)
    assert isinstance(told, dict), "a record is told as an object"
    return {name: value for name, value in told.items() if value is not None}


def _made(work: Work, connection: Connection) -> list[str]:
    happened = noted(work, connection, "book").get("happened")
    assert isinstance(happened, list), "the books tell what happened"
    return [
        str(one["reference"])
        for one in happened
        if isinstance(one, dict) and one["kind"] == "invoice.finalised"
    ]


# The money -------------------------------------------------------------------------------------


def collecting(after: str) -> Step:
    """The step that puts the attempt of an earlier one to its provider, and writes down its word.

    Raises Failed (`payment_declined`). What waits, for the customer or the provider, is settled by
    whoever hears of it, without this run.
    """

    def attempt(work: Work) -> PaymentAttempt | None:
        named = noted_now(work, after).get("attempt")
        if not isinstance(named, str):
            return None
        with work.ports.store.read() as connection:
            return attempt_of(connection, named)

    def collect(work: Work, connection: Connection | None) -> Kept:
        going = attempt(work)
        if going is None:
            return {"payment": "none"}
        if going.state == "processing":
            going = _heard(work, going, teller.charge(work.ports, going))
        if not teller.has(work.ports, going.provider) and going.failure == "gateway_error":
            raise Failed("There is no such payment provider here.", code="provider_unknown")
        if going.state in ("failed", "canceled"):
            raise Failed("The payment was declined.", code="payment_declined")
        return {"payment": going.state}

    def collected(work: Work) -> Probe:
        going = attempt(work)
        if going is not None and going.state == "processing":
            # It may have gone out before a crash: it is asked about, and never charged again.
            going = _heard(work, going, teller.ask(work.ports, going))
        # One that came to nothing is no effect: done again, the step says so and the run is undone.
        came = going is None or going.state not in ("processing", "failed", "canceled")
        return "present" if came else "absent"

    return Step("collect", do=collect, probe=collected, outside=True)


def _heard(work: Work, attempt: PaymentAttempt, verdict: teller.Verdict) -> PaymentAttempt:
    with work.ports.store.write(work.run.tenant) as connection:
        book = take_word(connection, work.ports, attempt, verdict)
        closed_by_itself(connection, work.ports, book)
        return book.attempts[attempt.id]


COLLECT: Final = collecting("book")


# The stack -------------------------------------------------------------------------------------


def stack_of(work: Work, plan: str) -> StackRequest:
    """The tenant's stack on a plan."""
    tenant = tenant_now(work)
    return stack_steps.requested(work, tenant.cloud, tenant.isolation, plan, tenant.region)


def _plan_in_force(work: Work) -> str | None:
    """The plan that the stack must come to; None where it stands so already."""
    tenant = tenant_now(work)
    with work.ports.store.read() as connection:
        found = subscription_row(connection, tenant.id)
    return None if found is None or found.plan == tenant.plan else found.plan


def provision(work: Work, connection: Connection | None) -> Kept:
    """Apply exactly the saved plan, once the change holds; nothing where it does not yet."""
    plan = _plan_in_force(work)
    if plan is None or work.run.artifact is None:
        return {"provisioned": False}
    saved = stack_steps.saved_plan(work)
    applied = stack_steps.provisioner_of(work).apply(
        stack_of(work, plan), saved, should_stop=work.should_stop, tell=work.tell
    )
    held: Kept = {"outputs": plain(applied.outputs), "resources": plain(applied.resources)}
    return {"provisioned": True, "plan": plan, "stack": held}


def _restore_stack(work: Work, connection: Connection | None) -> None:
    provisioner, wanted = stack_steps.provisioner_of(work), stack_of(work, tenant_now(work).plan)
    seen = provisioner.observe(wanted, should_stop=work.should_stop)
    provisioner.apply(wanted, seen.artifact, should_stop=stack_steps.beating(work))


def _provisioned(work: Work) -> Probe:
    plan = _plan_in_force(work)
    if plan is None:
        return "present"
    return stack_steps.provisioner_of(work).settle(stack_of(work, plan))


def finish(work: Work, connection: Connection | None) -> Kept:
    """The tenant is on the plan that its subscription is on, now that its stack is."""
    inside = inside_of(connection)
    tenant, held = tenant_of(work, inside), subscription_row(inside, work.run.tenant)
    assert held is not None, "a change is of a subscription"
    if held.plan != tenant.plan:
        change_tenant(inside, tenant, plan=held.plan)
    followed = noted(work, inside, "provision").get("stack")
    if isinstance(followed, Mapping):
        record_stack(work, inside, stack_of(work, held.plan), followed)
    return {"plan": held.plan, "state": held.state}


PROVISION: Final = Step(
    "provision", do=provision, undo=_restore_stack, probe=_provisioned, outside=True
)
FINISH: Final = Step("finish", do=finish, irreversible=True)


def _rest(work: Work, connection: Connection | None) -> Kept:
    held = subscription_row(inside_of(connection), work.run.tenant)
    return {"state": None if held is None else held.state}


REST: Final = Step("finish", do=_rest, irreversible=True)
"""The end of a move that changes no stack."""
