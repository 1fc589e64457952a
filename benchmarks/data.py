"""What data costs: a page beside a statement by hand, beside one record, at a thousand rows and at many; a list of tools.

    uv run python benchmarks/data.py --rounds 3 --rows 1000000

Prints tables in Markdown, and asserts nothing. All is on loopback and on this machine; what a table
compares is asked by turns, so that noise falls on all of it. Only ratios within a table mean something.
"""

from __future__ import annotations

import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from pathlib import Path
from shutil import copytree
from typing import Annotated, Any

import anyio
import page_time
import typer
from guarded_call import Shape, http_round, measured, say
from load import cpu_s
from many_tickets import CATALOG, TICKETS, fill_tenant, widen
from page_time import LARGE, PAGE_ROWS, PAGES, SMALL, SMALL_ROWS, Times
from place import Place, called, connected, listed_by_peers, prepared, throw_away
from servers import Listening, all_over_http, load

from control_plane.databases.sqlite import SqliteDatabases
from server.catalog import load as load_catalog
from tests.support.rows import row_id
from tools.toolbox import toolbox

TOOLS = 50
_WARM = 20
_BUSY_MS = 5_000
_DEEP_PAGES = 50
Found = dict[tuple[str, str, str], list[Times]]
Called = dict[str, list[dict[str, float]]]


def database(rounds: int, rows: int, wanted: set[str]) -> None:
    """A page in the database alone, on both engines."""
    found: Found = defaultdict(list)
    with page_time.engines(rows) as engines:
        for _, (engine, databases), page, (tenant, count) in product(
            range(rounds), engines.items(), PAGES, ((SMALL, SMALL_ROWS), (LARGE, rows))
        ):
            one = page_time.measured(databases, page, tenant, count)
            found[engine, page.name, tenant].append(one)
    if "database" in wanted:
        say(f"\n### A page of {PAGE_ROWS} in the database, of {rows} rows, and by hand\n")
        say("| engine | page | ours µs | by hand µs | ratio | with rows made µs |")
        say("|---|---|---|---|---|---|")
        for engine, page in product(engines, PAGES):
            _beside_hand(engine, page.name, found[engine, page.name, LARGE])
    if "size" in wanted:
        say(f"\n### The same page of {SMALL_ROWS} rows and of {rows}, in one database\n")
        say("| engine | page | small µs | large µs | ratio |")
        say("|---|---|---|---|---|")
        for engine, page in product(engines, PAGES):
            small = _median(found[engine, page.name, SMALL], "ours_us")
            large = _median(found[engine, page.name, LARGE], "ours_us")
            told = f"{small:.0f} | {large:.0f} | {large / small:.2f}"
            say(f"| {engine} | {page.name} | {told} |")


def _beside_hand(engine: str, page: str, times: list[Times]) -> None:
    ours, hand = _median(times, "ours_us"), _median(times, "by_hand_us")
    read = _median(times, "read_us")
    say(f"| {engine} | {page} | {ours:.0f} | {hand:.0f} | {ours / hand:.2f} | {read:.0f} |")


def _median(times: Iterable[Any], name: str) -> float:
    return float(statistics.median(getattr(one, name) for one in times))


def calls(rounds: int, rows: int, calls: int, folder: Path | None, wanted: set[str]) -> None:
    """Whole calls over HTTP: a page beside one record, and a page at a thousand rows and at many."""
    with (
        throw_away(folder) as made,
        prepared(made, catalog=CATALOG, tenants=(SMALL, LARGE)) as (place, _),
    ):
        databases = SqliteDatabases(place.state / "data", _BUSY_MS)
        for tenant, count in ((SMALL, SMALL_ROWS), (LARGE, rows)):
            fill_tenant(databases, tenant, count)
        databases.close()
        cursors = anyio.run(_deep_cursors, place)
        asked = _asked(cursors)
        found: Called = defaultdict(list)
        with all_over_http(place, ("Paybill",)) as (server,):
            for _ in range(rounds):
                for name, params in asked.items():
                    found[name].append(_loaded(server, place, params, calls))
    if "page" in wanted:
        _call_table("A page beside one record, whole calls", found, _beside_one())
    if "size" in wanted:
        _call_table(
            f"A page of {SMALL_ROWS} rows and of {rows}, whole calls", found, _beside_small()
        )


def _asked(cursors: dict[tuple[str, str], str]) -> dict[str, dict[str, Any]]:
    asked = {f"get, {SMALL}": _call("record_get", SMALL, id=row_id(1))}
    for tenant in (SMALL, LARGE):
        for name, sort in (("page", None), ("page, sorted", "-priority")):
            more = {"limit": PAGE_ROWS} | ({} if sort is None else {"sort": sort})
            asked[f"{name}, {tenant}"] = _call("record_query", tenant, **more)
            cursor = cursors[tenant, sort or ""]
            behind = _call("record_query", tenant, **more, cursor=cursor)
            asked[f"{name}, behind a cursor, {tenant}"] = behind
    return asked


def _call(tool: str, tenant: str, **more: Any) -> dict[str, Any]:
    return {"name": tool, "arguments": {"tenant": tenant, "collection": TICKETS.name, **more}}


async def _deep_cursors(place: Place) -> dict[tuple[str, str], str]:
    """A cursor behind many pages, or behind all but the last of what a small tenant has."""
    cursors: dict[tuple[str, str], str] = {}
    async with connected(place) as client:
        for tenant in (SMALL, LARGE):
            for sort in (None, "-priority"):
                arguments = _call("record_query", tenant, limit=PAGE_ROWS)["arguments"]
                arguments |= {} if sort is None else {"sort": sort}
                for _ in range(_DEEP_PAGES if tenant == LARGE else _DEEP_PAGES // 2):
                    page = await called(client, "record_query", arguments)
                    arguments["cursor"] = page["result"]["next_cursor"]
                cursors[tenant, sort or ""] = arguments["cursor"]
    return cursors


def _loaded(
    server: Listening, place: Place, params: dict[str, Any], calls: int
) -> dict[str, float]:
    _, engine = place.worker_pids()
    asked: dict[str, Any] = {"host": "127.0.0.1", "port": server.port, "token": server.token}
    task = {"method": "tools/call", "params": params, "calls": calls, "concurrency": 1}
    load({**asked, "tasks": [{**task, "calls": _WARM}]})
    before = (server.cpu_s(), cpu_s(engine))
    (result,) = load({**asked, "tasks": [task]})
    used = [now - then for now, then in zip((server.cpu_s(), cpu_s(engine)), before, strict=True)]
    return {**result, "cpu_us": used[0] * 1e6 / calls, "engine_us": used[1] * 1e6 / calls}


def _beside_one() -> list[tuple[str, str]]:
    return [(name, f"get, {SMALL}") for name in (f"page, {SMALL}", f"page, sorted, {SMALL}")]


def _beside_small() -> list[tuple[str, str]]:
    names = [f"page{more}" for more in ("", ", behind a cursor")]
    names += [f"page, sorted{more}" for more in ("", ", behind a cursor")]
    return [(f"{name}, {LARGE}", f"{name}, {SMALL}") for name in names]


def _call_table(heading: str, found: Called, pairs: list[tuple[str, str]]) -> None:
    say(f"\n### {heading}\n")
    say("| call | beside | p50 ms | ratio | CPU with engine µs | ratio |")
    say("|---|---|---|---|---|---|")
    for one, base in pairs:
        walls = [statistics.median(r["p50_ms"] for r in found[name]) for name in (one, base)]
        cpus = [min(r["cpu_us"] + r["engine_us"] for r in found[name]) for name in (one, base)]
        say(
            f"| {one} | {base} | {walls[0]:.2f} : {walls[1]:.2f} | {walls[0] / walls[1]:.2f} "
            f"| {cpus[0]:.0f} : {cpus[1]:.0f} | {cpus[0] / cpus[1]:.2f} |"
        )


def lists(rounds: int, calls: int, folder: Path | None) -> None:
    """A list of fifty tools, beside the peers' list of the same."""
    with tempfile.TemporaryDirectory(prefix="paybill-bench-") as draft:
        catalog = Path(draft) / "catalog"
        copytree(CATALOG, catalog)
        widen(catalog, TOOLS)
        declared = load_catalog(catalog).collections
        made = None if folder is None else folder / "list"
        with (
            throw_away(made) as own,
            prepared(own, catalog=catalog, roles="platform_admin") as (generic, _),
        ):
            environment = {**generic.environment, "PAYBILL_COLLECTION_TOOLS": "each"}
            place = replace(generic, environment=environment)
            listed_by_peers(place, toolbox(declared, "each").values())
            with all_over_http(place) as servers:
                measured(
                    f"HTTP: tools/list, the same {TOOLS} tools",
                    rounds,
                    lambda f: http_round(
                        f, servers, place, "tools/list", Shape(calls, max(32, calls))
                    ),
                )


def main(
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Interleaved rounds.")] = 3,
    rows: Annotated[
        int, typer.Option(min=2_000, max=5_000_000, help="Rows of the large tenant.")
    ] = 1_000_000,
    call: Annotated[
        int, typer.Option("--calls", min=10, max=10_000, help="Calls of each kind, a round.")
    ] = 200,
    only: Annotated[list[str] | None, typer.Option(help="Of: database, page, size, list.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Keep everything in this new folder.")] = None,
) -> None:
    """Measure, and print tables in Markdown."""
    wanted = set(only or ("database", "page", "size", "list"))
    if wanted & {"database", "size"}:
        database(rounds, rows, wanted)
    if wanted & {"page", "size"}:
        calls(rounds, rows, call, None if folder is None else folder / "calls", wanted)
    if "list" in wanted:
        lists(rounds, call, folder)


if __name__ == "__main__":
    typer.run(main)
