"""Quota that is held ahead of its use: by what stands, once, never above a hard limit, and given back."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from control_plane.domain.canonical import instant
from control_plane.domain.plans import parse_plans
from control_plane.store import tables
from policies.gate import Gate
from tests.support.approval_world import REQUESTER, TENANT
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import Bench, Onboarded, make_bench

PLANS = Path(__file__).parents[2] / "support" / "metered_catalog" / "plans.yaml"


@pytest.fixture
def bench(tmp_path: Path, gate: Gate, standing: Onboarded) -> Iterator[Bench]:
    """A world whose tenant is on a plan that grants ten calls."""
    made = make_bench(standing, tmp_path / "world", gate)
    plans = parse_plans(PLANS.read_text(), "plans.yaml")
    applied: Any = made.world.ports.catalog
    world = made.world.with_catalog(replace(applied, plans=plans))
    world.alter(tables.subscription, tables.subscription.c.tenant == TENANT, plan="free")
    yield Bench(world)
    world.close()


def asked(bench: Bench, tool: str, resource: str, **more: Any) -> dict[str, Any]:
    given = {"tenant": TENANT, "feature": "api_calls", "resource": resource}
    return bench.ask(tool, REQUESTER, **{**given, "idempotency_key": fresh_key(), **more})


def reserve(bench: Bench, resource: str, quantity: int | str = 1, **more: Any) -> dict[str, Any]:
    return asked(bench, "quota_reserve", resource, quantity=quantity, **more)


def held(bench: Bench) -> tuple[str, str]:
    """What is reserved, and what is left."""
    told: Any = bench.ask("usage_summary", REQUESTER, tenant=TENANT)["result"]["meters"]
    line = next(one for one in told if one["meter"] == "api_calls")
    return line["reserved"], line["remaining"]


def test_what_is_held_counts_as_used_until_it_is_released(bench: Bench) -> None:
    told = reserve(bench, "upload-1", "2.5")["result"]
    assert told == {
        "tenant": TENANT,
        "feature": "api_calls",
        "resource": "upload-1",
        "changed": True,
        "used": "0",
        "reserved": "2.5",
        "status": "allowed",
        "code": None,
        "remaining": "7.5",
        "grace_ends_at": None,
    }
    again = reserve(bench, "upload-1", "2.5")["result"]
    assert again == {**told, "changed": False}
    assert reserve(bench, "upload-1", 3)["code"] == "reservation_differs"
    released = asked(bench, "quota_release", "upload-1")["result"]
    assert released == {**told, "reserved": "0", "remaining": "10"}
    assert asked(bench, "quota_release", "upload-1")["result"] == {**released, "changed": False}


def test_a_limit_denies_it_before_it_is_planned_and_nothing_is_held(bench: Bench) -> None:
    reserve(bench, "upload-1", 9)
    for more in ({"dry_run": True}, {}):
        refused = reserve(bench, "upload-2", 2, **more)
        assert (refused["outcome"], refused["code"]) == ("refused", "hard_limit_reached")
    assert held(bench) == ("9", "1")
    assert reserve(bench, "upload-1", 9, dry_run=True)["outcome"] == "planned"


def test_of_several_at_once_no_more_are_held_than_the_hard_limit_has_room_for(
    bench: Bench,
) -> None:
    together = Barrier(5)

    def one(number: int) -> str:
        together.wait(30)
        return str(reserve(bench, f"upload-{number}", 3)["outcome"])

    with ThreadPoolExecutor(5) as pool:
        ends = sorted(pool.map(one, range(5)))
    assert ends == ["done", "done", "done", "refused", "refused"]
    assert held(bench) == ("9", "1")


def test_what_nobody_released_ends_by_itself(bench: Bench) -> None:
    until = bench.world.clock.now() + timedelta(hours=1)
    reserve(bench, "upload-1", 9, expires_at=instant(until))
    later = instant(until + timedelta(hours=1))
    assert reserve(bench, "upload-1", 9, expires_at=later)["result"]["changed"] is False
    bench.world.clock.advance(timedelta(hours=1))
    assert held(bench) == ("9", "1")
    bench.world.clock.advance(timedelta(hours=1))
    assert held(bench) == ("0", "10")
    assert reserve(bench, "upload-1", 10)["outcome"] == "done"


def test_only_a_meter_that_is_granted_is_held(bench: Bench) -> None:
    assert reserve(bench, "upload-1", feature="unheard")["code"] == "not_entitled"
    assert reserve(bench, "upload-1", feature="sso")["code"] == "feature_not_metered"
    assert asked(bench, "quota_release", "upload-1", feature="unheard")["outcome"] == "done"


@pytest.mark.parametrize(("days", "seconds"), [(0, 0), (90, 1)])
def test_it_ends_in_the_future_and_not_too_far_ahead(bench: Bench, days: int, seconds: int) -> None:
    until = bench.world.clock.now() + timedelta(days=days, seconds=seconds)
    given: dict[str, Any] = {"tenant": TENANT, "feature": "api_calls", "resource": "upload-1"}
    wrong = bench.bad_input(
        "quota_reserve",
        **given,
        quantity=1,
        expires_at=instant(until),
        idempotency_key=fresh_key(),
    )
    assert wrong.startswith("expires_at")
    nothing: dict[str, Any] = {**given, "quantity": 0, "idempotency_key": fresh_key()}
    assert bench.bad_input("quota_reserve", **nothing).startswith("quantity")
