"""The demo, whole and as a child process: every expectation holds, and nothing is left of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from typer.testing import CliRunner

from server.cli.app import app
from server.demo import acts, show
from server.demo.ledger import ABSENT, Expected, Holding, Ledger, Seen, matches
from server.demo.narrator import Narrator
from server.demo.scenario import SUPPORT_BOT, Ask, Forbidden, Known, Try, forbidden
from server.demo.stage import Stage
from server.settings import Settings

DEADLINE_S = 240.0

KNOWN = Known(
    globex_record="00000000-0000-0000-0000-000000000000",
    alices_run="1" * 32,
    approval="2" * 32,
    confirm="33333333",
    agent_token="/nowhere",
    approver_secret=b"secret words",
    used_key="key-12345",
    used_values={"full_name": "Ada"},
    bobs_grant="4" * 32,
)
TITLES = [one.title for one in forbidden(KNOWN)]


@contextmanager
def started(folder: Path, cerbos: Path) -> Generator[subprocess.Popen[str]]:
    temporary = folder / "tmp"
    temporary.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PAYBILL_")} | {
        "PAYBILL_CERBOS_BIN": str(cerbos),
        "PAYBILL_HOME": str(folder / "home"),
        "TMPDIR": str(temporary),
        "COLUMNS": "160",
    }
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "paybill", "demo"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=folder,
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        for one in at_work_in(folder):
            one.kill()


def at_work_in(folder: Path) -> list[psutil.Process]:
    """The processes whose working folder lies there, but for the demo itself."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            inside = Path(process.cwd()).is_relative_to(folder / "tmp")
        except (psutil.Error, OSError):
            continue
        if inside:
            found.append(process)
    return found


@pytest.mark.sweep
def test_the_whole_demo_holds_and_leaves_nothing(tmp_path: Path, cerbos_binary: Path) -> None:
    with started(tmp_path, cerbos_binary) as child:
        out, err = child.communicate(timeout=DEADLINE_S)
        assert child.returncode == 0, f"{out}\n{err}"
        assert err == ""
        for number, title in enumerate(TITLES, start=1):
            assert f"{number} of 8 refused as it must be: {title}" in out
        assert "NOT AS EXPECTED" not in out
        assert re.search(r"\b[1-9]\d expectations held, 0 did not", out)
        assert "Terraform applied once" in out
        assert "The log extends the checkpoint that was kept elsewhere." in out
        assert at_work_in(tmp_path) == []
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not (tmp_path / "home").exists()


@pytest.mark.sweep
def test_an_interrupted_demo_ends_its_processes_and_its_folder(
    tmp_path: Path, cerbos_binary: Path
) -> None:
    with started(tmp_path, cerbos_binary) as child:
        assert child.stdout is not None
        ready = next(line for line in child.stdout if "policy bundle" in line)
        found = re.search(r"worker (\d+)", ready)
        assert found is not None
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=DEADLINE_S)
        assert child.returncode == 130
        assert not psutil.pid_exists(int(found[1]))
        assert at_work_in(tmp_path) == []
    assert list((tmp_path / "tmp").iterdir()) == []


class _AgentThatIsServed:
    """An agent that gets what it should not get."""

    async def ask(self, tool: str, arguments: object) -> Seen:
        return {"outcome": "done", "result": {"records": [{"id": "of another tenant"}]}}


def test_a_forbidden_thing_that_works_ends_the_demo_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: Expected = {"outcome": "done", "result": {"records": []}}
    planted = Forbidden(
        "Another tenant's row",
        (Try("it is not there", Ask(SUPPORT_BOT, "record_query", {}), nothing),),
    )

    async def perform(settings: Settings, voice: Narrator, *, keep: bool) -> Ledger:
        agents = cast("Any", {SUPPORT_BOT: _AgentThatIsServed()})
        stage = Stage(cast("Any", None), agents, voice, Ledger())
        await acts.try_each(stage, [planted])
        return stage.ledger

    monkeypatch.setattr(show, "perform", perform)
    done = CliRunner().invoke(app, ["demo"])
    assert done.exit_code == 1
    assert "1 of 1 NOT refused as it must be: Another tenant's row" in done.stdout
    assert done.stderr.startswith("paybill: it is not there: expected")


def test_without_a_policy_engine_the_demo_says_so_and_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYBILL_CERBOS_BIN", str(tmp_path / "absent"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = CliRunner().invoke(app, ["demo"])
    assert done.exit_code == 1
    assert done.stderr.startswith("paybill: PAYBILL_CERBOS_BIN names ")
    assert list(tmp_path.iterdir()) == []


def test_eight_things_are_forbidden() -> None:
    assert len(TITLES) == len(set(TITLES)) == 8


def test_a_ledger_keeps_what_did_not_hold() -> None:
    ledger = Ledger()
    assert ledger.expect("it is done", {"outcome": "done"}, {"outcome": "done", "more": 1})
    assert not ledger.expect("it is refused", {"outcome": "refused"}, {"outcome": "done"})
    assert ledger.held == 1
    assert [line.split(":")[0] for line in ledger.missed] == ["it is refused"]


@pytest.mark.parametrize(
    ("expected", "seen"),
    [
        ({"a": 1}, {}),
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": 2}),
        ({"a": ABSENT}, {"a": None}),
        ({"a": Holding("no")}, {"a": "yes"}),
        ({"a": Holding("no")}, {"a": None}),
        ({"a": []}, {"a": [1]}),
        ({"a": []}, {"a": None}),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}),
        ({"a": {"b": 1}}, {"a": "b"}),
    ],
)
def test_what_differs_does_not_match(expected: object, seen: object) -> None:
    assert not matches(expected, seen)


@pytest.mark.parametrize(
    ("expected", "seen"),
    [
        ({}, {"a": 1}),
        ({"a": ABSENT}, {"b": 1}),
        ({"a": Holding("no")}, {"a": "it says no"}),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1, "c": 2}]}),
        ({"a": {"b": None}}, {"a": {"b": None, "c": 2}}),
    ],
)
def test_what_is_expected_matches(expected: object, seen: object) -> None:
    assert matches(expected, seen)
