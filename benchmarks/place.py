"""A workspace to measure in, and the peers' copies of its rows. Measures nothing."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import psutil
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from server.settings import read_settings
from server.worker_state import read_state
from server.workspace import open_at
from tools.registry import TOOLS

TENANT = "acme"
AUDIENCE = "https://bench.test/mcp"
RECORDS = 60
_PASSPHRASE = b"only for a benchmark"
_READY_S = 60.0
CONTACT = {"full_name": "Ada Lovelace", "email": "ada@b", "status": "lead", "balance": 1}


@dataclass(frozen=True)
class Place:
    """A workspace with one pooled tenant, a worker, two tokens, and the folder of the peers."""

    folder: Path
    environment: dict[str, str]
    state: Path

    @property
    def paybill(self) -> list[str]:
        """How the program is started."""
        return [sys.executable, "-P", "-m", "paybill"]

    @property
    def peers(self) -> Path:
        """Copies of the rows, and the tools to list."""
        return self.folder / "peers"

    def token(self, name: str) -> Path:
        """The file of a token."""
        return self.folder / f"{name}.token"

    def worker_pids(self) -> tuple[int, int]:
        """The worker, and its policy engine."""
        state = read_state(self.state / "worker.json")
        assert state is not None, "the worker has said where it is"
        engines = psutil.Process(state.pid).children(recursive=True)
        return state.pid, next(one.pid for one in engines if "cerbos" in one.name())

    def run(self, *arguments: str, secret: bytes = b"") -> None:
        """Run a command to its end."""
        subprocess.run(
            [*self.paybill, *arguments],
            cwd=self.folder / "ws",
            env=self.environment,
            input=secret,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )


@contextmanager
def prepared(folder: Path) -> Generator[tuple[Place, subprocess.Popen[bytes]]]:
    """Make everything; the worker ends with the block."""
    workspace = folder / "ws"
    workspace.mkdir(parents=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(Path.home()),
        "PAYBILL_HOME": str(folder / "home"),
        "PAYBILL_CACHE": str(read_settings().cache),
        "PAYBILL_COLLECTION_TOOLS": "generic",
        "PAYBILL_LIMITS__CALLS_IN_FLIGHT_MAX": "32",
    }
    place = Place(folder, environment, Path())
    place.run("init", "--yes", "--name", "bench", "--passphrase-fd", "0", secret=_PASSPHRASE)
    place = Place(folder, environment, open_at(workspace, folder / "home").state)
    for name, more in (("stdio", ()), ("http", ("--audience", AUDIENCE))):
        place.run(
            *("token", "issue", "--principal", "alice", "--actor", "bench"),
            *("--roles", "operator,support", "--tenants", TENANT),
            *("--out", str(place.token(name)), *more),
        )
    with started_worker(place) as worker:
        anyio.run(_filled, place)
        _copied(place)
        yield place, worker


@contextmanager
def started_worker(place: Place) -> Generator[subprocess.Popen[bytes]]:
    """A worker that is ready; stopped by its own id."""
    with (place.folder / "worker.log").open("ab") as log:
        worker = subprocess.Popen(
            [*place.paybill, "worker"],
            cwd=place.folder / "ws",
            env=place.environment,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + _READY_S
        while not (place.state / "worker.json").exists():
            if worker.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the worker does not start; see {log.name}")
            time.sleep(0.05)
        yield worker
    finally:
        worker.terminate()
        worker.wait(_READY_S)


async def _filled(place: Place) -> None:
    parameters = StdioServerParameters(
        command=place.paybill[0],
        args=[*place.paybill[1:], "serve", "--token-file", str(place.token("stdio"))],
        cwd=str(place.folder / "ws"),
        env=place.environment,
    )
    async with Client(stdio_client(parameters)) as client:
        asked = {"tenant": TENANT, "display_name": "Acme", "plan": "free", "isolation": "pooled"}
        await _done(client, "tenant_onboard", {**asked, "idempotency_key": "bench-onboard"})
        deadline = time.monotonic() + _READY_S
        while (await _called(client, "tenant_get", {"tenant": TENANT})).get("result", {}).get(
            "state"
        ) != "active":
            if time.monotonic() > deadline:
                raise SystemExit("the tenant does not come up")
            await anyio.sleep(0.1)
        for number in range(RECORDS):
            await _done(
                client,
                "record_create",
                {
                    "tenant": TENANT,
                    "collection": "contacts",
                    "values": {**CONTACT, "email": f"ada{number}@b"},
                    "idempotency_key": f"bench-record-{number}",
                },
            )


async def _called(client: Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    answered = await client.call_tool(tool, arguments)
    return answered.structured_content or {}


async def _done(client: Client, tool: str, arguments: dict[str, Any]) -> None:
    answered = await _called(client, tool, arguments)
    if answered.get("outcome") not in ("done", "running"):
        raise SystemExit(f"{tool} answered {answered}")


def _copied(place: Place) -> None:
    place.peers.mkdir()
    for name, source in (("store.db", "store.db"), ("data.db", "data/pooled.db")):
        with (
            closing(sqlite3.connect(place.state / source)) as original,
            closing(sqlite3.connect(place.peers / name)) as copy,
        ):
            original.backup(copy)
    listed = [
        {
            "name": tool.name,
            "description": tool.description,
            "input_schema": tool.input_schema(),
        }
        for tool in TOOLS.values()
    ]
    (place.peers / "tools.json").write_text(json.dumps(listed))


@contextmanager
def throw_away(folder: Path | None) -> Generator[Path]:
    """A folder that goes at the end, unless it was named."""
    import tempfile

    made = folder or Path(tempfile.mkdtemp(prefix="paybill-bench-"))
    try:
        yield made
    finally:
        if folder is None:
            shutil.rmtree(made, ignore_errors=True)
