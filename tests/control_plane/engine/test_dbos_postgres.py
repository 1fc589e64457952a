"""The engine's rows on Postgres: who may touch them, and a server that breaks down under them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, ProgrammingError

from control_plane.engine.dbos_database import SCHEMA
from control_plane.engine.dbos_engine import DbosEngine
from control_plane.errors import Unavailable
from tests.support.postgres import Postgres
from tests.support.waiting import until

WAIT_S = 60.0
LABELED = {
    "workflow_status",
    "operation_outputs",
    "notifications",
    "workflow_events",
    "workflow_events_history",
    "streams",
}


class Bench:
    """A database, its owner, the worker's login, and what the routines were called with."""

    def __init__(self, server: Postgres, owner: sa.URL, worker: sa.URL) -> None:
        self.server = server
        self.owner = owner
        self.worker = worker
        self.calls: list[str] = []
        self.leave = threading.Event()

    def note(self, job_id: str) -> str:
        self.calls.append(job_id)
        return "noted"

    def hold(self, job_id: str) -> str:
        self.calls.append(job_id)
        assert self.leave.wait(WAIT_S)
        return "held"

    @contextmanager
    def engine(self, name: str = "executor") -> Generator[DbosEngine]:
        engine = DbosEngine(self.worker, executor_id=name, poll_s=0.05)
        engine.launch({"note": self.note, "hold": self.hold})
        try:
            yield engine
        finally:
            self.leave.set()
            engine.stop(WAIT_S)

    def run(self, url: sa.URL, *statements: str) -> None:
        """Run statements of the test's own, in one transaction."""
        engine = sa.create_engine(url)
        try:
            with engine.begin() as connection:
                for statement in statements:
                    connection.execute(sa.text(statement))
        finally:
            engine.dispose()

    def tables(self) -> list[str]:
        engine = sa.create_engine(self.owner)
        try:
            return sa.inspect(engine).get_table_names(schema=SCHEMA)
        finally:
            engine.dispose()


@pytest.fixture
def bench(postgres: Postgres) -> Iterator[Bench]:
    with postgres.database() as owner, postgres.login(owner, "CREATE") as worker:
        yield Bench(postgres, owner, worker)


def test_another_login_of_the_database_can_neither_read_nor_write_nor_call(bench: Bench) -> None:
    with bench.engine(), bench.server.login(bench.owner, "CONNECT", "CREATE") as face:
        tables = bench.tables()
        assert tables
        refused = [
            f"CREATE TABLE {SCHEMA}.mine (a int)",
            f"SELECT {SCHEMA}.enqueue_workflow('paybill.job', 'jobs')",
        ]
        for table in tables:
            refused += [f"TABLE {SCHEMA}.{table}", f"TRUNCATE {SCHEMA}.{table}"]
        for statement in refused:
            with pytest.raises(ProgrammingError, match="permission denied"):
                bench.run(face, statement)


def test_no_label_but_ours_can_be_written_not_even_by_the_worker(bench: Bench) -> None:
    with bench.engine():
        engine = sa.create_engine(bench.worker)
        try:
            inspector = sa.inspect(engine)
            labeled = {
                table
                for table in inspector.get_table_names(schema=SCHEMA)
                if "serialization" in {c["name"] for c in inspector.get_columns(table, SCHEMA)}
            }
            assert labeled == LABELED
            guarded = {
                table: str(check["sqltext"])
                for table in labeled
                for check in inspector.get_check_constraints(table, SCHEMA)
                if check["name"] == "paybill_label"
            }
        finally:
            engine.dispose()
        assert guarded.keys() == LABELED
        assert all("paybill_json" in rule for rule in guarded.values())
        with pytest.raises(IntegrityError, match="paybill_label"):
            bench.run(
                bench.worker,
                f"SET search_path = {SCHEMA}",
                "INSERT INTO workflow_status (workflow_uuid, status, serialization)"
                " VALUES ('planted', 'ENQUEUED', 'py_pickle')",
            )


def test_a_schema_that_another_login_made_first_is_not_used(bench: Bench) -> None:
    with bench.server.login(bench.owner, "CREATE") as other:
        bench.run(other, f"CREATE SCHEMA {SCHEMA}")
        with pytest.raises(Unavailable) as refusal, bench.engine():
            pytest.fail("it was launched")
    assert refusal.value.code == "engine_schema_shared"


def test_a_schema_that_others_were_let_into_is_not_used(bench: Bench) -> None:
    with bench.engine():
        pass
    bench.run(bench.owner, f"GRANT USAGE ON SCHEMA {SCHEMA} TO PUBLIC")
    with pytest.raises(Unavailable) as refusal, bench.engine("next"):
        pytest.fail("it was launched")
    assert refusal.value.code == "engine_schema_shared"


def test_a_login_that_is_not_let_in_is_told_without_its_password(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    password = "hunter" + "2"
    engine = DbosEngine(bench.worker.set(password=password), executor_id="executor")
    with caplog.at_level(logging.DEBUG), pytest.raises(Unavailable) as refusal:
        engine.launch({})
    assert password not in caplog.text + str(refusal.value)


@pytest.mark.long
def test_jobs_go_on_after_the_server_broke_down_and_none_is_called_twice(bench: Bench) -> None:
    with bench.engine() as engine:
        engine.enqueue("hold", "held", "tenant-0")
        until(lambda: bench.calls == ["held"], "the first is called")
        for number in range(6):
            engine.enqueue("note", f"before-{number}", "tenant-0")
        with bench.server.down():
            for call in (
                lambda: engine.enqueue("note", "missed", "tenant-1"),
                lambda: engine.status("held"),
                engine.recover,
            ):
                with pytest.raises(Unavailable):
                    call()
            # It ends while there is nowhere to write that down.
            bench.leave.set()
        until(lambda: _done(engine, "held"), "the job whose end could not be written", WAIT_S)
        engine.enqueue("note", "after", "tenant-2")
        last = ["after", *(f"before-{number}" for number in range(6))]
        until(lambda: all(_done(engine, job) for job in last), "the others", WAIT_S)
        assert engine.status("missed") == "absent"
    assert sorted(bench.calls) == sorted(["held", *last])


def _done(engine: DbosEngine, job: str) -> bool:
    try:
        return engine.status(job) == "done"
    except Unavailable:
        return False


@pytest.mark.long
def test_a_job_whose_claim_was_lost_with_its_connection_is_queued_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.engine.dbos_engine._LOST_S", 0.3)
    with bench.engine() as engine:
        engine.enqueue("hold", "job-1", "tenant-1")
        engine.enqueue("note", "job-2", "tenant-1")
        until(lambda: bench.calls == ["job-1"], "the first is called")
        # As a claim leaves it whose commit was never answered.
        bench.run(
            bench.owner,
            f"SET search_path = {SCHEMA}",
            "UPDATE workflow_status SET status = 'PENDING', executor_id = 'executor',"
            " queue_partition_key = 'tenant-2' WHERE workflow_uuid = 'job-2'",
        )
        assert engine.recover() == 0
        found = until(lambda: engine.recover() or None, "the claim is seen to be lost", WAIT_S)
        assert found == 1
        until(lambda: _done(engine, "job-2"), "the second", WAIT_S)
        assert engine.status("job-1") == "working"
        bench.leave.set()
        until(lambda: _done(engine, "job-1"), "the first", WAIT_S)
    assert bench.calls == ["job-1", "job-2"]
