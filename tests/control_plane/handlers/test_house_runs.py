"""What the house asks for by itself, to the end: a planned deprovisioning, its way back, and a plan that is followed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from control_plane.domain.canonical import instant
from control_plane.domain.permit import Permit
from control_plane.domain.run_record import Run
from control_plane.engine.executor import Executor
from control_plane.engine.failpoints import HOUSE_BOUNDARIES, Failpoints
from control_plane.handlers.registry import LIFECYCLES, failpoint_names
from control_plane.store import tables
from control_plane.store.billing_tables import billing_account
from policies.gate import Gate
from tests.support.approval_world import APPROVER, TENANT
from tests.support.house_bench import HouseBench, Scene, behind, copied, indebted, scene
from tests.support.lifecycle_bench import ADMIN, Killed, Onboarded, Striking
from tests.support.offboarding import DESTROYING, assert_gone, lift, parts, stands, steps, unvouched
from tests.support.slices import sliced

NAMES = failpoint_names()
FOLLOWING = [one for one in NAMES if one.startswith("follow_plan.") and ".undo_" not in one]
UNDOING = [one for one in NAMES if one.startswith("follow_plan.") and ".undo_" in one]
LAST_WAY_BACK = "offboard.drop_database.before"


@pytest.fixture(scope="module")
def owing(tmp_path_factory: pytest.TempPathFactory, gate: Gate, standing: Onboarded) -> Scene:
    """A workspace whose tenant the last rung has come to."""
    return scene(standing, tmp_path_factory.mktemp("owing"), gate, indebted)


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory, gate: Gate, standing: Onboarded) -> Scene:
    """A workspace whose tenant is on a smaller plan than its stack."""
    return scene(standing, tmp_path_factory.mktemp("moved"), gate, behind)


@pytest.fixture
def bench(tmp_path: Path, gate: Gate, owing: Scene) -> Iterator[HouseBench]:
    """A world of this test's own at the last rung."""
    with copied(owing, tmp_path, gate) as made:
        yield made


@pytest.fixture
def smaller(tmp_path: Path, gate: Gate, moved: Scene) -> Iterator[HouseBench]:
    """A world of this test's own on a smaller plan."""
    with copied(moved, tmp_path, gate) as made:
        yield made


# Planned deprovisioning ------------------------------------------------------------------------


def test_at_the_last_rung_the_house_asks_and_a_human_decides(bench: HouseBench) -> None:
    run = bench.waiting()
    assert (run.principal, run.actor) == ("house:billing", "house:billing")
    assert parts(run)["cause"]["reason"] == "debt_unpaid"
    assert parts(run)["retention"]["days"] == 30
    assert bench.asks() == 0
    require_told(bench, run)
    bench.world.answer(run)
    assert bench.work(run.id).state == "applied"
    assert_gone(bench)
    assert bench.asks() == 0


def require_told(bench: HouseBench, run: Run) -> None:
    """A reader sees who asked, and why."""
    bench.world.grant("audrey", "auditor", actor="audrey-bot")
    told = bench.told_run(run, "audrey")
    assert (told["requested_by"], told["reason"]) == ("house:billing", "debt_unpaid")
    assert told["detail"].startswith("Overdue since 2030-02-01T09:00:00")
    (line,) = bench.ask("run_list", "audrey", tenant=TENANT, kind="offboard")["result"]["runs"]
    assert (line["requested_by"], line["reason"]) == ("house:billing", "debt_unpaid")
    (asked,) = bench.ask("approval_list", "audrey", tenant=TENANT)["result"]["approvals"]
    assert (asked["requested_by"], asked["rule"], asked["state"]) == (
        "house:billing",
        "two_people",
        "pending",
    )
    leaves = bench.ask("audit_search", "audrey", tenant=TENANT, kind="run.proposed")["result"]
    assert len(leaves["leaves"]) >= 1


def test_below_the_last_rung_nothing_is_asked(bench: HouseBench) -> None:
    gates = [{"at": instant(bench.world.clock.now()), "level": "no_access"}]
    account = billing_account
    bench.world.alter(account, account.c.tenant == TENANT, gates=gates)
    assert (bench.asks(), bench.asked) == (0, [])
    below = bench.world.ports.clock.now() + timedelta(days=1)
    gates.append({"at": instant(below), "level": "deprovision"})
    bench.world.alter(account, account.c.tenant == TENANT, gates=gates)
    assert (bench.asks(), bench.asked) == (0, [])
    bench.world.clock.advance(timedelta(days=1))
    assert bench.asks() == 1


def test_the_house_waits_for_what_billing_has_yet_to_do(bench: HouseBench) -> None:
    account, now = billing_account, instant(bench.world.clock.now())
    bench.world.alter(account, account.c.tenant == TENANT, next_due_at=now)
    assert bench.asks() == 0


def test_what_protects_a_tenant_from_a_human_protects_it_from_the_house(bench: HouseBench) -> None:
    lift(bench, deletion_protection=True)
    assert bench.asks() == 1
    assert (bench.asked, bench.leaves("house.offboard_refused")) == ([], 1)
    # Not again within a day, by whatever worker; and then once.
    assert bench.asks() == 0
    bench.later(days=1, seconds=1)
    assert (bench.asks(), bench.asks()) == (1, 0)
    lift(bench, deletion_protection=False, legal_hold=True)
    bench.later(days=1, seconds=1)
    assert (bench.asks(), bench.leaves("house.offboard_refused"), bench.asked) == (1, 3, [])
    lift(bench, legal_hold=False)
    bench.later(days=1, seconds=1)
    assert bench.waiting().state == "awaiting_approval"


def test_a_no_holds_for_a_day(bench: HouseBench) -> None:
    first = bench.answer_no(bench.waiting())
    assert (first.state, first.reason) == ("discarded", "denied")
    bench.later(hours=23)
    assert bench.asks() == 0
    bench.later(hours=2)
    assert bench.waiting().id != first.id


def test_a_question_that_nobody_answered_is_asked_again_a_day_later(bench: HouseBench) -> None:
    first = bench.waiting()
    bench.later(hours=24, seconds=1)
    assert bench.work(first.id).state == "discarded"
    bench.later(hours=23)
    assert bench.asks() == 0
    bench.later(hours=2)
    assert bench.waiting().id != first.id
    assert len(bench.asked) == 2


def test_paid_before_anybody_answers_the_question_goes_by_itself(bench: HouseBench) -> None:
    run = bench.waiting()
    bench.pays()
    assert bench.asks() == 0
    assert bench.jobs(run.id) == 1
    # It is asked for once: a job that waits is enough.
    assert (bench.asks(), bench.jobs(run.id)) == (0, 1)
    assert bench.ended(run.id) == ("discarded", "debt_settled")
    assert bench.world.approval(run).state == "void"
    assert bench.standing == ("active", [], "full")
    assert bench.create()["outcome"] == "done"


@pytest.mark.long
def test_paid_between_the_answer_and_the_start_nothing_is_touched(bench: HouseBench) -> None:
    run = bench.waiting()
    bench.world.answer(run)
    bench.pays()
    assert bench.ended(run.id) == ("discarded", "debt_settled")
    assert bench.standing == ("active", [], "full")
    assert stands(bench) == (True, True)


@pytest.mark.long
@pytest.mark.parametrize(
    "point", sliced(["offboard.close.before", "offboard.verify_backup.recorded", LAST_WAY_BACK])
)
def test_paid_while_it_was_being_shut_the_house_opens_it_again(
    bench: HouseBench, point: str
) -> None:
    run = bench.waiting()
    bench.world.answer(run)
    bench.work_until_killed(run.id, point)
    bench.pays()
    assert bench.ended(run.id) == ("compensated", "debt_settled")
    assert bench.standing == ("suspended", ["billing"], "none")
    assert not set(DESTROYING) & set(steps(bench, run.id))
    assert bench.asks() == 1
    opened = bench.worked()
    assert (opened.kind, opened.principal, opened.state) == ("resume", "house:billing", "applied")
    assert bench.standing == ("active", [], "full")
    assert bench.create()["outcome"] == "done"
    assert bench.asks() == 0
    assert unvouched(bench) == []


@pytest.mark.long
def test_paid_in_the_moment_before_the_data_goes_it_does_not_go(bench: HouseBench) -> None:
    run = bench.waiting()
    bench.world.answer(run)
    permit = bench.world.runner.permit

    class Regating:
        """Pays when the step is permitted, and nothing of it has begun."""

        settle = bench.world.runner.settle
        asker = bench.world.runner.asker

        def permit(self, run: Run, step: str, epoch: int) -> Permit:
            given = permit(run, step, epoch)
            if step == "drop_database":
                bench.pays()
            return given

    executor = Executor(bench.world.ports, LIFECYCLES, Regating(), Failpoints())
    executor.work(bench.world.job(run.id))
    ended = bench.world.run(run.id)
    assert (ended.state, ended.reason) == ("compensated", "debt_settled")
    assert stands(bench) == (True, True)


@pytest.mark.sweep
def test_paid_when_the_data_is_gone_it_only_goes_forward(bench: HouseBench) -> None:
    run = bench.waiting()
    bench.world.answer(run)
    bench.work_until_killed(run.id, "offboard.destroy.before")
    bench.pays()
    assert bench.ended(run.id)[0] == "applied"
    assert_gone(bench)


@pytest.mark.sweep
def test_what_the_house_has_shut_no_human_opens_before_it_is_paid(bench: HouseBench) -> None:
    run = bench.waiting()
    bench.world.answer(run)
    assert bench.work(run.id, LAST_WAY_BACK).state == "compensated"
    assert bench.standing == ("suspended", ["billing"], "none")
    assert bench.refused("tenant_resume", ADMIN, reason="billing") == "payment_required"
    assert bench.asks() == 0
    bench.later(days=1)
    assert bench.waiting().kind == "offboard"


def test_only_so_many_questions_of_the_house_wait_at_a_time(bench: HouseBench) -> None:
    waiting = bench.waiting()
    limits = bench.world.ports.limits
    assert limits.pending_approvals_max > 1
    crowded = bench.with_places(1)
    crowded.world.alter_run(waiting, tenant="globex")
    assert crowded.asks() == 0
    assert bench.asks() == 1


# Once, whoever dies ----------------------------------------------------------------------------


@pytest.mark.parametrize("point", sliced(HOUSE_BOUNDARIES, every=2))
def test_a_clock_that_died_anywhere_is_followed_by_one_that_asks_once(
    bench: HouseBench, point: str
) -> None:
    with pytest.raises(Killed):
        bench.clock(Striking(point)).step()
    bench.asks()
    assert bench.asks() == 0
    (run,) = bench.asked
    assert bench.work(run.id).state == "awaiting_approval"


def test_two_workers_at_once_ask_once(bench: HouseBench) -> None:

    class Meanwhile(Striking):
        """Another worker asks between this one's look and its question."""

        def reach(self, name: str) -> None:
            super().reach(name)
            if name == "house.due":
                assert bench.asks() == 1

    assert bench.clock(Meanwhile()).step() == 1
    assert len(bench.asked) == 1


@pytest.mark.parametrize("ended", sliced(["denied", "applied"]))
def test_a_worker_that_looked_before_another_ones_run_was_over_asks_for_no_second(
    bench: HouseBench, ended: str
) -> None:

    class Slow(Striking):
        """Another worker's run comes to its end between this one's look and its question."""

        def reach(self, name: str) -> None:
            super().reach(name)
            if name == "house.due":
                run = bench.waiting()
                if ended == "denied":
                    bench.answer_no(run)
                else:
                    bench.world.answer(run)
                    assert bench.work(run.id).state == "applied"

    bench.clock(Slow()).step()
    assert len(bench.asked) == 1


# A plan that is followed -----------------------------------------------------------------------


def test_after_a_smaller_plan_has_come_the_stack_comes_to_it(smaller: HouseBench) -> None:
    assert smaller.asks() == 1
    run = smaller.worked()
    assert (run.kind, run.state, run.principal) == ("follow_plan", "applied", "house:billing")
    assert parts(run)["cause"]["reason"] == "plan_moved"
    assert smaller.tenant.plan == "team"
    assert [one["plan"] for one in smaller.world.provisioner._stacks.values()] == ["team"]
    assert smaller.asks() == 0
    assert unvouched(smaller) == []


def test_what_holds_data_goes_only_with_an_approval(smaller: HouseBench) -> None:
    smaller.asks()
    run = smaller.asked[-1]
    replacing = smaller.replacing()
    assert replacing.work(run.id).state == "awaiting_approval"
    assert smaller.tenant.plan == "pro"
    smaller.world.answer(smaller.world.run(run.id))
    assert replacing.work(run.id).state == "applied"
    assert smaller.tenant.plan == "team"


def test_a_tenant_that_does_not_fit_any_more_is_told_and_tried_hourly(smaller: HouseBench) -> None:
    smaller.world.alter(tables.tenant, tables.tenant.c.id == TENANT, region="elsewhere")
    assert smaller.asks() == 1
    run = smaller.worked()
    assert (run.state, run.reason) == ("failed", "does_not_fit")
    assert smaller.asks() == 0
    smaller.later(minutes=61)
    assert (smaller.asks(), smaller.asks()) == (1, 0)
    assert smaller.worked().reason == "does_not_fit"
    smaller.world.alter(tables.tenant, tables.tenant.c.id == TENANT, region="local")
    smaller.later(minutes=61)
    assert smaller.asks() == 1
    assert smaller.worked().state == "applied"


def test_another_plan_by_now_is_asked_for_at_once(smaller: HouseBench) -> None:
    smaller.world.alter(tables.tenant, tables.tenant.c.id == TENANT, region="elsewhere")
    smaller.asks()
    assert smaller.worked().state == "failed"
    smaller.world.clock.advance(timedelta(seconds=1))
    smaller.world.alter(tables.tenant, tables.tenant.c.id == TENANT, region="local")
    smaller.world.alter(tables.subscription, tables.subscription.c.tenant == TENANT, plan="large")
    assert smaller.asks() == 1
    assert smaller.worked().state == "applied"
    assert smaller.tenant.plan == "large"


def test_a_plan_that_moved_on_before_the_run_ends_it(smaller: HouseBench) -> None:
    smaller.asks()
    run = smaller.asked[-1]
    smaller.world.alter(tables.subscription, tables.subscription.c.tenant == TENANT, plan="large")
    assert smaller.ended(run.id) == ("discarded", "subscription_moved")
    assert smaller.tenant.plan == "pro"


def test_a_stack_that_somebody_else_brought_there_ends_it(smaller: HouseBench) -> None:
    smaller.asks()
    run = smaller.asked[-1]
    smaller.world.alter(tables.tenant, tables.tenant.c.id == TENANT, plan="team")
    assert smaller.ended(run.id) == ("discarded", "plan_followed")
    assert smaller.asks() == 0


@pytest.mark.sweep
def test_a_suspended_tenant_follows_once_it_is_open(smaller: HouseBench) -> None:
    smaller.do("tenant_suspend", reason="operator", access="none")
    assert smaller.asks() == 0
    smaller.do("tenant_resume", reason="operator")
    assert smaller.asks() == 1
    assert smaller.worked().state == "applied"


@pytest.mark.parametrize("point", sliced(FOLLOWING))
def test_a_worker_that_died_anywhere_in_following_has_another_finish_it(
    smaller: HouseBench, point: str
) -> None:
    smaller.asks()
    run = smaller.asked[-1]
    smaller.work_until_killed(run.id, point)
    assert smaller.work(run.id).state == "applied"
    assert smaller.tenant.plan == "team"
    assert smaller.asks() == 0


@pytest.mark.parametrize("point", sliced(UNDOING))
def test_a_worker_that_died_in_undoing_it_leaves_the_stack_as_it_was(
    smaller: HouseBench, point: str
) -> None:
    smaller.asks()
    run = smaller.asked[-1]
    last = "follow_plan.finish.before"
    smaller.work_until_killed(run.id, point, last)
    assert smaller.work(run.id, last).state == "compensated"
    assert smaller.tenant.plan == "pro"
    assert [one["plan"] for one in smaller.world.provisioner._stacks.values()] == ["pro"]


# Whose hand ------------------------------------------------------------------------------------


def test_the_house_answers_nothing_and_an_approver_does(bench: HouseBench) -> None:
    run = bench.waiting()
    bench.world.forge(run, seed=bench.world.template.approver_seed, decided_by="house:billing")
    assert bench.work(run.id).reason == "approval_void"
    assert bench.standing == ("active", [], "full")
    assert APPROVER != "house:billing"
