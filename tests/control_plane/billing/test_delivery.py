"""When a webhook is tried again, what an answer means, and where a delivery ends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.billing.delivery import (
    RETRY_AFTER_MAX,
    WAITS,
    Answer,
    begin,
    cancel,
    disable,
    expire,
    lose,
    next_attempt,
    replay,
    settle,
    verdict,
)
from control_plane.domain.delivery import DELIVERY, Delivery
from control_plane.domain.machine import IllegalTransition
from control_plane.errors import BadInput, Refused

NOW = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)
TICK = timedelta(microseconds=1)
WAITS_S = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
NEW = Delivery(
    id="delivery_1",
    tenant="acme",
    endpoint="endpoint_1",
    message="msg_1",
    next_attempt_at=NOW,
    created_at=NOW,
    changed_at=NOW,
)
SENDING = begin(NEW, NOW)
DEAD = disable(NEW, NOW)
DELIVERED = settle(SENDING, Answer(status=204), "seed", NOW)

answers = st.sampled_from([None, 200, 301, 400, 404, 410, 413, 429, 500, 503])


def test_the_schedule_is_ten_attempts_over_three_days() -> None:
    assert tuple(wait.total_seconds() for wait in WAITS) == WAITS_S
    assert sum(WAITS, timedelta(0)) == timedelta(hours=75, minutes=35, seconds=5)


def test_the_first_attempt_is_at_once() -> None:
    assert next_attempt("seed", 0, NOW) == NOW


@settings(max_examples=100, deadline=None)
@given(seed=st.text(max_size=20), attempts=st.integers(min_value=0, max_value=9))
def test_a_wait_is_never_shorter_and_at_most_a_tenth_longer(seed: str, attempts: int) -> None:
    at = next_attempt(seed, attempts, NOW)
    assert at is not None
    assert at == next_attempt(seed, attempts, NOW)
    assert WAITS[attempts] <= at - NOW <= WAITS[attempts] * 11 / 10


def test_messages_that_failed_together_do_not_come_back_together() -> None:
    assert len({next_attempt(f"seed {number}", 4, NOW) for number in range(200)}) == 200
    later = [next_attempt(f"seed {number}", 4, NOW) for number in range(200)]
    shares = [(at - NOW - WAITS[4]) / (WAITS[4] / 10) for at in later if at is not None]
    assert min(shares) < 0.1
    assert max(shares) > 0.9


def test_a_known_seed_gives_known_instants() -> None:
    # Written down once: it must never change, or a sweep that comes again decides otherwise.
    assert [next_attempt("delivery_1", number, NOW) for number in (1, 9)] == [
        datetime(2026, 3, 20, 9, 30, 5, 53_838, tzinfo=UTC),
        datetime(2026, 3, 21, 11, 23, 25, 536_411, tzinfo=UTC),
    ]


def test_after_the_last_attempt_there_is_none() -> None:
    assert next_attempt("seed", 9, NOW) is not None
    assert next_attempt("seed", 10, NOW) is None
    assert next_attempt("seed", 99, NOW) is None


def test_the_zone_of_a_clock_makes_no_difference() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-7)))
    assert next_attempt("seed", 3, elsewhere) == next_attempt("seed", 3, NOW)


def test_counts_and_waits_are_not_negative() -> None:
    with pytest.raises(BadInput, match="attempts"):
        next_attempt("seed", -1, NOW)
    with pytest.raises(BadInput, match="retry_after"):
        next_attempt("seed", 1, NOW, -TICK)


def test_every_status_has_one_meaning() -> None:
    found: dict[str, set[int]] = {"delivered": set(), "retry": set(), "final": set(), "gone": set()}
    for status in range(100, 1_000):
        found[verdict(status)].add(status)
    assert found["delivered"] == set(range(200, 300))
    assert found["gone"] == {410}
    assert found["final"] == {413, 414, 415, 431}
    assert {301, 307, 400, 401, 403, 404, 408, 409, 422, 425, 429, 500, 502, 503, 504} <= found[
        "retry"
    ]
    assert verdict(None) == "retry"


def test_a_delivery_is_not_begun_before_its_time() -> None:
    with pytest.raises(Refused) as caught:
        begin(NEW, NOW - TICK)
    assert caught.value.code == "delivery_not_due"


def test_a_begun_delivery_is_watched_and_counts_its_attempt() -> None:
    assert (SENDING.state, SENDING.attempts, SENDING.next_attempt_at) == ("sending", 1, None)
    assert SENDING.deadline_at == NOW + timedelta(seconds=60)
    assert SENDING.heartbeat_at == NOW
    assert SENDING.version == NEW.version + 1


def test_an_answer_of_success_ends_it() -> None:
    assert (DELIVERED.state, DELIVERED.last_status) == ("delivered", 204)
    assert (DELIVERED.deadline_at, DELIVERED.heartbeat_at) == (None, None)


@pytest.mark.parametrize(("status", "cause"), [(410, "gone"), (413, "rejected")])
def test_a_final_answer_is_a_dead_letter_at_once(status: int, cause: str) -> None:
    found = settle(SENDING, Answer(status=status), "seed", NOW)
    assert (found.state, found.cause, found.last_status) == ("dead_lettered", cause, status)


@pytest.mark.parametrize("status", [None, 301, 404, 500])
def test_a_failure_is_tried_again_after_the_next_wait(status: int | None) -> None:
    found = settle(SENDING, Answer(status=status), "seed", NOW)
    assert (found.state, found.attempts, found.last_status) == ("pending", 1, status)
    assert found.next_attempt_at == next_attempt("seed", 1, NOW)


def test_a_receiver_that_throttles_may_delay_the_next_attempt_by_a_day() -> None:
    hour = Answer(status=429, retry_after_s=3_600)
    assert settle(SENDING, hour, "seed", NOW).next_attempt_at == NOW + timedelta(hours=1)
    year = Answer(status=503, retry_after_s=31_536_000)
    assert settle(SENDING, year, "seed", NOW).next_attempt_at == NOW + RETRY_AFTER_MAX
    # It can never hurry us, and another status has no say.
    usual = next_attempt("seed", 1, NOW)
    for answer in (
        Answer(status=429, retry_after_s=1),
        Answer(status=500, retry_after_s=3_600),
    ):
        assert settle(SENDING, answer, "seed", NOW).next_attempt_at == usual


@settings(max_examples=100, deadline=None)
@given(script=st.lists(st.one_of(answers, st.just(-1)), min_size=10, max_size=10))
def test_whatever_is_answered_a_delivery_ends_within_ten_attempts(script: list[int | None]) -> None:
    found = NEW
    for last in script:  # -1: the sender fell silent
        if found.next_attempt_at is None:
            break
        now = found.next_attempt_at
        found = begin(found, now)
        after = now + timedelta(seconds=3)
        if last == -1:
            found = lose(found, "seed", after)
        else:
            found = settle(found, Answer(status=last), "seed", after)
    assert found.state in {"delivered", "dead_lettered"}
    assert (found.state == "delivered") is (found.last_status == 200)
    assert (found.cause == "gone") is (found.last_status == 410)
    assert (found.cause == "rejected") is (found.last_status == 413)
    assert (found.cause == "exhausted") is (found.last_status not in {200, 410, 413})
    assert found.attempts == 10 or found.cause != "exhausted"


def test_failing_every_time_is_a_dead_letter_after_the_tenth_attempt() -> None:
    found, begun = NEW, 0
    while found.next_attempt_at is not None and begun < 20:
        begun += 1
        found = settle(begin(found, found.next_attempt_at), Answer(), "seed", found.next_attempt_at)
    assert (begun, found.state, found.cause) == (10, "dead_lettered", "exhausted")


def test_a_sender_that_always_falls_silent_is_no_endless_loop() -> None:
    found, begun = NEW, 0
    while found.next_attempt_at is not None and begun < 20:
        begun += 1
        found = lose(begin(found, found.next_attempt_at), "seed", found.next_attempt_at)
    assert (begun, found.state, found.cause) == (10, "dead_lettered", "exhausted")


def test_a_dead_letter_is_replayed_from_the_first_attempt_on() -> None:
    later = NOW + timedelta(days=9)
    gone = settle(SENDING, Answer(status=410), "seed", NOW)
    again = replay(gone, "seed", later)
    assert (again.state, again.attempts, again.replays, again.cause) == ("pending", 0, 1, None)
    assert again.next_attempt_at == later
    assert again.message == NEW.message
    assert settle(begin(again, later), Answer(status=200), "seed", later).state == "delivered"


def test_a_disabled_endpoint_makes_a_dead_letter_of_what_is_pending() -> None:
    assert (DEAD.state, DEAD.cause, DEAD.next_attempt_at) == (
        "dead_lettered",
        "endpoint_disabled",
        None,
    )


def test_a_delivery_ends_with_its_endpoint_or_when_nobody_replays_it() -> None:
    assert cancel(NEW, NOW).state == cancel(DEAD, NOW).state == "canceled"
    assert expire(DEAD, NOW).state == "expired"
    assert expire(DEAD, NOW).cause is None


def test_no_step_is_taken_from_a_state_that_does_not_allow_it() -> None:
    states = {"pending": NEW, "sending": SENDING, "dead_lettered": DEAD, "delivered": DELIVERED}
    steps: dict[str, tuple[Callable[[Delivery], Delivery], set[str]]] = {
        "begin": (lambda one: begin(one, NOW), {"pending"}),
        "settle": (lambda one: settle(one, Answer(status=200), "seed", NOW), {"sending"}),
        "fail": (lambda one: settle(one, Answer(), "seed", NOW), {"sending"}),
        "gone": (lambda one: settle(one, Answer(status=410), "seed", NOW), {"sending"}),
        "lose": (lambda one: lose(one, "seed", NOW), {"sending"}),
        "disable": (lambda one: disable(one, NOW), {"pending"}),
        "replay": (lambda one: replay(one, "seed", NOW), {"dead_lettered"}),
        "cancel": (lambda one: cancel(one, NOW), {"pending", "dead_lettered"}),
        "expire": (lambda one: expire(one, NOW), {"dead_lettered"}),
    }
    for step, allowed in steps.values():
        for state, one in states.items():
            if state in allowed:
                assert step(one).version == one.version + 1
                continue
            with pytest.raises(IllegalTransition) as caught:
                step(one)
            assert caught.value.legal == DELIVERY.legal(state)
