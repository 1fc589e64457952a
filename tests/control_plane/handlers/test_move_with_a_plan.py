"""A move that comes with another plan: money, stack and rows in one plan, and all of it or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.domain.home import Home
from control_plane.domain.run_record import Run
from control_plane.handlers.registry import failpoint_names
from policies.gate import Gate
from tests.support.approval_world import REQUESTER, TENANT
from tests.support.lifecycle_bench import Onboarded
from tests.support.moving import resumed
from tests.support.paying_bench import PayingBench, paying
from tests.support.slices import sliced

MONEY = [one for one in failpoint_names() if one.startswith(("move.book.", "move.collect."))]
FORWARD = [one for one in MONEY if ".undo_" not in one]


@pytest.fixture
def bench(tmp_path: Path, gate: Gate, standing: Onboarded) -> Iterator[PayingBench]:
    """A world of this test's own, whose tenant pays for the plan `team`, in a pool."""
    with paying(standing, tmp_path, gate) as made:
        made.on("team", seats=2)
        made.later(days=10)
        yield made


def growing(bench: PayingBench, **asked: Any) -> Run:
    """A move to a schema of its own with the next plan, that waits for a human."""
    return bench.parked("tenant_move", REQUESTER, isolation="bridge", plan="pro", **asked)


def parts(run: Run) -> dict[str, Any]:
    """The parts of a run's plan."""
    told: dict[str, Any] = json.loads(json.dumps(run.plan))["parts"]
    return told


def test_one_plan_holds_money_infrastructure_and_data(bench: PayingBench) -> None:
    told = bench.preview("pro")
    run = growing(bench, proration_at=told["proration_at"])
    assert {"money", "entitlement", "infrastructure", "data", "limits"} <= set(parts(run))
    (invoice,) = parts(run)["money"]["invoices"]
    assert invoice["due_minor"] == told["due_minor"]
    assert parts(run)["entitlement"]["waits_for_payment"] is True
    assert bench.subscription["plan"] == "team", "nothing is done before it is approved"


@pytest.mark.long
def test_a_tenant_that_grows_pays_to_the_cent_and_stands_elsewhere(bench: PayingBench) -> None:
    told = bench.preview("pro")
    run = bench.approved(growing(bench, proration_at=told["proration_at"]))
    assert run.state == "applied", run
    assert bench.charged_minor()[-1] == told["due_minor"]
    assert bench.subscription["plan"] == "pro"
    assert (bench.tenant.plan, bench.tenant.home) == ("pro", Home("bridge"))
    assert bench.create()["outcome"] == "done"


@pytest.mark.long
def test_a_declined_payment_moves_nothing(bench: PayingBench) -> None:
    run = growing(bench)
    bench.pays_with("sandbox_declined")
    ended = bench.approved(run)
    assert ended.state in ("compensated", "discarded"), ended
    assert ended.reason in ("payment_declined", "digest_changed")
    assert bench.subscription["plan"] == "team"
    assert (bench.tenant.plan, bench.tenant.home) == ("team", Home("pooled"))
    assert not bench.world.ports.databases.main.exists(TENANT, "bridge")


@pytest.mark.long
def test_a_move_that_fails_gives_the_money_back(bench: PayingBench) -> None:
    run = growing(bench)
    bench.world.answer(run)
    ended = resumed(bench, run.id, "move.settle.done")
    assert (ended.state, ended.reason) == ("compensated", "failpoint")
    assert bench.subscription["plan"] == "team"
    assert (bench.tenant.plan, bench.tenant.home) == ("team", Home("pooled"))
    # What was charged is had back: as credit, to the cent.
    charged = bench.charged_minor()[-1]
    assert bench.book.credit_minor_in("EUR") == charged
    assert bench.create()["outcome"] == "done"


def test_a_plan_that_comes_later_is_no_part_of_a_move(bench: PayingBench) -> None:
    bench.do("subscription_change", plan="pro")
    run = bench.work(bench.propose("tenant_move", isolation="bridge", plan="team"))
    assert (run.state, run.reason) == ("failed", "plan_comes_later")


def test_a_plan_that_does_not_offer_the_model_is_refused(bench: PayingBench) -> None:
    assert bench.refused("tenant_move", isolation="bridge", plan="free") == "isolation_not_in_plan"


@pytest.mark.long
@pytest.mark.parametrize("point", sliced(FORWARD, every=8))
def test_a_worker_that_died_over_the_money_has_another_finish_it_and_charge_once(
    bench: PayingBench, point: str
) -> None:
    told = bench.preview("pro")
    before = len(bench.charged_minor())
    run = growing(bench, proration_at=told["proration_at"])
    bench.world.answer(run)
    bench.work_until_killed(run.id, point)
    ended = resumed(bench, run.id)
    if point == "move.collect.dispatched":
        # It may have gone out: it is asked about, and what never arrived is not charged again.
        assert (ended.state, bench.charged_minor()[before:]) == ("compensated", [])
        assert (bench.tenant.plan, bench.tenant.home) == ("team", Home("pooled"))
        return
    assert ended.state == "applied", ended
    assert bench.charged_minor()[before:] == [told["due_minor"]]
    assert (bench.tenant.plan, bench.tenant.home) == ("pro", Home("bridge"))
