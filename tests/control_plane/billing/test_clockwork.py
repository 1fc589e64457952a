"""What time alone makes due, in which order, and that every state and every command leads on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, get_args

import pytest

from control_plane.billing.book import Book
from control_plane.billing.change_quote import Wanted
from control_plane.billing.clockwork import advance, next_due_at, next_move
from control_plane.billing.collecting import begin, take_in
from control_plane.billing.ending import cancel_later, cancel_now, keep, pause, resume
from control_plane.billing.forecast import collect
from control_plane.billing.plan_change import commit, quote
from control_plane.billing.provider import settled
from control_plane.billing.starting import start
from control_plane.domain.subscription import SUBSCRIPTION, SubscriptionState
from control_plane.domain.terms import Method
from control_plane.errors import BadInput, Refused
from tests.support.books import (
    DAY,
    HOUR,
    LATER,
    START,
    Auditor,
    begun,
    change,
    declined,
    every_hour,
    facts_of,
    free_book,
    go,
    new_book,
    paid,
    pending,
    state_of,
    told,
)

NOW = START + 10 * DAY
RENEWAL = START + 28 * DAY
CARD = Method(provider="sandbox", reference="card")


def test_nothing_is_done_before_its_instant_and_everything_at_it() -> None:
    book = begun()
    assert advance(book, RENEWAL - timedelta(microseconds=1)) == 0
    assert advance(book, RENEWAL) == 1
    assert told(book, "subscription.renewed") == [RENEWAL]


def test_what_is_done_late_is_done_as_of_its_instant() -> None:
    book = begun("term")
    advance(book, LATER)
    assert told(book, "subscription.renewed") == [RENEWAL]
    assert told(book, "subscription.end_term") == [book.subscription.term_ends_at]


def test_a_sweep_that_has_nothing_to_do_changes_nothing() -> None:
    book = begun()
    held = facts_of(book)
    advance(book, NOW)
    assert facts_of(book) == held


def test_an_end_comes_before_the_renewal_of_the_same_instant() -> None:
    book = begun()
    cancel_later(book, NOW)
    advance(book, RENEWAL)
    assert state_of(book) == "canceled"
    assert told(book, "subscription.renewed") == []


def test_the_next_instant_is_that_of_a_move_an_attempt_or_a_question() -> None:
    book = begun()
    assert next_due_at(book) == RENEWAL
    advance(book, RENEWAL)
    assert next_due_at(book) == RENEWAL
    go(book, RENEWAL, pending)
    assert next_due_at(book) == RENEWAL + HOUR
    move = next_move(book)
    assert move is not None
    assert move.at > RENEWAL + HOUR


def test_what_is_at_rest_has_no_next_instant() -> None:
    assert next_due_at(free_book()) is None
    book = begun()
    cancel_now(book, NOW, "x")
    assert next_due_at(book) is None


def test_a_debt_that_nobody_tried_to_collect_ends_nothing_before_it_is_tried() -> None:
    book, auditor = begun(), Auditor()
    book.revise(collection_paused=True)
    auditor.look(go(book, RENEWAL + 90 * DAY))
    assert state_of(book) == "active"
    book.revise(collection_paused=False)
    tried = RENEWAL + 90 * DAY + HOUR
    advance(book, tried)
    collect(book, tried, declined)
    advance(book, tried)
    auditor.look(book)
    assert told(book, "subscription.exhaust_retries") == [tried]


def test_a_debt_of_before_a_pause_ends_nothing_before_the_pause_is_over() -> None:
    book, auditor = begun(terms={"collection": "by_invoice", "due_days": 20}), Auditor()
    pause(book, START + 60 * DAY, START + 10 * DAY, "x")
    auditor.look(go(book, START + 59 * DAY))
    assert book.owed() != ()
    auditor.look(go(book, START + 60 * DAY))
    assert told(book, "subscription.invoice_overdue") == [START + 60 * DAY]


def test_a_pause_that_is_over_goes_on_until_there_is_a_method() -> None:
    book = begun()
    pause(book, START + 20 * DAY, NOW, "x")
    book.revise(method=None)
    go(book, START + 25 * DAY)
    book.revise(method=CARD, method_set_at=START + 25 * DAY)
    go(book, START + 25 * DAY)
    assert told(book, "subscription.resume") == [START + 25 * DAY]
    assert book.subscription.current_period_start == START + 25 * DAY


# every state and every command ------------------------------------------------------------------


def _in_debt(days: int) -> Book:
    return go(begun("team"), RENEWAL + days * DAY, declined)


def _trialing() -> Book:
    return go(new_book("trial"), NOW)


def _incomplete() -> Book:
    book = new_book()
    start(book, NOW)
    return book


def _expired_incomplete() -> Book:
    return go(_incomplete(), NOW + DAY, declined)


def _paused() -> Book:
    book = begun()
    pause(book, LATER, NOW - DAY, "x")
    return book


def _ending() -> Book:
    book = begun()
    cancel_later(book, NOW - DAY)
    return book


def _canceled() -> Book:
    book = begun()
    cancel_now(book, NOW - DAY, "x")
    return book


def _waiting(**wanted: Any) -> Callable[[], Book]:
    def made() -> Book:
        book = begun("team")
        change(book, NOW - HOUR, "earlier", **wanted)
        return book

    return made


def _in_flight() -> Book:
    return go(_waiting(plan="pro")(), NOW, pending)


def _with_a_draft() -> Book:
    book = begun("metered", usage=every_hour)
    advance(book, RENEWAL)
    return book


def _paused_free() -> Book:
    book = free_book()
    pause(book, LATER, NOW, "x")
    return book


STANDINGS: Mapping[str, Callable[[], Book]] = MappingProxyType(
    {
        "scheduled": lambda: new_book(at=LATER),
        "scheduled, no method": lambda: new_book(at=LATER, method=False),
        "incomplete": _incomplete,
        "incomplete, under way": lambda: go(_incomplete(), NOW, pending),
        "incomplete_expired": _expired_incomplete,
        "trialing": _trialing,
        "active": begun,
        "active, yearly": lambda: begun("pro", terms={"interval": "year"}),
        "active, free": free_book,
        "active, by use": lambda: begun("by_use", usage=every_hour),
        "active, by invoice": lambda: begun(terms={"collection": "by_invoice"}),
        "active, change waits": _waiting(plan="pro"),
        "active, change under way": _in_flight,
        "active, less to come": _waiting(plan="free"),
        "active, draft": _with_a_draft,
        "active, ending": _ending,
        "past_due": lambda: _in_debt(1),
        "unpaid": lambda: _in_debt(20),
        "paused": _paused,
        "paused, free": _paused_free,
        "canceled": _canceled,
        "canceled, in debt": lambda: _in_debt(40),
        "expired": lambda: go(begun("term"), LATER - DAY),
    }
)


def _pay(book: Book, at: Any, answer: Any) -> None:
    for one in book.owed():
        attempt = begin(book, one.id, at)
        if attempt.state == "processing":
            take_in(book, settled(attempt, answer(attempt), at), at)


def _changes(**wanted: Any) -> Callable[[Book, Any], None]:
    def asked(book: Book, at: Any) -> None:
        quoted = quote(book, Wanted(currency="EUR", **wanted), at, "now")
        commit(book, quoted, at, "now")

    return asked


COMMANDS: Mapping[str, Callable[[Book, Any], Any]] = MappingProxyType(
    {
        "start": start,
        "change up": _changes(plan="pro"),
        "change down": _changes(plan="free"),
        "change seats": _changes(plan="team", seats=9),
        "change interval": _changes(plan="pro", interval="year"),
        "change to metered": _changes(plan="metered"),
        "change to none": _changes(plan="team"),
        "cancel now": lambda book, at: cancel_now(book, at, "now"),
        "cancel later": cancel_later,
        "keep": keep,
        "pause": lambda book, at: pause(book, at + DAY, at, "now"),
        "pause until before": lambda book, at: pause(book, at - DAY, at, "now"),
        "resume": resume,
        "pay": lambda book, at: _pay(book, at, paid),
        "fail": lambda book, at: _pay(book, at, declined),
        "advance": advance,
        "advance far": lambda book, at: go(book, at + 60 * DAY, declined),
    }
)


def _instant_of(book: Book) -> Any:
    moved = [one.at for one in book.notes]
    return max([NOW, *moved]) + HOUR / 4


def test_the_standings_are_every_state() -> None:
    states = {state_of(STANDINGS[name]()) for name in STANDINGS}
    assert states == set(get_args(SubscriptionState))
    assert all(state_of(STANDINGS[name]()) == name.split(",")[0] for name in STANDINGS)


@pytest.mark.slice_of(6)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("standing", STANDINGS)
def test_a_command_is_carried_out_whole_or_refused_and_nothing_moved(
    standing: str, command: str
) -> None:
    book, auditor = STANDINGS[standing](), Auditor()
    auditor.look(book)
    at = _instant_of(book)
    held = facts_of(book)
    try:
        COMMANDS[command](book, at)
    except (Refused, BadInput):
        assert facts_of(book) == held, "what is refused leaves nothing behind"
    book.refresh()
    auditor.look(book)
    _comes_to_rest(book, max(at, _instant_of(book)), auditor)


def _comes_to_rest(book: Book, at: Any, auditor: Auditor) -> None:
    """From wherever it is there is a way on, to a paid and active one or to its end."""
    for one in [one for one in book.attempts.values() if one.state == "unknown"]:
        take_in(book, settled(one, paid(one), at), at)
    book.revise(method=CARD, method_set_at=at)
    if book.subscription.terms is not None:
        book.revise(terms=book.terms.model_copy(update={"collection": "automatic"}))
    if state_of(book) == "paused":
        resume(book, at)
    _pay(book, at, paid)
    book.refresh()
    auditor.look(book)
    go(book, max(at, LATER) + 100 * DAY)
    auditor.look(book)
    state = state_of(book)
    assert state == "active" or state in SUBSCRIPTION.terminal
    assert book.owed() == ()
    if state == "active":
        cancel_now(book, max(at, LATER) + 100 * DAY, "the end")
        go(book, max(at, LATER) + 200 * DAY)
        auditor.look(book)
    assert state_of(book) in SUBSCRIPTION.terminal
    assert next_due_at(book) is None
