"""A stdio face spoken to line by line, to see its very bytes. Not a client."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import pytest

from tests.support.forked import Forked, Start, forked_pipes
from tests.support.house import House, Token
from tests.support.workers import stop_process

ANSWER_S = 60.0
_LEGACY = "2025-06-18"


class RawFace:
    """Sends one JSON line a request; keeps every line that comes back."""

    def __init__(
        self, process: subprocess.Popen[bytes] | Forked, told: IO[bytes], said: IO[bytes]
    ) -> None:
        self._process = process
        self._told = told
        self._said = said
        self.lines: list[bytes] = []
        self._waiting: queue.Queue[bytes] = queue.Queue()
        self._next_id = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._said:
            self.lines.append(line)
            self._waiting.put(line)

    def send(self, line: bytes) -> None:
        """Write one line as it is."""
        self._told.write(line + b"\n")
        self._told.flush()

    def request(self, method: str, params: dict[str, Any]) -> int:
        """Send a request; its id."""
        self._next_id += 1
        message = {"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": params}
        self.send(json.dumps(message).encode())
        return self._next_id

    def next_line(self) -> bytes:
        """The next line from the face."""
        try:
            return self._waiting.get(timeout=ANSWER_S)
        except queue.Empty:
            pytest.fail(f"no line from the face within {ANSWER_S:g} s")

    def answered(self, method: str, params: dict[str, Any]) -> bytes:
        """Send a request, and take the next line: its answer, where nothing else is under way."""
        number = self.request(method, params)
        line = self.next_line()
        assert json.loads(line)["id"] == number, line
        return line

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The JSON-RPC answer to a tool call."""
        line = self.answered("tools/call", {"name": tool, "arguments": arguments})
        found: dict[str, Any] = json.loads(line)
        return found

    def greet(self) -> None:
        """The handshake of the older era."""
        client = {"name": "raw", "version": "1"}
        self.answered(
            "initialize",
            {"protocolVersion": _LEGACY, "capabilities": {}, "clientInfo": client},
        )
        self.send(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}')

    def hang_up(self, deadline_s: float = 20.0) -> int:
        """Close the stream as a client that leaves; the face's exit code."""
        self._told.close()
        code = self._process.wait(deadline_s)
        self._reader.join(deadline_s)
        return code


@contextmanager
def raw_face(house: House, token: Token | None, *options: str) -> Generator[RawFace]:
    """A face of its own, greeted by nobody; ended with the block."""
    words, log = _words(token, options), house.folder / "raw-face.log"
    start = Start(words, house.environment, house.workspace.root, log)
    with forked_pipes(start) as (child, told, said):
        yield RawFace(child, told, said)


@contextmanager
def raw_program(house: House, token: Token | None, *options: str) -> Generator[RawFace]:
    """The same in a fresh interpreter, so that stdout is looked at from its first byte."""
    command = [sys.executable, "-P", "-m", "paybill", *_words(token, options)]
    with (house.folder / "raw-face.log").open("ab") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=house.workspace.root,
            env=house.environment,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            yield RawFace(process, process.stdin, process.stdout)
        finally:
            stop_process(process)


def _words(token: Token | None, options: Sequence[str]) -> list[str]:
    named = [] if token is None else ["--token-file", str(token.file)]
    return ["serve", *named, *options]
