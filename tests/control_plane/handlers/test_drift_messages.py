"""Drift as its endpoints are told of it: each finding once, that it is gone once, and never a value."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from control_plane.billing import webhook_endpoints
from control_plane.billing.outbox import BODY_BYTES_MAX
from control_plane.billing.webhook_endpoints import NewEndpoint
from control_plane.billing.webhooks import new_secret
from control_plane.handlers.drift_messages import KINDS, RESOURCES_MAX, message_of
from control_plane.handlers.handler import Work
from control_plane.provisioning.stacks import StackRequest
from control_plane.secrets.box import new_keypair
from control_plane.store.webhook_tables import webhook_message
from tests.control_plane.handlers.test_drift import CHECKING, KEY, REPAIRING, UNDONE, meddle
from tests.support.approval_world import OTHER, TENANT
from tests.support.lifecycle_bench import Bench
from tests.support.slices import sliced

_, PUBLIC = new_keypair()
SECRET: SecretStr = new_secret(bytes(32))
ADDRESS = "terraform_data.database"


@pytest.fixture
def told(bench: Bench) -> Any:
    """`told()`: the messages so far, in the order of their making; one endpoint takes them all."""
    listens(bench, TENANT, "stack.*")

    def messages() -> list[dict[str, Any]]:
        wanted = select(webhook_message.c.body).order_by(webhook_message.c.made_at)
        with bench.world.store.read() as connection:
            return [json.loads(body) for body in connection.execute(wanted).scalars()]

    return messages


def listens(bench: Bench, owner: str, *kinds: str) -> None:
    asked = NewEndpoint(
        id=f"of-{owner}", tenant=owner, url="https://hooks.example.com/paybill", kinds=kinds
    )
    with bench.world.store.write() as connection:
        webhook_endpoints.register(connection, PUBLIC, asked, SECRET, bench.world.clock.now())


def test_what_drifted_is_told_by_address_and_never_by_value(bench: Bench, told: Any) -> None:
    meddle(bench, size="a-size-of-somebody's-own")
    run = bench.do("drift_check")
    (message,) = told()
    assert (message["type"], message["tenant"]) == ("stack.drifted", TENANT)
    assert message["data"] == {
        "cloud": "local",
        "isolation": "pooled",
        "run_id": run.id,
        "resource_count": 1,
        "actions": {"update": 1},
        "resources": [ADDRESS],
    }


def test_the_same_finding_is_told_once_and_another_one_again(bench: Bench, told: Any) -> None:
    meddle(bench, size="large")
    bench.do("drift_check")
    bench.do("drift_check")
    assert len(told()) == 1
    meddle(bench, size="large", region="elsewhere")
    bench.do("drift_check")
    assert [one["type"] for one in told()] == ["stack.drifted"] * 2


def test_what_came_right_by_itself_is_told_once(bench: Bench, told: Any) -> None:
    stood = dict(bench.world.provisioner._stacks[KEY])
    meddle(bench)
    bench.do("drift_check")
    bench.world.provisioner._stacks[KEY] = stood
    bench.do("drift_check")
    bench.do("drift_check")
    assert [one["type"] for one in told()] == ["stack.drifted", "stack.restored"]
    assert told()[1]["data"]["resources"] == [ADDRESS]


def test_what_was_put_right_is_told_once(bench: Bench, told: Any) -> None:
    meddle(bench)
    bench.do("drift_check")
    run = bench.do("drift_repair")
    bench.do("drift_check")
    assert [one["type"] for one in told()] == ["stack.drifted", "stack.restored"]
    assert told()[1]["data"]["run_id"] == run.id


def test_a_stack_that_is_gone_is_told_with_all_that_was_known(bench: Bench, told: Any) -> None:
    del bench.world.provisioner._stacks[KEY]
    bench.do("drift_check")
    (message,) = told()
    assert (message["data"]["actions"], message["data"]["resources"]) == ({"create": 1}, [ADDRESS])


def test_where_nothing_drifted_nothing_is_told(bench: Bench, told: Any) -> None:
    bench.do("drift_check")
    assert told() == []


def test_who_did_not_ask_for_it_is_not_told(bench: Bench) -> None:
    listens(bench, OTHER, "*")
    listens(bench, TENANT, "invoice.*")
    meddle(bench)
    bench.do("drift_check")
    with bench.world.store.read() as connection:
        assert connection.execute(select(webhook_message)).all() == []


@pytest.mark.parametrize("point", sliced([one for one in CHECKING if UNDONE not in one], every=3))
def test_a_look_that_was_killed_is_told_of_once(bench: Bench, told: Any, point: str) -> None:
    meddle(bench)
    run_id = bench.propose("drift_check")
    bench.work_until_killed(run_id, point)
    assert bench.work(run_id).state == "applied"
    assert [one["type"] for one in told()] == ["stack.drifted"]


@pytest.mark.parametrize("point", sliced([one for one in REPAIRING if UNDONE not in one], every=4))
def test_a_repair_that_was_killed_is_told_of_once(bench: Bench, told: Any, point: str) -> None:
    meddle(bench)
    bench.do("drift_check")
    run_id = bench.propose("drift_repair")
    bench.work_until_killed(run_id, point)
    assert bench.work(run_id).state == "applied"
    assert [one["type"] for one in told()] == ["stack.drifted", "stack.restored"]


def test_of_many_resources_only_the_first_are_named() -> None:
    clock = SimpleNamespace(now=lambda: datetime(2026, 3, 1, tzinfo=UTC))
    work: Any = SimpleNamespace(run=SimpleNamespace(id="r"), ports=SimpleNamespace(clock=clock))
    request = StackRequest(
        tenant=TENANT, run_id="r", cloud="aws", isolation="silo", plan="team", region="eu"
    )
    found = [
        {"address": f"a.b[{number}]" + "x" * 200, "actions": actions, "attributes": ["secret"]}
        for number in range(150)
        for actions in (["update"], ["delete", "create"], ["create"])
    ]
    message = message_of(cast(Work, work), request, KINDS[0], found)
    assert message.data["resource_count"] == 450
    assert message.data["actions"] == {"create": 150, "replace": 150, "update": 150}
    assert len(cast("list[str]", message.data["resources"])) == RESOURCES_MAX
    assert b"secret" not in message.body
    assert len(message.body) < BODY_BYTES_MAX
