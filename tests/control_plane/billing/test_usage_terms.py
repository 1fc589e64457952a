"""Which meters and periods a subscription's usage has. Not what was used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.billing.usage_terms import meters_of, schedule_of
from control_plane.domain.plans import parse_plans
from control_plane.domain.subscription import Subscription
from control_plane.domain.terms import Terms, Unbilled

PLANS = Path(__file__).parents[2] / "support" / "metered_catalog" / "plans.yaml"
ANCHOR = datetime(2026, 1, 31, 10, 30, tzinfo=UTC)
NOW = datetime(2026, 3, 15, tzinfo=UTC)


def subscribed(terms: Terms | None, unbilled: Unbilled | None = None) -> Subscription:
    return Subscription(
        id="s",
        tenant="acme",
        plan="free",
        plan_version=1,
        state="active",
        terms=terms,
        unbilled=unbilled,
    )


def test_the_meters_are_those_that_the_plan_declares_and_add_up() -> None:
    offer = parse_plans(PLANS.read_text(), "plans.yaml").offer("free")
    found = meters_of(offer)
    assert list(found) == ["api_calls", "storage_gb"]
    assert {one.aggregation for one in found.values()} == {"sum"}


def test_the_meter_of_an_add_on_counts_taken_or_not() -> None:
    text = PLANS.read_text().replace(
        "- {kind: metered, feature: api_calls, soft_limit: 5",
        "- {kind: metered, feature: extra, soft_limit: 5",
    )
    assert "extra" in meters_of(parse_plans(text, "plans.yaml").offer("free"))


def test_a_subscription_that_is_never_billed_has_calendar_months_in_utc() -> None:
    period = schedule_of(subscribed(None)).period_at(NOW)
    assert (period.start, period.end) == (
        datetime(2026, 3, 1, tzinfo=UTC),
        datetime(2026, 4, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("interval", "start", "end"),
    [
        (
            "month",
            datetime(2026, 2, 28, 10, 30, tzinfo=UTC),
            datetime(2026, 3, 31, 9, 30, tzinfo=UTC),
        ),
        (
            "year",
            datetime(2026, 1, 31, 10, 30, tzinfo=UTC),
            datetime(2027, 1, 31, 10, 30, tzinfo=UTC),
        ),
    ],
)
def test_a_billed_one_has_its_own_periods_in_its_zone(
    interval: Literal["month", "year"], start: datetime, end: datetime
) -> None:
    terms = Terms(currency="EUR", interval=interval, zone="Europe/Berlin", anchor_at=ANCHOR)
    period = schedule_of(subscribed(terms)).period_at(NOW)
    assert (period.start, period.end) == (start, end)


def test_what_was_used_before_a_new_anchor_counts_in_the_period_that_was_cut_short() -> None:
    cut, began = datetime(2026, 3, 10, tzinfo=UTC), datetime(2026, 2, 28, 9, 30, tzinfo=UTC)
    terms = Terms(currency="EUR", anchor_at=cut)
    waits = Unbilled(invoice="in_1", plan="free", plan_version=1, terms=terms, start=began, end=cut)
    schedule = schedule_of(subscribed(terms, waits))
    told = schedule.period_at(cut - timedelta(seconds=1))
    assert (told.start, told.end) == (began, cut)
    assert schedule.start == began
    running = schedule.period_at(cut)
    assert (running.start, running.end) == (cut, datetime(2026, 4, 10, tzinfo=UTC))


@given(at=st.integers(0, 90 * 24), start=st.integers(0, 80 * 24), hours=st.integers(1, 40 * 24))
def test_no_two_periods_share_time(at: int, start: int, hours: int) -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    terms = Terms(currency="EUR", anchor_at=ANCHOR)
    waits = Unbilled(
        invoice="in_1",
        plan="free",
        plan_version=1,
        terms=terms,
        start=began + timedelta(hours=start),
        end=began + timedelta(hours=start + hours),
    )
    schedule = schedule_of(subscribed(None, waits))
    period = schedule.period_at(began + timedelta(hours=at))
    assert period.holds(began + timedelta(hours=at))
    for instant in (period.start, period.end - timedelta(microseconds=1)):
        assert schedule.period_at(instant) == period
