"""Two faces, one store, one worker: many callers want the same names at once. Not a benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from mcp import Client
from sqlalchemy import select

from control_plane.ports import Store
from control_plane.store import tables
from server.workspace import StoreKind
from tests.conftest import MakeHouse
from tests.support.agents import call
from tests.support.house import House
from tests.support.onboarding import onboarding
from tests.support.waiting import until
from tests.support.workers import RunningWorker

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
StartWorker = Callable[..., RunningWorker]
Found = dict[str, Any]

NAMES = tuple(f"tenant-{number}" for number in range(20))
FEW = NAMES[:5]
LATER = tuple(f"later-{number}" for number in range(4))
SOME = LATER[:2]
CALLS_A_NAME = 10
ANSWER_S = 240.0
TRIES_MAX = 20
# As many as the worker takes at once: each hangs, and the others wait behind them.
HANGING = tuple(word for nth in range(1, 5) for word in ("--failpoints", f"run.taken:{nth}:hang"))


@dataclass(frozen=True)
class Proposal:
    """One call, with a key of its own, and the face that it is made at."""

    client: Client
    arguments: Mapping[str, Any]

    async def made(self) -> Found:
        """Its answer; made again as long as the answer says that this may help."""
        found: Found = {}
        for _ in range(TRIES_MAX):
            found = await call(self.client, "tenant_onboard", **self.arguments)
            if not (found["outcome"] == "failed" and found["retryable"]):
                return found
        pytest.fail(f"{TRIES_MAX} times: {found}")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.sweep)])
def house(request: pytest.FixtureRequest, workspace: MakeHouse) -> House:
    store: StoreKind = request.param
    return workspace(
        store=store, calls_in_flight_max="256", call_deadline_s="240", gate_deadline_s="20"
    )


def proposals(clients: Sequence[Client], names: Sequence[str]) -> list[Proposal]:
    """Each name as often at the one face as at the other, all names mixed."""
    return [
        Proposal(clients[number % len(clients)], onboarding(name))
        for number in range(CALLS_A_NAME)
        for name in names
    ]


async def at_once(asked: Sequence[Proposal]) -> list[Found]:
    """The answers, in the order of the calls; all of them are under way together."""
    answers: list[Found] = [{} for _ in asked]

    async def one(number: int) -> None:
        answers[number] = await asked[number].made()

    with anyio.fail_after(ANSWER_S):
        async with anyio.create_task_group() as calls:
            for number in range(len(asked)):
                calls.start_soon(one, number)
    return answers


@asynccontextmanager
async def opened(house: House) -> AsyncGenerator[Store]:
    """The store, opened once: to open it is to bring its tables up to date."""
    with house.store() as store:
        yield store


def standing(store: Store) -> dict[str, str]:
    """Each tenant and its state."""
    with store.read() as connection:
        rows = connection.execute(select(tables.tenant.c.id, tables.tenant.c.state)).all()
    return {row.id: row.state for row in rows}


def runs(store: Store) -> dict[str, tuple[str, str]]:
    """Each run, with its tenant and state."""
    with store.read() as connection:
        columns = (tables.run.c.id, tables.run.c.tenant, tables.run.c.state)
        rows = connection.execute(select(*columns)).all()
    return {row.id: (row.tenant, row.state) for row in rows}


def each_stands_once(store: Store, names: Sequence[str]) -> bool:
    """Whether these are the tenants, each active, and each made by one run."""
    applied = sorted(runs(store).values()) == sorted((name, "applied") for name in names)
    return applied and standing(store) == dict.fromkeys(names, "active")


@pytest.mark.long
@pytest.mark.parametrize(
    ("names", "later"),
    [
        pytest.param(FEW, SOME, id=f"{len(FEW)}"),
        pytest.param(NAMES, LATER, marks=pytest.mark.sweep, id=f"{len(NAMES)}"),
    ],
)
async def test_of_ten_calls_for_each_name_one_wins_and_the_others_are_told_by_whom(
    house: House, worker: StartWorker, agent: Agent, names: tuple[str, ...], later: tuple[str, ...]
) -> None:
    token = house.issue("operator", ",".join((*names, *later)))
    stuck = worker(house, *HANGING)
    async with (
        agent(house, token) as one,
        agent(house, token) as other,
        opened(house) as store,
    ):
        asked = proposals((one, other), names)
        answers = await at_once(asked)
        tally = Counter(found["outcome"] for found in answers)
        assert tally == {"running": len(names), "conflict": 9 * len(names)}, tally
        holders = {run: tenant for run, (tenant, _) in runs(store).items()}
        assert sorted(holders.values()) == sorted(names)
        told = [holders[found["run_id"]] for found in answers]
        assert told == [proposal.arguments["tenant"] for proposal in asked]

        stuck.kill()
        worker(house)
        until(lambda: each_stands_once(store, names), "each name stands once", 120.0)

        won = [
            proposal
            for proposal, found in zip(asked, answers, strict=True)
            if found["outcome"] == "running"
        ]
        again = await at_once(won)
        assert Counter(found["outcome"] for found in again) == {"done": len(names)}
        assert {found["run_id"] for found in again} == set(holders)

        await ask_a_worker_that_keeps_pace(proposals((one, other), later), len(later))
        until(lambda: each_stands_once(store, (*names, *later)), "every tenant stands", 120.0)


async def ask_a_worker_that_keeps_pace(asked: Sequence[Proposal], won: int) -> None:
    """A name that stands already by the time it is asked for is refused as one that is taken."""
    answers = await at_once(asked)
    ends = Counter((found["outcome"], found.get("code", "")) for found in answers)
    assert ends.pop(("running", "")) == won
    assert set(ends) <= {("conflict", "conflict"), ("refused", "tenant_exists")}
