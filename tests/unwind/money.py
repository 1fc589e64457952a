"""Each move of a tenant's money as it is killed: from which past, what asks for it, what must stand at its end. Not the killing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from control_plane.billing.book import Book
from control_plane.billing.ending import pause
from control_plane.domain.canonical import instant
from control_plane.engine.failpoints import BILLING_BOUNDARIES, RUN_BOUNDARIES
from control_plane.handlers.registry import failpoint_names
from server.workspace import StoreKind
from tests.support.elapsed import Past
from tests.support.house import fresh_key
from tests.unwind.lifecycles import Asked
from tests.unwind.purse import Purse

if TYPE_CHECKING:
    from tests.unwind.site import Site

TRIAL = """
  - name: tried
    version: 1
    rank: 35
    tier: tried
    title: Tried
    isolations: [pooled]
    regions: [local]
    quotas: {records_max: 1000, seats_max: 25}
    trial: {days: 14}
    charges:
      - component: plan
        interval: month
        prices:
          - {currency: EUR, model: flat, amount_minor: 2500}
"""
"""A plan that the sample lacks, to be added to its file."""

COMPENSATING = "run.compensating"
BUSINESS, ENTERPRISE, TRIED = 4900 + 2 * 900, 49000, 2500
PART = 100
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Blow:
    """One kill: of a worker, at a boundary, while it makes a move."""

    point: str
    move: str
    store: StoreKind

    def __str__(self) -> str:
        """The case's name in a test's id."""
        return f"{self.point}-{self.move}-{self.store}"

    @property
    def undoes(self) -> bool:
        """Whether the boundary is reached only by a run that is taken back."""
        return ".undo_" in self.point or self.point == COMPENSATING

    @property
    def doubts(self) -> bool:
        """Whether nobody knows afterwards if a payment had gone out; the provider never heard of it."""
        return self.point.endswith(".collect.dispatched")


Arguments = Callable[["Site", str, Purse], dict[str, Any]]
Holds = Callable[[Blow, Purse, Purse], None]


@dataclass(frozen=True)
class Move:
    """One move. Without a `tool` it is the clock that makes it, without a `past` it has no tenant yet.

    `failing` is the boundary at which a fault makes the run take back what it has done. One of the
    clock's that `asks` no provider reaches the first of its boundaries alone.
    """

    name: str
    past: Past | None
    holds: Holds
    kind: str = ""
    tool: str = ""
    given: Arguments = lambda _site, _tenant, _purse: {}
    failing: str = ""
    asks: bool = True

    def asked(self, site: Site, tenant: str, purse: Purse) -> Asked:
        """The call."""
        given = self.given(site, tenant, purse)
        return Asked(self.tool, {"tenant": tenant, "idempotency_key": fresh_key(), **given})

    @property
    def points(self) -> tuple[str, ...]:
        """Every boundary that a worker reaches in it."""
        if not self.kind:
            return BILLING_BOUNDARIES if self.asks else BILLING_BOUNDARIES[:1]
        own = [name for name in failpoint_names() if name.startswith(f"{self.kind}.")]
        # Of one step that stays there is nothing to take back.
        undone = any(".undo_" in name for name in own)
        return (*(one for one in RUN_BOUNDARIES if undone or one != COMPENSATING), *own)


# What is asked ---------------------------------------------------------------------------------


def _previewed(site: Site, tenant: str, _purse: Purse) -> dict[str, Any]:
    wanted = {"tenant": tenant, "plan": "enterprise"}
    told: Any = site.call(Asked("subscription_preview_change", wanted)).answer()["result"]
    return {"plan": "enterprise", "proration_at": told["proration_at"]}


def _owed(_site: Site, _tenant: str, purse: Purse) -> dict[str, Any]:
    (invoice,) = [one.id for one in purse.invoices if one.state == "open"]
    return {"invoice": invoice}


def _transfer(site: Site, tenant: str, purse: Purse) -> dict[str, Any]:
    return {
        **_owed(site, tenant, purse),
        "amount_minor": purse.due_minor,
        "reference": f"bank-{tenant}",
    }


def _credit(site: Site, tenant: str, purse: Purse) -> dict[str, Any]:
    taken = {"amount_minor": PART, "kind": "reduction", "reason": "service"}
    return {**_owed(site, tenant, purse), **taken}


def _rest(book: Book, at: datetime) -> None:
    pause(book, at + 30 * _DAY, at + _DAY, "rest")


# What must stand -------------------------------------------------------------------------------


def _changed(blow: Blow, before: Purse, after: Purse) -> None:
    if blow.doubts:
        assert (after.plan, after.tenant_plan) == ("business", "business")
        assert (after.invoiced, after.charged) == (("paid", "void"), before.charged)
        return
    (made,) = [one for one in after.invoices[1:] if one.state != "draft"]
    assert ENTERPRISE - BUSINESS - 5_000 < made.total_minor < ENTERPRISE - BUSINESS
    assert after.charged == (BUSINESS, made.total_minor)
    assert after.due_minor == 0
    if blow.undoes:
        assert (after.plan, after.tenant_plan) == ("business", "business")
        # What was taken is the tenant's, and pays for what comes next.
        assert after.credit_minor == made.total_minor
    else:
        assert (after.plan, after.tenant_plan) == ("enterprise", "enterprise")
        assert (after.invoiced, after.credit_minor) == (("paid", "paid"), 0)


def _untouched(_blow: Blow, before: Purse, after: Purse) -> None:
    assert after == before


def _ending(_blow: Blow, before: Purse, after: Purse) -> None:
    assert after == replace(before, ending=True)


def _resting(_blow: Blow, before: Purse, after: Purse) -> None:
    assert (after.state, after.charged, after.due_minor) == ("paused", before.charged, 0)
    assert BUSINESS // 2 < after.credit_minor < BUSINESS


def _going_on(_blow: Blow, before: Purse, after: Purse) -> None:
    paid_minor = ENTERPRISE - before.credit_minor
    assert (after.state, after.charged) == ("active", (ENTERPRISE, paid_minor))
    assert ({*after.invoiced}, after.credit_minor) == ({"paid"}, 0)


def _debt_taken(blow: Blow, before: Purse, after: Purse) -> None:
    if blow.doubts:
        # The debt stands as it did; it is tried again by itself, later.
        assert (after.charged, after.due_minor) == (before.charged, BUSINESS)
        return
    assert (after.state, after.due_minor) == ("active", 0)
    assert (after.charged, after.invoiced) == ((BUSINESS, BUSINESS), ("paid", "paid"))


def _debt_settled(_blow: Blow, _before: Purse, after: Purse) -> None:
    # By another method; the clock has collected with it.
    assert (after.method, after.state, after.due_minor) == ("sandbox_ok", "active", 0)
    assert (after.charged, after.invoiced) == ((BUSINESS, BUSINESS), ("paid", "paid"))


def _transferred(_blow: Blow, before: Purse, after: Purse) -> None:
    assert (after.state, after.due_minor, after.credit_minor) == ("active", 0, 0)
    assert (after.charged, after.attempts) == (before.charged, before.attempts)


def _credited(_blow: Blow, before: Purse, after: Purse) -> None:
    assert after.due_minor == before.due_minor - PART
    assert (after.state, after.charged) == (before.state, before.charged)


def _renewed(blow: Blow, before: Purse, after: Purse) -> None:
    assert (after.state, after.charged, after.due_minor) == ("active", (BUSINESS, BUSINESS), 0)
    assert after.invoiced == ("paid", "paid")
    # One that never got out came to nothing, and was tried again.
    unsent = ("failed",) if blow.point == "billing.begun" else ()
    assert after.attempts == (*before.attempts, *unsent, "succeeded")


def _began_to_pay(blow: Blow, before: Purse, after: Purse) -> None:
    assert (after.state, after.charged, after.due_minor) == ("active", (TRIED,), 0)
    assert (before.charged, after.invoiced) == ((), ("paid",))


def _owing(blow: Blow, before: Purse, after: Purse) -> None:
    assert (after.state, after.charged, after.due_minor) == ("past_due", (BUSINESS,), BUSINESS)
    assert after.invoiced == ("paid", "open")
    unsent = ("failed",) if blow.point == "billing.begun" else ()
    assert after.attempts == (*before.attempts, *unsent, "failed")


def _shut(_blow: Blow, before: Purse, after: Purse) -> None:
    assert after == replace(before, state="unpaid")


def _bought(blow: Blow, _before: Purse, after: Purse) -> None:
    assert after.due_minor == 0
    if blow.doubts:
        assert after.charged == ()
        return
    assert after.charged == (BUSINESS,)
    if blow.undoes:
        # The name is the tenant's still, and so is what was taken.
        assert (after.state, after.credit_minor) == ("canceled", BUSINESS)
    else:
        assert (after.state, after.invoiced) == ("active", ("paid",))


# The moves -------------------------------------------------------------------------------------

_PAID = Past("business", began=3 * _DAY)
# Declined by now: its ninth attempt succeeds, and the ladder has eight.
_TRIED = Past("business", began=46 * _DAY, then="sandbox_declined_8")
_STOLEN = Past("business", began=46 * _DAY, then="sandbox_stolen")
_BOUGHT = {
    "display_name": "Paying",
    "plan": "business",
    "isolation": "pooled",
    "subscription": {
        "currency": "EUR",
        "seats": 2,
        "method": {"provider": "sandbox", "reference": "sandbox_ok"},
    },
}


def _later(_site: Site, _tenant: str, _purse: Purse) -> dict[str, Any]:
    return {"until": instant(datetime.now(UTC) + 9 * _DAY)}


def _other_method(_site: Site, _tenant: str, _purse: Purse) -> dict[str, Any]:
    return {"provider": "sandbox", "reference": "sandbox_ok"}


MOVES = {
    one.name: one
    for one in (
        Move(
            "bought",
            None,
            _bought,
            "onboard",
            "tenant_onboard",
            lambda _site, _tenant, _purse: _BOUGHT,
            "activate.before",
        ),
        Move(
            "changed",
            _PAID,
            _changed,
            "change_subscription",
            "subscription_change",
            _previewed,
            "finish.before",
        ),
        Move(
            "ended",
            _PAID,
            _ending,
            "cancel_subscription",
            "subscription_cancel",
            lambda _site, _tenant, _purse: {"ends": "period_end"},
        ),
        Move("rested", _PAID, _resting, "pause_subscription", "subscription_pause", _later),
        Move(
            "went on",
            Past("enterprise", began=3 * _DAY, moved=_rest),
            _going_on,
            "resume_subscription",
            "subscription_resume",
        ),
        Move(
            "settled",
            _STOLEN,
            _debt_settled,
            "set_payment_method",
            "payment_method_set",
            _other_method,
        ),
        Move(
            "made out",
            _PAID,
            _untouched,
            "set_billing_details",
            "billing_details_set",
            lambda _site, _tenant, _purse: {"country": "DE", "name": "Paying"},
        ),
        Move(
            "retried",
            _TRIED,
            _debt_taken,
            "retry_payment",
            "payment_retry",
            _owed,
            "finish.before",
        ),
        Move("transferred", _STOLEN, _transferred, "record_payment", "payment_record", _transfer),
        Move("credited", _STOLEN, _credited, "issue_credit_note", "credit_note_issue", _credit),
        Move("renewed", Past("business", began=40 * _DAY, looks=0), _renewed),
        Move(
            "paid late",
            Past("business", began=40 * _DAY, then="sandbox_declined_1", looks=2),
            _renewed,
        ),
        Move("declined", Past("business", began=40 * _DAY, then="sandbox_stolen", looks=0), _owing),
        Move("began to pay", Past("tried", began=20 * _DAY, looks=0), _began_to_pay),
        Move(
            "shut",
            Past("business", began=50 * _DAY, then="sandbox_stolen", looks=2),
            _shut,
            asks=False,
        ),
    )
}


# The cases -------------------------------------------------------------------------------------


def every_blow(store: StoreKind) -> list[Blow]:
    """Every boundary of every move."""
    return [Blow(point, move.name, store) for move in MOVES.values() for point in move.points]


SLICE: dict[StoreKind, tuple[tuple[str, str], ...]] = {
    "sqlite": (("billing.asked", "renewed"),),
    "postgres": (("retry_payment.collect.done", "retried"),),
}


def some_blows(store: StoreKind) -> list[Blow]:
    """The slice: over files it always runs, over a server it is swept."""
    return [Blow(*one, store) for one in SLICE[store]]
