"""What moving a tenant's rows costs: the copy beside a bare COPY of the same rows, a comparison, a round of changes.

    uv run python benchmarks/databases_move.py --rounds 3 --rows 200000

Prints a table in Markdown, and asserts nothing. One Postgres server on this machine, and files; what is
compared is done by turns. A bare COPY is one statement on each side of one client, into a table with
the same keys and indexes that no policy binds. Only ratios within a run mean something.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Annotated

import typer
from guarded_call import say
from many_tickets import TABLE, TICKETS, ticket
from psycopg.sql import SQL, Identifier
from sqlalchemy import update

from control_plane.data.moving import catch_up, copy, moved_between
from control_plane.databases.port import DatabaseEngine
from control_plane.databases.postgres_names import Names
from control_plane.databases.sqlite import SqliteDatabases
from control_plane.domain.isolation import Isolation
from tests.support.many_rows import fill
from tests.support.postgres import running_postgres
from tests.support.tenants import TenantServer, tenant_server, workspace

_LOADING_MS = 120_000
_TENANT = "acme"
_CHANGED_SHARE = 20
_PAIRS: tuple[tuple[str, Isolation, Isolation], ...] = (
    ("Postgres", "silo", "silo"),
    ("Postgres", "silo", "pooled"),
    ("Postgres", "pooled", "silo"),
    ("SQLite", "silo", "silo"),
)
Found = dict[str, list[float]]


def took_s(act: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def bare_copy(server: TenantServer, database: str, schema: str, rows: int) -> float:
    """The same rows from a table to one of the same shape, by two sessions of who may do anything."""
    names = {"source": Identifier(schema, TABLE.name), "target": Identifier("bare", TABLE.name)}
    with server.raw(server.root, database) as out, server.raw(server.root, database) as into:
        into.execute("CREATE SCHEMA bare")
        try:
            into.execute(SQL("CREATE TABLE {target} (LIKE {source} INCLUDING ALL)").format(**names))

            def act() -> None:
                given = SQL("COPY {source} TO STDOUT").format(**names)
                taken = SQL("COPY {target} FROM STDIN").format(**names)
                with (
                    out.cursor() as reading,
                    into.cursor() as writing,
                    reading.copy(given) as lines,
                    writing.copy(taken) as target,
                ):
                    for line in lines:
                        target.write(line)

            return rows / took_s(act)
        finally:
            into.execute("DROP SCHEMA bare CASCADE")


def moved(
    source: DatabaseEngine,
    target: DatabaseEngine,
    pair: tuple[str, Isolation, Isolation],
    rows: int,
) -> dict[str, float]:
    """Rows a second of each part of a move."""
    _, old, new = pair
    target.create(_TENANT, new, [TICKETS], 1)
    target.fence(_TENANT, new, 1, open=False)
    leaving, coming = source.moving(_TENANT, old, 2), target.moving(_TENANT, new, 2)
    what = moved_between(leaving, coming, [TICKETS], _TENANT)
    leaving.capture([TICKETS])
    copy_s = took_s(lambda: copy(leaving, coming, what))
    with source.transaction(_TENANT, old) as connection:
        some = TABLE.c.amount % _CHANGED_SHARE == 0
        mine = update(TABLE).where(TABLE.c.tenant_id == _TENANT, some)
        note_s = took_s(lambda: connection.execute(mine.values(priority=1)))
    round_s = took_s(lambda: catch_up(leaving, coming, what))
    check_s = took_s(lambda: catch_up(leaving, coming, what, check="all"))
    leaving.release()
    target.drop(_TENANT, new, 3)
    changed = rows // _CHANGED_SHARE
    return {
        "copied": rows / copy_s,
        "noted": changed / note_s,
        "caught up": changed / round_s,
        "compared": rows / check_s,
    }


def main(
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Interleaved rounds.")] = 3,
    rows: Annotated[
        int, typer.Option(min=1_000, max=5_000_000, help="Rows of the tenant that is moved.")
    ] = 200_000,
) -> None:
    """Measure, and print a table in Markdown."""
    bare: list[float] = []
    found: dict[tuple[str, Isolation, Isolation], Found] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="paybill-bench-")))
        lite = SqliteDatabases(folder, 5_000)
        stack.callback(lite.close)
        logins = stack.enter_context(tenant_server(stack.enter_context(running_postgres())))
        here, there = (stack.enter_context(workspace(logins)) for _ in range(2))
        source = stack.enter_context(here.engine(statement_ms_max=_LOADING_MS))
        target = stack.enter_context(there.engine(statement_ms_max=_LOADING_MS))
        engines: dict[str, DatabaseEngine] = {"Postgres": source, "SQLite": lite}
        for kind, model in sorted({pair[:2] for pair in _PAIRS}):
            engines[kind].create(_TENANT, model, [TICKETS], 1)
            with engines[kind].transaction(_TENANT, model) as connection:
                fill(connection, TABLE, _TENANT, rows, ticket)
        place = Names(here.prefix).place(_TENANT, "silo")
        for _, pair in product(range(rounds), (None, *_PAIRS)):
            if pair is None:
                bare.append(bare_copy(here, place.database, place.schema, rows))
                continue
            for part, value in moved(engines[pair[0]], target, pair, rows).items():
                found.setdefault(pair, defaultdict(list))[part].append(value)
    _tell(statistics.median(bare), found, rows)


def _tell(bare: float, found: dict[tuple[str, Isolation, Isolation], Found], rows: int) -> None:
    say(f"\n### {rows} rows to Postgres, rows a second; a bare COPY makes {bare:.0f}\n")
    say("| from | to | copied | of a bare COPY | noted | caught up | compared |")
    say("|---|---|---|---|---|---|---|")
    for (kind, old, new), parts in found.items():
        by = {part: statistics.median(values) for part, values in parts.items()}
        share = f"{by['copied'] / bare:.2f}"
        told = [f"{by[part]:.0f}" for part in ("noted", "caught up", "compared")]
        cells = [f"{kind} {old}", new, f"{by['copied']:.0f}", share, *told]
        say(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    typer.run(main)
