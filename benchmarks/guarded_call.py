"""What a guarded call costs beside the bare SDK and bare fastmcp doing the same store read. Asserts nothing.

    uv run python benchmarks/guarded_call.py --rounds 3

Prints tables in Markdown. All servers run at once on this machine; each round loads one after the
other, so that noise falls on all. CPU is of the server's process; Paybill's policy engine is apart.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from load import cpu_s
from place import CONTACT, TENANT, Place, prepared, throw_away
from servers import NAMES, Listening, all_over_http, load, over_stdio

CALLS: dict[str, dict[str, Any]] = {
    "tenant_get": {"name": "tenant_get", "arguments": {"tenant": TENANT}},
    "record_query": {
        "name": "record_query",
        "arguments": {"tenant": TENANT, "collection": "contacts", "limit": 20},
    },
    "record_create": {
        "name": "record_create",
        "arguments": {
            "tenant": TENANT,
            "collection": "contacts",
            "values": CONTACT,
            "idempotency_key": "bench-{n}",
        },
    },
}
LIST: dict[str, Any] = {}
_WARM = 40


@dataclass(frozen=True)
class Shape:
    """How much load: calls at one and at sixteen at once."""

    at_one: int
    at_sixteen: int

    def tasks(self, method: str, params: dict[str, Any], seed: int) -> list[dict[str, Any]]:
        """A warm-up whose first call is shown, then one at once, then sixteen."""
        expects = '"outcome":"done"' if method == "tools/call" else '"tools":'
        base = {"method": method, "params": params, "expects": expects}
        sizes = ((_WARM, 1), (self.at_one, 1), (self.at_sixteen, 16))
        return [
            {**base, "calls": calls, "concurrency": at_once, "first_number": seed + 10**6 * part}
            for part, (calls, at_once) in enumerate(sizes)
        ]


Figures = dict[tuple[str, int], list[dict[str, float]]]
_seeds = iter(range(10**7, 10**9, 10**7))


def http_round(
    figures: Figures, servers: list[Listening], place: Place, what: str, shape: Shape
) -> None:
    """Load each server once."""
    method, params = _asked(what)
    worker, engine = place.worker_pids()
    for server in servers:
        for task in shape.tasks(method, params, next(_seeds)):
            before = [server.cpu_s(), cpu_s(engine), cpu_s(worker)]
            asked = {"host": "127.0.0.1", "port": server.port, "token": server.token}
            (result,) = load({**asked, "tasks": [task]})
            used = [
                now - then
                for now, then in zip(
                    (server.cpu_s(), cpu_s(engine), cpu_s(worker)), before, strict=True
                )
            ]
            _keep(figures, server.name, task, result, used)


def stdio_round(figures: Figures, place: Place, what: str, shape: Shape) -> None:
    """Start each server once, and load it."""
    method, params = _asked(what)
    worker, engine = place.worker_pids()
    for name in NAMES:
        tasks = shape.tasks(method, params, next(_seeds))
        before = [cpu_s(engine), cpu_s(worker)]
        results = load(
            {
                "command": over_stdio(name, place),
                "cwd": str(place.folder / "ws"),
                "env": place.environment,
                "tasks": tasks,
            }
        )
        calls = sum(task["calls"] for task in tasks)
        shared = [
            now - then for now, then in zip((cpu_s(engine), cpu_s(worker)), before, strict=True)
        ]
        for task, result in zip(tasks, results, strict=True):
            # One child serves all three tasks: what others spent for it is shared out by calls.
            part = task["calls"] / calls
            used = [result["cpu_ms"] * task["calls"] / 1000, *(one * part for one in shared)]
            _keep(figures, name, task, result, used)


def _asked(what: str) -> tuple[str, dict[str, Any]]:
    return ("tools/list", LIST) if what == "tools/list" else ("tools/call", CALLS[what])


def _keep(
    figures: Figures, name: str, task: dict[str, Any], result: dict[str, float], used: list[float]
) -> None:
    mine, engine, worker = (one * 1e6 / task["calls"] for one in used)
    if name != "Paybill":
        engine = worker = 0.0
    else:
        # The engine runs below the worker: its share is no part of the worker's own.
        worker -= engine
    row = {**result, "cpu_us": mine, "engine_us": engine, "worker_us": worker}
    at_once = 0 if task["calls"] == _WARM else task["concurrency"]
    figures[name, at_once].append(row)


# tables ------------------------------------------------------------------------------------------


def table(heading: str, figures: Figures) -> None:
    """One table: the best round's CPU, the median round's walls, and ratios to fastmcp."""
    say(f"\n### {heading}\n")
    say(
        "| at once | server | p50 ms | p99 ms | calls/s | CPU µs | engine µs | worker µs | CPU with engine : fastmcp | p99 : fastmcp |"
    )
    say("|---|---|---|---|---|---|---|---|---|---|")
    for at_once in (1, 16):
        base = _summary(figures["bare fastmcp", at_once])
        for name in NAMES:
            one = _summary(figures[name, at_once])
            whole = (one["cpu_us"] + one["engine_us"]) / base["cpu_us"]
            say(
                f"| {at_once} | {name} | {one['p50_ms']:.2f} | {one['p99_ms']:.1f} | {one['calls_s']:.0f} "
                f"| {one['cpu_us']:.0f} | {one['engine_us']:.0f} | {one['worker_us']:.0f} "
                f"| {whole:.2f} | {one['p99_ms'] / base['p99_ms']:.2f} |"
            )
    firsts = {
        name: [one["first_ms"] for one in figures[name, 0] if "first_ms" in one] for name in NAMES
    }
    if all(firsts.values()):
        told = ", ".join(f"{name} {statistics.median(firsts[name]):.0f} ms" for name in NAMES)
        say(f"\nFirst call after the start: {told}.")


def _summary(rounds: list[dict[str, float]]) -> dict[str, float]:
    least = ("cpu_us", "engine_us", "worker_us")
    return {
        name: (min if name in least else statistics.median)([one[name] for one in rounds])
        for name in ("p50_ms", "p99_ms", "calls_s", *least)
    }


def startups(place: Place, rounds: int) -> None:
    """From the start of a process to its answered list, over stdio."""
    walls: dict[str, list[float]] = defaultdict(list)
    task = {
        "method": "tools/list",
        "params": LIST,
        "calls": 1,
        "concurrency": 1,
        "expects": '"tools":',
    }
    for _ in range(rounds):
        for name in NAMES:
            walls[name].append(_started_ms(place, over_stdio(name, place), task))
    say("\n### Start-up to the answered list over stdio, worker up\n")
    _startup_table(walls, rounds)


def cold_starts(place: Place, rounds: int) -> None:
    """The same with no worker: its start is a part of it."""
    import os
    import signal
    import time

    walls: dict[str, list[float]] = defaultdict(list)
    task = {
        "method": "tools/list",
        "params": LIST,
        "calls": 1,
        "concurrency": 1,
        "expects": '"tools":',
    }
    for _ in range(rounds):
        for name in ("bare SDK", "Paybill"):
            walls[name].append(_started_ms(place, over_stdio(name, place), task))
        worker, _ = place.worker_pids()
        os.kill(worker, signal.SIGTERM)
        deadline = time.monotonic() + 30
        while (place.state / "worker.json").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    say("\n### The same, with no worker running\n")
    _startup_table(walls, rounds)


def _startup_table(walls: dict[str, list[float]], rounds: int) -> None:
    base = statistics.median(walls["bare SDK"])
    say(f"| server | ms, median of {rounds} | : bare SDK |\n|---|---|---|")
    for name, found in walls.items():
        median = statistics.median(found)
        say(f"| {name} | {median:.0f} | {median / base:.2f} |")


def _started_ms(place: Place, command: list[str], task: dict[str, Any]) -> float:
    asked = {"command": command, "cwd": str(place.folder / "ws"), "env": place.environment}
    (result,) = load({**asked, "tasks": [task]})
    return result["since_start_ms"]


def say(line: str) -> None:
    """One line of the report."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def measured(heading: str, rounds: int, play: Callable[[Figures], None]) -> None:
    """Play the rounds, then tell."""
    figures: Figures = defaultdict(list)
    for _ in range(rounds):
        play(figures)
    table(heading, figures)


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds.")] = 3,
    at_one: Annotated[int, typer.Option(min=10, help="Calls one at a time.")] = 300,
    at_sixteen: Annotated[int, typer.Option(min=32, help="Calls sixteen at a time.")] = 960,
    only: Annotated[list[str] | None, typer.Option(help="Of: http, stdio, start, list.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Keep everything in this new folder.")] = None,
) -> None:
    """Measure, and print tables in Markdown."""
    wanted: Iterable[str] = only or ("http", "stdio", "list", "start")
    shape, few = Shape(at_one, at_sixteen), Shape(max(10, at_one // 3), max(32, at_sixteen // 3))
    with throw_away(folder) as made, prepared(made) as (place, worker):
        if "http" in wanted or "list" in wanted:
            with all_over_http(place) as servers:
                for what in CALLS if "http" in wanted else ():
                    measured(
                        f"HTTP: {what}",
                        rounds,
                        lambda f, w=what: http_round(f, servers, place, w, shape),
                    )
                if "list" in wanted:
                    measured(
                        "HTTP: tools/list, the same tools",
                        rounds,
                        lambda f: http_round(f, servers, place, "tools/list", few),
                    )
        if "stdio" in wanted:
            for what in CALLS:
                measured(
                    f"stdio: {what}", rounds, lambda f, w=what: stdio_round(f, place, w, shape)
                )
        if "start" in wanted:
            startups(place, 2 * rounds + 1)
            worker.terminate()
            worker.wait(60)
            cold_starts(place, 2 * rounds + 1)


if __name__ == "__main__":
    typer.run(main)
