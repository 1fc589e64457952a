"""What may be read of infrastructure: the stacks that stand and may be had, a run's plan and log, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from control_plane.domain.canonical import Json, instant
from control_plane.domain.isolation import CLOUDS, ISOLATIONS
from control_plane.domain.stack_record import StackRecord
from control_plane.engine.telling import Telling
from control_plane.handlers.infrastructure import ADDRESSES_MAX
from control_plane.handlers.run_views import PARTS_BYTES_MAX
from control_plane.handlers.stack_offers import PROOFS
from control_plane.provisioning.module import tree_digest
from control_plane.provisioning.progress import Progress
from control_plane.provisioning.stacks import MODULES
from control_plane.store import rows
from control_plane.store.infrastructure_tables import stack
from tests.support.approval_world import OTHER, REQUESTER, TENANT
from tests.support.lifecycle_bench import ADMIN, SUPPORT, Bench

AUDITOR, VIEWER = "audrey", "vera"


def ask(bench: Bench, tool: str, who: str = REQUESTER, **arguments: Any) -> dict[str, Any]:
    """The result of a call that is done."""
    answered = bench.ask(tool, who, **arguments)
    assert answered["outcome"] == "done", answered
    return dict(answered["result"])


def put_stack(bench: Bench, tenant: str = TENANT, **values: Any) -> None:
    """Write a stack past every rule."""
    given: dict[str, Any] = {
        "tenant": tenant,
        "cloud": "aws",
        "isolation": "silo",
        "region": "eu-central-1",
        "plan": "team",
        "size": "small",
        "state": "stands",
        "run_id": "0" * 32,
        "plan_digest": "d" * 64,
        "resources": ("aws_vpc.this",),
        "outputs": {"network": "vpc-1"},
        "applied_at": instant(bench.world.clock.now()),
    }
    with bench.world.store.write() as connection:
        rows.put(connection, stack, StackRecord.model_validate(given | values))


@pytest.fixture
def onboarded(bench: Bench) -> str:
    """The run that brought the tenant into being."""
    listed = bench.ask("run_list", tenant=TENANT, kind="onboard")["result"]["runs"]
    return str(listed[0]["run_id"])


# The stacks that stand -------------------------------------------------------------------------


def test_a_stack_is_told_as_its_run_has_left_it(bench: Bench, onboarded: str) -> None:
    (told,) = ask(bench, "infrastructure_list")["stacks"]
    assert (told["tenant"], told["cloud"], told["isolation"]) == (TENANT, "local", "pooled")
    assert (told["state"], told["run_id"], told["checked_at"]) == ("stands", onboarded, None)
    assert (told["resources"], told["resource_count"]) == (["terraform_data.database"], 1)
    assert told["outputs"] == {
        "database": {"engine": "sqlite", "model": "pooled", "name": "pooled.sqlite3"}
    }


def test_what_a_stack_says_of_itself_is_for_who_runs_tenants(bench: Bench) -> None:
    bench.world.grant(AUDITOR, "auditor", actor="audrey-bot")
    bench.world.grant(VIEWER, "viewer", actor="vera-bot")
    for who in (SUPPORT, AUDITOR, VIEWER):
        (told,) = ask(bench, "infrastructure_list", who)["stacks"]
        assert (told["outputs"], told["resource_count"]) == (None, 1), who
    for who in (REQUESTER, ADMIN):
        assert ask(bench, "infrastructure_list", who)["stacks"][0]["outputs"], who


def test_the_list_is_restricted_by_tenant_cloud_and_state(bench: Bench) -> None:
    put_stack(bench, state="gone", resources=())

    def found(**asked: str) -> list[str]:
        return [one["cloud"] for one in ask(bench, "infrastructure_list", **asked)["stacks"]]

    assert found() == ["aws", "local"]
    assert found(cloud="aws") == found(state="gone") == ["aws"]
    assert found(state="drifted") == found(tenant=OTHER) == found(tenant="nobody") == []


def test_pages_tell_every_stack_once_and_their_cursor_is_good_for_one_question(
    bench: Bench,
) -> None:
    for cloud in ("aws", "azure", "gcp"):
        put_stack(bench, cloud=cloud)
    seen: list[str] = []
    after: dict[str, Any] = {}
    for _ in range(6):
        page = ask(bench, "infrastructure_list", limit=1, **after)
        seen += [one["cloud"] for one in page["stacks"]]
        if page["next_after"] is None:
            break
        after = {"after": page["next_after"]}
    assert seen == ["aws", "azure", "gcp", "local"]
    for who, more in ((SUPPORT, after), (REQUESTER, {**after, "cloud": "gcp"})):
        assert bench.ask("infrastructure_list", who, **more)["outcome"] == "not_found"


def test_a_stack_of_a_tenant_outside_the_grant_is_not_told_of(bench: Bench) -> None:
    put_stack(bench, "foreign")
    told = ask(bench, "infrastructure_list")
    assert [one["tenant"] for one in told["stacks"]] == [TENANT]
    assert ask(bench, "infrastructure_list", tenant="foreign") == {"stacks": [], "next_after": None}


def test_of_many_addresses_the_first_are_told_and_how_many_there_are(bench: Bench) -> None:
    put_stack(bench, resources=tuple(f"a.b{number:03}" for number in range(70)))
    told = ask(bench, "infrastructure_list", cloud="aws")["stacks"][0]
    assert (len(told["resources"]), told["resource_count"]) == (ADDRESSES_MAX, 70)
    assert (told["resources"][0], told["resources"][-1]) == ("a.b000", "a.b049")


# The stacks that may be had --------------------------------------------------------------------


def test_every_shipped_stack_is_told_with_its_digest_its_plans_and_how_it_is_proven(
    bench: Bench,
) -> None:
    told = ask(bench, "stack_list", SUPPORT)["stacks"]
    every = [(cloud, isolation) for cloud in CLOUDS for isolation in ISOLATIONS]
    assert [(one["cloud"], one["isolation"]) for one in told] == every
    assert {one["source"] for one in told} == {"shipped"}
    local = {one["isolation"]: one for one in told if one["cloud"] == "local"}
    assert local["silo"]["module_digest"] == tree_digest(MODULES / "local" / "silo")
    assert "free" in local["pooled"]["plans"]
    assert "free" not in local["silo"]["plans"]
    proofs = {one["cloud"]: one["proof"] for one in told}
    assert (proofs["local"], proofs["aws"]) == ("applied", "emulator-applied")
    assert {proofs[cloud] for cloud in ("azure", "gcp", "oci", "ibm")} == {"contract-checked"}


def test_how_a_stack_is_proven_is_what_the_reference_says() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "stacks.md").read_text()
    rows_told = [row.strip("| ").split(" | ") for row in page.splitlines() if "registry." in row]
    told = {row[0].strip("`"): row[-1] for row in rows_told if len(row) == 4}
    # Of several the one that says most.
    assert {cloud: proofs.split(", ")[-1] for cloud, proofs in told.items()} == {
        cloud: PROOFS[cloud] for cloud in CLOUDS if cloud != "local"
    }


# A run's plan ----------------------------------------------------------------------------------


def test_a_runs_plan_is_told_by_parts_and_as_text(bench: Bench, onboarded: str) -> None:
    told = ask(bench, "run_plan", run_id=onboarded)
    assert told["plan_digest"] == bench.world.run(onboarded).plan_digest
    assert told["parts"]["rows"]["tenant"] == TENANT
    assert (told["parts_left_out"], told["lines_left_out"]) == (False, 0)
    assert "Cost: 0 cents (USD) a month" in told["text"]


def test_a_run_without_a_plan_yet_has_none_to_tell(bench: Bench) -> None:
    run_id = bench.propose("drift_check")
    told = ask(bench, "run_plan", run_id=run_id)
    assert (told["plan_digest"], told["parts"], told["text"]) == (None, None, None)


def test_parts_that_are_large_are_left_out_and_the_text_is_told_nevertheless(
    bench: Bench, onboarded: str
) -> None:
    run = bench.world.run(onboarded)
    parts: dict[str, Json] = {"rows": {"big": "x" * PARTS_BYTES_MAX}, "money": {"due_minor": 7}}
    bench.world.alter_run(run, plan={**(run.plan or {}), "parts": parts})
    told = ask(bench, "run_plan", run_id=onboarded)
    assert (told["parts"], told["parts_left_out"]) == (None, True)
    assert told["text"] == "Money\n  due_minor = 7"


@pytest.mark.parametrize("tool", ["run_plan", "run_log", "cost_estimate"])
def test_a_run_of_somebody_else_is_not_found_as_one_that_never_was(
    bench: Bench, onboarded: str, tool: str
) -> None:
    foreign = bench.ask(tool, SUPPORT, run_id=onboarded)
    assert foreign == bench.ask(tool, SUPPORT, run_id="f" * 32)
    assert foreign["outcome"] == "not_found"


# A run's log -----------------------------------------------------------------------------------


def told_by(bench: Bench, run_id: str, count: int) -> None:
    """Have a run tell of so many resources."""
    telling = Telling(bench.world.store, bench.world.clock, bench.world.run(run_id))
    for number in range(count):
        telling(Progress(address=f"a.b{number}", doing="create", stage="done", elapsed_s=number))


def test_a_log_is_read_on_from_where_one_stopped_until_it_is_over(
    bench: Bench, onboarded: str
) -> None:
    told_by(bench, onboarded, 5)
    first = ask(bench, "run_log", run_id=onboarded, limit=3)
    assert [one["name"] for one in first["steps"]][:2] == ["register", "collect"]
    assert [one["address"] for one in first["events"]] == ["a.b0", "a.b1", "a.b2"]
    assert (first["next_after"], first["over"]) == (3, False)
    second = ask(bench, "run_log", run_id=onboarded, after=3)
    assert [one["position"] for one in second["events"]] == [4, 5]
    assert (second["next_after"], second["over"]) == (5, True)
    third = ask(bench, "run_log", run_id=onboarded, after=5)
    assert (third["events"], third["next_after"], third["over"]) == ([], 5, True)


def test_while_a_run_is_at_work_its_log_is_not_over(bench: Bench) -> None:
    run_id = bench.propose("drift_check")
    bench.work_until_killed(run_id, "drift_check.look.dispatched")
    told = ask(bench, "run_log", run_id=run_id)
    (look,) = told["steps"]
    assert (look["name"], look["state"], look["ended_at"]) == ("look", "dispatched", None)
    assert look["begun_at"] == instant(bench.world.clock.now())
    assert (told["over"], told["next_after"]) == (False, 0)


# What it costs ---------------------------------------------------------------------------------


def test_a_plan_and_the_stack_that_came_of_it_cost_the_same(bench: Bench, onboarded: str) -> None:
    planned = ask(bench, "cost_estimate", run_id=onboarded)
    stands = ask(bench, "cost_estimate", tenant=TENANT)
    assert (planned["basis"], stands["basis"]) == ("plan", "stack")
    for told in (planned, stands):
        assert (told["tenant"], told["run_id"], told["currency"]) == (TENANT, onboarded, "USD")
        assert (told["monthly_cost_minor"], told["unpriced"]) == (0, [])


def test_what_has_no_price_is_named(bench: Bench, onboarded: str) -> None:
    found: dict[str, Json] = {
        "monthly_cost_minor": 1250,
        "price_version": "2026-11-01",
        "unpriced": ["aws_odd"],
    }
    run = bench.world.run(onboarded)
    parts: dict[str, Json] = {"infrastructure": {"changes": {}, "found": found}}
    bench.world.alter_run(run, plan={**(run.plan or {}), "parts": parts})
    told = ask(bench, "cost_estimate", run_id=onboarded)
    assert (told["monthly_cost_minor"], told["price_table"]) == (1250, "2026-11-01")
    assert told["unpriced"] == ["aws_odd"]
    assert ask(bench, "cost_estimate", tenant=TENANT)["unpriced"] == ["aws_odd"]


def test_what_was_never_estimated_is_refused(bench: Bench) -> None:
    run_id = bench.propose("drift_check")
    assert bench.ask("cost_estimate", run_id=run_id)["code"] == "plan_not_observed"
    with bench.world.store.write() as connection:
        rows.change(connection, stack, stack.c.tenant == TENANT, state="gone")
    assert bench.ask("cost_estimate", tenant=TENANT)["code"] == "stack_not_found"
    for unknown in (OTHER, "nobody"):
        assert bench.ask("cost_estimate", tenant=unknown)["outcome"] == "not_found"


@pytest.mark.parametrize("named", [{}, {"run_id": "f" * 32, "tenant": TENANT}])
def test_exactly_one_of_run_and_tenant_is_named(bench: Bench, named: dict[str, Any]) -> None:
    told = bench.bad_input("cost_estimate", **named)
    assert told == "arguments: must name either a run id or a tenant"


def test_a_stack_of_which_no_run_is_known_tells_what_its_row_does(bench: Bench) -> None:
    with bench.world.store.write() as connection:
        connection.execute(stack.delete())
    put_stack(bench, monthly_cost_minor=5, price_table="2026-01-01")
    found = ask(bench, "cost_estimate", tenant=TENANT)
    assert (found["monthly_cost_minor"], found["price_table"]) == (5, "2026-01-01")
