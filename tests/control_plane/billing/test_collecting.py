"""How an invoice is collected: attempts, answers, the ladder to its end, and what a payment lifts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from control_plane.billing.book import Book
from control_plane.billing.clockwork import next_due_at
from control_plane.billing.collecting import (
    ACTION_MAX,
    acts_until,
    attempt_due_at,
    begin,
    question_due_at,
    take_in,
)
from control_plane.billing.dunning import standing
from control_plane.billing.ending import cancel_now, pause
from control_plane.billing.provider import (
    Answer,
    PaymentContradiction,
    lost,
    probed,
    settled,
    unheard,
)
from control_plane.domain.invoice import Invoice
from control_plane.domain.payment import PaymentAttempt
from control_plane.domain.terms import Method
from control_plane.errors import Refused
from tests.support.books import (
    DAY,
    HOUR,
    LATER,
    START,
    Auditor,
    begun,
    declined,
    declined_for_good,
    facts_of,
    failing,
    final,
    go,
    new_book,
    paid,
    pending,
    state_of,
    told,
)

RENEWAL = START + 28 * DAY
OTHER = Method(provider="sandbox", reference="another")


def debtor(until: timedelta = timedelta()) -> Book:
    """One whose renewal was declined, so long after it."""
    return go(begun(), RENEWAL + until, declined)


def debt(book: Book) -> Invoice:
    """The invoice that is owed."""
    [found] = book.owed()
    return found


def test_a_declined_renewal_is_past_due_and_is_tried_again_on_the_days_of_the_ladder() -> None:
    book = debtor(40 * DAY)
    tried = [one.created_at - RENEWAL for one in book.attempts_of(debt(book).id)]
    assert tried == [day * DAY for day in (0, 1, 3, 5, 7, 9, 11, 14)]
    assert debt(book).attempts == 8


def test_the_ladder_closes_one_thing_after_another_and_ends_it() -> None:
    book = begun()
    levels: list[tuple[int, str, str]] = []
    go(book, RENEWAL, declined)
    for day in range(32):
        go(book, RENEWAL + day * DAY, declined)
        at = (day, state_of(book), book.subscription.gate_level(RENEWAL + day * DAY))
        if not levels or levels[-1][1:] != at[1:]:
            levels.append(at)
    assert levels == [
        (0, "past_due", "no_upgrades"),
        (7, "past_due", "no_new_resources"),
        (14, "unpaid", "read_only"),
        (21, "unpaid", "no_access"),
        (30, "canceled", "deprovision"),
    ]
    Auditor().look(book)


@pytest.mark.parametrize("day", [0, 1, 3, 5, 7, 9, 11, 14])
def test_a_payment_at_any_rung_lifts_everything_at_once(day: int) -> None:
    book = debtor(day * DAY - HOUR) if day else begun()
    go(book, RENEWAL + day * DAY)
    assert state_of(book) == "active"
    assert book.subscription.gates == ()
    assert book.subscription.entitled(RENEWAL + day * DAY)
    Auditor().look(book)


@pytest.mark.parametrize("day", [14, 15, 21, 29])
def test_who_is_unpaid_pays_and_is_active_in_the_period_that_still_runs(day: int) -> None:
    book = debtor(day * DAY)
    at = RENEWAL + day * DAY
    assert state_of(book) == "unpaid"
    attempt = begin(book, debt(book).id, at)
    take_in(book, settled(attempt, paid(attempt), at), at)
    book.refresh()
    assert state_of(book) == "active"
    assert book.subscription.current_period_start == RENEWAL
    assert len(final(book)) == 2


def test_who_pays_after_the_period_begins_a_new_one_and_owes_none_between() -> None:
    book = begun("pro")
    book.revise(never_suspend=False)
    go(book, RENEWAL + 14 * DAY, declined)
    book.revise(never_suspend=True)
    at = RENEWAL + 50 * DAY
    go(book, at, declined)
    assert state_of(book) == "unpaid"
    attempt = begin(book, debt(book).id, at)
    take_in(book, settled(attempt, paid(attempt), at), at)
    go(book, at)
    assert state_of(book) == "active"
    assert book.subscription.current_period_start == at
    assert [one.total_minor for one in final(book)] == [9999] * 3
    assert book.deferred_minor == 9999
    Auditor().look(book)


def test_who_pays_after_it_ended_owes_nothing_and_stays_ended() -> None:
    book = debtor(31 * DAY)
    for one in list(book.owed()):
        attempt = begin(book, one.id, RENEWAL + 31 * DAY)
        take_in(book, settled(attempt, paid(attempt), RENEWAL + 31 * DAY), RENEWAL + 31 * DAY)
    book.refresh()
    assert state_of(book) == "canceled"
    assert (book.owed(), book.subscription.gates) == ((), ())


def test_a_plan_may_end_it_where_others_wait_unpaid() -> None:
    book = go(begun("strict"), LATER, declined)
    assert state_of(book) == "canceled"
    assert told(book, "subscription.exhaust_retries_canceled") == [RENEWAL + 14 * DAY]


def test_who_is_never_to_be_suspended_keeps_access_and_owes() -> None:
    book = begun()
    book.revise(never_suspend=True)
    go(book, RENEWAL + 200 * DAY, declined)
    assert state_of(book) == "past_due"
    assert book.subscription.entitled(RENEWAL + 200 * DAY)
    assert book.subscription.gate_level(RENEWAL + 200 * DAY) == "no_new_resources"


def test_a_new_method_is_tried_at_once() -> None:
    book = debtor(2 * DAY)
    book.revise(method=OTHER, method_set_at=RENEWAL + 2 * DAY + HOUR)
    assert next_due_at(book) == RENEWAL + 2 * DAY + HOUR
    go(book, RENEWAL + 2 * DAY + HOUR)
    assert state_of(book) == "active"
    assert [one.method_reference for one in book.attempts.values()][-1] == "another"


def test_a_hard_decline_waits_for_a_new_method_and_the_ladder_goes_on() -> None:
    book = go(begun(), RENEWAL + 20 * DAY, declined_for_good)
    assert len(book.attempts_of(debt(book).id)) == 1
    assert state_of(book) == "unpaid"
    book.revise(method=OTHER, method_set_at=RENEWAL + 20 * DAY)
    go(book, RENEWAL + 20 * DAY)
    assert state_of(book) == "active"


def test_without_a_method_an_attempt_fails_without_asking_anybody() -> None:
    book = begun()
    book.revise(method=None)
    go(book, RENEWAL + 5 * DAY, lambda _: pytest.fail("nobody is asked"))
    [attempt] = book.attempts_of(debt(book).id)
    assert (attempt.state, attempt.failure, attempt.provider) == ("failed", "no_method", "none")
    assert state_of(book) == "past_due"


def test_an_error_of_the_providers_is_tried_again_soon_and_then_by_the_days() -> None:
    book = go(begun(), RENEWAL + 40 * DAY, failing)
    tried = [one.created_at - RENEWAL for one in book.attempts_of(debt(book).id)]
    assert [one.total_seconds() for one in tried[:4]] == [0, 300, 900, 2100]
    assert 8 < len(tried) <= 17


def test_one_of_unknown_standing_is_asked_about_and_never_tried_again() -> None:
    book = begun()
    go(book, RENEWAL - HOUR)
    go(book, RENEWAL, pending)
    [attempt] = [one for one in book.attempts.values() if one.state == "unknown"]
    assert attempt.unsettled == "pending"
    assert attempt_due_at(book, debt(book)) is None
    assert question_due_at(book, attempt) == RENEWAL + HOUR
    with pytest.raises(Refused) as caught:
        begin(book, debt(book).id, RENEWAL + HOUR)
    assert caught.value.code == "attempt_in_flight"
    go(book, RENEWAL + HOUR)
    assert book.owed() == ()
    assert len(book.attempts) == 2


def test_an_answer_that_was_lost_is_asked_for_after_its_deadline() -> None:
    book = begun()
    book.revise(collection_paused=True)
    go(book, RENEWAL)
    attempt = begin(book, debt(book).id, RENEWAL)
    assert question_due_at(book, attempt) == RENEWAL + timedelta(minutes=5)
    unknown = take_in(book, lost(attempt, RENEWAL + timedelta(minutes=5)), RENEWAL)
    assert question_due_at(book, unknown) == RENEWAL + timedelta(minutes=10)
    go(book, RENEWAL + timedelta(minutes=10))
    assert book.owed() == ()


def test_the_same_answer_twice_is_one() -> None:
    for answer in (paid, declined, pending):
        book = begun()
        book.revise(collection_paused=True)
        go(book, RENEWAL)
        attempt = begin(book, debt(book).id, RENEWAL)
        answered = settled(attempt, answer(attempt), RENEWAL)
        take_in(book, answered, RENEWAL)
        held = facts_of(book)
        take_in(book, answered, RENEWAL)
        assert facts_of(book) == held
        told_again = answered.model_copy(update={"decline_code": "again"})
        take_in(book, told_again, RENEWAL)
        assert (book.balances, len(book.notes)) == (held[3], len(held[6]))


def test_what_failed_cannot_succeed_later() -> None:
    book = debtor()
    [attempt] = book.attempts_of(debt(book).id)
    with pytest.raises(PaymentContradiction):
        settled(attempt, paid(attempt), RENEWAL + HOUR)


def test_who_must_act_first_is_told_and_owes_until_then() -> None:
    book = begun()
    acts = Answer(kind="action_required", reference="r")
    go(book, RENEWAL, lambda _: acts)
    assert told(book, "payment.action_required") == [RENEWAL]
    assert state_of(book) == "active"
    [attempt] = [one for one in book.attempts.values() if one.state == "action_required"]
    assert attempt_due_at(book, debt(book)) is None
    take_in(book, settled(attempt, paid(attempt), RENEWAL + DAY), RENEWAL + DAY)
    assert book.owed() == ()


def test_who_must_act_is_asked_about_at_growing_intervals_and_closed_at_the_last() -> None:
    book = begun()
    acts = Answer(kind="action_required", reference="r", action_url="https://bank.example/1")
    go(book, RENEWAL, lambda _: acts)
    [attempt] = [one for one in book.attempts.values() if one.state == "action_required"]
    waits: list[timedelta] = []
    at = RENEWAL
    while (due := question_due_at(book, attempt)) is not None and due < acts_until(attempt):
        # It matters to nobody whether the provider says so again or says nothing.
        said = probed(attempt, acts, due) if len(waits) % 2 else unheard(attempt, due)
        attempt = take_in(book, said, due)
        waits.append(due - at)
        at = due
        assert len(waits) < 10
    assert [one // timedelta(minutes=1) for one in waits] == [5, 15, 60, 180, 360, 720]
    assert question_due_at(book, attempt) == RENEWAL + ACTION_MAX
    assert (attempt.changed_at, attempt.action_url) == (RENEWAL, "https://bank.example/1")
    assert told(book, "payment.action_required") == [RENEWAL]


def test_a_clock_that_slept_asks_once_and_not_for_each_time_that_it_missed() -> None:
    book = begun()
    acts = Answer(kind="action_required", reference="r")
    go(book, RENEWAL, lambda _: acts)
    [attempt] = [one for one in book.attempts.values() if one.state == "action_required"]
    asked = take_in(book, probed(attempt, acts, RENEWAL + 5 * HOUR), RENEWAL + 5 * HOUR)
    assert question_due_at(book, asked) == RENEWAL + 5 * HOUR + timedelta(minutes=15)


def test_nothing_is_collected_of_what_is_not_owed() -> None:
    book = begun()
    with pytest.raises(Refused) as caught:
        begin(book, final(book)[0].id, START)
    assert caught.value.code == "nothing_due"


def test_collection_that_is_paused_tries_nothing_by_itself() -> None:
    book = begun()
    book.revise(collection_paused=True)
    go(book, RENEWAL + 3 * DAY)
    assert len(book.attempts) == 1
    assert begin(book, debt(book).id, RENEWAL + 3 * DAY).state == "processing"


def test_by_invoice_nothing_is_tried_by_itself() -> None:
    book = go(new_book(terms={"collection": "by_invoice"}), START + 20 * DAY)
    assert (book.attempts, state_of(book)) == ({}, "past_due")


def test_one_debt_of_two_paid_lifts_nothing() -> None:
    book = begun(terms={"collection": "by_invoice", "due_days": 20})
    go(book, START + 49 * DAY)
    assert len(book.owed()) == 2
    at = START + 49 * DAY
    for one, state in zip(book.owed(), ("unpaid", "active"), strict=True):
        attempt = begin(book, one.id, at)
        take_in(book, settled(attempt, paid(attempt), at), at)
        assert state_of(book) == state


def test_what_came_twice_for_one_invoice_is_credit() -> None:
    book = debtor()
    book.revise(method_set_at=RENEWAL + HOUR)
    go(book, RENEWAL + HOUR, pending)
    cancel_now(book, RENEWAL + HOUR, "x")
    assert book.owed() != ()
    owed = debt(book).due_minor
    [attempt] = [one for one in book.attempts.values() if one.state == "unknown"]
    take_in(book, settled(attempt, paid(attempt), RENEWAL + DAY), RENEWAL + DAY)
    assert book.credit_minor == attempt.amount_minor - owed
    Auditor().look(book)


def test_a_failure_for_what_was_paid_otherwise_is_no_debt() -> None:
    book = begun("pro")
    at = START + DAY
    pause(book, at + DAY, at, "x")
    go(book, at + DAY, pending)
    [attempt] = [one for one in book.attempts.values() if one.state == "unknown"]
    invoice = debt(book)
    book.put(invoice.model_copy(update={"state": "paid", "allocated_minor": invoice.total_minor}))
    take_in(book, settled(attempt, declined(attempt), at + DAY), at + DAY)
    assert state_of(book) == "active"


def test_the_steps_of_the_gate_are_the_ladder_at_every_instant() -> None:
    for book in (debtor(), debtor(12 * DAY), debtor(40 * DAY)):
        policy, facts = book.offer.dunning, book.dunning_facts()
        for hours in range(-30, 24 * 45, 7):
            at = RENEWAL + timedelta(hours=hours)
            assert book.subscription.gate_level(at) == standing(policy, facts, at).level


def test_an_attempt_is_numbered_after_those_before_it() -> None:
    book = debtor(40 * DAY)
    numbers = [one.number for one in book.attempts_of(debt(book).id)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert isinstance(book.attempts_of(debt(book).id)[0], PaymentAttempt)
