"""What integration tests share: workspaces, workers, tokens and clients, each ended with its test."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path
from typing import Protocol

import platformdirs
import pytest
from mcp import Client

from policies.binary import find_binary
from server.initialise import ApprovalRule
from server.workspace import StoreKind
from tests.support.agents import connected
from tests.support.house import House, Token, build_house
from tests.support.onboarding import onboard
from tests.support.postgres import Postgres, raze, running_postgres
from tests.support.slices import leave_one, slice_items
from tests.support.spread import Spread, in_order
from tests.support.workers import RunningWorker, running_worker, stop_stray_worker

SHARED_TENANTS = ("acme", "globex")


class MakeHouse(Protocol):
    """Initialises a workspace in the test's folder, its rows in files or on this test's server."""

    def __call__(
        self, rule: ApprovalRule = "own_hand", *, store: StoreKind = "sqlite", **limits: str
    ) -> House: ...


# Before the markers are looked at by the options that choose among tests; and after all of that.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    slice_items(items)
    leave_one(items)
    yield
    if hasattr(config, "workerinput"):
        items[:] = in_order(items)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    # Every module and test stays to the end: no later search for garbage need walk them all again.
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    return Spread(config, log)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def cerbos_binary() -> Path:
    """The policy engine as a clean machine gets it: setting, PATH, the user's cache, or fetched."""
    setting = os.environ.get("PAYBILL_CERBOS_BIN")
    found = find_binary(
        setting=Path(setting) if setting else None,
        environment=os.environ,
        cache_dir=platformdirs.user_cache_path("paybill"),
    )
    return found.path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real Postgres server of this test process."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def workspace(
    tmp_path: Path, cerbos_binary: Path, request: pytest.FixtureRequest
) -> Iterator[MakeHouse]:
    """A factory of workspaces of this test's own; a worker that a face started ends with it."""
    made: list[House] = []

    def make(
        rule: ApprovalRule = "own_hand", *, store: StoreKind = "sqlite", **limits: str
    ) -> House:
        folder = tmp_path / f"house-{len(made)}"
        server = request.getfixturevalue("postgres") if store == "postgres" else None
        house = build_house(folder, cerbos_binary, rule, limits, server)
        made.append(house)
        return house

    yield make
    for house in made:
        stop_stray_worker(house)
        if house.workspace.store == "postgres":
            raze(request.getfixturevalue("postgres"), house.workspace.id)


@pytest.fixture
def worker() -> Iterator[Callable[..., RunningWorker]]:
    """`worker(house, *options)` starts a worker and waits for its state; stopped with the test."""
    with ExitStack() as stack:

        def start(house: House, *options: str) -> RunningWorker:
            return stack.enter_context(running_worker(house, *options))

        yield start


@pytest.fixture
def agent() -> Callable[..., AbstractAsyncContextManager[Client]]:
    """`agent(house, token, *options, mode="auto")`: a client over a stdio child of its own."""
    return connected


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Iterator[House]:
    """One workspace with a worker, for tests that leave both as they were; two tenants stand."""
    house = build_house(tmp_path_factory.mktemp("shared"), cerbos_binary)
    with running_worker(house):
        token = house.issue("operator", ",".join(SHARED_TENANTS), actor="founder")
        with house.face(token) as face:
            for tenant in SHARED_TENANTS:
                onboard(face, tenant)
        yield house


@pytest.fixture
def issue(shared: House) -> Callable[..., Token]:
    """`issue(roles, tenants, principal=, actor=, ttl=)`: a token of the shared workspace."""
    return shared.issue
