"""A redeemed coupon: which periods it holds in, and how many are left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from control_plane.domain.coupon import Coupon
from control_plane.domain.redemption import Redemption, redeem, redemption_id

AT = datetime(2026, 1, 31, tzinfo=UTC)
MONTH = timedelta(days=30)


def one(duration: str, intervals: int | None = None) -> Redemption:
    text = {"code": "SPRING", "title": "Spring", "percent_off": "5", "duration": duration}
    return redeem("acme", Coupon.model_validate({**text, "intervals": intervals}), AT)


def test_its_id_follows_from_tenant_and_code() -> None:
    assert one("once").id == redemption_id("acme", "SPRING") == one("forever").id
    assert len({redemption_id(*of) for of in (("a", "BC"), ("b", "BC"), ("a", "CB"))}) == 3


@pytest.mark.parametrize(
    ("duration", "intervals", "left"),
    [
        ("once", None, [1, 0, 0, 0]),
        ("intervals", 2, [2, 1, 0, 0]),
        ("forever", None, [None] * 4),
    ],
)
def test_it_holds_for_as_many_periods_as_are_left(
    duration: str, intervals: int | None, left: list[int | None]
) -> None:
    held = one(duration, intervals)
    for number, expected in enumerate(left):
        start = AT + number * MONTH
        assert held.periods_left == expected
        assert held.runs_in(start) == held.runs_next == (expected != 0)
        held = held.counted(start)
        # It goes on holding in the period that it has just begun to hold in.
        assert held.runs_in(start) == (expected != 0)


def test_a_period_that_is_told_again_is_one() -> None:
    held = one("forever").counted(AT)
    assert held.counted(AT) == held
    assert held.counted(AT + MONTH).periods == 2


def test_one_that_is_over_holds_no_longer() -> None:
    held = one("forever").counted(AT).ended(AT + MONTH)
    assert (held.runs_in(AT), held.runs_next, held.periods_left) == (False, False, 0)
