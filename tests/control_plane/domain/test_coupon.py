"""A coupon: one thing it takes off, for how long, and why it may not be redeemed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from control_plane.domain.coupon import Coupon, refuse_redemption
from control_plane.domain.money import Money

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
TEN = Money(minor=1_000, currency="EUR")


def coupon(**facts: Any) -> Coupon:
    off = {} if "amount_off" in facts else {"percent_off": Decimal(20)}
    base = {"code": "WELCOME", "title": "Welcome", "duration": "once"}
    return Coupon.model_validate({**base, **off, **facts})


@pytest.mark.parametrize(
    "facts",
    [
        {"amount_off": TEN, "percent_off": Decimal(20)},
        {"percent_off": None},
        {"percent_off": Decimal(0)},
        {"percent_off": Decimal("100.01")},
        {"amount_off": Money(minor=0, currency="EUR")},
        {"amount_off": Money(minor=-1, currency="EUR")},
        {"duration": "intervals"},
        {"duration": "once", "intervals": 3},
        {"duration": "forever", "intervals": 3},
        {"plans": ("team", "team")},
        {"code": "welcome"},
        {"redemptions_max": 0},
        {"percent_off": 0.2},
    ],
)
def test_what_is_no_coupon_is_told_at_once(facts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        coupon(**facts)


@pytest.mark.parametrize(
    ("facts", "runs"),
    [
        ({"duration": "once"}, [True, False, False, False]),
        ({"duration": "intervals", "intervals": 2}, [True, True, False, False]),
        ({"duration": "forever"}, [True, True, True, True]),
    ],
)
def test_it_runs_as_many_intervals_as_it_says(facts: dict[str, Any], runs: list[bool]) -> None:
    held = coupon(**facts)
    assert [held.runs_in(interval) for interval in range(4)] == runs
    assert not held.runs_in(-1)


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({}, None),
        ({"redeem_by": NOW + timedelta(microseconds=1)}, None),
        ({"redeem_by": NOW}, "coupon_expired"),
        ({"redemptions_max": 4}, None),
        ({"redemptions_max": 3}, "coupon_used_up"),
        ({"plans": ("solo", "team")}, None),
        ({"plans": ("solo",)}, "coupon_not_for_plan"),
        ({"amount_off": TEN}, None),
        ({"amount_off": Money(minor=1, currency="USD")}, "coupon_currency"),
    ],
)
def test_it_is_redeemed_in_time_as_often_as_it_may_for_its_plans_and_currency(
    facts: dict[str, Any], code: str | None
) -> None:
    refused = refuse_redemption(coupon(**facts), plan="team", currency="EUR", redeemed=3, at=NOW)
    assert (refused and refused.code) == code


def test_it_reads_back_from_its_text() -> None:
    held = coupon(percent_off=Decimal("12.5"), redeem_by=NOW, plans=("team", "solo"))
    assert Coupon.model_validate_json(held.model_dump_json()) == held
    assert held.plans == ("solo", "team")
