"""One tenant brought to the migrations in force: left behind, failed, suspended, killed, beside a campaign; never before one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from control_plane.databases.servers import NamedServers
from control_plane.domain.campaign import Campaign
from control_plane.domain.home import Home
from control_plane.domain.isolation import ISOLATIONS, Isolation
from control_plane.engine.runbook import Runbook
from control_plane.errors import Unavailable
from control_plane.fleet.bringing import Bringing, Brought
from control_plane.handlers import fleet_bring_up, fleet_migration_steps
from control_plane.handlers.registry import failpoint_names
from control_plane.store import tables
from policies.gate import Gate
from tests.support.approval_world import TENANT
from tests.support.behind import (
    WRONG,
    alter,
    approved,
    ask,
    begun,
    carried,
    planned,
    settled,
    state_of,
    write_note,
)
from tests.support.fleet_bench import FleetBench, fleet_bench
from tests.support.fleet_files import first
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import Bench, Onboarded, make_bench
from tests.support.postgres import Postgres
from tests.support.slices import sliced
from tests.support.tenants import tenant_server

UNDONE = ".undo_"
POINTS = [one for one in failpoint_names() if one.startswith("database_migrate.")]
ONCE = dict.fromkeys((1, 2, 3), ("done", 1))
KILLED = [one for one in POINTS if UNDONE not in one]
# In which order `FleetBench.tenants` makes them.
OF_MODEL = {model: f"t{number:05}" for number, model in enumerate(ISOLATIONS)}
EVERY_PLACE = [
    *(("sqlite", model) for model in ("bridge", "silo", "pooled")),
    *(("postgres", model) for model in ("pooled", "silo", "bridge")),
]


@pytest.fixture
def fleet(bench: Bench) -> FleetBench:
    """Four tenants, in every model, and a campaign that rests before it has come to any of them."""
    made = fleet_bench(bench)
    made.tenants(3)
    made.declare(first(3))
    begun(made, 3)
    return made


@pytest.fixture
def placed(
    request: pytest.FixtureRequest, tmp_path: Path, gate: Gate, standing: Onboarded
) -> Iterator[tuple[FleetBench, Isolation]]:
    """The same over one engine, and the model of which a tenant is looked at."""
    engine, model = request.param
    bench = make_bench(standing, tmp_path / "world", gate)
    with ExitStack() as stack:
        stack.callback(bench.world.close)
        if engine == "postgres":
            postgres: Postgres = request.getfixturevalue("postgres")
            server = stack.enter_context(stack.enter_context(tenant_server(postgres)).engine())
            ports = replace(bench.world.ports, databases=NamedServers(server))
            bench = Bench(bench.world.with_ports(ports))
        made = fleet_bench(bench)
        made.tenants(3)
        made.declare(first(3))
        begun(made, 3)
        yield made, model


@pytest.mark.long_but_one
@pytest.mark.parametrize("placed", sliced(EVERY_PLACE, every=3), indirect=True, ids="-".join)
def test_who_was_left_behind_is_brought_up_and_nobody_else(
    placed: tuple[FleetBench, Isolation],
) -> None:
    fleet, model = placed
    tenant = OF_MODEL[model]
    run = planned(fleet, tenant)
    plan: Any = run.plan
    part = plan["parts"]["migrate"]
    assert (part["had"], part["last"], part["shared"]) == (0, 3, model == "pooled")
    assert [(one["number"], one["stands"]) for one in part["migrations"]] == [
        (number, False) for number in (1, 2, 3)
    ]
    weights = {"migrations": 3, "contracts": 0, "non_transactional": 1, "changes_rows": True}
    assert run.plan_facts == weights
    fleet.world.answer(run)
    assert fleet.bench.work(run.id).state == "applied"
    assert fleet.have(tenant, model) == [1, 2, 3]
    assert (settled(fleet, tenant), state_of(fleet, tenant)) == (ONCE, "available")
    for other_model, other in OF_MODEL.items():
        if other != tenant:
            assert (fleet.have(other, other_model), settled(fleet, other)) == ([], {})
    assert ask(fleet, tenant)["code"] == "nothing_to_migrate"


def test_its_calls_go_on_and_the_answer_tells_its_receipts(fleet: FleetBench) -> None:
    epoch, key = fleet.bench.data_epoch, fresh_key()
    run_id = approved(fleet, idempotency_key=key)
    fleet.bench.work_until_killed(run_id, "database_migrate.apply.done")
    assert state_of(fleet) == "migrating"
    assert fleet.bench.create()["outcome"] == "done"
    assert fleet.bench.work(run_id).state == "applied"
    assert (fleet.bench.data_epoch, fleet.bench.open_at) == (epoch, epoch)
    assert fleet.bench.create()["outcome"] == "done"
    told = ask(fleet, idempotency_key=key)["result"]
    assert (told["tenant"], told["migrated_from"], told["migrated_to"]) == (TENANT, 0, 3)
    assert [(one["number"], one["state"]) for one in told["receipts"]] == [
        (number, "done") for number in (1, 2, 3)
    ]


def test_who_shares_the_tables_gets_no_more_than_a_receipt(fleet: FleetBench) -> None:
    neighbour = OF_MODEL["pooled"]
    assert carried(fleet, neighbour, through=2).state == "applied"
    assert (fleet.have(TENANT, "pooled"), settled(fleet)) == ([1, 2], {})
    run = planned(fleet)
    plan: Any = run.plan
    told = plan["parts"]["migrate"]["migrations"]
    assert [(one["number"], one["stands"]) for one in told] == [(1, True), (2, True), (3, False)]
    assert run.plan_facts is not None
    assert (run.plan_facts["migrations"], run.plan_facts["changes_rows"]) == (1, False)
    fleet.world.answer(run)
    assert fleet.bench.work(run.id).state == "applied"
    assert (settled(fleet), settled(fleet, neighbour).get(3)) == (ONCE, None)


# No further than a campaign -----------------------------------------------------------------------


def test_what_no_campaign_has_begun_is_refused(fleet: FleetBench) -> None:
    assert ask(fleet, through=9)["code"] == "migration_unknown"
    alter(fleet, last=2)
    assert ask(fleet, through=3)["code"] == "migration_not_in_force"
    alter(fleet, state="aborted")
    assert ask(fleet)["code"] == "nothing_to_migrate"
    assert ask(fleet, through=1)["code"] == "migration_not_in_force"
    assert fleet.have(TENANT, "pooled") == []


def test_a_campaign_that_is_aborted_meanwhile_takes_it_along(fleet: FleetBench) -> None:
    run_id = approved(fleet)
    fleet.bench.work_until_killed(run_id, "database_migrate.begin.recorded")
    alter(fleet, state="aborted")
    run = fleet.bench.work(run_id)
    assert run.reason == "migration_not_in_force", run
    assert (run.state, state_of(fleet)) == ("compensated", "available")
    assert (fleet.have(TENANT, "pooled"), settled(fleet)) == ([], {})


def test_what_was_applied_before_a_campaign_was_aborted_is_told_as_done(fleet: FleetBench) -> None:
    run_id = approved(fleet)
    fleet.bench.work_until_killed(run_id, "database_migrate.apply.done")
    alter(fleet, state="aborted")
    assert fleet.bench.work(run_id).state == "applied"
    assert (settled(fleet), state_of(fleet)) == (ONCE, "available")


def test_a_file_that_is_no_longer_the_campaigns_is_not_applied(fleet: FleetBench) -> None:
    files = first(3)
    files["0002_titles.sql"] = files["0002_titles.sql"].replace(b"'none'", b"'other'")
    fleet.declare(files)
    assert ask(fleet)["code"] == "migration_edited"
    alter(fleet, last=1)
    assert carried(fleet).state == "applied"
    assert fleet.have(TENANT, "pooled") == [1]


def test_a_dry_run_changes_nothing(fleet: FleetBench) -> None:
    run = fleet.bench.work(ask(fleet, dry_run=True)["run_id"])
    assert (run.state, run.reason) == ("discarded", "dry_run")
    assert (fleet.have(TENANT, "pooled"), settled(fleet)) == ([], {})


# What fails, and is put right ---------------------------------------------------------------------


@pytest.mark.long
def test_one_that_fails_says_where_and_leaves_nothing_half_done(fleet: FleetBench) -> None:
    tenant = OF_MODEL["silo"]
    fleet.declare(WRONG)
    alter(fleet, last=1)
    assert carried(fleet, tenant).state == "applied"
    write_note(fleet, tenant, "silo")
    alter(fleet, last=3)
    run = carried(fleet, tenant)
    assert (run.state, run.reason) == ("failed", "residue")
    assert "constraint: 0003_wrong.sql:7: " in run.detail
    assert state_of(fleet, tenant) == "available"
    assert fleet.have(tenant, "silo") == [1, 2]
    assert settled(fleet, tenant) == {1: ("done", 1), 2: ("done", 1), 3: ("failed", 1)}
    told = fleet.ask("fleet_migration_status")["result"]["failures"]
    assert [(one["tenant"], one["code"]) for one in told] == [(tenant, "constraint")]
    # Once the row is out of the way, it goes on from there.
    write_note(fleet, tenant, "silo", remove=True)
    assert carried(fleet, tenant).state == "applied"
    assert (fleet.have(tenant, "silo"), settled(fleet, tenant)[3]) == ([1, 2, 3], ("done", 2))


@pytest.mark.long
def test_a_campaign_that_had_failed_for_it_finds_it_done(bench: Bench) -> None:
    fleet, tenant = fleet_bench(bench), OF_MODEL["silo"]
    fleet.tenants(3)
    fleet.declare({name: text for name, text in WRONG.items() if name < "0002"})
    fleet.carried()
    fleet.declare(WRONG)
    write_note(fleet, tenant, "silo")
    # Whose turn is the first is drawn: it may be its own.
    assert fleet.carried(failures_max=3).state == "failed"
    assert settled(fleet, tenant)[3] == ("failed", 1)
    write_note(fleet, tenant, "silo", remove=True)
    assert carried(fleet, tenant).state == "applied"
    assert settled(fleet, tenant)[3] == ("done", 2)
    assert fleet.campaign.state == "halted"
    assert fleet.carried().state == "applied"
    assert (fleet.campaign.state, settled(fleet, tenant)[3]) == ("done", ("done", 2))
    assert {one.state for one in fleet.receipts().values()} == {"done"}
    assert ask(fleet, tenant)["code"] == "nothing_to_migrate"


def test_what_fails_before_anything_was_applied_leaves_it_as_it_was(fleet: FleetBench) -> None:
    run = carried(fleet, TENANT, "database_migrate.apply.before")
    assert (run.state, state_of(fleet)) == ("compensated", "available")
    assert (fleet.have(TENANT, "pooled"), settled(fleet)) == ([], {})


@pytest.mark.long_but_one
@pytest.mark.parametrize(("times", "state"), [(1, "applied"), (99, "failed")])
def test_who_changes_the_tables_is_waited_for_and_that_is_no_failure_of_the_migration(
    fleet: FleetBench, monkeypatch: pytest.MonkeyPatch, times: int, state: str
) -> None:
    bring, left = Bringing.bring, [times]

    def busy(self: Bringing, engine: Any, tenant: str, home: Home, epoch: int) -> Brought:
        if not left[0]:
            return bring(self, engine, tenant, home, epoch)
        left[0] -= 1
        receipt = self.intended(tenant, home)[0].model_copy(update={"state": "failed"})
        return Brought((receipt,), Unavailable("It is locked.", code="database_busy"))

    monkeypatch.setattr(fleet_bring_up, "_PAUSE_S", 0.0)
    monkeypatch.setattr(fleet_bring_up, "_TRIES_MAX", 2)
    monkeypatch.setattr(Bringing, "bring", busy)
    run = carried(fleet)
    assert (run.state, "database_busy" in run.detail) == (state, state == "failed")
    assert (settled(fleet), state_of(fleet)) == (ONCE if times == 1 else {}, "available")


# A suspended tenant -------------------------------------------------------------------------------


@pytest.mark.long
def test_a_suspended_tenant_is_migrated_and_stays_shut(fleet: FleetBench) -> None:
    fleet.bench.do("tenant_suspend", reason="operator")
    assert carried(fleet).state == "applied"
    assert (fleet.have(TENANT, "pooled"), settled(fleet)) == ([1, 2, 3], ONCE)
    assert (state_of(fleet), fleet.bench.open_at, fleet.bench.data_epoch) == ("stopped", None, 0)
    fleet.bench.do("tenant_resume", reason="operator")
    assert fleet.bench.create()["outcome"] == "done"


# Killed, taken over, beside a campaign ------------------------------------------------------------


@pytest.mark.long_but_one
@pytest.mark.parametrize("point", sliced(KILLED, every=5))
def test_one_that_was_killed_is_finished_by_the_next_worker(fleet: FleetBench, point: str) -> None:
    run_id = approved(fleet)
    fleet.bench.work_until_killed(run_id, point)
    assert fleet.bench.work(run_id).state == "applied"
    assert (fleet.have(TENANT, "pooled"), settled(fleet)) == ([1, 2, 3], ONCE)
    assert state_of(fleet) == "available"


@pytest.mark.parametrize("point", sliced([one for one in POINTS if UNDONE in one], every=3))
def test_one_that_was_killed_as_it_went_back_is_at_rest(fleet: FleetBench, point: str) -> None:
    run_id = approved(fleet)
    fleet.bench.work_until_killed(run_id, point, "database_migrate.apply.before")
    assert fleet.bench.work(run_id).state == "compensated"
    assert (state_of(fleet), fleet.have(TENANT, "pooled"), settled(fleet)) == ("available", [], {})


def test_a_worker_whose_run_was_taken_over_writes_no_receipt(
    fleet: FleetBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = approved(fleet)
    bring = Bringing.bring

    def taken_over(self: Bringing, *to: Any) -> Brought:
        brought = bring(self, *to)
        Runbook(fleet.world.ports, run_id).take()
        return brought

    with monkeypatch.context() as patched:
        patched.setattr(Bringing, "bring", taken_over)
        assert fleet.bench.work(run_id).state == "applying"
    assert (fleet.have(TENANT, "pooled"), settled(fleet)) == ([1, 2, 3], {})
    assert fleet.bench.work(run_id).state == "applied"
    assert settled(fleet) == ONCE


@pytest.mark.long
def test_a_campaign_that_has_it_in_hand_and_the_tool_do_it_once(
    fleet: FleetBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring, met = fleet_migration_steps.Carrier._bring, list[str]()
    tenant, run_id = OF_MODEL["bridge"], approved(fleet, OF_MODEL["bridge"])
    campaign = fleet.approved()

    def meanwhile(self: fleet_migration_steps.Carrier, bringing: Any, one: str, home: Home) -> None:
        if one == tenant:
            met.append(fleet.bench.work(run_id).state)
        bring(self, bringing, one, home)

    monkeypatch.setattr(fleet_migration_steps.Carrier, "_bring", meanwhile)
    assert fleet.bench.work(campaign.id).state == "applied"
    assert met == ["applied"]
    assert (fleet.campaign.state, fleet.have(tenant, "bridge")) == ("done", [1, 2, 3])
    assert settled(fleet, tenant) == ONCE


@pytest.mark.long
def test_a_campaign_takes_later_whom_the_tool_has_in_hand(
    fleet: FleetBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited, tenant = list[str](), OF_MODEL["bridge"]
    run_id, campaign = approved(fleet, tenant), fleet.approved()
    fleet.bench.work_until_killed(run_id, "database_migrate.apply.dispatched")

    def wait(self: fleet_migration_steps.Carrier, _: Campaign) -> None:
        assert settled(fleet, tenant) == {}
        waited.append(fleet.bench.work(run_id).state)

    monkeypatch.setattr(fleet_migration_steps.Carrier, "_wait", wait)
    assert fleet.bench.work(campaign.id).state == "applied"
    assert (waited, fleet.campaign.state) == (["applied"], "done")
    assert settled(fleet, tenant) == ONCE


def test_every_receipt_of_it_is_in_the_log(fleet: FleetBench) -> None:
    assert carried(fleet).state == "applied"

    def kinds(connection: Connection) -> list[str]:
        leaf = tables.audit_leaf.c
        found = connection.execute(
            tables.audit_leaf.select().with_only_columns(leaf.kind).where(leaf.tenant == TENANT)
        )
        return [kind for kind in found.scalars() if kind.startswith("fleet.")]

    with fleet.world.store.read() as connection:
        assert kinds(connection) == ["fleet.tenant_done"] * 3
