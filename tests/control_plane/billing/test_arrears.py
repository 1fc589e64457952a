"""What is billed after it was used: which time counts, the draft that waits, and the last invoice."""

from __future__ import annotations

import json
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.billing.arrears import close_draft, end_billing, unbilled
from control_plane.billing.book import Book
from control_plane.billing.clockwork import advance
from control_plane.billing.ending import cancel_now
from control_plane.domain.plans import PlanCatalog, PlanOffer
from tests.support.books import (
    DAY,
    HOUR,
    PLANS,
    START,
    Auditor,
    begun,
    change,
    every_hour,
    facts_of,
    final,
    go,
    new_book,
    state_of,
    sums,
)

RENEWAL = START + 28 * DAY


def test_only_the_time_of_a_plan_that_meters_counts() -> None:
    assert unbilled(begun(), START + DAY, "i") is None
    assert unbilled(begun("metered"), START, "i") is None
    due = unbilled(begun("metered"), START + DAY, "i")
    assert due is not None
    assert (due.start, due.end, due.plan) == (START, START + DAY, "metered")


def test_a_trial_and_a_first_invoice_that_is_not_paid_count_for_nothing() -> None:
    trial = go(new_book("trial"), START)
    assert state_of(trial) == "trialing"
    assert unbilled(trial, START + DAY, "i") is None
    first = new_book("metered")
    advance(first, START)
    assert state_of(first) == "incomplete"
    assert unbilled(first, START + DAY, "i") is None


def test_the_draft_has_the_charges_ahead_and_takes_the_usage_at_its_end() -> None:
    book = begun("metered", usage=every_hour)
    advance(book, RENEWAL)
    due = book.subscription.unbilled
    assert due is not None
    draft = book.invoices[due.invoice]
    assert (draft.state, draft.total_minor, draft.number) == ("draft", 1000, None)
    assert draft.collection_deadline == RENEWAL + HOUR
    close_draft(book, RENEWAL + HOUR)
    assert book.subscription.unbilled is None
    assert book.invoices[due.invoice].total_minor == 1000 + 1344
    held = facts_of(book)
    close_draft(book, RENEWAL + HOUR)
    assert facts_of(book) == held


def test_a_change_closes_the_draft_before_it() -> None:
    book = begun("metered", usage=every_hour)
    advance(book, RENEWAL)
    change(book, RENEWAL + HOUR / 4, plan="term")
    ended = final(book)[1]
    assert ended.finalized_at == RENEWAL + HOUR / 4
    assert sums(ended)["usage:api_calls"] == 1344


def test_nothing_that_was_used_is_billed_twice_whatever_ends_the_period() -> None:
    book, auditor = begun("metered", usage=every_hour), Auditor()
    change(book, START + 3 * DAY, "a", plan="by_use")
    auditor.look(go(book, START + 4 * DAY))
    change(book, START + 8 * DAY, "b", plan="term")
    auditor.look(go(book, START + 9 * DAY))
    cancel_now(book, START + 12 * DAY, "x", released=True)
    auditor.look(go(book, START + 20 * DAY))
    used = [line for one in final(book) for line in one.lines if line.kind == "usage"]
    assert [(int(one.quantity), one.amount_minor) for one in used] == [(72, 144), (120, 360)]


def test_once_nothing_runs_any_more_nothing_comes() -> None:
    book = begun("metered", usage=every_hour)
    end_billing(book, START + DAY)
    assert (book.subscription.running, book.subscription.current_period_end) == ((), None)
    end_billing(book, START + DAY)
    assert sums(final(book)[-1]) == {"usage:api_calls": 48}
    assert book.subscription.unbilled is None


def _least(book: Book) -> list[int]:
    lines = (line for one in final(book) for line in one.lines)
    return [one.amount_minor for one in lines if one.kind == "minimum"]


def test_a_minimum_is_for_a_whole_period_and_its_part_for_a_part() -> None:
    whole = go(begun("metered"), RENEWAL + HOUR)
    assert _least(whole) == [50]
    cut = begun("metered")
    cancel_now(cut, START + 14 * DAY, "x")
    assert _least(go(cut, START + 15 * DAY)) == [25]
    # Past its end, a period that a debt has held up costs no more than one.
    late = begun("metered")
    end_billing(late, RENEWAL + 3 * DAY)
    assert _least(go(late, RENEWAL + 4 * DAY)) == [50]


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(1, 28 * 86_400 - 1), min_size=1, max_size=5, unique=True))
def test_however_often_its_meters_change_a_period_costs_its_minimum_once(cuts: list[int]) -> None:
    book = begun("dear_0", plans=DEAR)
    for number, cut in enumerate(sorted(cuts), start=1):
        at = START + timedelta(seconds=cut)
        change(go(book, at), at, f"c{number}", plan=f"dear_{number}")
    go(book, RENEWAL + HOUR)
    assert sum(_least(book)) == 1_001
    lines = (line for one in final(book) for line in one.lines)
    assert sum(line.amount_minor for line in lines if line.reference == "api_flat") == 777
    Auditor().look(book)


def _dear(rank: int) -> PlanOffer:
    offer = PLANS.offer("metered")
    calls = offer.charge("api_calls", "month")
    assert calls is not None
    told = offer.model_dump(mode="json")
    [base] = [one for one in told["charges"] if one["component"] == "plan"]
    price = {"currency": "EUR", "model": "flat", "amount_minor": 1_000 * (rank + 1)}
    unit = {"currency": "EUR", "model": "per_seat", "unit_amount_minor": str(rank + 1)}
    # Each has another rate, so that what was used is billed with each change.
    told["charges"] = [
        {**base, "prices": [price]},
        {**base, "component": "api_calls", "prices": [{**unit, "minimum_minor": 1_001}]},
        {**base, "component": "api_flat", "prices": [{**price, "amount_minor": 777}]},
    ]
    told["entitlements"] = [
        {"kind": "metered", "feature": one} for one in ("api_calls", "api_flat")
    ]
    told |= {"name": f"dear_{rank}", "rank": 100 + rank}
    return PlanOffer.model_validate_json(json.dumps(told))


DEAR = PlanCatalog(plans=tuple(_dear(rank) for rank in range(6)))
