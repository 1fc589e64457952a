"""What `databases_fleet.py` measures, as rows with their spread. Asserts nothing about speed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from databases_fleet import one
from databases_told import Row, Sheet


def changed(rounds: int, sizes: Sequence[int]) -> list[Row]:
    """By engine and number of tenants; the ratio is to the first number, of the same round."""
    sheet = Sheet("engine", "tenants")
    for _, engine in product(range(rounds), ("SQLite", "Postgres")):
        each_ms = {
            size: one(size, on_postgres=engine == "Postgres") / size * 1_000 for size in sizes
        }
        for size, spent_ms in each_ms.items():
            sheet.add((engine, str(size)), "ms each", spent_ms)
            sheet.add((engine, str(size)), "tenants/s", 1_000 / spent_ms)
            sheet.add((engine, str(size)), f"to {sizes[0]}", spent_ms / each_ms[sizes[0]])
    return sheet.rows()
