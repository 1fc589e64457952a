"""The contract of the job engine port, over every adapter. Not the ways in which one can break."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from control_plane.engine.dbos_database import Place
from control_plane.engine.dbos_engine import DbosEngine
from control_plane.engine.memory import InlineEngine, InlineJobs
from control_plane.engine.port import JobEngine, Routine
from control_plane.errors import BadInput, Unavailable
from tests.support.postgres import Postgres

pytestmark = pytest.mark.slice_of(2)

WAIT_S = 15.0
TICK_S = 0.01

Make = Callable[..., JobEngine]


def until(condition: Callable[[], bool], what: str) -> None:
    pause = threading.Event()
    for _ in range(int(WAIT_S / TICK_S)):
        if condition():
            return
        pause.wait(TICK_S)
    pytest.fail(f"{what}: not within {WAIT_S} s")


def launch(engine: JobEngine, routines: Mapping[str, Routine]) -> None:
    """Launch as soon as the process is free of a predecessor whose last routine is ending."""

    def launched() -> bool:
        try:
            engine.launch(routines)
        except Unavailable:
            return False
        return True

    until(launched, "launch")


class Bench:
    """A routine that reports each call, waits for leave, and remembers what overlapped."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self.leave = threading.Event()

    def hold(self, job_id: str) -> str:
        with self._lock:
            self.calls.append(job_id)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            assert self.leave.wait(WAIT_S), "nobody gave leave"
        finally:
            with self._lock:
                self._at_once -= 1
        return "held"

    def note(self, job_id: str) -> str:
        with self._lock:
            self.calls.append(job_id)
        return "noted"

    def fail(self, job_id: str) -> str:
        with self._lock:
            self.calls.append(job_id)
        raise ValueError(job_id)

    @property
    def routines(self) -> dict[str, Routine]:
        return {"hold": self.hold, "note": self.note, "fail": self.fail}


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.leave.set()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path, bench: Bench) -> Iterator[Make]:
    """Make engines over one set of jobs, each the successor of the one before."""
    if request.param != "postgres":
        yield from make_over(tmp_path / "engine.db", bench, inline=request.param == "memory")
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database() as url, server.login(url, "CREATE") as worker:
        yield from make_over(worker, bench)


def make_over(place: Place, bench: Bench, *, inline: bool = False) -> Iterator[Make]:
    made: list[JobEngine] = []
    jobs = InlineJobs()
    numbers = itertools.count()

    def in_memory(workers: int = 4) -> JobEngine:
        made.append(InlineEngine(workers=workers, jobs=jobs))
        return made[-1]

    def dbos(workers: int = 4) -> JobEngine:
        name = f"executor-{next(numbers)}"
        made.append(DbosEngine(place, executor_id=name, workers=workers, poll_s=0.05))
        return made[-1]

    yield in_memory if inline else dbos
    bench.leave.set()
    for engine in made:
        engine.stop(WAIT_S)


@pytest.fixture
def engine(make: Make, bench: Bench) -> JobEngine:
    engine = make()
    launch(engine, bench.routines)
    return engine


def test_a_job_is_called_with_its_id_and_ends_done(engine: JobEngine, bench: Bench) -> None:
    engine.enqueue("note", "job-1", "tenant-1")
    until(lambda: engine.status("job-1") == "done", "done")
    assert bench.calls == ["job-1"]


def test_a_job_that_was_never_queued_is_absent(engine: JobEngine) -> None:
    assert engine.status("job-1") == "absent"


def test_the_same_id_twice_is_called_once(engine: JobEngine, bench: Bench) -> None:
    bench.leave.set()
    for _ in range(3):
        engine.enqueue("hold", "job-1", "tenant-1")
    until(lambda: engine.status("job-1") == "done", "done")
    engine.enqueue("hold", "job-1", "tenant-1")
    engine.enqueue("note", "job-2", "tenant-1")
    until(lambda: engine.status("job-2") == "done", "the next of its partition")
    assert bench.calls == ["job-1", "job-2"]


def test_the_same_id_from_many_threads_is_called_once(engine: JobEngine, bench: Bench) -> None:
    threads = [
        threading.Thread(target=engine.enqueue, args=("note", "job-1", "tenant-1"))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    engine.enqueue("note", "job-2", "tenant-1")
    until(lambda: engine.status("job-2") == "done", "the next of its partition")
    assert bench.calls == ["job-1", "job-2"]


def test_an_exception_ends_the_job_failed_and_frees_the_partition(
    engine: JobEngine, bench: Bench
) -> None:
    engine.enqueue("fail", "job-1", "tenant-1")
    engine.enqueue("note", "job-2", "tenant-1")
    until(lambda: engine.status("job-2") == "done", "the next of its partition")
    assert engine.status("job-1") == "failed"
    assert bench.calls == ["job-1", "job-2"]


def test_an_exit_raised_in_a_routine_ends_the_job_failed(make: Make) -> None:
    def leave(_: str) -> str:
        raise SystemExit(3)

    engine = make()
    launch(engine, {"leave": leave})
    engine.enqueue("leave", "job-1", "tenant-1")
    until(lambda: engine.status("job-1") == "failed", "failed")


def test_a_routine_that_returns_no_short_word_ends_failed(make: Make) -> None:
    engine = make()
    launch(engine, {"long": lambda _: "x" * 65, "short": lambda _: "x" * 64})
    engine.enqueue("long", "job-1", "tenant-1")
    engine.enqueue("short", "job-2", "tenant-1")
    until(lambda: engine.status("job-2") == "done", "done")
    assert engine.status("job-1") == "failed"


def test_a_job_waits_while_another_of_its_partition_works(engine: JobEngine, bench: Bench) -> None:
    engine.enqueue("hold", "job-1", "tenant-1")
    until(lambda: bench.calls == ["job-1"], "the first is called")
    engine.enqueue("note", "job-2", "tenant-1")
    engine.enqueue("note", "job-3", "tenant-2")
    until(lambda: engine.status("job-3") == "done", "another partition goes on")
    assert (engine.status("job-1"), engine.status("job-2")) == ("working", "waiting")
    bench.leave.set()
    until(lambda: engine.status("job-2") == "done", "the second")
    assert bench.calls == ["job-1", "job-3", "job-2"]


def test_a_partition_never_has_two_at_work_and_keeps_their_order(make: Make, bench: Bench) -> None:
    engine = make(workers=4)
    launch(engine, bench.routines)
    bench.leave.set()
    ids = [f"job-{n}" for n in range(8)]
    for job_id in ids:
        engine.enqueue("hold", job_id, "tenant-1")
    until(lambda: engine.status(ids[-1]) == "done", "the last")
    assert bench.calls == ids
    assert bench.most_at_once == 1


def test_partitions_work_at_once_up_to_the_number_of_workers(make: Make, bench: Bench) -> None:
    engine = make(workers=2)
    launch(engine, bench.routines)
    ids = [f"job-{n}" for n in range(5)]
    for n, job_id in enumerate(ids):
        engine.enqueue("hold", job_id, f"tenant-{n}")
    until(lambda: len(bench.calls) == 2, "two at work")
    bench.leave.set()
    until(lambda: all(engine.status(job_id) == "done" for job_id in ids), "all")
    assert bench.most_at_once == 2


def test_a_routine_may_queue_the_next_job(make: Make, bench: Bench) -> None:
    engine = make()

    def first(job_id: str) -> str:
        engine.enqueue("note", f"{job_id}-next", "tenant-1")
        return "queued"

    launch(engine, {**bench.routines, "first": first})
    engine.enqueue("first", "job-1", "tenant-1")
    until(lambda: engine.status("job-1-next") == "done", "the next")
    assert engine.status("job-1") == "done"


@pytest.mark.parametrize(
    ("name", "job_id", "partition", "field"),
    [
        ("nobody", "job-1", "tenant-1", "name"),
        ("note", "", "tenant-1", "job_id"),
        ("note", "x" * 201, "tenant-1", "job_id"),
        ("note", "job-1", "  ", "partition"),
    ],
)
def test_a_job_that_cannot_be_queued_is_refused(
    engine: JobEngine, name: str, job_id: str, partition: str, field: str
) -> None:
    with pytest.raises(BadInput) as refusal:
        engine.enqueue(name, job_id, partition)
    assert refusal.value.field == field
    assert engine.status("job-1") == "absent"


def test_a_canceled_job_that_waited_is_never_called(engine: JobEngine, bench: Bench) -> None:
    engine.enqueue("hold", "job-1", "tenant-1")
    until(lambda: bench.calls == ["job-1"], "the first is called")
    engine.enqueue("note", "job-2", "tenant-1")
    engine.enqueue("note", "job-3", "tenant-1")
    engine.cancel("job-2")
    assert engine.status("job-2") == "failed"
    bench.leave.set()
    until(lambda: engine.status("job-3") == "done", "the third")
    assert bench.calls == ["job-1", "job-3"]


def test_a_working_job_is_not_canceled_and_keeps_its_partition(
    engine: JobEngine, bench: Bench
) -> None:
    engine.enqueue("hold", "job-1", "tenant-1")
    until(lambda: bench.calls == ["job-1"], "the first is called")
    engine.enqueue("note", "job-2", "tenant-1")
    engine.cancel("job-1")
    engine.enqueue("note", "job-3", "tenant-2")
    until(lambda: engine.status("job-3") == "done", "another partition")
    assert (engine.status("job-1"), engine.status("job-2")) == ("working", "waiting")
    bench.leave.set()
    until(lambda: engine.status("job-2") == "done", "the second")
    assert engine.status("job-1") == "done"


def test_canceling_what_is_absent_or_has_ended_changes_nothing(engine: JobEngine) -> None:
    engine.cancel("job-1")
    assert engine.status("job-1") == "absent"
    engine.enqueue("note", "job-1", "tenant-1")
    until(lambda: engine.status("job-1") == "done", "done")
    engine.cancel("job-1")
    assert engine.status("job-1") == "done"


def test_stop_waits_for_a_routine_at_work_and_calls_nothing_more(
    make: Make, engine: JobEngine, bench: Bench
) -> None:
    engine.enqueue("hold", "job-1", "tenant-1")
    engine.enqueue("note", "job-2", "tenant-1")
    until(lambda: bench.calls == ["job-1"], "the first is called")
    timer = threading.Timer(0.3, bench.leave.set)
    timer.start()
    engine.stop(WAIT_S)
    timer.join()
    assert bench.calls == ["job-1"]
    successor = make()
    launch(successor, bench.routines)
    assert successor.status("job-1") == "done"
    successor.recover()
    until(lambda: successor.status("job-2") == "done", "the second")
    assert bench.calls == ["job-1", "job-2"]


def test_a_routine_left_at_work_by_stop_is_called_again_by_the_successor(
    make: Make, engine: JobEngine, bench: Bench
) -> None:
    engine.enqueue("hold", "job-1", "tenant-1")
    engine.enqueue("note", "job-2", "tenant-1")
    until(lambda: bench.calls == ["job-1"], "the first is called")
    engine.stop(0.05)
    bench.leave.set()
    successor = make()
    launch(successor, bench.routines)
    assert successor.status("job-1") == "working"
    assert successor.status("job-2") == "waiting"
    assert successor.recover() == 1
    until(lambda: successor.status("job-2") == "done", "the second")
    assert successor.status("job-1") == "done"
    assert bench.calls == ["job-1", "job-1", "job-2"]


def test_recovering_leaves_ones_own_jobs_alone(engine: JobEngine, bench: Bench) -> None:
    engine.enqueue("hold", "job-1", "tenant-1")
    until(lambda: bench.calls == ["job-1"], "the first is called")
    assert engine.recover() == 0
    bench.leave.set()
    until(lambda: engine.status("job-1") == "done", "done")
    assert bench.calls == ["job-1"]


def test_an_engine_that_does_not_run_is_unavailable(make: Make, bench: Bench) -> None:
    engine = make()
    engine.stop(0)
    calls: list[Callable[[], object]] = [
        lambda: engine.enqueue("note", "job-1", "tenant-1"),
        lambda: engine.status("job-1"),
        lambda: engine.cancel("job-1"),
        engine.recover,
    ]
    for call in calls:
        with pytest.raises(Unavailable):
            call()
    launch(engine, bench.routines)
    with pytest.raises(Unavailable):
        engine.launch(bench.routines)
    assert engine.status("job-1") == "absent"
    engine.stop(1)
    engine.stop(1)
    for call in calls:
        with pytest.raises(Unavailable):
            call()
