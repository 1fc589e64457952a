"""What tenants' databases cost: made, backed up, restored, suspended, moved, migrated, each beside the bare thing. Asserts nothing.

    uv run python benchmarks/databases.py --rounds 3
    uv run python benchmarks/databases.py --quick

Prints tables in Markdown, or all of it as JSON: the median of the rounds, and in brackets the least and
the most. All is on this machine; what a row compares is done by turns, so that noise falls on both.
Only ratios within a row mean something.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NoReturn, get_args

import typer
from billing import machine
from billing_place import durable_postgres
from databases_archives import archived
from databases_calls import by_calls
from databases_create import created
from databases_direct import directly
from databases_fleets import changed
from databases_moves import copied
from databases_told import Row, plain, table
from guarded_call import say
from place import throw_away

from tests.support.postgres import Postgres

Part = Literal["create", "backup", "suspend", "move", "fleet"]
TITLES: dict[str, str] = {
    "create": "A tenant's database made, and the same tables by hand",
    "backup": "{rows} rows backed up and restored, and by the engine's own tool",
    "suspend by calls": "From the call that suspends to a call that is refused",
    "suspend direct": "From taking a login's right away to a statement that is refused",
    "move": "{rows} rows to Postgres, and by a bare COPY",
    "freeze": "How long a move lets nobody write, with a writer at work",
    "fleet": "A campaign over all tenants' databases",
}
_EACH_ROUND = 3
_SIZES, _TENANTS = (1_000, 50_000), (50, 200)
_QUICK_ROWS, _QUICK_SIZES, _QUICK_TENANTS = 2_000, (1_000,), (9,)


@dataclass(frozen=True)
class Wanted:
    """How much is measured, in which folder, on which server."""

    folder: Path
    postgres: Postgres
    rounds: int
    rows: int
    sizes: tuple[int, ...]
    tenants: tuple[int, ...]

    @property
    def times(self) -> int:
        """How often in all is done what takes only milliseconds."""
        return self.rounds * _EACH_ROUND

    def measured(self, part: Part) -> dict[str, list[Row]]:
        """The rows of the tables that a part alone makes."""
        at = self.folder / part
        if part == "create":
            return {part: created(self.postgres, at, self.times)}
        if part == "backup":
            return {part: archived(self.postgres, at, self.rounds, self.rows)}
        if part == "suspend":
            return {"suspend direct": directly(self.postgres, at, self.rounds)}
        if part == "move":
            return {part: copied(self.postgres, at, self.rounds, self.rows)}
        return {part: changed(self.rounds, self.tenants)}

    def by_calls(self, parts: Collection[Part]) -> dict[str, list[Row]]:
        """The rows of what is measured in workspaces with a worker."""
        engines = {"SQLite": None, "Postgres": self.postgres}
        return by_calls(engines, self.folder / "calls", self.rounds, self.sizes, parts)


def main(
    only: Annotated[
        list[str] | None, typer.Option(help="Of: create, backup, suspend, move, fleet.")
    ] = None,
    # A tenant has at most ten places of a model: a move back to one needs another each time.
    rounds: Annotated[int, typer.Option(min=1, max=9, help="Interleaved rounds.")] = 3,
    rows: Annotated[
        int, typer.Option(min=100, max=5_000_000, help="Of a tenant that is backed up or moved.")
    ] = 50_000,
    frozen_rows: Annotated[
        list[int] | None, typer.Option(help="Of tenants whose freeze is looked at.")
    ] = None,
    tenants: Annotated[list[int] | None, typer.Option(help="Of a fleet; may be repeated.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One round of little.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Keep everything in this new folder.")] = None,
) -> None:
    """Measure, and print tables in Markdown."""
    parts = [part for part in get_args(Part) if part in (only or get_args(Part))]
    if only and len(parts) != len(set(only)):
        raise typer.BadParameter(f"must be of {', '.join(get_args(Part))}", param_hint="--only")
    # Whoever ends it early ends its children too: the blocks below are left as by an error.
    signal.signal(signal.SIGTERM, _end)
    before = machine()
    with throw_away(folder) as made, durable_postgres() as postgres:
        sizes = tuple(frozen_rows or (_QUICK_SIZES if quick else (1_000, 50_000)))
        fleets = dict.fromkeys(tenants or (_QUICK_TENANTS if quick else _TENANTS))
        count = min(rows, _QUICK_ROWS) if quick else rows
        wanted = Wanted(made, postgres, 1 if quick else rounds, count, (*sizes,), (*fleets,))
        told = _told(parts, wanted, quiet=as_json)
    after = machine()
    if as_json:
        measured = {"before": before, "rows": count, "rounds": wanted.rounds, **told}
        say(json.dumps({**measured, "after": after}, indent=1, default=plain))
    else:
        say(_footing(before, after))


def _end(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


def _told(parts: list[Part], wanted: Wanted, *, quiet: bool) -> dict[str, list[Row]]:
    measures = [partial(wanted.measured, part) for part in parts]
    if {"suspend", "move"} & {*parts}:
        measures.append(partial(wanted.by_calls, parts))
    told: dict[str, list[Row]] = {}
    for measure in measures:
        found = measure()
        for name, rows in ({} if quiet else found).items():
            table(TITLES[name].format(rows=wanted.rows), rows)
        told |= found
    return told


def _footing(before: Row, after: Row) -> str:
    loads = f"load of the last minute {before['load']:.1f} before, {after['load']:.1f} after"
    shared = ": a shared machine, so no figures of record" if before["shared"] else ""
    return f"\n{before['cores']} cores, {loads}{shared}."


if __name__ == "__main__":
    typer.run(main)
