"""What billing costs: usage beside bare inserts, checks of entitlements, a run of invoices, and growing. Asserts nothing.

    uv run python benchmarks/billing.py --subscriptions 1000

Prints tables in Markdown, or all of it as JSON. All is on loopback and on this machine; what a row
compares is asked by turns, so that noise falls on both. Only ratios within a row mean something.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import psutil
import typer
from billing_place import StoreName, durable_postgres, faced
from billing_renewals import SIZES, growth, invoices
from billing_requests import TENANTS, checks, usage
from guarded_call import say
from place import throw_away

from tests.support.postgres import Postgres

Part = Literal["usage", "entitlements", "invoices", "growth"]
Row = dict[str, Any]
TITLES: dict[Part, str] = {
    "usage": "Usage: batches through a face, and the same rows as a bare insert",
    "entitlements": "Checks of an entitlement through one face",
    "invoices": "A run of invoices, and as many bare rows",
    "growth": "One renewal and one check as the tenants grow",
}
EVENTS, USAGE_CALLERS, CHECK_CALLERS = (1_000, 100), (1, 4), (1, 8)
_WHOLE_FROM = 100
_QUIET_LOAD = 0.5


@dataclass(frozen=True)
class Wanted:
    """How much is measured, and in which folder."""

    folder: Path
    seconds: float
    subscriptions: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes to grow to: a small run keeps its houses small too."""
        return tuple(one for one in SIZES if one <= 10 * self.subscriptions) or SIZES[:1]


def measured(
    part: Part, store: StoreName, postgres: Postgres | None, wanted: Wanted
) -> Iterator[Row]:
    """The rows of one part on one store."""
    folder = wanted.folder / part / store
    if part == "invoices":
        yield invoices(store, postgres, folder, wanted.subscriptions)
    elif part == "growth":
        yield from growth(store, postgres, folder, wanted.seconds, wanted.sizes)
    else:
        with faced(folder, postgres, TENANTS) as served:
            for one in _asked(part):
                yield one(store, served, wanted.seconds)


def _asked(part: Part) -> list[Callable[..., Row]]:
    if part == "usage":
        return [
            partial(usage, events=events, callers=callers)
            for events in EVENTS
            for callers in USAGE_CALLERS
        ]
    return [partial(checks, callers=callers) for callers in CHECK_CALLERS]


def machine() -> Row:
    """What else the machine is doing: figures of a shared one are no figures of record."""
    load = psutil.getloadavg()[0]
    return {"cores": psutil.cpu_count(), "load": load, "shared": load > _QUIET_LOAD}


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value >= _WHOLE_FROM else f"{value:.2f}"
    return str(value)


def shown(part: Part, row: Row, *, first: bool) -> None:
    """One row of a table in Markdown; the first of a part brings the heading."""
    if first:
        say(f"\n### {TITLES[part]}\n")
        say("| " + " | ".join(row) + " |")
        say("|" + "---|" * len(row))
    say("| " + " | ".join(_shown(value) for value in row.values()) + " |")


def told_of(
    part: Part, stores: list[tuple[StoreName, Postgres | None]], wanted: Wanted, *, quiet: bool
) -> list[Row]:
    """Measure one part on each store, telling each row as it comes."""
    found: list[Row] = []
    for store, postgres in stores:
        for row in measured(part, store, postgres, wanted):
            if not quiet:
                shown(part, row, first=not found)
            found.append(row)
    return found


def main(
    only: Annotated[
        list[str] | None, typer.Option(help="Of: usage, entitlements, invoices, growth.")
    ] = None,
    store: Annotated[Literal["sqlite", "postgres", "both"], typer.Option(help="Where.")] = "both",
    seconds: Annotated[
        float, typer.Option(min=0.2, max=600, help="For each row of usage, checks and growth.")
    ] = 8.0,
    subscriptions: Annotated[
        int,
        typer.Option(
            min=20, max=100_000, help="Renewed in a run of invoices; growth goes to 10 times."
        ),
    ] = 1_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Keep everything in this new folder.")] = None,
) -> None:
    """Measure, and print tables in Markdown."""
    names: tuple[StoreName, ...] = get_args(StoreName) if store == "both" else (store,)
    parts = [part for part in get_args(Part) if part in (only or get_args(Part))]
    if only and len(parts) != len(set(only)):
        raise typer.BadParameter(f"must be of {', '.join(get_args(Part))}", param_hint="--only")
    # Whoever ends it early ends its children too: the blocks below are left as by an error.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    told: dict[str, Any] = {"before": machine()}
    server = durable_postgres() if "postgres" in names else nullcontext()
    with throw_away(folder) as made, server as postgres:
        wanted = Wanted(made, seconds, subscriptions)
        stores = [(name, postgres if name == "postgres" else None) for name in names]
        for part in parts:
            told[part] = told_of(part, stores, wanted, quiet=as_json)
    told["after"] = machine()
    say(json.dumps(told, indent=1) if as_json else _footing(told))


def _footing(told: dict[str, Row]) -> str:
    before, after = told["before"], told["after"]
    loads = f"load of the last minute {before['load']:.1f} before, {after['load']:.1f} after"
    shared = ": a shared machine, so no figures of record" if before["shared"] else ""
    return f"\n{before['cores']} cores, {loads}{shared}."


if __name__ == "__main__":
    typer.run(main)
