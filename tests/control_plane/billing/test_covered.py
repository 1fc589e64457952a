"""A plan whose every charge a coupon takes off for good: nothing falls due, so no payment method is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from control_plane.billing.book import Book
from control_plane.billing.coupons import admit, covers, end, is_covered, keep
from control_plane.billing.ending import pause, resume
from control_plane.billing.starting import start
from control_plane.domain.coupon_catalog import parse_coupons
from control_plane.errors import Refused
from tests.support.books import (
    DAY,
    LATER,
    PLANS,
    START,
    change,
    final,
    go,
    new_book,
    state_of,
)

COUPONS = parse_coupons(
    """
coupons:
  - {code: EVER, title: For nothing, percent_off: 100, duration: forever}
  - {code: ONCE, title: A month for nothing, percent_off: 100, duration: once}
  - {code: YEAR, title: A year for nothing, percent_off: 100, duration: intervals, intervals: 12}
  - {code: ALMOST, title: Nearly nothing, percent_off: 99.9, duration: forever}
  - {code: HUGE, title: Much off, amount_off: {minor: 900000, currency: EUR}, duration: forever}
  - {code: SOME, title: Some off, amount_off: {minor: 3998, currency: EUR}, duration: forever}
  - {code: REST, title: The rest, amount_off: {minor: 1, currency: EUR}, duration: forever}
""".replace("99.9,", "'99.9',"),
    "coupons.yaml",
)
COVERING = ("EVER", "HUGE")
SHORT = ("ONCE", "YEAR", "ALMOST", "SOME")


def without_method(plan: str, *codes: str, **facts: Any) -> Book:
    """To be started, with coupons and nothing to pay with."""
    book = new_book(plan, method=False, **facts)
    book.sources = replace(book.sources, coupons=COUPONS)
    for code in codes:
        keep(book, admit(book, code, plan, "EUR", START), START)
    return book


@pytest.mark.parametrize("code", COVERING)
@pytest.mark.parametrize("plan", ["team", "pro", "card_trial", "term"])
def test_it_begins_without_a_method_and_goes_on_for_nothing(plan: str, code: str) -> None:
    book = without_method(plan, code)
    start(book, START)
    go(book, START + 50 * DAY)
    assert state_of(book) == "active"
    assert {one.total_minor for one in final(book)} == {0}
    assert {one.state for one in final(book)} == {"paid"}
    assert book.attempts == {}


@pytest.mark.parametrize("codes", [(one,) for one in SHORT])
def test_what_ends_or_leaves_something_to_pay_asks_for_a_method(codes: tuple[str, ...]) -> None:
    book = without_method("team", *codes)
    assert not is_covered(book)
    with pytest.raises(Refused) as caught:
        start(book, START)
    assert caught.value.code == "payment_method_required"


def test_coupons_may_cover_it_together() -> None:
    book = without_method("team", "SOME", "REST")
    start(book, START)
    assert state_of(book) == "active"


@pytest.mark.parametrize("plan", ["metered", "by_use"])
def test_what_is_paid_by_use_is_covered_by_no_coupon(plan: str) -> None:
    book = without_method(plan, "EVER")
    assert not is_covered(book)
    with pytest.raises(Refused) as caught:
        start(book, START)
    assert caught.value.code == "payment_method_required"


def test_a_trial_of_what_is_paid_by_use_ends_without_a_method() -> None:
    book = without_method("trial", "EVER")
    start(book, START)
    assert state_of(go(book, LATER)) == "paused"


def test_a_trial_that_ends_under_such_a_coupon_goes_on() -> None:
    book = without_method("card_trial", "EVER")
    start(book, START)
    assert state_of(book) == "trialing"
    go(book, START + 15 * DAY)
    assert state_of(book) == "active"
    assert [one.total_minor for one in final(book)] == [0]


def test_a_pause_under_such_a_coupon_is_over_without_a_method() -> None:
    book = without_method("pro", "EVER")
    start(book, START)
    pause(book, START + 9 * DAY, START + 5 * DAY, "x")
    resume(book, START + 6 * DAY)
    assert state_of(book) == "active"
    pause(book, START + 9 * DAY, START + 7 * DAY, "y")
    go(book, START + 10 * DAY)
    assert state_of(book) == "active"


def test_more_than_it_covers_is_collected_and_needs_a_method_then() -> None:
    book = without_method("team", "SOME", "REST")
    start(book, START)
    with pytest.raises(Refused) as caught:
        change(book, START + DAY, seats=5)
    assert caught.value.code == "payment_method_required"


def test_once_it_is_removed_the_next_period_is_owed() -> None:
    book = without_method("team", "EVER")
    start(book, START)
    end(book, book.redemptions["EVER"], START + DAY)
    go(book, START + 29 * DAY)
    assert [one.total_minor for one in final(book)] == [0, 3999]
    assert state_of(book) == "past_due"


def test_a_coupon_for_another_plan_covers_nothing() -> None:
    coupon = COUPONS.coupon("EVER").model_copy(update={"plans": ("pro",)})
    terms = new_book("team").terms
    assert not covers([coupon], PLANS.offer("team"), terms)
    assert covers([coupon], PLANS.offer("pro"), terms)
    assert not covers([], PLANS.offer("pro"), terms)
