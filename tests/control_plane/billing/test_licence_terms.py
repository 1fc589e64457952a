"""A licence holds for what is paid for, and no longer. Not how it is signed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from control_plane.billing.licence import LicenceTerms
from control_plane.billing.licence_terms import DAYS, DAYS_MAX, GRACE, licence_terms
from control_plane.domain.plans import PlanCatalog, parse_plans
from control_plane.domain.subscription import Subscription
from control_plane.domain.terms import Taken, Terms
from control_plane.errors import BadInput, NotFound, Refused

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
END = NOW + 20 * DAY
PLANS = """
plans:
  - name: team
    version: 1
    rank: 10
    tier: standard
    title: Team
    isolations: [pooled]
    regions: [local]
    quotas: {records_max: 10, seats_max: 50}
    charges:
      - component: seats
        interval: month
        prices:
          - {model: per_seat, currency: EUR, unit_amount_minor: 900}
    entitlements:
      - {kind: boolean, feature: sso}
      - {kind: boolean, feature: export, granted: false}
      - {kind: static, feature: file_gb, value: "2.50"}
      - {kind: static, feature: projects, value: 5}
      - {kind: metered, feature: calls, soft_limit: 800, hard_limit: 1000}
      - {kind: metered, feature: mails}
      - {kind: metered, feature: rows, soft_limit: 10}
      - {kind: metered, feature: scans, soft_limit: 10, grace_hours: 24}
    add_ons:
      - name: more_projects
        title: More projects
        quantity_max: 9
        entitlements:
          - {kind: static, feature: projects, value: 10}
          - {kind: boolean, feature: export}
"""


@pytest.fixture(scope="module")
def plans() -> PlanCatalog:
    return parse_plans(PLANS, "plans.yaml")


def subscribed(**changed: Any) -> Subscription:
    given: dict[str, Any] = {"plan": "team", "plan_version": 1, "state": "active"}
    return Subscription(id="s1", tenant="acme", **{**given, **changed})


def agreed(*add_ons: Taken) -> Terms:
    return Terms(currency="EUR", anchor_at=NOW, seats=7, add_ons=add_ons)


def end_of(plans: PlanCatalog, days: int | None = None, **changed: Any) -> datetime:
    return licence_terms(subscribed(**changed), plans, NOW, days).expires_at


def test_a_licence_says_what_the_subscription_grants(plans: PlanCatalog) -> None:
    found = licence_terms(subscribed(terms=agreed(), current_period_end=END), plans, NOW)
    assert found == LicenceTerms(
        tenant="acme",
        plan="team",
        tier="standard",
        entitlements={
            "sso": True,
            "export": False,
            "file_gb": "2.5",
            "projects": 5,
            "calls": 1000,
            "mails": "unlimited",
            "rows": "unlimited",
            "scans": 10,
        },
        seats=7,
        not_before=NOW,
        expires_at=END + GRACE,
    )


def test_add_ons_widen_it(plans: PlanCatalog) -> None:
    terms = agreed(Taken(name="more_projects", quantity=3))
    found = licence_terms(subscribed(terms=terms), plans, NOW).entitlements
    assert (found["projects"], found["export"]) == (35, True)


@pytest.mark.parametrize(
    ("changed", "end"),
    [
        ({}, NOW + DAYS * DAY),
        ({"current_period_end": END}, END + GRACE),
        ({"current_period_end": END, "cancel_at_period_end": True}, END),
        ({"current_period_end": END, "term_ends_at": END + DAY}, END + DAY),
        ({"term_ends_at": END + 400 * DAY}, END + 400 * DAY),
        ({"state": "trialing", "trial_ends_at": END}, END),
        (
            {"state": "past_due", "current_period_end": END, "grace_ends_at": NOW + DAY},
            NOW + DAY,
        ),
    ],
)
def test_it_ends_with_what_is_paid_for_and_a_grace_where_that_goes_on(
    plans: PlanCatalog, changed: dict[str, Any], end: datetime
) -> None:
    assert end_of(plans, **changed) == end
    assert end_of(plans, 1, **changed) == NOW + DAY
    assert end_of(plans, DAYS_MAX, **changed) <= max(end, NOW + DAYS_MAX * DAY)


def test_days_never_lengthen_what_is_paid_for(plans: PlanCatalog) -> None:
    assert end_of(plans, 300, current_period_end=END) == END + GRACE
    assert end_of(plans, 300) == NOW + 300 * DAY


@pytest.mark.parametrize(
    "subscription",
    [
        None,
        subscribed(state="paused"),
        subscribed(state="unpaid"),
        subscribed(state="canceled"),
        subscribed(state="incomplete"),
        subscribed(state="past_due", current_period_end=END),
        subscribed(state="trialing", trial_ends_at=NOW),
        subscribed(current_period_end=NOW - GRACE),
    ],
)
def test_nothing_is_licensed_that_is_not_entitled(
    plans: PlanCatalog, subscription: Subscription | None
) -> None:
    with pytest.raises(Refused) as told:
        licence_terms(subscription, plans, NOW)
    assert told.value.code == "licence_not_entitled"


@pytest.mark.parametrize("days", [0, -1, DAYS_MAX + 1])
def test_days_have_bounds(plans: PlanCatalog, days: int) -> None:
    with pytest.raises(BadInput) as told:
        licence_terms(subscribed(), plans, NOW, days)
    assert told.value.field == "days"


def test_a_version_that_is_declared_no_more_is_not_licensed(plans: PlanCatalog) -> None:
    with pytest.raises(NotFound):
        licence_terms(subscribed(plan_version=2), plans, NOW)
