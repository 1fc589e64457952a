"""The handler that checks an entitlement: may a tenant use so much more of a feature now. It reserves nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from control_plane.billing.entitlements import Check, check, entitlement_to
from control_plane.billing.granted import in_force
from control_plane.billing.quota_store import Quotas
from control_plane.billing.usage_terms import schedule_of
from control_plane.commands import CheckEntitlement, Command
from control_plane.domain.canonical import Json
from control_plane.domain.entitlement import Entitlement, MeteredEntitlement
from control_plane.facts.entitlement import EntitlementFacts
from control_plane.handlers.handler import SingleAnswer, Subject, View
from control_plane.handlers.quota_told import check_told, lifted_told
from control_plane.handlers.subscribed import Subscribed, declared, subscribed

_ZERO: Final = Decimal(0)


class CheckEntitlementHandler(SingleAnswer):
    """Tells whether a tenant may use so much more of a feature now, and what would lift a no."""

    def subject(self, command: Command, view: View) -> Subject:
        """The tenant's entitlement to that feature, granted or not."""
        assert isinstance(command, CheckEntitlement)
        found, member = subscribed(view, command.tenant), view.caller.member_of(command.tenant)
        facts = EntitlementFacts(exists=False, member=member, feature=command.feature)
        if found is not None:
            facts = EntitlementFacts(
                exists=True, member=member, feature=command.feature, **found.standing()
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
        """What the plan's version in the catalog grants; where it is not declared, nothing."""
        assert isinstance(command, CheckEntitlement)
        assert isinstance(subject.loaded, Subscribed), "the subject was decided to exist"
        subscription, now = subject.loaded.subscription, view.ports.clock.now()
        offer = declared(view.ports.catalog.plans, subscription.plan, subscription.plan_version)
        granted = () if offer is None else in_force(subscription, offer, now)
        one = next((each for each in granted if each.feature == command.feature), None)
        found = _found(one, command, view, subject.loaded)
        return {
            "tenant": command.tenant,
            "feature": command.feature,
            "quantity": command.quantity,
            "kind": None if one is None else one.kind,
            **check_told(found),
            **lifted_told(found),
        }


def _found(
    granted: Entitlement | None, command: CheckEntitlement, view: View, of: Subscribed
) -> Check:
    now, asked = view.ports.clock.now(), Decimal(command.quantity)
    if isinstance(granted, MeteredEntitlement):
        running = schedule_of(of.subscription).period_at(now)
        quotas = Quotas(view.connection, command.tenant, running, now)
        return quotas.standing(granted).check(asked, now)
    standing = () if granted is None else (granted,)
    return check(entitlement_to(standing, command.feature), _ZERO, _ZERO, asked, now)
