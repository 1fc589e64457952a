"""Usage and entitlements over a real face and a real client: recorded, summed up, asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from control_plane.domain.canonical import instant
from tests.support.agents import call
from tests.support.house import House, Token, build_house, fresh_key
from tests.support.onboarding import onboard
from tests.support.postgres import raze
from tests.support.workers import running_worker

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
CATALOG = Path(__file__).parents[1] / "support" / "metered_catalog"
TENANT = "acme"


def events(*identities: str, **more: Any) -> list[dict[str, Any]]:
    """One event of each id, as of now."""
    told = {"source": "gateway", "meter": "api_calls", "quantity": 1}
    now = instant(datetime.now(UTC))
    return [{**told, "id": one, "occurred_at": now, **more} for one in identities]


async def recorded(client: Client, told: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """The answer to one recording under a key of its own."""
    asked = {"tenant": TENANT, "events": told, "idempotency_key": fresh_key(), **more}
    return await call(client, "usage_record", **asked)


@pytest.fixture(scope="module")
def metered(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Iterator[House]:
    """A tenant on a plan with meters and limits."""
    house = build_house(tmp_path_factory.mktemp("metered"), cerbos_binary, catalog=CATALOG)
    with running_worker(house):
        with house.face(house.issue("operator", TENANT)) as face:
            onboard(face, TENANT)
        yield house


@pytest.mark.long
async def test_usage_is_recorded_summed_up_and_held_against_its_limits(
    metered: House, agent: Agent
) -> None:
    operator: Token = metered.issue("operator", TENANT)
    viewer = metered.issue("viewer", TENANT, principal="vic", actor="vic-bot")
    stranger = metered.issue("operator", "globex", principal="eve", actor="eve-bot")
    async with (
        agent(metered, operator) as client,
        agent(metered, viewer) as looking,
        agent(metered, stranger) as outside,
    ):
        first = events("1", "2", quantity="4.25")
        told = await recorded(client, first)
        assert (told["outcome"], told["result"]["accepted"]) == ("done", 2)
        again = await recorded(client, [*first, *events("3", meter="unheard")])
        assert again["result"] == {
            "accepted": 0,
            "duplicates": 2,
            "rejected": 1,
            "rejections": [{"index": 2, "code": "meter_unknown"}],
        }
        page = (await call(looking, "usage_summary", tenant=TENANT))["result"]
        line = next(one for one in page["meters"] if one["meter"] == "api_calls")
        assert (line["total"], line["remaining"], line["status"]) == ("8.5", "1.5", "warned")

        asked = {"tenant": TENANT, "feature": "api_calls"}
        fits = (await call(looking, "entitlement_check", **asked, quantity="1.5"))["result"]
        assert (fits["status"], fits["code"]) == ("warned", "soft_limit_passed")
        assert fits["grace_ends_at"] is not None
        denied = (await call(looking, "entitlement_check", **asked, quantity=2))["result"]
        assert (denied["status"], denied["code"]) == ("denied", "hard_limit_reached")
        assert denied["lifted_by"] == ["change_plan", "next_period", "ask_for_less"]
        feature = {"tenant": TENANT, "feature": "sso"}
        assert (await call(looking, "entitlement_check", **feature))["result"][
            "status"
        ] == "allowed"

        names = {tool.name for tool in (await looking.list_tools()).tools}
        assert {"usage_summary", "entitlement_check"} <= names
        assert "usage_record" not in names
        for answered in (
            await call(outside, "usage_summary", tenant=TENANT),
            await call(outside, "entitlement_check", **feature),
            await recorded(outside, events("4")),
        ):
            assert answered["outcome"] == "not_found"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.sweep)])
def house(request: pytest.FixtureRequest, tmp_path: Path, cerbos_binary: Path) -> Iterator[House]:
    """The same on a workspace of this test's own, on each of the stores."""
    server = request.getfixturevalue("postgres") if request.param == "postgres" else None
    made = build_house(tmp_path / "house", cerbos_binary, postgres=server, catalog=CATALOG)
    with running_worker(made):
        with made.face(made.issue("operator", TENANT)) as face:
            onboard(face, TENANT)
        yield made
    if server is not None:
        raze(server, made.workspace.id)


@pytest.mark.long
async def test_two_faces_that_send_the_same_events_count_them_once(
    house: House, agent: Agent
) -> None:
    operator = house.issue("operator", TENANT)
    async with agent(house, operator) as one, agent(house, operator) as other:
        batches = [events(*(f"{batch}-{n}" for n in range(50)), quantity="0.001") for batch in "ab"]
        accepted = 0
        async with anyio.create_task_group() as group:

            async def send(client: Client) -> None:
                nonlocal accepted
                for batch in batches:
                    told = await recorded(client, batch)
                    while told["outcome"] == "failed" and told["retryable"]:
                        told = await recorded(client, batch)
                    accepted += told["result"]["accepted"]

            group.start_soon(send, one)
            group.start_soon(send, other)
        page = (await call(one, "usage_summary", tenant=TENANT))["result"]
        line = next(found for found in page["meters"] if found["meter"] == "api_calls")
        assert (accepted, line["total"]) == (100, "0.1")
