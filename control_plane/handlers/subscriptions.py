"""The handler that reads a subscription. What it costs is not told here."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, bindparam, select

from control_plane.billing import coupon_store
from control_plane.billing.collecting import acts_until
from control_plane.commands import Command, GetSubscription
from control_plane.domain.canonical import Json, instant, plain
from control_plane.domain.payment import PaymentAttempt
from control_plane.domain.plans import PlanCatalog, PlanOffer
from control_plane.domain.redemption import Redemption
from control_plane.domain.subscription import Subscription
from control_plane.errors import NotFound
from control_plane.facts.load import subscription_facts, subscription_row
from control_plane.handlers.handler import SingleAnswer, Subject, View
from control_plane.store import rows
from control_plane.store.billing_tables import payment_attempt

# The attempt that waits the longest first: each waits for the same customer.
_WAITING: Final = (
    select(payment_attempt)
    .where(
        payment_attempt.c.tenant == bindparam("tenant"),
        payment_attempt.c.state == "action_required",
    )
    .order_by(payment_attempt.c.changed_at, payment_attempt.c.id)
    .limit(1)
)


class GetSubscriptionHandler(SingleAnswer):
    """Reads one tenant's subscription, whatever its billing state is."""

    def subject(self, command: Command, view: View) -> Subject:
        """The subscription, there or not."""
        assert isinstance(command, GetSubscription)
        facts, found = subscription_facts(
            view.connection, view.caller, command.tenant, view.ports.clock.now()
        )
        return Subject(id=command.tenant, facts=facts, tenant=command.tenant, loaded=found)

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The subscription, with what its version of the plan declares."""
        assert isinstance(subject.loaded, Subscription)
        return _described(view, subject.loaded)


def described_subscription(view: View, tenant: str) -> dict[str, Json]:
    """The same of one that is known to be there."""
    found = subscription_row(view.connection, tenant)
    assert found is not None, "the subject was decided to exist"
    return _described(view, found)


def _described(view: View, found: Subscription) -> dict[str, Json]:
    offer, now = _declared(view.ports.catalog.plans, found), view.ports.clock.now()
    terms, change = found.terms, found.pending_change
    return {
        "tenant": found.tenant,
        "plan": found.plan,
        "plan_version": found.plan_version,
        "state": found.state,
        "cancel_at_period_end": found.cancel_at_period_end,
        "entitled": found.entitled(now),
        "tier": None if offer is None else offer.tier,
        "quotas": None if offer is None else plain(offer.quotas),
        "terms": plain(terms),
        # The token of the method is nobody's to read: it only says how.
        "payment_provider": None if found.method is None else found.method.provider,
        "billing_details": plain(found.buyer),
        "current_period_start": plain(found.current_period_start),
        "current_period_end": plain(found.current_period_end),
        "trial_ends_at": plain(found.trial_ends_at),
        "grace_ends_at": plain(found.grace_ends_at),
        "paused_until": plain(found.paused_until),
        "pending_plan": None if change is None else change.plan,
        "pending_at": None if change is None else plain(change.at),
        "billing_level": found.gate_level(now),
        "gates": plain(found.gates),
        "coupons": _coupons(view.connection, found.tenant),
        "payment_action": payment_action(view.connection, found.tenant),
    }


def _coupons(connection: Connection, tenant: str) -> Json:
    """The coupons that are not over, by their codes."""
    known = sorted(coupon_store.redemptions(connection, tenant).items())
    return [_coupon(one) for _, one in known if one.ended_at is None]


def _coupon(held: Redemption) -> Json:
    coupon, off = held.coupon, held.coupon.amount_off
    return {
        "code": coupon.code,
        "title": coupon.title,
        "percent_off": plain(coupon.percent_off),
        "amount_off_minor": None if off is None else off.minor,
        "currency": None if off is None else off.currency,
        "redeemed_at": plain(held.redeemed_at),
        "periods": held.periods,
        "periods_left": held.periods_left,
    }


def payment_action(connection: Connection, tenant: str) -> Json:
    """What the tenant's customer has to do before a payment is collected; None where nothing waits.

    The provider's name for the payment, without which its page may not know which one is meant, is
    no right to it; a page whose address holds a secret was never kept.
    """
    row = connection.execute(_WAITING, {"tenant": tenant}).mappings().first()
    if row is None:
        return None
    found = rows.parse(PaymentAttempt, dict(row))
    return {
        "invoice": found.invoice,
        "provider": found.provider,
        "reference": found.provider_reference or None,
        "url": found.action_url,
        "since": instant(found.changed_at),
        "until": instant(acts_until(found)),
    }


def _declared(plans: PlanCatalog, found: Subscription) -> PlanOffer | None:
    # A catalog may stop declaring a version that somebody still has.
    try:
        return plans.offer(found.plan, found.plan_version)
    except NotFound:
        return None
