"""How fast a campaign changes all tenants' databases, and how that grows with their number.

    uv run python benchmarks/databases_fleet.py --tenants 100 --tenants 1000 --tenants 10000
    uv run python benchmarks/databases_fleet.py --tenants 100 --postgres

Prints a table in Markdown, and asserts nothing. A third of the tenants in each isolation model, each with
one row of the team's; the migration adds a column and changes every row. Tenants are made before the clock
starts, which takes much longer. Only ratios within a run mean something: were it linear, the rate would
stay the same from line to line.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from guarded_call import say

from tests.support.fleet_place import FleetPlace, took_s
from tests.support.postgres import running_postgres
from tests.support.tenants import tenant_server, workspace


def one(tenants: int, *, on_postgres: bool) -> float:
    """How long one campaign over so many tenants takes, in seconds."""
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="pb-fleet-")))
        server = None
        if on_postgres:
            running = held.enter_context(running_postgres())
            server = held.enter_context(workspace(held.enter_context(tenant_server(running))))
        place = FleetPlace(folder, server)
        place.make(tenants)
        spent_s = took_s(place, 2)
        state, receipts = place.state()
        assert (state, receipts["done"]) == ("done", tenants), (state, receipts)
        return spent_s


def main(
    tenants: Annotated[list[int] | None, typer.Option(help="How many; may be given again.")] = None,
    postgres: Annotated[bool, typer.Option("--postgres", help="On Postgres, else SQLite.")] = False,
) -> None:
    """Measure each number of tenants once."""
    say("| engine | tenants | s | tenants/s | ms each |")
    say("|---|---|---|---|---|")
    for count in tenants or [100, 1_000]:
        spent_s = one(count, on_postgres=postgres)
        engine = "Postgres" if postgres else "SQLite"
        rate, each_ms = count / spent_s, spent_s / count * 1_000
        say(f"| {engine} | {count} | {spent_s:.1f} | {rate:.1f} | {each_ms:.1f} |")


if __name__ == "__main__":
    typer.run(main)
