"""The servers that are compared: how each is started, and which processes its calls cost. Loads none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from load import cpu_s
from place import AUDIENCE, Place

HERE = Path(__file__).parent
NAMES = ("bare SDK", "bare fastmcp", "Paybill")
_READY_S = 60.0


@cache
def fastmcp_python() -> str:
    """The interpreter of the script's own environment, made when it is not there."""
    script = str(HERE / "peers" / "bare_fastmcp.py")
    subprocess.run(["uv", "sync", "--quiet", "--script", script], check=True)
    found = subprocess.run(
        ["uv", "python", "find", "--script", script], check=True, capture_output=True, text=True
    )
    return found.stdout.strip()


def over_stdio(name: str, place: Place) -> list[str]:
    """The command of a server over stdio."""
    if name == "Paybill":
        return [*place.paybill, "serve", "--token-file", str(place.token("stdio"))]
    python = fastmcp_python() if name == "bare fastmcp" else sys.executable
    script = "bare_fastmcp.py" if name == "bare fastmcp" else "bare_sdk.py"
    return [python, str(HERE / "peers" / script), "stdio", str(place.peers)]


@dataclass(frozen=True)
class Listening:
    """A server over HTTP on loopback."""

    name: str
    pid: int
    port: int
    token: str

    def cpu_s(self) -> float:
        """What its process has used."""
        return cpu_s(self.pid)


@contextmanager
def all_over_http(place: Place, names: tuple[str, ...] = NAMES) -> Generator[list[Listening]]:
    """The servers, each on a free port; stopped by its own id."""
    with ExitStack() as stack:
        yield [stack.enter_context(_listening(name, place)) for name in names]


@contextmanager
def _listening(name: str, place: Place) -> Generator[Listening]:
    port = _free_port()
    if name == "Paybill":
        command = [*place.paybill, "serve", "--http", f"127.0.0.1:{port}", "--audience", AUDIENCE]
    else:
        command = [*over_stdio(name, place)[:2], "http", str(place.peers), str(port)]
    with (place.folder / "servers.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=place.folder / "ws", env=place.environment, stdout=log, stderr=log
        )
    try:
        _until_open(port, process)
        token = place.token("http").read_text().strip() if name == "Paybill" else ""
        yield Listening(name, process.pid, port, token)
    finally:
        process.terminate()
        process.wait(_READY_S)


def load(asked: dict[str, Any]) -> list[dict[str, float]]:
    """Run the client in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(HERE / "load.py")],
        input=json.dumps(asked).encode(),
        stdout=subprocess.PIPE,
        env=dict(os.environ),
        check=True,
    )
    results: list[dict[str, float]] = json.loads(done.stdout)
    return results


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    import socket
    import time

    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("a server does not listen; see servers.log")
