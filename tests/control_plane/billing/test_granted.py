"""What add-ons add to a plan's entitlements: they only ever widen. Not what is left of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.billing.entitlements import MeteredEntitlement as Standing
from control_plane.billing.entitlements import check, entitlement_to
from control_plane.billing.granted import QUANTITY_MAX, granted, in_force
from control_plane.domain.entitlement import (
    BooleanEntitlement,
    Entitlement,
    MeteredEntitlement,
    StaticEntitlement,
)
from control_plane.domain.plans import AddOn, PlanOffer, Quotas
from control_plane.domain.subscription import Subscription
from control_plane.domain.terms import Taken, Terms

NOW = datetime(2026, 3, 4, tzinfo=UTC)


def on(feature: str, granted: bool = True) -> BooleanEntitlement:
    return BooleanEntitlement(kind="boolean", feature=feature, granted=granted)


def static(value: str) -> StaticEntitlement:
    return StaticEntitlement(kind="static", feature="it", value=Decimal(value))


def metered(**limits: Any) -> MeteredEntitlement:
    numbers: dict[str, Any] = {
        name: Decimal(limit) if isinstance(limit, str) else limit for name, limit in limits.items()
    }
    return MeteredEntitlement(kind="metered", feature="it", **numbers)


def offer(*plan: Entitlement, **add_ons: Entitlement) -> PlanOffer:
    return PlanOffer(
        name="team",
        version=1,
        rank=1,
        tier="team",
        title="Team",
        isolations=("pooled",),
        regions=("local",),
        quotas=Quotas(records_max=1, seats_max=1),
        entitlements=plan,
        add_ons=tuple(
            AddOn(name=name, title=name, quantity_max=9, entitlements=(one,))
            for name, one in add_ons.items()
        ),
    )


def taken(**quantities: int) -> list[Taken]:
    return [Taken(name=name, quantity=quantity) for name, quantity in quantities.items()]


def test_a_plan_alone_grants_what_it_declares() -> None:
    declared = (metered(hard_limit="5"), on("sso"))
    assert granted(offer(*declared), ()) == declared


@pytest.mark.parametrize(
    ("plan", "add_on", "quantity", "whole"),
    [
        (on("it", False), on("it"), 1, on("it")),
        (on("it"), on("it", False), 1, on("it")),
        (on("it", False), on("it", False), 2, on("it", False)),
        (static("10"), static("2.5"), 3, static("17.5")),
        (metered(hard_limit="10"), metered(hard_limit="5"), 2, metered(hard_limit="20")),
        (metered(hard_limit="10"), metered(), 1, metered()),
        (
            metered(soft_limit="8", hard_limit="10"),
            metered(hard_limit="5"),
            2,
            metered(soft_limit="18", hard_limit="20"),
        ),
        (
            metered(soft_limit="8", hard_limit="10", grace_hours=2),
            metered(soft_limit="1", hard_limit="5", grace_hours=7),
            1,
            metered(soft_limit="9", hard_limit="15", grace_hours=7),
        ),
        (
            metered(soft_limit="8", grace_hours=2),
            metered(soft_limit="1"),
            1,
            metered(soft_limit="9"),
        ),
        (
            metered(soft_limit="8", grace_hours=2),
            metered(hard_limit="1"),
            1,
            metered(soft_limit="9", grace_hours=2),
        ),
        (metered(soft_limit="8", grace_hours=2), metered(), 1, metered()),
        (on("it", False), static("3"), 2, static("6")),
        (on("it"), static("3"), 2, on("it")),
        (static("3"), metered(), 1, static("3")),
    ],
)
def test_an_add_on_widens_what_the_plan_grants(
    plan: Entitlement, add_on: Entitlement, quantity: int, whole: Entitlement
) -> None:
    assert granted(offer(plan, more=add_on), taken(more=quantity)) == (whole,)


def test_an_add_on_grants_what_the_plan_does_not_declare() -> None:
    found = granted(offer(on("sso"), audit=on("audit")), taken(audit=1))
    assert [one.feature for one in found] == ["audit", "sso"]


def test_what_was_not_taken_or_is_not_offered_adds_nothing() -> None:
    assert granted(offer(static("1"), more=static("1")), taken(unheard=3)) == (static("1"),)


def test_of_two_add_ons_of_other_kinds_the_first_by_name_stands() -> None:
    both = offer(zeta=metered(), alpha=static("2"))
    assert granted(both, taken(zeta=1, alpha=1)) == (static("2"),)


def test_nothing_grows_beyond_what_a_quantity_can_be() -> None:
    most = str(QUANTITY_MAX)
    assert granted(offer(static(most), more=static(most)), taken(more=9)) == (static(most),)


_LIMIT = st.none() | st.integers(0, 50).map(Decimal)


@st.composite
def _metered(draw: st.DrawFn) -> MeteredEntitlement:
    soft, hard = draw(_LIMIT), draw(_LIMIT)
    if soft is not None and hard is not None:
        soft, hard = sorted((soft, hard))
    grace = None if soft is None else draw(st.none() | st.integers(1, 3))
    return metered(soft_limit=soft, hard_limit=hard, grace_hours=grace)


@given(
    plan=_metered(),
    add_on=_metered(),
    quantity=st.integers(1, 4),
    held=st.integers(0, 120).map(Decimal),
    asked=st.integers(1, 40).map(Decimal),
    since=st.integers(0, 4),
)
def test_what_a_plan_allows_is_allowed_with_any_add_on(
    plan: MeteredEntitlement,
    add_on: MeteredEntitlement,
    quantity: int,
    held: Decimal,
    asked: Decimal,
    since: int,
) -> None:
    def status(one: Entitlement) -> str:
        assert isinstance(one, MeteredEntitlement)
        standing = Standing(**one.model_dump(), soft_passed_at=NOW - timedelta(hours=since))
        return check(standing, held, Decimal(0), asked, NOW).status

    (wide,) = granted(offer(plan, more=add_on), taken(more=quantity))
    if status(plan) != "denied":
        assert status(wide) != "denied"


@pytest.mark.parametrize(("state", "entitled"), [("active", True), ("paused", False)])
def test_only_a_subscription_that_entitles_has_any(state: Any, entitled: bool) -> None:
    terms = Terms(currency="EUR", anchor_at=NOW, add_ons=tuple(taken(audit=1)))
    subscription = Subscription(
        id="s", tenant="acme", plan="team", plan_version=1, state=state, terms=terms
    )
    found = in_force(subscription, offer(on("sso"), audit=on("audit")), NOW)
    assert [one.feature for one in found] == (["audit", "sso"] if entitled else [])
    assert check(entitlement_to((), "sso"), None, None, Decimal(1), NOW).code == "not_entitled"
