"""A worker that is killed with a routine at work, and the one that comes after it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.postgres import Postgres

ROOT = Path(__file__).parents[3]
WAIT_S = 20.0
TICK_S = 0.02


def until(condition: Callable[[], bool], what: str) -> None:
    pause = threading.Event()
    for _ in range(int(WAIT_S / TICK_S)):
        if condition():
            return
        pause.wait(TICK_S)
    pytest.fail(f"{what}: not within {WAIT_S} s")


WORKER = """
import sys, threading
from pathlib import Path
from sqlalchemy import make_url
from control_plane.engine.dbos_engine import DbosEngine

folder, name = Path(sys.argv[1]), sys.argv[2]
pause = threading.Event()

def work(job_id):
    with (folder / "calls").open("a") as calls:
        calls.write(f"{name} {job_id}\\n")
    if (folder / "hold").exists():
        pause.wait(60)
    return "worked"

place, url = folder / "engine.db", folder / "url"
if url.exists():
    place = make_url(url.read_text())
engine = DbosEngine(place, executor_id=name, poll_s=0.05)
engine.launch({"work": work})
if name == "first":
    for job_id in ("job-1", "job-2"):
        engine.enqueue("work", job_id, "tenant-1")
    pause.wait(60)
recovered = engine.recover()
for _ in range(400):
    if engine.status("job-2") == "done":
        break
    pause.wait(0.05)
(folder / "end").write_text(f"{recovered} {engine.status('job-1')} {engine.status('job-2')}")
engine.stop(5)
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.sweep)])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where the workers work; with the engine's URL in it where that is no file."""
    if request.param == "sqlite":
        yield tmp_path
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database() as owner, server.login(owner, "CREATE") as worker:
        (tmp_path / "url").write_text(worker.render_as_string(hide_password=False))
        yield tmp_path


@pytest.mark.long
def test_a_killed_workers_job_is_called_again_by_the_next_worker(folder: Path) -> None:
    (folder / "hold").touch()
    script, calls = folder / "worker.py", folder / "calls"
    script.write_text(WORKER)

    def spawn(name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, str(script), str(folder), name],
            env={"PATH": os.defpath, "PYTHONPATH": str(ROOT)},
        )

    first = spawn("first")
    try:
        until(lambda: calls.exists() and "first job-1\n" in calls.read_text(), "the first call")
    finally:
        first.kill()
        first.wait(10)
    (folder / "hold").unlink()
    second = spawn("second")
    try:
        assert second.wait(WAIT_S) == 0
    finally:
        second.kill()
        second.wait(10)
    assert (folder / "end").read_text() == "1 done done"
    assert calls.read_text().splitlines() == ["first job-1", "second job-1", "second job-2"]
