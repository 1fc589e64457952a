"""The row of a tenant's stack: as runs leave it, and which one stands. Not the stack, and not a look at it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest
from sqlalchemy import Connection, select

from control_plane.domain.canonical import instant
from control_plane.domain.stack_record import StackRecord
from control_plane.facts.load import tenant_row
from control_plane.handlers.handler import Work
from control_plane.handlers.stack_records import (
    account_held,
    record_gone,
    record_stack,
    record_verified,
    stack_of_tenant,
)
from control_plane.handlers.stack_steps import request_of
from control_plane.provisioning.runner import never
from control_plane.provisioning.site import UNNAMED
from control_plane.provisioning.stacks import StackRequest
from control_plane.store import rows, tables
from control_plane.store.infrastructure_tables import stack
from tests.support.approval_world import TENANT
from tests.support.lifecycle_bench import Bench

SEEN: Final[dict[str, Any]] = {"resources": ["a.b", "a.c"], "outputs": {"database": {"name": "x"}}}


def onboarding(bench: Bench) -> Work:
    """The run that made the tenant, as a step of it had it in hand."""
    world = bench.world
    with world.store.read() as connection:
        run = world.run(standing(connection).run_id)

    def nobody() -> Any:
        raise AssertionError("no row asks who asks")

    command: Any = None
    return Work(run, command, world.ports, epoch=1, should_stop=never, asker=nobody)


def stack_request(bench: Bench, work: Work) -> StackRequest:
    with bench.world.store.read() as connection:
        tenant = tenant_row(connection, TENANT)
    assert tenant is not None
    return request_of(work, tenant)


def standing(connection: Connection) -> StackRecord:
    found = stack_of_tenant(connection, TENANT)
    assert found is not None
    return found


@pytest.fixture
def work(bench: Bench) -> Work:
    return onboarding(bench)


@pytest.fixture
def request_(bench: Bench, work: Work) -> StackRequest:
    return stack_request(bench, work)


def test_an_onboarded_tenant_has_the_row_of_what_stands_for_it(bench: Bench, work: Work) -> None:
    with bench.world.store.read() as connection:
        found = standing(connection)
    assert (found.tenant, found.cloud, found.isolation, found.state) == (
        TENANT,
        "local",
        "pooled",
        "stands",
    )
    assert (found.run_id, len(found.plan_digest)) == (work.run.id, 64)
    assert found.outputs
    assert (found.checked_at, found.drift) == (None, None)


def test_a_stack_that_is_made_again_has_one_row_with_what_the_last_run_saw(
    bench: Bench, work: Work, request_: StackRequest
) -> None:
    facts = {"infra_monthly_cost_minor": 1250}
    infrastructure = {"digest": "d" * 64, "found": {"price_version": "2026-11-22"}}
    plan = {"parts": {"infrastructure": infrastructure}}
    update = {"id": "run-2", "plan_facts": facts, "plan": plan}
    again = replace(work, run=work.run.model_copy(update=update))
    with bench.world.store.write(TENANT) as connection:
        record_stack(again, connection, request_, SEEN)
        found = standing(connection)
        assert len(connection.execute(select(stack)).all()) == 1
    assert (found.run_id, found.resources) == ("run-2", ("a.b", "a.c"))
    assert found.outputs == {"database": {"name": "x"}}
    assert (found.monthly_cost_minor, found.price_table) == (1250, "2026-11-22")


@pytest.mark.parametrize("seen", [{}, {"resources": None, "outputs": None}])
def test_what_a_step_has_not_noted_is_empty_and_no_error(
    bench: Bench, work: Work, request_: StackRequest, seen: dict[str, Any]
) -> None:
    bare = replace(work, run=work.run.model_copy(update={"plan": None, "plan_facts": None}))
    with bench.world.store.write(TENANT) as connection:
        record_stack(bare, connection, request_, seen)
        found = standing(connection)
    assert (found.resources, found.outputs, found.plan_digest) == ((), {}, "")
    assert (found.monthly_cost_minor, found.price_table) == (None, None)


def test_what_the_step_that_verified_has_noted_is_written_down(bench: Bench, work: Work) -> None:
    with bench.world.store.write(TENANT) as connection:
        before = standing(connection)
        record_verified(work, connection)
        after = standing(connection)
    assert after == before


def test_a_stack_that_is_gone_keeps_its_row_and_stands_no_more(
    bench: Bench, work: Work, request_: StackRequest
) -> None:
    bench.world.clock.advance(timedelta(hours=1))
    with bench.world.store.write(TENANT) as connection:
        record_gone(work, connection, request_)
        assert stack_of_tenant(connection, TENANT) is None
        row = connection.execute(select(stack)).mappings().one()
    assert (row["state"], row["resources"], row["outputs"]) == ("gone", [], {})
    assert row["applied_at"] == instant(bench.world.clock.now())


def test_a_stack_that_was_not_known_leaves_no_row_when_it_goes(
    bench: Bench, work: Work, request_: StackRequest
) -> None:
    other = request_.model_copy(update={"cloud": "aws"})
    with bench.world.store.write(TENANT) as connection:
        record_gone(work, connection, other)
        assert [row.cloud for row in connection.execute(select(stack))] == ["local"]
        assert standing(connection).state == "stands"


def test_of_two_stacks_the_last_applied_one_stands_and_a_gone_one_never(
    bench: Bench, work: Work, request_: StackRequest
) -> None:
    silo = request_.model_copy(update={"isolation": "silo"})
    with bench.world.store.write(TENANT) as connection:
        bench.world.clock.advance(timedelta(hours=1))
        record_stack(work, connection, silo, SEEN)
        assert standing(connection).isolation == "silo"
        bench.world.clock.advance(timedelta(hours=1))
        record_gone(work, connection, silo)
        assert standing(connection).isolation == "pooled"


def test_another_tenants_row_is_not_touched(
    bench: Bench, work: Work, request_: StackRequest
) -> None:
    other = request_.model_copy(update={"tenant": "globex"})
    with bench.world.store.write("globex") as connection:
        record_stack(work, connection, other, SEEN)
        record_gone(work, connection, request_)
        assert stack_of_tenant(connection, TENANT) is None
        found = stack_of_tenant(connection, "globex")
    assert found is not None
    assert found.state == "stands"


# In which account ------------------------------------------------------------------------------


def planned_in(bench: Bench, run_id: str, account: str | None, state: str = "applied") -> None:
    """Have a run's plan tell of an account; of none as it did before accounts were told."""
    changes = {} if account is None else {"account": account}
    plan = {"parts": {"infrastructure": {"changes": changes}}}
    run = bench.world.run(run_id)
    bench.world.alter_run(run, plan=plan, state=state)


def held(bench: Bench, request: StackRequest) -> str | None:
    with bench.world.store.read() as connection:
        return account_held(connection, request)


@pytest.fixture
def later(request_: StackRequest) -> StackRequest:
    """The same stack, as another run asks for it."""
    return request_.model_copy(update={"run_id": "run-2"})


def test_a_stack_is_held_in_the_account_of_the_run_that_applied_it(
    bench: Bench, work: Work, later: StackRequest
) -> None:
    assert held(bench, later) == UNNAMED
    planned_in(bench, work.run.id, "111111111111")
    assert held(bench, later) == "111111111111"
    # Whatever its model: a tenant has one account of a cloud.
    assert held(bench, later.model_copy(update={"isolation": "silo"})) == "111111111111"
    for other in ({"cloud": "aws"}, {"tenant": "globex"}):
        assert held(bench, later.model_copy(update=other)) is None


def test_a_stack_that_is_gone_is_held_nowhere(
    bench: Bench, work: Work, later: StackRequest
) -> None:
    planned_in(bench, work.run.id, "111111111111")
    with bench.world.store.write(TENANT) as connection:
        record_gone(work, connection, later)
    assert held(bench, later) is None


@pytest.mark.parametrize("state", ["planned", "awaiting_approval", "applying", "compensating"])
def test_what_a_run_is_about_to_make_is_held_where_it_was_planned(
    bench: Bench, work: Work, request_: StackRequest, state: str
) -> None:
    with bench.world.store.write(TENANT) as connection:
        record_gone(work, connection, request_)
    planned_in(bench, work.run.id, "222222222222", state)
    assert held(bench, request_) == "222222222222"
    assert held(bench, request_.model_copy(update={"tenant": "globex"})) is None
    planned_in(bench, work.run.id, None, state)
    assert held(bench, request_) is None


def test_a_run_that_is_planned_again_holds_nothing_yet(
    bench: Bench, work: Work, request_: StackRequest
) -> None:
    with bench.world.store.write(TENANT) as connection:
        record_gone(work, connection, request_)
    planned_in(bench, work.run.id, "222222222222", "planning")
    assert held(bench, request_) is None


def test_a_stack_whose_run_is_not_known_is_held_somewhere(
    bench: Bench, later: StackRequest
) -> None:
    where = stack.c.tenant == TENANT
    with bench.world.store.write(TENANT) as connection:
        assert rows.change(connection, stack, where, run_id="lost") == 1
        assert connection.execute(select(tables.run.c.id)).all()
    assert held(bench, later) == UNNAMED
