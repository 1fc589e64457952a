"""The handler that reads a subscription. What it costs is not told here."""

from __future__ import annotations

from control_plane.commands import Command, GetSubscription
from control_plane.domain.canonical import Json, plain
from control_plane.domain.plans import PlanCatalog, PlanOffer
from control_plane.domain.subscription import Subscription
from control_plane.errors import NotFound
from control_plane.facts.load import subscription_facts
from control_plane.handlers.handler import SingleAnswer, Subject, View


class GetSubscriptionHandler(SingleAnswer):
    """Reads one tenant's subscription, whatever its billing state is."""

    def subject(self, command: Command, view: View) -> Subject:
        """The subscription, there or not."""
        assert isinstance(command, GetSubscription)
        facts, found = subscription_facts(view.connection, view.caller, command.tenant)
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
        found = subject.loaded
        assert isinstance(found, Subscription)
        offer = _declared(view.ports.catalog.plans, found)
        return {
            "tenant": found.tenant,
            "plan": found.plan,
            "plan_version": found.plan_version,
            "state": found.state,
            "cancel_at_period_end": found.cancel_at_period_end,
            "entitled": found.entitled(view.ports.clock.now()),
            "tier": None if offer is None else offer.tier,
            "quotas": None if offer is None else plain(offer.quotas),
        }


def _declared(plans: PlanCatalog, found: Subscription) -> PlanOffer | None:
    # A catalog may stop declaring a version that somebody still has.
    try:
        return plans.offer(found.plan, found.plan_version)
    except NotFound:
        return None
