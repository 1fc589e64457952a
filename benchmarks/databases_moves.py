"""What `databases_move.py` measures, as rows with their spread, between more models. Asserts nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from databases_bare import TENANT
from databases_move import bare_copy, moved
from databases_place import places, with_rows
from databases_told import Row, Sheet

from control_plane.databases.postgres_names import Names
from control_plane.domain.isolation import Isolation
from tests.support.postgres import Postgres

# Every model is left and come to; what comes is on Postgres, where a bare COPY goes.
_PAIRS: Final[tuple[tuple[str, Isolation, Isolation], ...]] = (
    ("Postgres", "silo", "silo"),
    ("Postgres", "silo", "bridge"),
    ("Postgres", "bridge", "pooled"),
    ("Postgres", "pooled", "silo"),
    ("SQLite", "silo", "silo"),
    ("SQLite", "bridge", "bridge"),
    ("SQLite", "pooled", "pooled"),
)


def copied(postgres: Postgres, folder: Path, rounds: int, rows: int) -> list[Row]:
    """By where rows come from and go to; a bare COPY of as many by turns with each."""
    sheet = Sheet("from", "model", "to Postgres")
    with places(postgres, folder) as held:
        for kind, model in dict.fromkeys(pair[:2] for pair in _PAIRS):
            with_rows(held.sources[kind], TENANT, model, rows)
        silo = Names(held.server.prefix).place(TENANT, "silo")
        for _ in range(rounds):
            for pair in _PAIRS:
                bare = bare_copy(held.server, silo.database, silo.schema, rows)
                parts = moved(held.sources[pair[0]], held.targets["Postgres"], pair, rows)
                for part, value in {**parts, "bare COPY": bare}.items():
                    sheet.add(pair, f"{part}, rows/s", value)
    return sheet.rows({"copied : bare": ("copied, rows/s", "bare COPY, rows/s")})
