"""Coupons in a book: when each begins and ends, what it takes off, and that nobody is given more than they paid."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.billing.book import Book
from control_plane.billing.change_quote import Quote, Wanted
from control_plane.billing.clockwork import advance
from control_plane.billing.collecting import after_payment, begin, take_in
from control_plane.billing.coupons import admit, keep
from control_plane.billing.ending import cancel_now, pause, resume
from control_plane.billing.invoicing import receive
from control_plane.billing.plan_change import commit, quote
from control_plane.billing.provider import settled
from control_plane.billing.starting import start
from control_plane.domain.coupon_catalog import parse_coupons
from control_plane.domain.machine import IllegalTransition
from control_plane.domain.money import Money
from control_plane.errors import BadInput, Refused
from tests.support.books import (
    DAY,
    START,
    Auditor,
    begun,
    change,
    declined,
    facts_of,
    final,
    free_book,
    go,
    new_book,
    pending,
    state_of,
    sums,
    told,
    unfit_in,
)

MID = START + 14 * DAY  # the middle of the first period, which has 28 days
NEXT = START + 28 * DAY
COUPONS = parse_coupons(
    """
coupons:
  - {code: HALF, title: Half, percent_off: 50, duration: forever}
  - {code: ONCE, title: Once, percent_off: 10, duration: once}
  - {code: TWICE, title: Twice, percent_off: 20, duration: intervals, intervals: 2}
  - {code: FREE, title: Free, percent_off: 100, duration: once}
  - {code: TEN, title: Ten off, amount_off: {minor: 1000, currency: EUR}, duration: forever}
  - {code: HUGE, title: Much off, amount_off: {minor: 900000, currency: EUR}, duration: forever}
  - {code: DOLLAR, title: Dollars, amount_off: {minor: 1, currency: USD}, duration: once}
  - {code: PRO, title: For pro, percent_off: 50, duration: forever, plans: [pro]}
  - {code: LATE, title: Over, percent_off: 5, duration: once, redeem_by: "2026-01-31T10:00:00Z"}
  - {code: FEW, title: Few, percent_off: 5, duration: once, redemptions_max: 3}
""",
    "coupons.yaml",
)


def with_coupons(book: Book, redeemed: int = 0) -> Book:
    def count(_: str) -> int:
        return redeemed

    book.sources = replace(book.sources, coupons=COUPONS, redeemed=count)
    return book


def on(plan: str = "team", *codes: str, **facts: Any) -> Book:
    """Begun at START with the coupons that onboarding redeems."""
    book = with_coupons(new_book(plan, **facts))
    for code in codes:
        keep(book, admit(book, code, plan, "EUR", START), START)
    start(book, START)
    return go(book, START)


def asked(book: Book, at: datetime, **wanted: Any) -> Quote:
    return quote(book, Wanted.model_validate({"plan": book.subscription.plan, **wanted}), at, "x")


def refused(book: Book, at: datetime = MID, **wanted: Any) -> str:
    with pytest.raises(Refused) as error:
        asked(book, at, **wanted)
    return str(error.value.code)


def off(book: Book) -> list[dict[str, int]]:
    """The discounts of each final invoice."""
    return [
        {one.reference: one.amount_minor for one in each.lines if one.kind == "discount"}
        for each in final(book)
    ]


# for how long ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ONCE", [300, 0, 0, 0]),
        ("TWICE", [600, 600, 0, 0]),
        ("HALF", [1500, 1500, 1500, 1500]),
        ("TEN", [1000, 1000, 1000, 1000]),
    ],
)
def test_a_coupon_lowers_as_many_periods_as_it_says(code: str, expected: list[int]) -> None:
    book = on("term", code, terms={"seats": 0})
    book.revise(term_ends_at=None)
    go(book, START + 110 * DAY)
    assert [-sum(one.values()) for one in off(book)] == expected
    assert [one.total_minor for one in final(book)] == [3000 - one for one in expected]


def test_what_a_period_costs_and_what_was_taken_off_are_lines_of_their_own() -> None:
    book = on("team", "ONCE")
    assert sums(final(book)[0]) == {
        "base:plan": 2999,
        "seats:seats": 1000,
        "discount:ONCE:plan": -300,
        "discount:ONCE:seats": -100,
    }
    assert final(book)[0].lines[2].description == "Once (ONCE)"


def test_a_coupon_that_is_over_is_told_and_takes_nothing_more() -> None:
    book = go(on("team", "ONCE"), NEXT)
    assert told(book, "subscription.coupon_ended") == [NEXT]
    held = book.redemptions["ONCE"]
    assert (held.ended_at, held.periods, held.periods_left) == (NEXT, 1, 0)


def test_periods_that_are_left_are_counted_from_the_first_one_charged() -> None:
    book = on("team", "TWICE")
    assert book.redemptions["TWICE"].periods_left == 1
    go(book, NEXT)
    assert book.redemptions["TWICE"].periods_left == 0
    assert on("team", "HALF").redemptions["HALF"].periods_left is None


def test_a_trial_is_no_period_of_a_coupon() -> None:
    book = on("trial", "ONCE", terms={"seats": 0})
    assert (state_of(book), book.redemptions["ONCE"].periods) == ("trialing", 0)
    go(book, START + 15 * DAY)
    assert off(book) == [{"ONCE:plan": -400}]


def test_a_whole_price_taken_off_starts_without_a_payment() -> None:
    book = on("pro", "FREE", terms={"seats": 0})
    assert (state_of(book), final(book)[0].total_minor, book.attempts) == ("active", 0, {})
    cancel_now(book, MID, "cancel")
    assert book.credit_minor == 0


def test_several_coupons_take_from_what_those_before_them_left() -> None:
    book = on("pro", "HALF", "TEN", terms={"seats": 0})
    assert off(book) == [{"HALF:plan": -5000, "TEN:plan": -1000}]


def test_no_invoice_goes_below_zero() -> None:
    book = go(on("team", "HUGE"), NEXT)
    assert [one.total_minor for one in final(book)] == [0, 0]


# redeemed later --------------------------------------------------------------------------------


def test_one_that_is_redeemed_alone_costs_nothing_and_holds_from_the_next_period() -> None:
    book = with_coupons(begun())
    quoted = asked(book, MID, coupon="ONCE")
    assert (quoted.applies, quoted.applies_at, quoted.lines) == ("period_end", NEXT, ())
    assert (quoted.recurring_minor, quoted.recurring_discount_minor) == (3999, 400)
    assert commit(book, quoted, MID, "x") is None
    go(book, NEXT + 28 * DAY)
    assert [-sum(one.values()) for one in off(book)] == [0, 400]
    go(book, NEXT + 40 * DAY)
    assert off(book)[2] == {}


def test_a_change_in_between_does_not_use_up_one_that_waits_for_its_first_period() -> None:
    book = with_coupons(begun())
    change(book, MID, coupon="ONCE")
    change(book, MID + DAY, "more", seats=4)
    go(book, MID + DAY)
    assert book.redemptions["ONCE"].periods == 0
    assert "ONCE:seats" not in off(book)[1]
    go(book, NEXT)
    assert off(book)[2] == {"ONCE:plan": -300, "ONCE:seats": -200}


def test_one_that_comes_with_an_upgrade_lowers_what_that_charges() -> None:
    book = with_coupons(begun())
    quoted = asked(book, MID, plan="pro", coupon="ONCE")
    assert {f"{one.kind}:{one.reference}": one.amount_minor for one in quoted.lines} == {
        "proration_credit:plan": -1500,
        "proration_credit:seats": -500,
        "proration_debit:plan": 5000,
        "discount:ONCE:plan": -500,
    }
    assert (quoted.due_minor, quoted.recurring_discount_minor) == (2500, 0)
    invoice = commit(book, quoted, MID, "x")
    assert invoice is not None
    assert invoice.lines == quoted.lines
    go(book, MID)
    assert book.redemptions["ONCE"].periods == 1
    go(book, NEXT)
    assert off(book)[2] == {}


def test_a_preview_redeems_nothing() -> None:
    book = with_coupons(begun())
    before = facts_of(book)
    asked(book, MID, plan="pro", coupon="HALF")
    asked(book, MID, coupon="HALF")
    assert facts_of(book) == before


def test_one_that_holds_lowers_what_a_later_change_charges_too() -> None:
    book = on("team", "HALF")
    quoted = asked(book, MID, plan="pro")
    assert [one.amount_minor for one in quoted.lines] == [-750, -250, 5000, -2500]


def test_an_amount_off_is_for_a_whole_period_and_only_once_in_it() -> None:
    book = on("team", "TEN")
    assert off(book) == [{"TEN:plan": -750, "TEN:seats": -250}]
    # Half of the period is left, and so half of the amount.
    assert [one.amount_minor for one in asked(book, MID, plan="pro").lines] == [
        -1125,
        -375,
        5000,
        -500,
    ]
    # What runs on keeps its part: only the rest of the half is left for the seats.
    more = {one.reference: one.amount_minor for one in asked(book, MID, seats=6).lines}
    assert more == {"seats": 1500, "TEN:seats": -125}


def test_with_a_smaller_plan_it_holds_from_the_periods_end() -> None:
    book = with_coupons(begun("pro", terms={"seats": 2}))
    change(book, MID, plan="team", coupon="HALF")
    assert book.redemptions["HALF"].periods == 0
    go(book, NEXT)
    assert off(book) == [{}, {"HALF:plan": -1500, "HALF:seats": -500}]


def test_a_coupon_for_other_plans_waits_and_begins_with_the_first_period_of_its_own() -> None:
    book = with_coupons(begun())
    assert refused(book, coupon="PRO") == "coupon_not_for_plan"
    change(book, MID, plan="pro", coupon="PRO")
    go(book, NEXT)
    assert [-sum(one.values()) for one in off(book)] == [0, 2500, 5000]


# given back ------------------------------------------------------------------------------------


def test_a_change_that_is_not_paid_gives_its_coupon_back() -> None:
    book = with_coupons(begun())
    quoted = asked(book, MID, plan="pro", coupon="HALF")
    invoice = commit(book, quoted, MID, "x")
    assert invoice is not None
    attempt = begin(book, invoice.id, MID)
    assert "HALF" in book.redemptions
    take_in(book, settled(attempt, declined(attempt), MID), MID)
    assert (book.redemptions, book.subscription.plan) == ({}, "team")
    assert told(book, "subscription.coupon_returned") == [MID]


def test_a_coupon_that_waits_for_a_payment_lowers_no_other_charge() -> None:
    book = with_coupons(begun())
    late = NEXT - timedelta(hours=2)
    invoice = commit(book, asked(book, late, plan="pro", coupon="HALF"), late, "x")
    assert invoice is not None
    attempt = begin(book, invoice.id, late)
    take_in(book, settled(attempt, pending(attempt), late), late)
    advance(book, NEXT)
    assert off(book)[-1] == {}
    receive(book, invoice.id, "paid", Money(minor=invoice.due_minor, currency="EUR"), NEXT + DAY)
    after_payment(book, invoice.id, NEXT + DAY)
    assert book.redemptions == {}


def test_a_smaller_plan_that_no_longer_fits_gives_its_coupon_back() -> None:
    book = with_coupons(begun("pro"))
    change(book, MID, plan="team", coupon="HALF")
    book.sources = replace(book.sources, unfit=unfit_in("seats"))
    go(book, NEXT)
    assert (book.redemptions, book.subscription.plan) == ({}, "pro")


def test_a_start_that_is_never_paid_gives_its_coupons_back() -> None:
    book = with_coupons(new_book("pro"))
    keep(book, admit(book, "HALF", "pro", "EUR", START), START)
    start(book, START)
    assert (state_of(book), book.redemptions["HALF"].periods) == ("incomplete", 1)
    go(book, START + 2 * DAY, declined)
    assert (state_of(book), book.redemptions) == ("incomplete_expired", {})


def test_the_end_of_a_subscription_ends_what_was_had_and_gives_back_what_waits() -> None:
    book = on("team", "HALF")
    change(book, MID, coupon="TEN")
    cancel_now(book, MID + DAY, "cancel")
    assert {one.code: one.ended_at for one in book.redemptions.values()} == {"HALF": MID + DAY}


# removed ---------------------------------------------------------------------------------------


def test_a_coupon_that_is_removed_keeps_the_period_that_it_has_lowered() -> None:
    book = on("team", "HALF")
    quoted = asked(book, MID, remove_coupon="HALF")
    assert (quoted.lines, quoted.recurring_discount_minor) == ((), 0)
    commit(book, quoted, MID, "x")
    # What was paid is given back, and no more: and what is charged anew is charged whole.
    assert [one.amount_minor for one in asked(book, MID, plan="pro").lines] == [-750, -250, 5000]
    go(book, NEXT)
    assert off(book)[1] == {}
    assert refused(book, NEXT, coupon="HALF") == "coupon_redeemed"


def test_one_that_has_lowered_nothing_yet_may_be_redeemed_again_once_it_is_removed() -> None:
    book = with_coupons(begun())
    change(book, MID, coupon="HALF")
    change(book, MID, remove_coupon="HALF")
    assert book.redemptions == {}
    change(book, MID, coupon="HALF")
    assert list(book.redemptions) == ["HALF"]


@pytest.mark.parametrize(
    "wanted", [{"plan": "pro"}, {"seats": 3}, {"coupon": "TEN"}, {"interval": "year"}]
)
def test_a_removal_stands_alone(wanted: dict[str, Any]) -> None:
    book = on("team", "HALF")
    with pytest.raises(BadInput, match="stands alone"):
        asked(book, MID, remove_coupon="HALF", **wanted)


# refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("NOPE", "coupon_not_found"),
        ("LATE", "coupon_expired"),
        ("FEW", "coupon_used_up"),
        ("PRO", "coupon_not_for_plan"),
        ("DOLLAR", "coupon_currency"),
        ("HALF", "coupon_redeemed"),
    ],
)
@pytest.mark.parametrize("wanted", [{}, {"seats": 3}, {"seats": 1}])
def test_what_may_not_be_redeemed_is_refused_by_name(
    code: str, expected: str, wanted: dict[str, Any]
) -> None:
    book = with_coupons(on("team", "HALF"), redeemed=3)
    before = facts_of(book)
    assert refused(book, coupon=code, **wanted) == expected
    assert facts_of(book) == before


def test_a_tenant_holds_so_many_coupons_and_no_more() -> None:
    book = with_coupons(begun())
    many = parse_coupons(
        "coupons:\n"
        + "".join(
            f"  - {{code: C{n:02}, title: One, percent_off: 1, duration: once}}\n"
            for n in range(21)
        ),
        "coupons.yaml",
    )
    book.sources = replace(book.sources, coupons=many)
    for number in range(20):
        change(book, MID, f"c{number}", coupon=f"C{number:02}")
    assert refused(book, coupon="C20") == "coupons_too_many"


def test_a_coupon_that_is_not_held_is_not_removed() -> None:
    assert refused(with_coupons(begun()), remove_coupon="HALF") == "coupon_not_held"
    book = go(on("team", "ONCE"), NEXT)
    assert refused(book, NEXT, remove_coupon="ONCE") == "coupon_not_held"


def test_a_coupon_waits_for_debts_other_changes_and_a_subscription_that_goes_on() -> None:
    book = go(with_coupons(begun()), NEXT, declined)
    assert (state_of(book), refused(book, NEXT, coupon="HALF")) == ("past_due", "payment_overdue")
    book = with_coupons(begun("pro"))
    change(book, MID, plan="team")
    assert refused(book, coupon="HALF") == "change_pending"
    book = with_coupons(begun())
    cancel_now(book, MID, "cancel")
    with pytest.raises(IllegalTransition):
        asked(book, MID, coupon="HALF")
    with pytest.raises(BadInput, match="first plan"):
        asked(with_coupons(free_book()), MID, coupon="HALF")


def test_in_a_trial_a_coupon_is_redeemed_for_its_end() -> None:
    book = on("trial", terms={"seats": 0})
    change(book, START + DAY, coupon="HALF")
    go(book, START + 15 * DAY)
    assert off(book) == [{"HALF:plan": -2000}]


def test_what_is_redeemed_stays_as_it_was_when_the_catalog_says_otherwise() -> None:
    book = on("term", "TEN")
    book.sources = replace(book.sources, coupons=parse_coupons("coupons: []", "coupons.yaml"))
    go(book, NEXT)
    assert [-sum(one.values()) for one in off(book)] == [1000, 1000]


# no money is made ------------------------------------------------------------------------------

CODES = st.sampled_from(["HALF", "ONCE", "TWICE", "FREE", "TEN", "HUGE"])
BY_MOVE: dict[str, dict[str, Any]] = {"plan": {"plan": "pro"}, "year": {"interval": "year"}}
MOVES = st.lists(
    st.tuples(
        st.integers(0, 9 * 86_400),
        st.sampled_from(["seats", "plan", "year", "redeem", "remove", "pause"]),
        CODES,
        st.booleans(),
    ),
    max_size=9,
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(MOVES)
def test_whatever_is_redeemed_and_changed_nobody_gets_more_than_they_paid(
    moves: list[tuple[int, str, str, bool]],
) -> None:
    book, auditor, at, seats = on("team", terms={"seats": 1}), Auditor(), START, 1
    for number, (later_s, move, code, redeems) in enumerate(moves):
        at += timedelta(seconds=later_s)
        go(book, at)
        seats += 1
        wanted: dict[str, Any] = {"coupon": code} if redeems else {}
        wanted |= BY_MOVE.get(move, {})
        if move == "seats":
            wanted["seats"] = seats
        if move == "remove":
            wanted = {"remove_coupon": code}
        try:
            if move == "pause":
                pause(book, at + DAY, at, f"p{number}")
                resume(book, at + timedelta(seconds=1))
                at += timedelta(seconds=1)
            else:
                change(book, at, f"c{number}", **wanted)
        except (Refused, BadInput):
            pass
        go(book, at)
        auditor.look(book)
        credit_minor = book.credit_minor
        assert credit_minor <= auditor.paid_minor, "credit is money that was paid"
    cancel_now(book, at, "the end")
    auditor.look(book)
    assert book.credit_minor <= auditor.paid_minor
    assert book.deferred_minor == 0


@pytest.mark.parametrize("code", ["HALF", "TEN", "HUGE", "FREE"])
def test_what_is_given_back_at_once_is_what_was_paid(code: str) -> None:
    book = on("team", code)
    paid_minor = final(book)[0].total_minor
    cancel_now(book, START, "cancel")
    assert book.credit_minor == paid_minor
