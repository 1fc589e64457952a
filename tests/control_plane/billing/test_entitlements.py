"""Entitlements: never over the hard limit, a soft limit that warns, and a grace that ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from control_plane.billing.entitlements import (
    RESERVATIONS_MAX,
    Check,
    Entitlement,
    Lift,
    MeteredEntitlement,
    Pool,
    Reservation,
    check,
    entitlement_to,
    observed,
    release,
    require,
    reserve,
)
from control_plane.domain.entitlement import BooleanEntitlement, StaticEntitlement
from control_plane.errors import BadInput, Refused

NOW = datetime(2026, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
MICRO = timedelta(microseconds=1)
ZERO = Decimal(0)
ON = BooleanEntitlement(kind="boolean", feature="sso", granted=True)
OFF = BooleanEntitlement(kind="boolean", feature="sso", granted=False)
unhurried = settings(deadline=None, max_examples=60)


def metered(
    soft: int | None = 80, hard: int | None = 100, grace: int | None = 24, **more: datetime | None
) -> MeteredEntitlement:
    return MeteredEntitlement.model_validate(
        {
            "feature": "databases",
            "soft_limit": soft,
            "hard_limit": hard,
            "grace_hours": grace,
            **more,
        }
    )


def ask(
    entitlement: Entitlement,
    asked: int,
    used: int | None = 0,
    reserved: int | None = 0,
    now: datetime = NOW,
) -> Check:
    return check(
        entitlement,
        None if used is None else Decimal(used),
        None if reserved is None else Decimal(reserved),
        Decimal(asked),
        now,
    )


def in_short(found: Check) -> tuple[str, str, int | None]:
    return found.status, found.code, None if found.remaining is None else int(found.remaining)


# boolean and static ----------------------------------------------------------------------------


@pytest.mark.parametrize("used", [0, 10**9, None])
def test_a_boolean_is_what_the_plan_says_whatever_is_used(used: int | None) -> None:
    assert ask(ON, 1, used).status == "allowed"
    refused = ask(OFF, 0, used)
    assert in_short(refused) == ("denied", "not_entitled", 0)
    assert refused.lifted_by == ("change_plan",)


@pytest.mark.parametrize("used", [0, 10**9, None])
def test_a_static_number_bounds_each_single_use(used: int | None) -> None:
    limit = StaticEntitlement(kind="static", feature="file_mb", value=Decimal(5))
    assert in_short(ask(limit, 5, used)) == ("allowed", "", 5)
    refused = ask(limit, 6, used)
    assert in_short(refused) == ("denied", "value_exceeded", 5)
    assert refused.lifted_by == ("change_plan", "ask_for_less")


def test_what_nothing_grants_is_not_granted() -> None:
    held: list[Entitlement] = [ON, metered()]
    assert entitlement_to(held, "databases") == metered()
    assert ask(entitlement_to(held, "exports"), 1).code == "not_entitled"


# limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "reserved", "asked", "answer"),
    [
        (0, 0, 80, ("allowed", "", 100)),
        (40, 40, 0, ("allowed", "", 20)),
        (40, 40, 1, ("warned", "soft_limit_passed", 20)),
        (40, 40, 20, ("warned", "soft_limit_passed", 20)),
        (40, 40, 21, ("denied", "hard_limit_reached", 20)),
        (100, 0, 0, ("warned", "soft_limit_passed", 0)),
        (0, 100, 1, ("denied", "hard_limit_reached", 0)),
        (300, 0, 0, ("warned", "soft_limit_passed", 0)),  # after a downgrade
        (300, 0, 1, ("denied", "hard_limit_reached", 0)),
    ],
)
def test_used_and_reserved_together_stay_within_the_limits(
    used: int, reserved: int, asked: int, answer: tuple[str, str, int]
) -> None:
    assert in_short(ask(metered(), asked, used, reserved)) == answer


def test_without_a_hard_limit_nothing_is_denied() -> None:
    assert in_short(ask(metered(hard=None, grace=None), 10**12, 5)) == (
        "warned",
        "soft_limit_passed",
        None,
    )
    assert in_short(ask(metered(None, None, None), 10**12, 5)) == ("allowed", "", None)


def test_a_limit_of_zero_denies_the_first_unit() -> None:
    assert ask(metered(None, 0, None), 1).status == "denied"
    assert ask(metered(None, 0, None), 0).status == "allowed"


@pytest.mark.parametrize(("used", "reserved"), [(None, 0), (0, None), (None, None)])
def test_on_unknown_usage_writes_are_denied_and_reads_allowed(
    used: int | None, reserved: int | None
) -> None:
    refused = ask(metered(), 1, used, reserved)
    assert in_short(refused) == ("denied", "usage_unknown", None)
    assert refused.lifted_by == ("usage_known",)
    assert in_short(ask(metered(), 0, used, reserved)) == ("allowed", "", None)


def test_a_count_of_a_period_that_is_over_is_unknown() -> None:
    counted = metered(resets_at=NOW)
    assert ask(counted, 1, 5, now=NOW - MICRO).status == "allowed"
    assert ask(counted, 1, 5, now=NOW).code == "usage_unknown"


@pytest.mark.parametrize("quantity", ["-1", "NaN", "Infinity", "0.0000000001", "1E+15", "1E-400"])
def test_a_quantity_that_is_none_is_bad_input(quantity: str) -> None:
    with pytest.raises(BadInput, match="asked"):
        check(metered(), ZERO, ZERO, Decimal(quantity), NOW)


def test_checks_are_exact_whatever_precision_the_process_sets() -> None:
    limit = metered(None, 10**9, None)
    with localcontext(prec=2):
        used = Decimal("999999999.999999999")
        assert check(limit, used, ZERO, Decimal("0.000000001"), NOW).status == "allowed"
        assert check(limit, used, ZERO, Decimal("0.000000002"), NOW).status == "denied"


@pytest.mark.parametrize(
    "fields",
    [
        {"soft_limit": "11", "hard_limit": "10"},
        {"hard_limit": "10", "grace_hours": 1},
        {"soft_limit": "1", "grace_hours": 0},
        {"hard_limit": "-1"},
        {"hard_limit": 1.5},
    ],
)
def test_limits_that_contradict_each_other_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MeteredEntitlement.model_validate({"feature": "f", **fields})


# grace -----------------------------------------------------------------------------------------


def test_the_grace_begins_with_the_use_that_passes_the_soft_limit() -> None:
    assert ask(metered(), 81).grace_ends_at == NOW + 24 * HOUR
    # Whatever was written down about an earlier time above it.
    old = metered(soft_passed_at=NOW - 900 * HOUR)
    assert in_short(ask(old, 81)) == ("warned", "soft_limit_passed", 100)
    assert ask(old, 81).grace_ends_at == NOW + 24 * HOUR


def test_at_its_end_the_grace_is_over_and_the_soft_limit_holds() -> None:
    passed = metered(soft_passed_at=NOW)
    end = NOW + 24 * HOUR
    before = ask(passed, 5, 85, now=end - MICRO)
    assert (in_short(before), before.grace_ends_at) == (("warned", "soft_limit_passed", 15), end)
    assert in_short(ask(passed, 5, 85, now=end)) == ("denied", "grace_over", 0)
    assert in_short(ask(passed, 0, 85, now=end)) == ("warned", "soft_limit_passed", 0)
    assert in_short(ask(passed, 5, 80, now=end)) == ("warned", "soft_limit_passed", 20)


@unhurried
@given(held=st.integers(0, 120), asked=st.integers(0, 120), hours=st.integers(0, 10**5))
def test_without_a_grace_the_soft_limit_only_ever_warns(held: int, asked: int, hours: int) -> None:
    soft, none = metered(grace=None, soft_passed_at=NOW), metered(None, grace=None)
    with_soft, without = (ask(one, asked, held, now=NOW + hours * HOUR) for one in (soft, none))
    assert (with_soft.status == "denied") == (without.status == "denied")
    assert with_soft.remaining == without.remaining
    assert (with_soft.status == "warned") == (with_soft.status != "denied" and held + asked > 80)


def test_the_start_of_a_grace_is_kept_while_above_and_forgotten_below() -> None:
    passed = observed(metered(), Decimal(81), NOW)
    assert passed.soft_passed_at == NOW
    assert observed(passed, Decimal(99), NOW + HOUR) == passed
    assert observed(passed, Decimal(80), NOW + HOUR) == metered()


# what lifts a denial ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "reserved", "asked", "lifts"),
    [
        (100, 0, 1, ["change_plan", "next_period"]),
        (0, 100, 1, ["change_plan", "release"]),
        (60, 40, 1, ["change_plan", "release", "next_period"]),
        (60, 40, 50, ["change_plan", "next_period"]),
        (40, 50, 60, ["change_plan", "release", "ask_for_less"]),
        (0, 0, 101, ["change_plan", "ask_for_less"]),
    ],
)
def test_a_denial_names_each_thing_that_lifts_it(
    used: int, reserved: int, asked: int, lifts: list[Lift]
) -> None:
    refused = ask(metered(resets_at=NOW + HOUR), asked, used, reserved)
    assert refused.status == "denied"
    assert list(refused.lifted_by) == lifts
    assert (refused.resets_at is not None) == ("next_period" in lifts)


@pytest.mark.parametrize(
    ("used", "reserved", "lifts"),
    [
        (90, 5, ["change_plan", "next_period"]),  # without reservations, still above the soft limit
        (5, 90, ["change_plan", "release"]),
        (81, 81, ["change_plan"]),
        (41, 41, ["change_plan", "release", "next_period"]),
    ],
)
def test_once_the_grace_is_over_only_what_leads_below_the_soft_limit_lifts(
    used: int, reserved: int, lifts: list[Lift]
) -> None:
    over = metered(soft_passed_at=NOW - 48 * HOUR, resets_at=NOW + HOUR)
    refused = ask(over, 1, used, reserved)
    assert (in_short(refused), list(refused.lifted_by)) == (("denied", "grace_over", 0), lifts)


@settings(deadline=None, max_examples=200)
@given(
    used=st.integers(0, 130),
    reserved=st.integers(0, 130),
    asked=st.integers(1, 130),
    over=st.booleans(),
)
def test_what_is_said_to_lift_a_denial_does_and_nothing_else_does(
    used: int, reserved: int, asked: int, over: bool
) -> None:
    passed = NOW - (48 if over else 1) * HOUR
    limits = metered(soft_passed_at=passed, resets_at=NOW + HOUR)
    found = ask(limits, asked, used, reserved)
    if found.status != "denied":
        assert (found.lifted_by, found.resets_at) == ((), None)
        return
    running = limits.model_copy(update={"resets_at": None})
    assert found.remaining is not None
    lifted = {
        "change_plan": ask(metered(None, None, None), asked, used, reserved),
        "release": ask(running, asked, used, 0),
        "next_period": ask(running, asked, 0, reserved),
        "ask_for_less": ask(limits, 1, used, reserved),
    }
    assert set(found.lifted_by) == {
        name for name, after in lifted.items() if after.status != "denied"
    }


@settings(deadline=None, max_examples=200)
@given(used=st.integers(0, 130), reserved=st.integers(0, 130), over=st.booleans())
def test_what_remains_is_exactly_what_may_be_asked_for(
    used: int, reserved: int, over: bool
) -> None:
    limits = metered(soft_passed_at=NOW - (48 if over else 1) * HOUR)
    found = ask(limits, 0, used, reserved)
    assert found.remaining is not None
    left = int(found.remaining)
    assert ask(limits, left, used, reserved).status != "denied"
    assert ask(limits, left + 1, used, reserved).status == "denied"


def test_a_denial_is_raised_with_its_code_and_the_rest_is_passed_on() -> None:
    warned = ask(metered(), 81)
    assert require(warned) is warned
    with pytest.raises(Refused) as caught:
        require(ask(metered(), 101))
    assert caught.value.code == "hard_limit_reached"


# reservations ----------------------------------------------------------------------------------

Step = tuple[bool, int, int, int]  # reserves, resource, quantity, hours later
steps = st.lists(
    st.tuples(st.booleans(), st.integers(0, 5), st.integers(1, 60), st.integers(0, 30)), max_size=30
)


def check_life(taken: Sequence[Step], used: int, grace: int | None) -> Pool:
    pool, now, held = Pool(entitlement=metered(grace=grace)), NOW, dict[str, int]()
    since: datetime | None = None
    for reserves, place, quantity, later in taken:
        now += later * HOUR
        resource, before, was = f"db-{place}", used + sum(held.values()), dict(held)
        if not reserves:
            pool = release(pool, resource, Decimal(used), now)
            held.pop(resource, None)
        elif resource not in held:
            pool, found = reserve(pool, resource, Decimal(quantity), Decimal(used), now)
            over = since is not None and grace is not None and now >= since + grace * HOUR
            assert (found.status == "denied") == (over or before + quantity > 100)
            if found.status != "denied":
                held[resource] = quantity
        total = used + sum(held.values())
        if held != was:
            since = None if total <= 80 else since or now
        assert pool.reserved == sum(held.values())
        assert {one.resource: int(one.quantity) for one in pool.reservations} == held
        # Only what is used without reservation could ever be above it.
        assert total <= max(100, used)
        assert pool.entitlement.soft_passed_at == since
    return pool


@unhurried
@given(steps, st.sampled_from([0, 30, 100]), st.sampled_from([None, 1, 24]))
def test_no_order_of_reserve_and_release_passes_a_limit(
    taken: list[Step], used: int, grace: int | None
) -> None:
    check_life(taken, used, grace)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(20))
def test_long_lives_pass_no_limit(seed: int) -> None:
    random = Random(seed)
    taken = [
        (random.random() < 0.6, random.randrange(12), random.randint(1, 40), random.randrange(20))
        for _ in range(5_000)
    ]
    check_life(taken, random.choice([0, 30]), random.choice([None, 5, 24]))


@unhurried
@given(st.permutations(range(6)), st.permutations(range(6)))
def test_the_same_live_resources_are_the_same_pool(first: list[int], second: list[int]) -> None:
    pools = list[Pool]()
    for order in (first, second):
        pool = Pool(entitlement=metered(None, grace=None))
        for place in order:
            pool, _found = reserve(pool, f"db-{place}", Decimal(place + 1), ZERO, NOW)
        pools.append(release(pool, "db-3", ZERO, NOW))
    assert pools[0] == pools[1]


def test_retries_of_reserve_and_release_change_nothing() -> None:
    pool, _found = reserve(Pool(entitlement=metered()), "db-1", Decimal(100), ZERO, NOW)
    again, found = reserve(pool, "db-1", Decimal(100), ZERO, NOW + 900 * HOUR)
    assert again == pool
    assert found.status == "warned"
    empty = release(pool, "db-1", ZERO, NOW)
    assert release(empty, "db-1", ZERO, NOW) == empty == Pool(entitlement=metered())


def test_a_resource_that_holds_another_quantity_is_refused() -> None:
    pool, _found = reserve(Pool(entitlement=metered()), "db-1", Decimal(10), ZERO, NOW)
    with pytest.raises(Refused) as caught:
        reserve(pool, "db-1", Decimal(11), ZERO, NOW)
    assert caught.value.code == "reservation_differs"


def test_on_unknown_usage_nothing_is_reserved_and_what_is_held_can_be_released() -> None:
    pool, _found = reserve(Pool(entitlement=metered()), "db-1", Decimal(10), ZERO, NOW)
    same, found = reserve(pool, "db-2", Decimal(1), None, NOW)
    assert (same, found.code) == (pool, "usage_unknown")
    assert release(pool, "db-1", None, NOW).reservations == ()


@pytest.mark.parametrize("quantity", ["0", "-1", "NaN"])
def test_a_reservation_is_of_more_than_nothing(quantity: str) -> None:
    with pytest.raises(BadInput, match="quantity"):
        reserve(Pool(entitlement=metered()), "db-1", Decimal(quantity), ZERO, NOW)


def test_a_pool_holds_a_bounded_number_of_reservations_and_one_a_resource() -> None:
    full = Pool(
        entitlement=metered(None, None, None),
        reservations=tuple(
            Reservation(resource=f"db-{place}", quantity=Decimal(1))
            for place in range(RESERVATIONS_MAX)
        ),
    )
    with pytest.raises(BadInput, match="resource"):
        reserve(full, "one-more", Decimal(1), ZERO, NOW)
    with pytest.raises(ValidationError):
        Pool(entitlement=metered(), reservations=full.reservations[:1] * 2)


def test_pools_and_entitlements_are_read_again_as_they_were_written() -> None:
    pool, found = reserve(
        Pool(entitlement=metered(resets_at=NOW + HOUR)), "db-1", Decimal("90.5"), ZERO, NOW
    )
    assert Pool.model_validate_json(pool.model_dump_json()) == pool
    assert Check.model_validate_json(found.model_dump_json()) == found
    entitlement: TypeAdapter[Entitlement] = TypeAdapter(Entitlement)
    for one in (
        ON,
        OFF,
        metered(),
        StaticEntitlement(kind="static", feature="f", value=Decimal("0.5")),
    ):
        assert entitlement.validate_json(entitlement.dump_json(one)) == one
