"""A server on a socket as a child process, and a client that speaks to it line by line. Not a test."""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.forked import Forked, Start, start_paybill
from tests.support.house import House, Token
from tests.support.waiting import until
from tests.support.workers import stop_process

ANSWER_S = 30.0
READY_S = 60.0


@contextmanager
def open_folder() -> Generator[Path]:
    """A new folder with a short path that every user may enter, as a socket needs it."""
    folder = Path(tempfile.mkdtemp(prefix="pbs-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class SocketServer:
    """`paybill serve --socket`, ready for connections."""

    path: Path
    process: Forked


@contextmanager
def socket_server(house: House, *options: str) -> Generator[SocketServer]:
    """Start a server on a socket of its own; ended with the block."""
    log = house.folder / "socket.log"
    with open_folder() as folder:
        path = folder / "s"
        words = ("serve", "--socket", str(path), *options)
        process = start_paybill(Start(words, house.environment, house.workspace.root, log))
        try:
            until(lambda: process.poll() is not None or _answers(path), "it listens", READY_S)
            assert process.poll() is None, log.read_text()[-4000:]
            yield SocketServer(path, process)
        finally:
            stop_process(process)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
        return asked.connect_ex(str(path)) == 0


class SocketClient:
    """One connection, spoken to in lines."""

    def __init__(self, path: Path, preamble: bytes | None) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_S)
        self._socket.connect(str(path))
        self._reader = self._socket.makefile("rb")
        self._next_id = 0
        if preamble is not None:
            self.send(preamble)

    def send(self, content: bytes) -> None:
        """Send bytes as they are; a server that has closed already is not an error."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(content)

    def line(self) -> bytes:
        """The next line; empty when the server has closed."""
        try:
            return self._reader.readline()
        except ConnectionResetError:
            return b""
        except TimeoutError:
            pytest.fail(f"no line from the server within {ANSWER_S:g} s")

    def request(self, method: str, params: dict[str, Any]) -> None:
        """Send a request, and wait for nothing."""
        self._next_id += 1
        message = {"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": params}
        self.send(json.dumps(message).encode() + b"\n")

    def answered(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send a request, and take its answer."""
        self.request(method, params)
        found: dict[str, Any] = json.loads(self.line())
        assert found["id"] == self._next_id, found
        return found

    def greet(self) -> None:
        """The handshake of the older era."""
        client = {"name": "raw", "version": "1"}
        self.answered(
            "initialize",
            {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client},
        )
        self.send(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')

    def tools(self) -> set[str]:
        """The names of the tools that are listed."""
        return {tool["name"] for tool in self.answered("tools/list", {})["result"]["tools"]}

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """The structured answer of a call."""
        params = {"name": name, "arguments": arguments}
        found: dict[str, Any] = self.answered("tools/call", params)["result"]["structuredContent"]
        return found

    def close(self) -> None:
        """Leave."""
        self._reader.close()
        self._socket.close()


def preamble(token: Token) -> bytes:
    """The first line of a connection."""
    return json.dumps({"paybill": 1, "token": token.text}).encode() + b"\n"


@contextmanager
def socket_client(server: SocketServer, first: Token | bytes | None) -> Generator[SocketClient]:
    """A connection with a token's preamble, with other bytes in its place, or with none."""
    client = SocketClient(server.path, preamble(first) if isinstance(first, Token) else first)
    try:
        yield client
    finally:
        client.close()
