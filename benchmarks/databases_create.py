"""How long a tenant's database takes to make, beside the same tables made by hand. Asserts nothing."""

from __future__ import annotations

from functools import partial
from itertools import product
from pathlib import Path

from databases_bare import BarePostgres, BareSqlite, bare_postgres
from databases_place import places
from databases_told import Row, Sheet, took_ms
from many_tickets import TICKETS

from control_plane.domain.isolation import ISOLATIONS
from tests.support.postgres import Postgres

_WARM = "warm"
BY_HAND = {
    ("Postgres", "silo"): "CREATE DATABASE … TEMPLATE",
    ("Postgres", "bridge"): "CREATE SCHEMA and its tables",
    ("Postgres", "pooled"): "INSERT of a row",
    ("SQLite", "silo"): "a file and its tables",
    ("SQLite", "bridge"): "a file and its tables",
    ("SQLite", "pooled"): "INSERT of a row",
}


def created(postgres: Postgres, folder: Path, times: int) -> list[Row]:
    """By engine and model; what the first tenant of a model makes for all is there before."""
    sheet = Sheet("engine", "model", "by hand")
    with places(postgres, folder / "ours") as held, bare_postgres(held.server) as bare:
        by_hand: dict[str, BarePostgres | BareSqlite] = {
            "SQLite": BareSqlite(folder / "bare"),
            "Postgres": bare,
        }
        for engine, model in product(held.sources.values(), ISOLATIONS):
            engine.create(_WARM, model, [TICKETS], 1)
        for number, (kind, engine), model in product(
            range(times), held.sources.items(), ISOLATIONS
        ):
            row = (kind, model, BY_HAND[kind, model])
            tenant, hand = f"t{number:05}", by_hand[kind]
            turns = {
                "ours, ms": partial(engine.create, tenant, model, [TICKETS], 1),
                "by hand, ms": partial(hand.make, model, number),
            }
            # Each first as often: whoever comes first may find a server that slept.
            for name in sorted(turns, reverse=number % 2 == 0):
                sheet.add(row, name, took_ms(turns[name]))
    return sheet.rows({"ours : by hand": ("ours, ms", "by hand, ms")})
