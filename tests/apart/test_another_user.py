"""The posture apart: what a user with a token and the socket can do, and the list of what that user cannot."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.support.house import House, build_house
from tests.support.onboarding import onboard
from tests.support.outsider import UID, attempt, command, connect_command, needs_root
from tests.support.sockets import SocketServer, open_folder, socket_server
from tests.support.workers import RunningWorker, running_worker

pytestmark = needs_root


@dataclass(frozen=True)
class Apart:
    """A server user's workspace, worker and socket; and the one thing that the other user has."""

    house: House
    worker: RunningWorker
    server: SocketServer
    token_file: Path


@pytest.fixture(scope="module")
def apart(cerbos_binary: Path) -> Iterator[Apart]:
    # Every folder above may be entered by all: only what Paybill closes is closed.
    with open_folder() as folder:
        house = build_house(folder / "house", cerbos_binary)
        with (
            running_worker(house) as worker,
            socket_server(house, "--socket-mode", "0666") as server,
        ):
            with house.face(house.issue("operator", "acme", actor="founder")) as face:
                onboard(face, "acme")
            token_file = folder / "outsider.token"
            shutil.copy(house.issue("operator,support", "acme").file, token_file)
            os.chown(token_file, UID, UID)
            yield Apart(house, worker, server, token_file)


def _ask(apart: Apart) -> tuple[set[str], dict[str, object]]:
    start = connect_command(apart.server.path, apart.token_file)

    async def asked() -> tuple[set[str], dict[str, object]]:
        parameters = StdioServerParameters(command=start[0], args=start[1:], cwd="/", env={})
        async with asyncio.timeout(60), Client(stdio_client(parameters)) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            answer = await client.call_tool("tenant_get", {"tenant": "acme"})
            return names, dict(answer.structured_content or {})

    return asyncio.run(asked())


def test_the_other_user_lists_and_calls_tools_with_a_token_and_the_socket(apart: Apart) -> None:
    names, answer = _ask(apart)
    assert "tenant_get" in names
    assert answer["outcome"] == "done"


def test_the_other_user_is_another(apart: Apart) -> None:
    # Were the rights not given up, every test below would say `done`.
    assert attempt([("read", str(apart.token_file))]) == ["done"]
    assert attempt([("read", "/etc/shadow")]) != ["done"]


def _state(apart: Apart, *parts: str) -> str:
    return str(apart.house.workspace.state.joinpath(*parts))


TABLE = [
    ("list", ""),
    ("create", ""),
    ("list", "keys"),
    ("read", "store.db"),
    ("write", "store.db"),
    ("remove", "store.db"),
    ("read", "engine.db"),
    ("write", "engine.db"),
    ("read", "worker.json"),
    ("write", "worker.json"),
    ("write", "worker.lock"),
    ("read", "workspace.json"),
    ("write", "workspace.json"),
    ("list", "data"),
    ("list", "backups"),
    ("list", "terraform"),
    ("list", "catalogs"),
    ("create", "catalogs"),
    ("list", "bundles"),
    ("create", "bundles"),
    ("create", "faces"),
]


@pytest.mark.slice_of(5)
@pytest.mark.parametrize(("probe", "part"), TABLE, ids=[f"{p} {w or 'state'}" for p, w in TABLE])
def test_nothing_in_the_state_can_be_reached(apart: Apart, probe: str, part: str) -> None:
    assert attempt([(probe, _state(apart, part))]) == ["EACCES"]


def test_no_file_of_the_state_can_be_read_or_written(apart: Apart) -> None:
    files = [str(path) for path in apart.house.workspace.state.rglob("*") if path.is_file()]
    things = [(probe, path) for path in files for probe in ("read", "write")]
    assert len(files) > 10
    assert set(attempt(things)) == {"EACCES"}


def test_no_key_can_be_read(apart: Apart) -> None:
    keys = [path for path in apart.house.workspace.keys.rglob("*") if path.is_file()]
    assert keys
    assert set(attempt([("read", str(path)) for path in keys])) == {"EACCES"}


def test_every_key_would_stay_closed_if_the_folders_above_were_open(apart: Apart) -> None:
    private = [path for path in apart.house.workspace.keys.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o077 for path in private} == {0}


def test_the_policy_engine_cannot_be_reached(apart: Apart) -> None:
    engine = apart.worker.state.socket.removeprefix("unix:")
    assert Path(engine).is_socket()
    assert attempt([("connect", engine)]) == ["EACCES"]


@pytest.mark.parametrize("name", ["paybill.toml", "catalog"])
def test_the_workspace_cannot_be_written(apart: Apart, name: str) -> None:
    path = apart.house.workspace.root / name
    probe = "create" if path.is_dir() else "write"
    assert attempt([(probe, str(path))]) == ["EACCES"]


def test_the_token_of_another_cannot_be_read(apart: Apart) -> None:
    other = apart.house.issue("operator", "acme", principal="mallory")
    assert attempt([("read", str(other.file))]) == ["EACCES"]


@pytest.mark.parametrize("whose", ["worker", "policy engine", "server"])
def test_no_process_can_be_signalled(apart: Apart, whose: str) -> None:
    pids = {
        "worker": apart.worker.pid,
        "policy engine": apart.worker.pdp_pid,
        "server": apart.server.process.pid,
    }
    assert attempt([("signal", str(pids[whose]))]) == ["EPERM"]


@pytest.mark.parametrize("part", ["environ", "mem", "fd"])
def test_the_worker_cannot_be_looked_into(apart: Apart, part: str) -> None:
    probe = "list" if part == "fd" else "read"
    assert attempt([(probe, f"/proc/{apart.worker.pid}/{part}")]) == ["EACCES"]


def test_the_socket_cannot_be_replaced(apart: Apart) -> None:
    assert attempt([("remove", str(apart.server.path))]) == ["EACCES"]


def test_the_workspace_cannot_be_operated_by_its_folder(apart: Apart) -> None:
    code = "sys.argv[0] = 'paybill'\npaybill.main()"
    root, home = str(apart.house.workspace.root), str(apart.house.home)
    ran = subprocess.run(
        command(code, "--workspace", root, "token", "list"),
        capture_output=True,
        text=True,
        cwd="/",
        env={"PAYBILL_HOME": home},
        timeout=60,
        check=False,
    )
    assert ran.returncode != 0
    assert ran.stdout == ""


def test_a_closed_socket_lets_the_other_user_not_in(apart: Apart) -> None:
    with socket_server(apart.house) as closed:
        assert attempt([("connect", str(closed.path))]) == ["EACCES"]
