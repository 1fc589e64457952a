"""A fixed term: nothing leaves it before its end, and more is had within it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from control_plane.billing.book import Book
from control_plane.billing.change_quote import Wanted
from control_plane.billing.ending import cancel_later, cancel_now, keep, pause
from control_plane.billing.fixed_term import runs, term_end
from control_plane.billing.plan_change import quote
from control_plane.domain.plans import PlanCatalog, PlanOffer
from control_plane.domain.terms import Terms
from control_plane.errors import Refused
from tests.support.books import (
    DAY,
    LATER,
    PLANS,
    START,
    Auditor,
    begun,
    change,
    declined,
    facts_of,
    final,
    free_book,
    go,
    state_of,
    told,
)

MID = START + 14 * DAY
ENDS = datetime(2026, 3, 31, 10, tzinfo=UTC)


def _bound(plan: str, intervals: int | None) -> PlanOffer:
    return PLANS.offer(plan).model_copy(update={"term_intervals": intervals})


# `team` runs for three periods, `pro` for two, `strict` goes on.
BINDING = PlanCatalog(
    plans=(PLANS.offer("free"), _bound("team", 3), _bound("pro", 2), PLANS.offer("strict"))
)


def _term(book: Book) -> datetime | None:
    return book.subscription.term_ends_at


LEAVING: dict[str, Callable[[Book], object]] = {
    "cancel now": lambda book: cancel_now(book, MID, "x"),
    "cancel with the period": lambda book: cancel_later(book, MID),
    "a smaller plan": lambda book: quote(book, Wanted(plan="free"), MID, "x"),
    "fewer seats": lambda book: quote(book, Wanted(plan="pro", seats=1), MID, "x"),
    "other periods": lambda book: quote(book, Wanted(plan="pro", interval="year"), MID, "x"),
}


@pytest.mark.parametrize("way", LEAVING)
def test_nothing_leaves_a_term_before_its_end(way: str) -> None:
    book = begun("pro", plans=BINDING)
    before = facts_of(book)
    with pytest.raises(Refused) as caught:
        LEAVING[way](book)
    assert (caught.value.code, caught.value.fact) == ("term_runs", "term_ends_at")
    assert facts_of(book) == before


def test_neither_a_debt_nor_a_pause_is_a_way_out() -> None:
    book = begun("pro", plans=BINDING)
    pause(book, LATER, MID, "x")
    slow = go(begun("pro", plans=BINDING), START + 29 * DAY, declined)
    assert state_of(slow) == "past_due"
    for one, at in ((book, MID), (slow, START + 29 * DAY)):
        with pytest.raises(Refused) as caught:
            cancel_now(one, at, "y")
        assert caught.value.code == "term_runs"


def test_what_nobody_pays_for_binds_nobody_for_ever() -> None:
    slow = go(begun("pro", plans=BINDING), START + 42 * DAY, declined)
    assert state_of(slow) == "unpaid"
    cancel_now(slow, START + 43 * DAY, "x")
    assert state_of(slow) == "canceled"


def test_who_is_released_may_go() -> None:
    book = begun("pro", plans=BINDING)
    cancel_now(book, MID, "x", released=True)
    assert state_of(book) == "canceled"
    assert book.credit_minor == 9999 // 2 + 1


def test_with_the_last_period_it_may_be_canceled_and_kept() -> None:
    book = go(begun("pro", plans=BINDING), START + 29 * DAY)
    cancel_later(book, START + 29 * DAY)
    keep(book, START + 30 * DAY)
    cancel_later(book, START + 30 * DAY)
    assert told(go(book, LATER), "subscription.end_period") == [ENDS]


def test_an_upgrade_begins_the_term_of_the_new_plan_with_the_period_that_runs() -> None:
    book = go(begun("team", plans=BINDING), START + 29 * DAY)
    assert _term(book) == datetime(2026, 4, 30, 10, tzinfo=UTC)
    change(go(book, START + 30 * DAY), START + 30 * DAY, plan="pro")
    go(book, START + 30 * DAY)
    assert book.subscription.current_period_start == datetime(2026, 2, 28, 10, tzinfo=UTC)
    assert _term(book) == datetime(2026, 4, 30, 10, tzinfo=UTC)
    go(book, LATER)
    assert told(book, "subscription.end_term") == [datetime(2026, 4, 30, 10, tzinfo=UTC)]
    Auditor().look(book)


def test_an_upgrade_to_a_plan_that_goes_on_ends_the_term() -> None:
    book = begun("pro", plans=BINDING)
    change(book, MID, plan="strict")
    go(book, START + 100 * DAY)
    assert (_term(book), state_of(book)) == (None, "active")
    cancel_now(book, START + 100 * DAY, "x")
    assert state_of(book) == "canceled"


def test_an_upgrade_that_is_not_paid_leaves_the_term_as_it_was() -> None:
    book = begun("team", plans=BINDING)
    ends = _term(book)
    change(book, MID, plan="strict")
    go(book, MID, declined)
    assert (book.subscription.plan, _term(book)) == ("team", ends)


def test_more_seats_leave_the_term_as_it_is() -> None:
    book = begun("team", plans=BINDING)
    ends = _term(book)
    change(book, MID, seats=9)
    go(book, MID)
    assert (book.terms.seats, _term(book)) == (9, ends)


def test_longer_periods_count_the_term_anew() -> None:
    book = begun("team", plans=BINDING)
    change(book, MID, interval="year", seats=9)
    go(book, MID)
    assert _term(book) == datetime(2029, 2, 14, 10, tzinfo=UTC)


def test_a_smaller_plan_begins_its_term_with_the_period_in_which_it_holds() -> None:
    book = begun("strict", plans=BINDING)
    change(book, MID, plan="pro")
    assert _term(book) is None
    go(book, START + 29 * DAY)
    assert (book.subscription.plan, _term(book)) == ("pro", datetime(2026, 4, 30, 10, tzinfo=UTC))
    assert runs(book.subscription, START + 29 * DAY)
    go(book, LATER)
    assert state_of(book) == "expired"
    assert [one.total_minor for one in final(book)] == [5000, 9999, 9999]


def test_a_first_plan_begins_its_term_once_it_holds() -> None:
    book = free_book(plans=BINDING, method=True)
    change(book, MID, plan="pro", currency="EUR")
    assert _term(book) is None
    go(book, MID)
    assert _term(book) == datetime(2026, 4, 14, 10, tzinfo=UTC)


def test_a_term_is_counted_by_the_day_on_which_the_periods_began() -> None:
    terms = Terms(currency="EUR", anchor_at=START)
    counted = [term_end(_bound("pro", 1), terms, at) for at in (None, START, START + 28 * DAY)]
    assert [None if one is None else (one.month, one.day) for one in counted] == [
        (2, 28),
        (2, 28),
        (3, 31),
    ]
