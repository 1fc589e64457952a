"""The LangGraph example as a child in its own environment, against a real workspace: each way that it can end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import paybill
from control_plane.store import tables
from tests.support.approver import approve, enrol
from tests.support.house import House, Token, build_house, fresh_key
from tests.support.http_faces import FOR_HTTP, http_face
from tests.support.onboarding import ask, follow, park
from tests.support.waiting import until
from tests.support.workers import running_worker, stop_process

SCRIPT = Path(paybill.__file__).resolve().parent.parent / "examples" / "langgraph_app.py"
# The first run of all makes the script's environment.
DEADLINE_S = 240.0
AGENT = ("alice", "graph")
SILO = ("--plan", "team", "--isolation", "silo")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Iterator[House]:
    made = build_house(tmp_path_factory.mktemp("langgraph"), cerbos_binary)
    with running_worker(made):
        yield made


@pytest.fixture(scope="module")
def token(house: House) -> Token:
    tenants = "pooled,slow,silo,answered,outside-plan,held"
    return house.issue("operator", tenants, principal=AGENT[0], actor=AGENT[1])


@pytest.fixture(scope="module")
def human(house: House) -> Token:
    """The human behind the agent, enrolled as an approver."""
    enrol(house, AGENT[0])
    return house.issue("approver", "silo,answered", principal=AGENT[0], actor=None)


@dataclass
class App:
    """The script as a child, its output in files: a full pipe would stop it."""

    process: subprocess.Popen[bytes]
    out: Path
    error: Path

    def told(self) -> str:
        return self.error.read_text()

    def ended(self) -> tuple[int, dict[str, Any]]:
        """The exit code, and the last line."""
        code = self.process.wait(DEADLINE_S)
        lines = self.out.read_text().splitlines()
        assert lines, self.told()
        return code, json.loads(lines[-1])


@dataclass
class Starter:
    """Starts the script; every one is ended with the test."""

    house: House
    token: Token
    stack: ExitStack
    folder: Path

    def __call__(self, *options: str, token: Token | None = None) -> App:
        uv = shutil.which("uv")
        assert uv, "the example is run with uv, which is not on the path: pip install uv"
        number = len(list(self.folder.glob("*.out")))
        app_out, app_error = self.folder / f"{number}.out", self.folder / f"{number}.err"
        ours = {name: value for name, value in os.environ.items() if "PAYBILL" not in name}
        ours.pop("VIRTUAL_ENV", None)
        with app_out.open("wb") as out, app_error.open("wb") as error:
            file = (token or self.token).file
            process = subprocess.Popen(
                [uv, "run", "--script", str(SCRIPT), "--token-file", str(file), *options],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=error,
                cwd=self.folder,
                env={**ours, **self.house.environment},
            )
        self.stack.callback(stop_process, process)
        return App(process, app_out, app_error)

    def stdio(self, *options: str) -> App:
        """Over a program of ours that it starts."""
        program = Path(sys.executable).with_name("paybill")
        workspace = str(self.house.workspace.root)
        return self("--paybill", str(program), "--workspace", workspace, *options)


@pytest.fixture
def app(house: House, token: Token, tmp_path: Path) -> Iterator[Starter]:
    with ExitStack() as stack:
        yield Starter(house, token, stack, tmp_path)


@pytest.mark.long
def test_a_pooled_tenant_is_brought_into_being(app: Starter) -> None:
    code, told = app.stdio("--tenant", "pooled").ended()
    assert (code, told["outcome"], told["tenant"]) == (0, "done", "pooled")
    assert told["run"]["state"] == "applied"


@pytest.mark.sweep
def test_the_same_over_http_with_a_token_of_that_server(app: Starter, house: House) -> None:
    token = house.issue("operator", "remote", principal=AGENT[0], actor=AGENT[1], bound=FOR_HTTP)
    with http_face(house) as served:
        asked = ("--url", served.local_url, "--tenant", "remote")
        code, told = app(*asked, token=token).ended()
    assert (code, told["outcome"]) == (0, "done")


@pytest.mark.sweep
def test_a_human_is_told_what_to_type_and_the_same_call_goes_on_afterwards(
    app: Starter, house: House, human: Token
) -> None:
    first = app.stdio("--tenant", "silo", *SILO)
    code, told = first.ended()
    assert (code, told["outcome"]) == (3, "awaiting_approval")
    typed = f"approvals approve {told['approval_id']} --token-file YOURS"
    assert typed in first.told()
    approve(house, human, told["approval_id"])
    code, told = app.stdio("--tenant", "silo", *SILO).ended()
    assert (code, told["outcome"]) == (0, "done")


@pytest.mark.sweep
def test_a_human_who_answers_in_time_is_waited_for(
    app: Starter, house: House, human: Token
) -> None:
    started = app.stdio("--tenant", "answered", *SILO, "--approval-wait-s", "120")
    until(lambda: "approvals approve " in started.told(), "the human is told", DEADLINE_S)
    approval_id = started.told().split("approvals approve ")[1].split()[0]
    approve(house, human, approval_id)
    code, told = started.ended()
    assert (code, told["outcome"]) == (0, "done"), started.told()


@pytest.mark.sweep
def test_a_refusal_is_reported_with_what_may_help_and_not_tried_again(
    app: Starter, house: House
) -> None:
    before = house.rows(tables.run)
    started = app.stdio("--tenant", "outside-plan", "--plan", "free", "--isolation", "silo")
    code, told = started.ended()
    assert (code, told["outcome"], told["code"]) == (1, "refused", "isolation_not_in_plan")
    assert "plan_list" in told["next_tools"]
    assert started.told().count("proposed:") == 1
    assert house.rows(tables.run) == before


@pytest.mark.sweep
def test_bad_input_is_reported_by_field_and_rule(app: Starter) -> None:
    code, told = app.stdio("--tenant", "Not A Slug").ended()
    assert (code, told["outcome"]) == (1, "bad_input")
    assert told["message"].startswith("tenant: ")


@pytest.mark.sweep
def test_on_a_conflict_the_run_that_holds_the_tenant_is_followed(
    app: Starter, house: House
) -> None:
    with house.face(app.token) as face:
        holder = park(face, "held")["run_id"]
        started = app.stdio("--tenant", "held", "--approval-wait-s", "120")
        until(lambda: "approvals approve " in started.told(), "it follows the run", DEADLINE_S)
        assert "proposed: conflict" in started.told()
        canceled = ask(face, "run_cancel", run_id=holder, idempotency_key=fresh_key())
        assert canceled["outcome"] == "done"
        until(
            lambda: ask(face, "run_get", run_id=holder)["result"]["state"] == "canceled",
            "the run is canceled",
        )
    code, told = started.ended()
    assert (code, told["outcome"], told["run_id"]) == (1, "conflict", holder)
    assert told["run"]["state"] == "canceled"


@pytest.mark.sweep
def test_what_takes_longer_than_it_may_is_left_running(app: Starter, house: House) -> None:
    code, told = app.stdio("--tenant", "slow", "--wait-s", "0").ended()
    assert (code, told["outcome"]) == (4, "running")
    with house.face(app.token) as face:
        follow(face, told["run_id"], {"applied"})
