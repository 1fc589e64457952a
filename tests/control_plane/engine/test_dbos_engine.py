"""How the engine over DBOS meets planted rows, a changed library and its predecessors."""

from __future__ import annotations

import base64
import json
import logging
import os
import pickle
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from dbos import DBOS, DBOSClient
from dbos import _serialization as place
from sqlalchemy.schema import DropConstraint

from control_plane.engine.dbos_codec import JsonCodec
from control_plane.engine.dbos_database import SCHEMA, Place
from control_plane.engine.dbos_engine import DbosEngine
from control_plane.errors import BadInput, Unavailable
from tests.support.postgres import Postgres

pytestmark = pytest.mark.slice_of(2)

WAIT_S = 20.0
TICK_S = 0.02


def until(condition: Callable[[], bool], what: str) -> None:
    pause = threading.Event()
    for _ in range(int(WAIT_S / TICK_S)):
        if condition():
            return
        pause.wait(TICK_S)
    pytest.fail(f"{what}: not within {WAIT_S} s")


class Bench:
    """A database, the engines over it, and what their routines were called with."""

    def __init__(self, place: Place, owner: sa.URL) -> None:
        self.place = place
        self.calls: list[str] = []
        self._engines: list[DbosEngine] = []
        self.owner = sa.create_engine(owner)
        self.schema = None if isinstance(place, Path) else SCHEMA

    def note(self, job_id: str) -> str:
        self.calls.append(job_id)
        return "noted"

    def start(self, *, workers: int = 4) -> DbosEngine:
        number = len(self._engines)
        engine = DbosEngine(
            self.place, executor_id=f"executor-{number}", workers=workers, poll_s=0.05
        )
        self._engines.append(engine)
        engine.launch({"note": self.note})
        return engine

    def stop(self) -> None:
        for engine in self._engines:
            engine.stop(WAIT_S)
        self.owner.dispose()

    def table(self, name: str, *columns: str) -> sa.TableClause:
        clauses: list[sa.ColumnClause[Any]] = [sa.column(one) for one in columns]
        return sa.table(name, *clauses, schema=self.schema)

    def plant(self, table: str, **values: object) -> None:
        """Write a row past DBOS, as whoever owns the database could."""
        with self.owner.begin() as connection:
            connection.execute(self.table(table, *values).insert().values(**values))

    def count(self, table: str) -> int:
        with self.owner.connect() as connection:
            rows = sa.select(sa.func.count()).select_from(self.table(table))
            return int(connection.execute(rows).scalar_one())

    def unguard(self) -> None:
        """Take away the checks of the labels, as whoever owns the database could."""
        if self.schema is None:
            return
        with self.owner.begin() as connection:
            inspector = sa.inspect(connection)
            for name in inspector.get_table_names(schema=SCHEMA):
                for check in inspector.get_check_constraints(name, schema=SCHEMA):
                    if check["name"] == "paybill_label":
                        table = sa.Table(name, sa.MetaData(), schema=SCHEMA)
                        guard = sa.CheckConstraint("true", name=check["name"], table=table)
                        connection.execute(DropConstraint(guard))

    def plant_job(self, job_id: str, status: str, **values: object) -> None:
        row: dict[str, object] = {
            "workflow_uuid": job_id,
            "status": status,
            "name": "paybill.job",
            "queue_name": "jobs",
            "queue_partition_key": f"tenant-of-{job_id}",
            "application_version": "1",
            "application_name": "paybill",
            "executor_id": "dead",
            "serialization": "paybill_json",
        }
        self.plant("workflow_status", **(row | values))

    def plant_arguments(self, job_id: str, *arguments: str) -> None:
        text = json.dumps({"args": arguments, "kwargs": {}})
        self.plant("workflow_input", workflow_uuid=job_id, inputs=text)

    def plant_schedule(self, name: str, context: str) -> None:
        self.plant(
            "workflow_schedules",
            schedule_id=name,
            schedule_name=name,
            workflow_name="paybill.job",
            schedule="* * * * * *",
            context=context,
            queue_name="jobs",
            application_name="paybill",
            last_fired_at="2026-01-01T00:00:00+00:00",
        )


@pytest.fixture(params=["sqlite", "postgres"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        path = tmp_path / "an engine?#%.db"
        place: Place = path
        owner = sa.URL.create("sqlite", database=str(path))
        if request.param == "postgres":
            server: Postgres = request.getfixturevalue("postgres")
            owner = stack.enter_context(server.database())
            place = stack.enter_context(server.login(owner, "CREATE"))
        bench = Bench(place, owner)
        stack.callback(bench.stop)
        yield bench


class Evil:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._folder),)


def evil(folder: Path) -> str:
    return base64.b64encode(pickle.dumps(Evil(folder))).decode()


def plant_pickles(bench: Bench, evil: str) -> None:
    label = {"serialization": "py_pickle"}
    bench.plant_job("inputs", "ENQUEUED", **label)
    bench.plant("workflow_input", workflow_uuid="inputs", inputs=evil)
    bench.plant_job("old-inputs", "ENQUEUED", inputs=evil, **label)
    bench.plant_job("held-inputs", "PENDING", inputs=evil, **label)
    for job_id, column in (("step-output", "output"), ("step-error", "error")):
        bench.plant_job(job_id, "PENDING")
        bench.plant_arguments(job_id, "note", job_id)
        step: dict[str, object] = {"function_id": 1, "function_name": "routine", column: evil}
        bench.plant("operation_outputs", workflow_uuid=job_id, **step, **label)
    bench.plant_job("output", "SUCCESS", output=evil, **label)
    bench.plant("workflow_output", workflow_uuid="output", output=evil)
    bench.plant_job("error", "ERROR", error=evil, **label)
    bench.plant("workflow_output", workflow_uuid="error", error=evil)
    bench.plant("notifications", destination_uuid="output", topic="t", message=evil, **label)
    bench.plant("workflow_events", workflow_uuid="output", key="k", value=evil, **label)
    history: dict[str, object] = {"function_id": 1, "key": "k", "value": evil}
    bench.plant("workflow_events_history", workflow_uuid="output", **history, **label)
    stream: dict[str, object] = {"key": "k", "value": evil, "offset": 0}
    bench.plant("streams", workflow_uuid="output", **stream, **label)
    bench.plant_schedule("s", evil)


def read_everything(bench: Bench) -> None:
    """Call whatever of DBOS reads a stored value; that it raises is as good as that it does not."""
    client = DBOSClient(
        system_database_engine=bench.owner,
        dbos_system_schema=SCHEMA,
        serializer=JsonCodec(),  # type: ignore[arg-type]
    )
    jobs = ["inputs", "old-inputs", "held-inputs", "step-output", "step-error", "output", "error"]
    readers: list[Callable[[], object]] = [
        client.list_workflows,
        lambda: client.get_event("output", "k", timeout_seconds=0),
        lambda: list(client.read_stream("output", "k")),
        lambda: DBOS.get_all_events("output"),
    ]
    for job in jobs:
        readers.append(lambda job=job: client.list_workflow_steps(job))  # type: ignore[misc]
        readers.append(lambda job=job: client.retrieve_workflow(job).get_result())  # type: ignore[misc]
    try:
        for reader in readers:
            try:
                reader()
            except Exception:  # noqa: BLE001, S112
                continue
    finally:
        client.destroy()


# Where DBOS's scheduler looks for the first time behind the plant, its thread ends: we schedule nothing.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_planted_pickle_runs_nowhere_and_the_worker_goes_on(bench: Bench, tmp_path: Path) -> None:
    engine = bench.start()
    folder = tmp_path / "ran"
    bench.unguard()
    plant_pickles(bench, evil(folder))
    assert engine.recover() == 3
    planted = ["inputs", "old-inputs", "held-inputs", "step-output", "step-error"]
    until(lambda: all(engine.status(job) == "failed" for job in planted), "quarantine")
    assert (engine.status("output"), engine.status("error")) == ("done", "failed")
    read_everything(bench)
    # The partition of a planted row is free again.
    engine.enqueue("note", "job-1", "tenant-of-inputs")
    engine.enqueue("note", "job-2", "tenant-2")
    until(lambda: engine.status("job-1") == engine.status("job-2") == "done", "other jobs")
    assert sorted(bench.calls) == ["job-1", "job-2"]
    assert not folder.exists()


@pytest.mark.long
def test_rows_that_were_planted_while_no_worker_ran_do_no_harm(
    bench: Bench, tmp_path: Path
) -> None:
    bench.start().stop(0)
    folder = tmp_path / "ran"
    bench.unguard()
    plant_pickles(bench, evil(folder))
    engine = bench.start()
    engine.recover()
    engine.enqueue("note", "job-1", "tenant-of-inputs")
    until(lambda: engine.status("job-1") == "done", "another job of that partition")
    planted = ["inputs", "old-inputs", "held-inputs"]
    # Postgres lets none of them stand beside its checks; in a file they end as failed.
    expected = "failed" if bench.schema is None else "absent"
    until(lambda: all(engine.status(job) == expected for job in planted), expected)
    read_everything(bench)
    assert "job-1" in bench.calls
    assert not folder.exists()


@pytest.mark.long
def test_a_planted_schedule_is_gone_before_it_can_fire(bench: Bench) -> None:
    bench.start().stop(0)
    for name, context in (("bad", "no json"), ("good", "null")):
        bench.plant_schedule(name, context)
    engine = bench.start()
    assert bench.count("workflow_schedules") == 0
    engine.enqueue("note", "job-1", "tenant-1")
    until(lambda: engine.status("job-1") == "done", "done")
    assert bench.calls == ["job-1"]


def test_a_planted_row_cannot_speak_for_another_job(bench: Bench) -> None:
    engine = bench.start()
    bench.plant_job("planted", "ENQUEUED", executor_id=None)
    bench.plant_arguments("planted", "note", "job-1")
    bench.plant_job("planted-name", "ENQUEUED", executor_id=None)
    bench.plant_arguments("planted-name", "no-such-routine", "planted-name")
    until(lambda: engine.status("planted") == engine.status("planted-name") == "failed", "failed")
    assert bench.calls == []


def test_a_held_row_that_is_no_job_is_canceled_and_frees_its_partition(bench: Bench) -> None:
    bench.start().stop(0)
    bench.plant_job("alien", "PENDING", name="other", queue_partition_key="tenant-1")
    bench.plant_job("elsewhere", "PENDING", queue_name="_dbos_internal_queue")
    engine = bench.start()
    engine.enqueue("note", "job-1", "tenant-1")
    assert engine.recover() == 0
    until(lambda: engine.status("job-1") == "done", "done")
    assert (engine.status("alien"), engine.status("elsewhere")) == ("failed", "failed")
    assert bench.calls == ["job-1"]


@pytest.mark.long
def test_a_recovered_job_holds_its_partition_again(bench: Bench) -> None:
    bench.start().stop(0)
    leave, called = threading.Event(), threading.Event()

    def hold(_: str) -> str:
        called.set()
        assert leave.wait(WAIT_S)
        return "held"

    bench.plant_job("job-1", "PENDING", queue_partition_key="tenant-1")
    bench.plant_arguments("job-1", "hold", "job-1")
    engine = DbosEngine(bench.place, executor_id="successor", poll_s=0.05)
    engine.launch({"hold": hold, "note": bench.note})
    try:
        assert engine.recover() == 1
        assert called.wait(WAIT_S)
        engine.enqueue("note", "job-2", "tenant-1")
        engine.enqueue("note", "job-3", "tenant-2")
        until(lambda: engine.status("job-3") == "done", "another partition")
        assert (engine.status("job-1"), engine.status("job-2")) == ("working", "waiting")
        leave.set()
        until(lambda: engine.status("job-2") == "done", "the second")
    finally:
        leave.set()
        engine.stop(WAIT_S)


def test_more_jobs_than_one_listing_holds_are_all_recovered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.engine.dbos_engine._RECOVER_ROWS_MAX", 2)
    bench.start().stop(0)
    jobs = [f"job-{n}" for n in range(5)]
    for job in jobs:
        bench.plant_job(job, "PENDING")
        bench.plant_arguments(job, "note", job)
    engine = bench.start()
    assert engine.recover() == 5
    until(lambda: all(engine.status(job) == "done" for job in jobs), "done")
    assert sorted(bench.calls) == jobs


def test_the_text_of_an_exception_is_neither_stored_nor_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_: str) -> str:
        raise ValueError("hunter" + "2")

    engine = DbosEngine(tmp_path / "engine.db", executor_id="executor", poll_s=0.05)
    with caplog.at_level(logging.DEBUG):
        engine.launch({"fail": fail})
        try:
            engine.enqueue("fail", "job-1", "tenant-1")
            until(lambda: engine.status("job-1") == "failed", "failed")
        finally:
            engine.stop(WAIT_S)
    assert "ValueError at test_dbos_engine.py" in caplog.text
    assert "hunter2" not in caplog.text
    assert all(b"hunter2" not in file.read_bytes() for file in tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("bench", ["sqlite"], indirect=True)
def test_the_file_is_private_and_has_a_write_ahead_log(bench: Bench) -> None:
    bench.start()
    assert isinstance(bench.place, Path)
    assert stat.S_IMODE(bench.place.stat().st_mode) == 0o600
    with closing(sqlite3.connect(bench.place)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_fewer_workers_than_the_predecessor_had_hold_from_the_first_job(tmp_path: Path) -> None:
    at_work: list[str] = []
    leave = threading.Event()

    def hold(job_id: str) -> str:
        at_work.append(job_id)
        assert leave.wait(WAIT_S)
        return "held"

    wide = DbosEngine(tmp_path / "engine.db", executor_id="wide", workers=8, poll_s=5)
    wide.launch({"hold": hold})
    for number in range(4):
        wide.enqueue("hold", f"job-{number}", f"tenant-{number}")
    wide.stop(0)
    narrow = DbosEngine(tmp_path / "engine.db", executor_id="narrow", workers=1, poll_s=0.05)
    narrow.launch({"hold": hold})
    try:
        until(lambda: len(at_work) == 1, "one at work")
        waiting = [n for n in range(4) if narrow.status(f"job-{n}") == "waiting"]
        assert len(waiting) == 3
    finally:
        leave.set()
        narrow.stop(WAIT_S)


@pytest.mark.long
def test_one_process_has_one_engine_at_a_time(bench: Bench, tmp_path: Path) -> None:
    first = bench.start()
    other = DbosEngine(tmp_path / "other.db", executor_id="other")
    with pytest.raises(Unavailable):
        other.launch({})
    first.enqueue("note", "job-1", "tenant-1")
    until(lambda: first.status("job-1") == "done", "the first goes on")
    first.stop(WAIT_S)
    other.launch({})
    other.stop(0)


def test_a_dbos_that_cannot_be_kept_from_unpickling_is_not_launched(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as changed:
        changed.delattr(place.DefaultSerializer, "deserialize")
        with pytest.raises(Unavailable):
            bench.start()
        with bench.owner.connect() as connection:
            tables = sa.inspect(connection).get_table_names(schema=bench.schema)
        assert tables == []
    engine = bench.start()
    assert engine.status("job-1") == "absent"


def test_a_file_that_is_no_database_leaves_the_process_free(bench: Bench, tmp_path: Path) -> None:
    bad = tmp_path / "bad.db"
    bad.write_bytes(b"not a database at all" * 100)
    with pytest.raises(Unavailable):
        DbosEngine(bad, executor_id="executor").launch({})
    assert bench.start().status("job-1") == "absent"


def test_a_stopped_engine_leaves_no_thread(bench: Bench) -> None:
    before = set(threading.enumerate())
    engine = bench.start()
    engine.enqueue("note", "job-1", "tenant-1")
    until(lambda: engine.status("job-1") == "done", "done")
    engine.stop(WAIT_S)
    until(lambda: set(threading.enumerate()) <= before, "every thread ends")


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("workers", {"workers": 0}),
        ("workers", {"workers": 65}),
        ("poll_s", {"poll_s": 0.0}),
        ("poll_s", {"poll_s": 6.0}),
        ("executor_id", {"executor_id": " "}),
    ],
)
def test_a_setting_out_of_bounds_is_refused(
    tmp_path: Path, field: str, settings: dict[str, object]
) -> None:
    with pytest.raises(BadInput) as refusal:
        DbosEngine(tmp_path / "engine.db", **({"executor_id": "executor"} | settings))  # type: ignore[arg-type]
    assert refusal.value.field == field
