"""A worker that was started without a tenant's payment provider: nothing is charged by it, and nothing is lost."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from control_plane.engine.billing_clock import BillingClock
from control_plane.engine.failpoints import Failpoints
from policies.gate import Gate
from tests.support.approval_world import TENANT
from tests.support.lifecycle_bench import Onboarded
from tests.support.paying_bench import PayingBench, paying


@pytest.fixture
def bench(tmp_path: Path, gate: Gate, standing: Onboarded) -> Iterator[PayingBench]:
    """A world of its own."""
    with paying(standing, tmp_path, gate) as made:
        yield made


def _without(bench: PayingBench) -> PayingBench:
    world = bench.world.with_ports(replace(bench.world.ports, payments={}))
    return PayingBench(world, bench.sandbox)


def test_a_renewal_waits_for_a_worker_that_can_collect_it(
    bench: PayingBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.on("team")
    lame = _without(bench)
    lame.world.clock.advance(timedelta(days=31))
    clock = BillingClock(lame.world.ports, Failpoints())
    with caplog.at_level(logging.ERROR):
        assert [clock.step(), clock.step()] == [1, 0]
    assert [one.message for one in caplog.records] == [
        f"nothing is collected for {TENANT}: no provider sandbox here"
    ]
    assert (lame.book.subscription.state, lame.invoices[-1].attempts) == ("active", 0)
    lame.world.clock.advance(timedelta(minutes=5))
    assert clock.step() == 1
    BillingClock(bench.world.ports, Failpoints()).step()
    assert bench.book.subscription.state == "active"
    assert bench.charged_minor() == [3100, 3100]


@pytest.mark.long
def test_a_run_that_has_to_collect_says_what_is_missing_and_leaves_everything(
    bench: PayingBench,
) -> None:
    bench.on("team")
    lame = _without(bench)
    run = lame.work(lame.propose("subscription_change", plan="team", seats=9))
    assert (run.state, run.reason) == ("compensated", "provider_unknown")
    assert lame.book.terms.seats < 9
    assert lame.book.subscription.pending_change is None
    assert bench.charged_minor() == [3100]
