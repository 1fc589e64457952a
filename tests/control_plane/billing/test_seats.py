"""Never more holders than seats, and a holder has one, whatever happens in whatever order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from control_plane.billing.seats import (
    Seat,
    SeatPool,
    Shrink,
    assign,
    leaving,
    must_go,
    release,
    reserve,
    resize,
    schedule_shrink,
    settled,
)
from control_plane.errors import BadInput, Refused

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)


def pool(size: int = 3) -> SeatPool:
    return SeatPool(tenant="acme", size=size)


def at(hour: int) -> datetime:
    return NOW + hour * HOUR


def with_assigned(*holders: str, size: int = 3) -> SeatPool:
    """Assigned one an hour, from hour 0 on."""
    current = pool(size)
    for hour, holder in enumerate(holders):
        current = assign(current, holder, at(hour))
    return current


def names(seats: Sequence[Seat]) -> list[str]:
    return [seat.holder for seat in seats]


# taking and giving back ------------------------------------------------------------------------


def test_a_seat_is_assigned_and_released() -> None:
    one = assign(pool(), "ada", NOW)
    assert one.seat_of("ada", NOW) == Seat(holder="ada", held="assigned", since=NOW)
    assert one.free(NOW) == 2
    assert release(one, "ada", at(1)) == pool()


def test_a_full_pool_takes_nobody_until_somebody_leaves() -> None:
    full = with_assigned("ada", "bob", size=2)
    with pytest.raises(Refused) as told:
        assign(full, "cy", at(5))
    assert (told.value.code, told.value.rule) == ("seats_full", "seats.never_over")
    with pytest.raises(Refused):
        reserve(full, "cy", at(5))
    assert names(assign(release(full, "ada", at(5)), "cy", at(5)).seats) == ["bob", "cy"]


def test_a_pool_of_none_takes_nobody() -> None:
    with pytest.raises(Refused):
        assign(pool(0), "ada", NOW)


def test_assigning_again_changes_nothing_even_when_the_pool_is_full() -> None:
    full = with_assigned("ada", "bob", size=2)
    assert assign(full, "ada", at(9)) is full
    assert reserve(full, "ada", at(9)) is full


def test_releasing_again_or_who_never_had_one_changes_nothing() -> None:
    one = with_assigned("ada")
    assert release(one, "bob", at(1)) is one
    gone = release(one, "ada", at(1))
    assert release(gone, "ada", at(2)) is gone


def test_a_pool_that_breaks_a_rule_cannot_be_made() -> None:
    ada = Seat(holder="ada", held="assigned", since=NOW)
    for wrong in (
        {"seats": (ada, ada.model_copy(update={"since": at(1)}))},
        {"size": 0, "seats": (ada,)},
        {"size": -1},
        {"shrink": Shrink(size=3, at=at(1))},
    ):
        with pytest.raises(ValidationError):
            SeatPool.model_validate({"tenant": "acme", "size": 3, **wrong})


def test_seats_stand_in_the_order_in_which_they_were_taken_however_they_are_read() -> None:
    kept = with_assigned("cy", "ada", "bob")
    read = SeatPool(tenant="acme", size=3, seats=kept.seats[::-1])
    assert read == kept
    assert names(read.seats) == ["cy", "ada", "bob"]


# reservations ----------------------------------------------------------------------------------


def test_a_reservation_takes_a_seat_and_has_no_time_limit_of_its_own() -> None:
    kept = reserve(pool(1), "ada", NOW)
    for later in (at(1), at(24 * 3_650)):
        with pytest.raises(Refused):
            assign(kept, "bob", later)
        assert names(assign(kept, "ada", later).seats) == ["ada"]


def test_a_reserved_seat_becomes_the_assigned_one() -> None:
    kept = reserve(pool(1), "ada", NOW, holder_ends_at=at(10))
    taken = assign(kept, "ada", at(3))
    assert taken.seats == (Seat(holder="ada", held="assigned", since=NOW),)
    assert reserve(taken, "ada", at(4)) is taken


def test_a_seat_ends_with_its_holder_and_not_before() -> None:
    kept = reserve(pool(1), "ada", NOW, holder_ends_at=at(10))
    with pytest.raises(Refused):
        assign(kept, "bob", at(10) - TICK)
    assert kept.free(at(10) - TICK) == 0
    assert kept.seat_of("ada", at(10)) is None
    assert names(assign(kept, "bob", at(10)).seats) == ["bob"]


def test_a_repeat_never_shortens_a_holders_life() -> None:
    kept = reserve(pool(), "ada", NOW, holder_ends_at=at(10))
    assert reserve(kept, "ada", at(1), holder_ends_at=at(5)) is kept
    longer = reserve(kept, "ada", at(1), holder_ends_at=at(20))
    assert longer.seats[0].holder_ends_at == at(20)
    endless = reserve(longer, "ada", at(1))
    assert endless.seats[0].holder_ends_at is None
    assert reserve(endless, "ada", at(1), holder_ends_at=at(5)) is endless


def test_a_holder_that_has_ended_takes_no_seat() -> None:
    for end in (NOW, NOW - TICK):
        with pytest.raises(BadInput) as told:
            assign(pool(), "ada", NOW, holder_ends_at=end)
        assert told.value.field == "holder_ends_at"


# the size of the pool --------------------------------------------------------------------------


def test_a_pool_grows_at_once() -> None:
    full = with_assigned("ada", "bob", size=2)
    assert resize(full, 3, at(5)).free(at(5)) == 1


def test_a_pool_shrinks_at_once_to_what_is_held_and_no_further() -> None:
    two = with_assigned("ada", "bob", size=5)
    assert resize(two, 2, at(5)).size == 2
    with pytest.raises(Refused) as told:
        resize(two, 1, at(5))
    assert (told.value.code, told.value.fact) == ("seats_in_use", "seats")
    assert names(must_go(two, 1, at(5))) == ["bob"]
    assert resize(release(two, "bob", at(5)), 1, at(5)).size == 1


def test_the_last_to_come_go_first_and_reservations_after_all_others() -> None:
    kept = reserve(with_assigned("ada", "bob", size=5), "cy", at(2))
    kept = assign(reserve(kept, "di", at(3)), "eve", at(4))
    assert names(must_go(kept, 0, at(5))) == ["eve", "bob", "ada", "di", "cy"]
    assert names(must_go(kept, 3, at(5))) == ["eve", "bob"]
    assert must_go(kept, 5, at(5)) == must_go(kept, 9, at(5)) == ()


def test_a_scheduled_shrink_takes_its_seats_at_its_instant_and_not_before() -> None:
    full = with_assigned("ada", "bob", "cy")
    later = schedule_shrink(full, 1, at(10), at(5))
    assert names(leaving(later)) == ["cy", "bob"]
    assert settled(later, at(10) - TICK) == later
    assert settled(later, at(10)) == with_assigned("ada", size=1)
    assert later.seat_of("bob", at(10) - TICK) is not None
    assert later.seat_of("bob", at(10)) is None
    assert later.free(at(10)) == 0


def test_who_releases_enough_before_the_shrink_loses_nobody_else() -> None:
    later = schedule_shrink(with_assigned("ada", "bob", "cy"), 1, at(10), at(5))
    left = release(release(later, "ada", at(6)), "bob", at(6))
    assert leaving(left) == ()
    assert names(settled(left, at(10)).seats) == ["cy"]


def test_until_it_shrinks_the_pool_is_used_as_before_and_the_newcomer_goes_first() -> None:
    later = schedule_shrink(with_assigned("ada"), 1, at(10), at(5))
    more = assign(later, "bob", at(6))
    assert names(leaving(more)) == ["bob"]
    with pytest.raises(Refused):
        assign(more, "cy", at(10))


def test_a_new_size_drops_the_shrink_and_a_new_shrink_replaces_it() -> None:
    later = schedule_shrink(with_assigned("ada", "bob"), 1, at(10), at(5))
    assert settled(resize(later, 3, at(6)), at(11)).size == 3
    other = schedule_shrink(later, 2, at(20), at(6))
    assert settled(other, at(11)).size == 3
    assert settled(other, at(20)).size == 2


def test_a_shrink_lies_in_the_future_and_makes_the_pool_smaller() -> None:
    for size, instant, field in ((1, NOW, "at"), (3, at(1), "size"), (4, at(1), "size")):
        with pytest.raises(BadInput) as told:
            schedule_shrink(pool(), size, instant, NOW)
        assert told.value.field == field


def test_a_shrink_that_was_settled_late_still_counts_who_lived_at_its_instant() -> None:
    brief = assign(pool(2), "ada", NOW, holder_ends_at=at(12))
    later = schedule_shrink(assign(brief, "bob", at(1)), 1, at(10), at(2))
    assert names(settled(later, at(11)).seats) == ["ada"]
    assert settled(later, at(13)).seats == ()


def test_nothing_hangs_on_a_time_zone() -> None:
    there = ZoneInfo("America/St_Johns")
    later = schedule_shrink(with_assigned("ada", "bob"), 1, at(10), at(5))
    moved = schedule_shrink(
        with_assigned("ada", "bob"), 1, at(10).astimezone(there), at(5).astimezone(there)
    )
    assert moved == later
    assert settled(moved, at(10).astimezone(there)) == settled(later, at(10))


# properties ------------------------------------------------------------------------------------

Event = tuple[str, str, int, int, int]

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["assign", "reserve", "release", "resize", "shrink", "settle"]),
        st.sampled_from(["ada", "bob", "cy", "di", "eve"]),
        st.integers(0, 4),
        st.integers(0, 200),
        st.integers(-5, 60),
    ),
    max_size=40,
)


def after(current: SeatPool, event: Event) -> SeatPool:
    """The pool after an event: who, how many, at which hour, and how many hours ahead; or as it was."""
    kind, holder, size, hour, ahead = event
    end = at(hour + ahead) if ahead % 2 else None
    try:
        match kind:
            case "assign":
                return assign(current, holder, at(hour), holder_ends_at=end)
            case "reserve":
                return reserve(current, holder, at(hour), holder_ends_at=end)
            case "release":
                return release(current, holder, at(hour))
            case "resize":
                return resize(current, size, at(hour))
            case "shrink":
                return schedule_shrink(current, size, at(hour + ahead), at(hour))
            case _:
                return settled(current, at(hour))
    except (Refused, BadInput):
        return current


def check(events: Sequence[Event]) -> None:
    current = pool()
    for event in events:
        current = after(current, event)
        for now in (at(event[3]), at(event[3] + 30), at(300)):
            held = settled(current, now)
            assert len(held.seats) <= held.size
            assert len(set(names(held.seats))) == len(held.seats)
            assert held.free(now) == held.size - len(held.seats) >= 0
        assert after(current, event) == current


@settings(max_examples=60, deadline=None)
@given(events=EVENTS)
def test_whatever_happens_in_whatever_order_no_more_are_held_than_there_are(
    events: list[Event],
) -> None:
    check(events)


@pytest.mark.sweep
@settings(max_examples=5_000, deadline=None)
@given(events=EVENTS)
def test_a_long_sweep_of_events_never_holds_more_than_there_are(events: list[Event]) -> None:
    check(events)


def reached(events: Sequence[Event]) -> SeatPool:
    current = pool()
    for event in events:
        current = after(current, event)
    return current


HOURS = st.integers(0, 300)


@settings(max_examples=60, deadline=None)
@given(events=EVENTS, one=HOURS, other=HOURS)
def test_settling_late_gives_the_same_as_settling_often(
    events: list[Event], one: int, other: int
) -> None:
    current = reached(events)
    early, late = sorted((at(one), at(other)))
    assert settled(settled(current, early), late) == settled(current, late)


@settings(max_examples=60, deadline=None)
@given(events=EVENTS, hour=HOURS, size=st.integers(0, 4))
def test_releasing_who_must_go_is_enough_and_fewer_is_not(
    events: list[Event], hour: int, size: int
) -> None:
    current, now = reached(events), at(hour)
    gone = must_go(current, size, now)
    for seat in gone:
        with pytest.raises(Refused):
            resize(current, size, now)
        current = release(current, seat.holder, now)
    assert resize(current, size, now).size == size


@settings(max_examples=60, deadline=None)
@given(events=EVENTS, hour=HOURS, holder=st.sampled_from(["ada", "zoe"]))
def test_an_assigned_holder_stays_so_however_often_it_is_asked_for(
    events: list[Event], hour: int, holder: str
) -> None:
    once = after(reached(events), ("assign", holder, 0, hour, 0))
    assert after(once, ("assign", holder, 0, hour, 0)) == once
    assert (once.seat_of(holder, at(hour)) is not None) or once.free(at(hour)) == 0
