"""A workspace to measure in, and the peers' copies of its rows. Measures nothing."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import psutil
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from server.published_tools import published
from server.settings import read_settings
from server.worker_state import read_state
from server.workspace import open_at
from tools.registry import TOOLS
from tools.spec import ToolSpec

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
def prepared(
    folder: Path,
    *,
    catalog: Path | None = None,
    tenants: tuple[str, ...] = (TENANT,),
    roles: str = "operator,support",
) -> Generator[tuple[Place, subprocess.Popen[bytes]]]:
    """Make everything; the worker ends with the block. The sample catalog has rows, another none."""
    workspace = folder / "ws"
    workspace.mkdir(parents=True)
    if catalog is not None:
        shutil.copytree(catalog, workspace / "catalog")
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
            *("--roles", roles, "--tenants", ",".join(tenants)),
            *("--out", str(place.token(name)), *more),
        )
    with started_worker(place) as worker:
        anyio.run(_filled, place, tenants, RECORDS if catalog is None else 0)
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


@asynccontextmanager
async def connected(place: Place) -> AsyncGenerator[Client]:
    """A client over stdio."""
    parameters = StdioServerParameters(
        command=place.paybill[0],
        args=[*place.paybill[1:], "serve", "--token-file", str(place.token("stdio"))],
        cwd=str(place.folder / "ws"),
        env=place.environment,
    )
    async with Client(stdio_client(parameters)) as client:
        yield client


async def _filled(place: Place, tenants: tuple[str, ...], records: int) -> None:
    async with connected(place) as client:
        for tenant in tenants:
            await _onboarded(client, tenant)
        for number in range(records):
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


async def _onboarded(client: Client, tenant: str) -> None:
    asked = {"tenant": tenant, "display_name": tenant, "plan": "free", "isolation": "pooled"}
    await _done(client, "tenant_onboard", {**asked, "idempotency_key": f"bench-onboard-{tenant}"})
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        found = await called(client, "tenant_get", {"tenant": tenant})
        if found.get("result", {}).get("state") == "active":
            return
        await anyio.sleep(0.1)
    raise SystemExit("the tenant does not come up")


async def called(client: Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The structured answer to one call."""
    answered = await client.call_tool(tool, arguments)
    return answered.structured_content or {}


async def _done(client: Client, tool: str, arguments: dict[str, Any]) -> None:
    answered = await called(client, tool, arguments)
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
    listed_by_peers(place, TOOLS.values())


def listed_by_peers(place: Place, tools: Iterable[ToolSpec]) -> None:
    """Have the peers that are started from now on list these, word for word."""
    told = [published(tool).model_dump(mode="json", exclude_none=True) for tool in tools]
    (place.peers / "tools.json").write_text(json.dumps(told))


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
