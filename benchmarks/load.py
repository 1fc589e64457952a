"""A bare client in a process of its own: sends one request again and again, and times each. Measures no CPU."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psutil

PROTOCOL = "2026-07-28"
_META = {
    "io.modelcontextprotocol/protocolVersion": PROTOCOL,
    "io.modelcontextprotocol/clientInfo": {"name": "load", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
_LINE_BYTES_MAX = 2**24
Send = Callable[[bytes], Awaitable[bytes]]


@dataclass
class Task:
    """What is sent, how often, how many at once. `{n}` in it becomes the request's number."""

    method: str
    params: dict[str, Any]
    calls: int
    concurrency: int
    first_number: int = 0
    expects: str = '"outcome":"done"'
    walls_ms: list[float] = field(default_factory=list[float])

    def body(self, number: int) -> bytes:
        """One request."""
        params = {**self.params, "_meta": _META}
        asked = {"jsonrpc": "2.0", "id": number, "method": self.method, "params": params}
        return json.dumps(asked).replace("{n}", f"{self.first_number + number:08d}").encode()

    async def run(self, send: Send, numbers: asyncio.Queue[int]) -> None:
        """Send until no number is left."""
        while not numbers.empty():
            number = numbers.get_nowait()
            start = time.perf_counter()
            answered = await send(self.body(number))
            self.walls_ms.append((time.perf_counter() - start) * 1000)
            if self.expects.encode() not in answered.replace(b'": "', b'":"'):
                raise SystemExit(f"not what was expected: {answered[:600]!r}")

    def result(self, total_s: float) -> dict[str, float]:
        """Percentiles in milliseconds, and calls a second."""
        walls = sorted(self.walls_ms)
        return {
            "p50_ms": walls[len(walls) // 2],
            "p99_ms": walls[min(len(walls) - 1, len(walls) * 99 // 100)],
            "calls_s": len(walls) / total_s,
        }


class Http:
    """One kept connection, spoken to byte by byte."""

    def __init__(self, host: str, port: int, task: Task, token: str) -> None:
        head = [
            "POST /mcp HTTP/1.1",
            f"host: {host}:{port}",
            "content-type: application/json",
            "accept: application/json, text/event-stream",
            f"mcp-protocol-version: {PROTOCOL}",
            f"mcp-method: {task.method}",
        ]
        if "name" in task.params:
            head.append(f"mcp-name: {task.params['name']}")
        if token:
            head.append(f"authorization: Bearer {token}")
        self._head = "\r\n".join(head).encode()
        self._address = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, body: bytes) -> bytes:
        """Post, and read the answer's body."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address, limit=_LINE_BYTES_MAX)
        reader, writer = self._streams
        writer.write(self._head + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        return await reader.readexactly(length)


class Stdio:
    """One child's pipes, shared by all that send: answers are told apart by their numbers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            number = json.loads(line).get("id")
            if number in self._waiting:
                self._waiting.pop(number).set_result(line)

    async def send(self, body: bytes) -> bytes:
        """Write one line, and wait for its answer."""
        assert self._process.stdin is not None
        number = json.loads(body)["id"]
        answered = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(body + b"\n")
        return await answered


async def drive(task: Task, connect: Callable[[], Send]) -> dict[str, float]:
    """Run the task over as many senders as it has calls at once."""
    numbers: asyncio.Queue[int] = asyncio.Queue()
    for number in range(1, task.calls + 1):
        numbers.put_nowait(number)
    senders = [connect() for _ in range(task.concurrency)]
    start = time.perf_counter()
    await asyncio.gather(*(task.run(send, numbers) for send in senders))
    return task.result(time.perf_counter() - start)


async def over_http(asked: dict[str, Any]) -> list[dict[str, float]]:
    """Load a server that listens, task by task."""
    results: list[dict[str, float]] = []
    for told in asked["tasks"]:
        task = Task(**told)
        host, port, token = asked["host"], asked["port"], asked.get("token", "")
        connect = partial(Http, host, port, task, token)
        results.append(await drive(task, lambda connect=connect: connect().send))
    return results


async def over_stdio(asked: dict[str, Any]) -> list[dict[str, float]]:
    """Start a server, and load it task by task; with the CPU that its process took for each."""
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *asked["command"],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=asked["cwd"],
        env=asked["env"],
        limit=_LINE_BYTES_MAX,
    )
    pipes = Stdio(process)
    results: list[dict[str, float]] = []
    try:
        for told in asked["tasks"]:
            task, before = Task(**told), cpu_s(process.pid)
            result = await drive(task, lambda: pipes.send)
            cpu_ms = (cpu_s(process.pid) - before) * 1000 / task.calls
            results.append({**result, "cpu_ms": cpu_ms, "first_ms": task.walls_ms[0]})
            results[-1]["since_start_ms"] = (time.perf_counter() - started) * 1000
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
    return results


def cpu_s(pid: int) -> float:
    """The CPU seconds of a process and of what it has started."""
    try:
        main = psutil.Process(pid)
        family = [main, *main.children(recursive=True)]
        return sum(sum(one.cpu_times()[:2]) for one in family)
    except psutil.NoSuchProcess:
        return 0.0


def main() -> None:
    """Read what is asked as JSON from stdin, write its figures as JSON to stdout."""
    asked = json.loads(sys.stdin.read())
    run = over_stdio if "command" in asked else over_http
    sys.stdout.write(json.dumps(asyncio.run(run(asked))))


if __name__ == "__main__":
    main()
