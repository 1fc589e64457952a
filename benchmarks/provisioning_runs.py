"""Tenants onboarded through a real face, worker, policy engine and Terraform: how long, and in how much memory. Prints nothing."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from control_plane.domain.isolation import ISOLATIONS, Isolation
from policies.binary import find_binary
from server.settings import read_settings
from server.wiring import Face
from server.worker_state import read_state
from tests.support.approver import approve, enrol
from tests.support.house import House, Token, build_house, fresh_name
from tests.support.onboarding import ask, follow, onboarding
from tests.support.waiting import until
from tests.support.workers import running_worker

_DEADLINE_S = 300.0
_SAMPLE_S = 0.02
_APPROVER = "alice"


@dataclass(frozen=True)
class Onboarded:
    """How some tenants were onboarded; of a silo, without the time in which a human was waited for."""

    what: str
    tenants: int
    median_ms: float
    slowest_ms: float
    wall_s: float
    worker_bytes: int
    terraform_bytes: int


@dataclass
class Memory:
    """The most that the worker, and the Terraforms that it runs, have held."""

    worker: psutil.Process
    worker_bytes: int = 0
    terraform_bytes: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watched(self) -> Generator[None]:
        """Watch while the block runs."""
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            self.worker_bytes = max(self.worker_bytes, self.worker.memory_info().rss)
            held = 0
            for child in self.worker.children(recursive=True):
                try:
                    held += child.memory_info().rss if "terraform" in child.name() else 0
                except psutil.NoSuchProcess:
                    continue
            self.terraform_bytes = max(self.terraform_bytes, held)


def onboardings(folder: Path, rounds: int, at_once: int) -> Iterator[Onboarded]:
    """Each isolation model one tenant after the other, then many pooled ones at once."""
    folder.mkdir(parents=True)
    settings = read_settings()
    engine = find_binary(
        setting=settings.cerbos_bin, environment={"PATH": settings.path}, cache_dir=settings.cache
    )
    house = build_house(folder, engine.path)
    with running_worker(house):
        enrol(house, _APPROVER)
        human = house.issue("approver", "*", principal=_APPROVER, actor=None)
        state = read_state(house.workspace.worker_json)
        assert state is not None, "the worker has said where it is"
        worker = psutil.Process(state.pid)
        for model in ISOLATIONS:
            with _faced(house, rounds) as (face, names):
                yield _one_by_one(house, face, human, worker, model, names)
        with _faced(house, at_once) as (face, names):
            yield _at_once(face, worker, names)


@contextmanager
def _faced(house: House, tenants: int) -> Generator[tuple[Face, list[str]]]:
    """A face for an operator of so many tenants, and their names."""
    names = [fresh_name("bench") for _ in range(tenants)]
    with house.face(house.issue("operator", ",".join(names))) as face:
        yield face, names


def _one_by_one(
    house: House,
    face: Face,
    human: Token,
    worker: psutil.Process,
    model: Isolation,
    names: list[str],
) -> Onboarded:
    memory = Memory(worker)
    with memory.watched():
        took = [_onboarded_ms(house, face, human, model, name) for name in names]
    return _told(f"{model}, one after the other", took, sum(took) / 1000, memory)


def _onboarded_ms(house: House, face: Face, human: Token, model: Isolation, name: str) -> float:
    begun = time.perf_counter()
    asked = onboarding(name, plan="team", isolation=model)
    run_id = ask(face, "tenant_onboard", **asked)["run_id"]
    run = follow(face, run_id, {"applied", "awaiting_approval"}, _DEADLINE_S)
    waited = 0.0
    if run["state"] == "awaiting_approval":
        paused = time.perf_counter()
        approve(house, human, run["approval_id"])
        waited = time.perf_counter() - paused
        until(lambda: _is_applied(face, run_id), "the run is applied", _DEADLINE_S)
    return (time.perf_counter() - begun - waited) * 1000


def _is_applied(face: Face, run_id: str) -> bool:
    return bool(ask(face, "run_get", run_id=run_id)["result"]["state"] == "applied")


def _at_once(face: Face, worker: psutil.Process, names: list[str]) -> Onboarded:
    memory, begun = Memory(worker), dict[str, float]()
    took: list[float] = []
    first = time.perf_counter()
    with memory.watched():
        for name in names:
            now = time.perf_counter()
            begun[ask(face, "tenant_onboard", **onboarding(name))["run_id"]] = now
        for run_id, then in begun.items():
            follow(face, run_id, {"applied"}, _DEADLINE_S)
            took.append((time.perf_counter() - then) * 1000)
    return _told("pooled, all at once", took, time.perf_counter() - first, memory)


def _told(what: str, took: list[float], wall_s: float, memory: Memory) -> Onboarded:
    return Onboarded(
        what,
        len(took),
        statistics.median(took),
        max(took),
        wall_s,
        memory.worker_bytes,
        memory.terraform_bytes,
    )
