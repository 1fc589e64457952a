"""One worker on a store, whichever machine it is on: real sessions, real kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from control_plane.engine.dbos_engine import DbosEngine
from control_plane.errors import Unavailable
from control_plane.store.claim import WorkerClaim
from tests.support.postgres import Postgres
from tests.support.waiting import until

ROOT = Path(__file__).parents[3]
WAIT_S = 60.0
WORKER = """
import sys, threading
from pathlib import Path
from sqlalchemy import make_url
from control_plane.engine.dbos_engine import DbosEngine
from control_plane.store.claim import WorkerClaim

folder, name = Path(sys.argv[1]), sys.argv[2]
url = make_url((folder / "url").read_text())
pause = threading.Event()

def say(word):
    with (folder / "said").open("a") as said:
        said.write(f"{name} {word}\\n")

def work(job_id):
    say(job_id)
    if (folder / "hold").exists():
        pause.wait(60)
    return "worked"

claim = WorkerClaim(url)
if not claim.take():
    say("waits")
    while not claim.take():
        pause.wait(0.05)
engine = DbosEngine(url, executor_id=name, poll_s=0.05)
engine.launch({"work": work})
if name == "first":
    for job_id in ("job-1", "job-2"):
        engine.enqueue("work", job_id, "tenant-1")
else:
    say(f"recovers {engine.recover()}")
for _ in range(1200):
    if not claim.holds() or engine.status("job-2") == "done":
        break
    pause.wait(0.05)
engine.stop(0 if name == "first" else 5)
"""


@pytest.fixture
def url(postgres: Postgres) -> Iterator[sa.URL]:
    with postgres.database() as owner, postgres.login(owner, "CREATE") as worker:
        yield worker


@contextmanager
def claim_of(url: sa.URL) -> Generator[WorkerClaim]:
    claim = WorkerClaim(url)
    try:
        yield claim
    finally:
        claim.release()


def test_a_claim_is_one_workers_until_it_gives_it_up(url: sa.URL) -> None:
    with claim_of(url) as first, claim_of(url) as second:
        assert not first.holds()
        assert first.take()
        assert not second.take()
        assert (first.holds(), second.holds()) == (True, False)
        first.release()
        first.release()
        assert not first.holds()
        assert second.take()
        assert second.holds()


def test_another_store_of_the_same_server_is_claimed_for_itself(
    url: sa.URL, postgres: Postgres
) -> None:
    with postgres.database() as other, claim_of(url) as first, claim_of(other) as second:
        assert first.take()
        assert second.take()
        assert first.holds()


def test_a_session_that_the_server_ends_loses_the_claim_for_good(
    url: sa.URL, postgres: Postgres
) -> None:
    with claim_of(url) as first, claim_of(url) as second:
        assert first.take()
        owner = sa.create_engine(postgres.owner.set(database=url.database))
        with owner.begin() as connection:
            connection.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'paybill-claim'"
                )
            )
        owner.dispose()
        assert not first.holds()
        until(second.take, "the claim is free")
        assert not first.holds()
        assert second.holds()


def test_a_server_that_broke_down_has_forgotten_the_claim(url: sa.URL, postgres: Postgres) -> None:
    with claim_of(url) as first, claim_of(url) as second:
        assert first.take()
        with postgres.down():
            assert not first.holds()
            with pytest.raises(Unavailable) as refusal:
                second.take()
            assert str(url.password) not in str(refusal.value)
        assert second.take()
        assert not first.holds()


@contextmanager
def spawned(folder: Path, name: str) -> Generator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, str(folder / "worker.py"), str(folder), name],
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


@pytest.fixture
def folder(tmp_path: Path, url: sa.URL) -> Path:
    (tmp_path / "url").write_text(url.render_as_string(hide_password=False))
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "hold").touch()
    (tmp_path / "said").touch()
    return tmp_path


def test_of_two_workers_one_works_and_the_other_takes_over_when_it_is_killed(
    folder: Path, url: sa.URL
) -> None:
    said = folder / "said"
    with spawned(folder, "first") as first:
        until(lambda: "first job-1\n" in said.read_text(), "the first works", WAIT_S)
        with spawned(folder, "second") as second:
            until(lambda: "second waits\n" in said.read_text(), "the second waits", WAIT_S)
            # One that only stands still is not dead: its session lives.
            first.send_signal(signal.SIGSTOP)
            with claim_of(url) as third:
                assert not third.take()
            (folder / "hold").unlink()
            first.kill()
            assert second.wait(WAIT_S) == 0
    assert said.read_text().splitlines() == [
        "first job-1",
        "second waits",
        "second recovers 1",
        "second job-1",
        "second job-2",
    ]


@pytest.mark.long
def test_a_worker_whose_session_is_lost_takes_no_more_jobs_and_ends(
    folder: Path, url: sa.URL, postgres: Postgres
) -> None:
    said = folder / "said"
    seen: list[str] = []

    def work(job_id: str) -> str:
        seen.append(job_id)
        return "worked"

    with spawned(folder, "first") as first:
        until(lambda: "first job-1\n" in said.read_text(), "the first works", WAIT_S)
        (folder / "hold").unlink()
        first.send_signal(signal.SIGSTOP)
        with postgres.down():
            first.send_signal(signal.SIGCONT)
        with claim_of(url) as second:
            until(second.take, "the claim is free", WAIT_S)
            engine = DbosEngine(url, executor_id="here", poll_s=0.05)
            engine.launch({"work": work})

            def done() -> bool:
                # As a worker's clock does: the first may still have taken a job up while it ended.
                engine.recover()
                return engine.status("job-2") == "done"

            try:
                until(done, "the jobs are done", WAIT_S)
            finally:
                engine.stop(10)
        assert said.read_text().splitlines() == ["first job-1"]
    assert seen == ["job-1", "job-2"]
