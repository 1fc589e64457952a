"""A policy engine that is dead, hangs or answers garbage: changing calls refuse in time, and have no effect."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from sqlalchemy import func, select

from control_plane.data.tables import collection_table
from control_plane.store import tables
from server.wiring import face_ports
from tests.support.agents import call
from tests.support.house import House, Token, build_house, fresh_key
from tests.support.onboarding import ask, contact, onboard, onboarding, park
from tests.support.waiting import until
from tests.support.workers import RunningWorker, running_worker

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]

GATE_DEADLINE_S = 1.0
# A machine that is busy with other tests may take longer than the promise, but not without bound.
ANSWER_S_MAX = 4 * GATE_DEADLINE_S
CALLS, SWEEP_CALLS = 20, 100
_AT_ONCE = 4


@dataclass(frozen=True)
class Scene:
    """A workspace with a tenant, a record and a run that waits; its token may do all that is asked."""

    house: House
    token: Token
    run_id: str

    def standing(self) -> tuple[dict[str, int], str, bool, int]:
        """Everything that a changing call could have changed, asked of no engine."""
        run = tables.run
        with self.house.store() as store, store.read() as connection:
            state, canceled = connection.execute(
                select(run.c.state, run.c.cancel_requested).where(run.c.id == self.run_id)
            ).one()
            ports = face_ports(self.house.workspace, self.house.settings, store)
        contacts = collection_table(ports.catalog.collections["contacts"])
        with ports.databases.main.reading("acme", "pooled") as connection:
            counted = connection.execute(select(func.count()).select_from(contacts)).scalar_one()
        return self.house.effects(), state, canceled, counted


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Scene:
    house = build_house(tmp_path_factory.mktemp("faults"), cerbos_binary)
    token = house.issue("operator,support", "acme,held,new")
    with running_worker(house), house.face(token) as face:
        onboard(face, "acme")
        run_id = park(face, "held")["run_id"]
        # Without this, "no record was added" could not fail.
        assert ask(face, "record_create", **changing(1, run_id)[1])["outcome"] == "done"
    scene = Scene(house, token, run_id)
    assert scene.standing()[1:] == ("awaiting_approval", False, 1)
    return scene


@pytest.fixture
def engine(scene: Scene) -> Iterator[RunningWorker]:
    """A worker that leaves a dead engine dead."""
    with running_worker(scene.house, "--unsupervised") as running:
        yield running


def changing(number: int, run_id: str) -> tuple[str, dict[str, Any]]:
    """The nth call: each changing tool in turn, each to be done if the engine allowed it."""
    calls = (
        ("tenant_onboard", onboarding("new")),
        (
            "record_create",
            {
                "tenant": "acme",
                "collection": "contacts",
                "values": contact(balance=number),
                "idempotency_key": fresh_key(),
            },
        ),
        ("run_cancel", {"run_id": run_id, "idempotency_key": fresh_key()}),
    )
    return calls[number % len(calls)]


async def refuses_every_change(client: Client, scene: Scene, count: int) -> None:
    """So many changing calls, some at once; each is refused in time, and nothing is left of any."""
    before = scene.standing()
    narrow = anyio.CapacityLimiter(_AT_ONCE)
    took_s: list[float] = []
    said: list[dict[str, Any]] = []

    async def one(tool: str, arguments: dict[str, Any]) -> None:
        async with narrow:
            began_s = time.monotonic()
            said.append(await call(client, tool, **arguments))
            took_s.append(time.monotonic() - began_s)

    async with anyio.create_task_group() as calls:
        for number in range(count):
            calls.start_soon(one, *changing(number, scene.run_id))

    codes = {(found["outcome"], found["code"]) for found in said}
    assert codes == {("refused", "policy_engine_unavailable")}
    assert len(said) == count
    assert max(took_s) < ANSWER_S_MAX
    assert scene.standing() == before


def kill(worker: RunningWorker) -> None:
    """No process, and a socket file that nobody listens on."""
    worker.kill_pdp()


def stop(worker: RunningWorker) -> None:
    """A process that holds its socket and never answers."""
    worker.signal_pdp(signal.SIGSTOP)


def unlink(worker: RunningWorker) -> None:
    """No process and no socket file."""
    worker.kill_pdp()
    Path(worker.state.socket).unlink(missing_ok=True)


FAULTS = {"killed": kill, "stopped": stop, "gone": unlink}


@contextmanager
def impostor(path: Path, answer: bytes) -> Generator[None]:
    """Listen in the engine's place, and answer every connection with some bytes, or with silence."""
    path.unlink(missing_ok=True)
    over = threading.Event()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(64)
        listening.settimeout(0.1)

        def serve() -> None:
            opened: list[socket.socket] = []
            while not over.is_set():
                try:
                    connection, _ = listening.accept()
                except TimeoutError:
                    continue
                opened.append(connection)
                if answer:
                    connection.sendall(answer)
            for connection in opened:
                connection.close()

        serving = threading.Thread(target=serve)
        serving.start()
        try:
            yield
        finally:
            over.set()
            serving.join()


# An empty SETTINGS frame is where an HTTP/2 server begins: the second lie is better than the first.
ANSWERS = {
    "silence": b"",
    "text": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "zeros": bytes(4096),
    "settings": b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + b"\xff" * 64,
}


@pytest.mark.parametrize("fault", ["killed", pytest.param("stopped", marks=pytest.mark.sweep)])
async def test_an_engine_that_is_gone_refuses_every_change_in_time(
    scene: Scene, engine: RunningWorker, agent: Agent, fault: str
) -> None:
    async with agent(scene.house, scene.token) as client:
        assert (await call(client, "whoami"))["outcome"] == "done"
        FAULTS[fault](engine)
        await refuses_every_change(client, scene, CALLS)


@pytest.mark.long
async def test_an_engine_that_lies_refuses_every_change_in_time(
    scene: Scene, engine: RunningWorker, agent: Agent
) -> None:
    path = Path(engine.state.socket)
    async with agent(scene.house, scene.token) as client:
        assert (await call(client, "whoami"))["outcome"] == "done"
        engine.kill_pdp()
        for answer in ANSWERS.values():
            with impostor(path, answer):
                await refuses_every_change(client, scene, CALLS // len(ANSWERS))


@pytest.mark.sweep
@pytest.mark.parametrize("fault", sorted(FAULTS))
async def test_a_hundred_changes_are_refused_without_an_engine(
    scene: Scene, engine: RunningWorker, agent: Agent, fault: str
) -> None:
    async with agent(scene.house, scene.token) as client:
        assert (await call(client, "whoami"))["outcome"] == "done"
        FAULTS[fault](engine)
        await refuses_every_change(client, scene, SWEEP_CALLS)


@pytest.mark.sweep
@pytest.mark.parametrize("answer", sorted(ANSWERS))
async def test_a_hundred_changes_are_refused_by_a_lying_engine(
    scene: Scene, engine: RunningWorker, agent: Agent, answer: str
) -> None:
    async with agent(scene.house, scene.token) as client:
        assert (await call(client, "whoami"))["outcome"] == "done"
        engine.kill_pdp()
        with impostor(Path(engine.state.socket), ANSWERS[answer]):
            await refuses_every_change(client, scene, SWEEP_CALLS)


@pytest.mark.long
def test_a_supervised_engine_comes_back_by_itself(scene: Scene) -> None:
    with running_worker(scene.house) as supervised, scene.house.face(scene.token) as face:
        assert ask(face, "whoami")["outcome"] == "done"
        supervised.kill_pdp()
        until(lambda: ask(face, "whoami")["outcome"] == "done", "the engine answers again")
