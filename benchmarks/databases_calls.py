"""How soon a suspended tenant's calls are refused, and how long a move freezes a tenant. Asserts nothing.

A real worker carries the runs out; calls go through a face in this process.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from databases_house import DEADLINE_S, Housed, housed
from databases_told import Row, Sheet, took_ms

from control_plane.domain.isolation import ISOLATIONS, Isolation
from control_plane.domain.move_record import TenantMove
from control_plane.store import rows
from control_plane.store.database_tables import tenant_move
from tests.support.house import fresh_key
from tests.support.onboarding import ask
from tests.support.postgres import Postgres

_CALLS = 10
_REFUSED_IN_A_FREEZE = frozenset({"tenant_moving"})
# Each leads to another model, and the last one back: that of a round's beginning.
_JOURNEY: tuple[Isolation, ...] = ("bridge", "silo", "pooled")


_MODELS: dict[Isolation, str] = {model: f"t-{model}" for model in ISOLATIONS}


def by_calls(
    engines: Mapping[str, Postgres | None],
    folder: Path,
    rounds: int,
    sizes: Sequence[int],
    wanted: Collection[str],
) -> dict[str, list[Row]]:
    """By engine and model the one, by rows as well the other; `wanted` are of `suspend` and `move`."""
    suspensions, freezes = Sheet("engine", "model"), Sheet("engine", "rows", "to")
    tenants = [*_MODELS.values(), *map(_sized, sizes)]
    for kind, postgres in engines.items():
        # One workspace after the other: an idle worker is not idle altogether.
        with housed(folder / kind, postgres, tenants) as held:
            if "suspend" in wanted:
                _suspensions(suspensions, kind, held, rounds)
            if "move" in wanted:
                _freezes(freezes, kind, held, rounds, sizes)
    told = {
        "suspend by calls": suspensions.rows(
            {"refused : a query": ("refused after, ms", "a query, ms")}
        ),
        "freeze": freezes.rows({"frozen : a write": ("frozen, ms", "a write, ms")}),
    }
    return {name: found for name, found in told.items() if found}


# Suspension ------------------------------------------------------------------------------------


def _suspensions(sheet: Sheet, kind: str, held: Housed, rounds: int) -> None:
    for model, tenant in _MODELS.items():
        held.onboard(tenant, model)
    for _, (model, tenant) in product(range(rounds), _MODELS.items()):
        for column, value in _suspension(held, tenant).items():
            sheet.add((kind, model), column, value)


def _suspension(held: Housed, tenant: str) -> dict[str, float]:
    query_ms = statistics.median(took_ms(lambda: held.query(tenant)) for _ in range(_CALLS))
    began = time.perf_counter()
    answered = ask(
        held.face,
        "tenant_suspend",
        tenant=tenant,
        reason="operator",
        idempotency_key=fresh_key(),
    )
    answered_ms = (time.perf_counter() - began) * 1_000
    served = 0
    while held.query(tenant)["outcome"] == "done":
        served += 1
        if time.perf_counter() - began > DEADLINE_S:
            raise SystemExit(f"a suspended tenant is served: {answered}")
    refused_ms = (time.perf_counter() - began) * 1_000
    held.followed(str(answered["run_id"]))
    shut_ms = (time.perf_counter() - began) * 1_000
    held.carried("tenant_resume", tenant=tenant, reason="operator")
    return {
        "refused after, ms": refused_ms,
        "a query, ms": query_ms,
        "the call answers, ms": answered_ms,
        "queries served meanwhile": float(served),
        "the run is over, ms": shut_ms,
    }


# A move's freeze -------------------------------------------------------------------------------


@dataclass
class Writer(threading.Thread):
    """Adds records by calls until it is told to stop, and keeps when each was answered `done`."""

    held: Housed
    tenant: str
    done_at: list[float] = field(default_factory=list[float])
    refused: int = 0
    error: str = ""
    _stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        """Add one after the other."""
        while not self._stopping.is_set():
            answered = self.held.create(self.tenant)
            if answered["outcome"] == "done":
                self.done_at.append(time.perf_counter())
            elif answered.get("code") in _REFUSED_IN_A_FREEZE:
                self.refused += 1
            else:
                self.error = str(answered)
                return

    @contextmanager
    def at_work(self) -> Generator[None]:
        """While the block runs."""
        self.start()
        try:
            yield
        finally:
            self._stopping.set()
            self.join(DEADLINE_S)
        if self.error or not self.done_at[1:]:
            raise SystemExit(f"the writer was not served: {self.error}")

    @property
    def gap_ms(self) -> float:
        """The longest time between two answers."""
        pairs = zip(self.done_at, self.done_at[1:], strict=False)
        return max(later - earlier for earlier, later in pairs) * 1_000


def _freezes(sheet: Sheet, kind: str, held: Housed, rounds: int, sizes: Sequence[int]) -> None:
    for size in sizes:
        held.onboard(_sized(size), "pooled")
        held.fill(_sized(size), size)
    for _, size, model in product(range(rounds), sizes, _JOURNEY):
        for column, value in _move(held, _sized(size), model).items():
            sheet.add((kind, str(size), model), column, value)


def _sized(size: int) -> str:
    return f"t-{size}"


def _move(held: Housed, tenant: str, model: Isolation) -> dict[str, float]:
    write_ms = statistics.median(took_ms(lambda: held.create(tenant)) for _ in range(_CALLS))
    writer = Writer(held, tenant)
    with writer.at_work():
        took = took_ms(lambda: held.carried("tenant_move", tenant=tenant, isolation=model))
        held.create(tenant)
    return {
        "frozen, ms": float(_last(held, tenant).frozen_ms or 0),
        "a write, ms": write_ms,
        "longest between two writes, ms": writer.gap_ms,
        "written meanwhile": float(len(writer.done_at)),
        "refused meanwhile": float(writer.refused),
        "the run with its approval, s": took / 1_000,
    }


def _last(held: Housed, tenant: str) -> TenantMove:
    mine, newest = tenant_move.c.tenant == tenant, tenant_move.c.changed_at.desc()
    with held.face.store.read() as connection:
        return rows.every(connection, tenant_move, TenantMove, mine, order_by=newest)[0]
