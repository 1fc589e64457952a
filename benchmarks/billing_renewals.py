"""What renewals cost in the store: a run of invoices beside bare rows, and houses of three sizes. No face."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from billing_place import LIMITED, Books, family_cpu_s, opened_books, subscribed
from sqlalchemy import func, insert, select

from control_plane.commands import CheckEntitlement
from control_plane.domain.caller import Caller
from control_plane.engine.billing_clock import BATCH_MAX
from control_plane.handlers.entitlement_checks import CheckEntitlementHandler
from control_plane.handlers.handler import View
from control_plane.store.billing_tables import invoice
from tests.support.postgres import Postgres

SIZES = (100, 1_000, 10_000)
COHORT = 20
# The round that is not counted, and then pairs of them.
_COUNTED = range(3, 10**6, 2)
START = datetime(2030, 1, 1, 9, tzinfo=UTC)
Row = dict[str, Any]


# a run of invoices -----------------------------------------------------------------------------


def invoices(store: str, postgres: Postgres | None, folder: Path, count: int) -> Row:
    """Renew every subscription once; as many bare invoice rows are written by turns with it."""
    with opened_books(folder, postgres, START) as books:
        subscribed(books, count)
        books.hands.at = books.next_due()
        before, ours_s, bare_s, written = _invoices(books), 0.0, 0.0, 0
        sandbox_s = books.sandbox.spent_s
        server = 0 if postgres is None else postgres.pid
        cpu, clock = _cpu_s(server), books.clock
        spent = [0.0, 0.0]
        for _ in range(-(-count // BATCH_MAX) + 1):
            start = time.perf_counter()
            looked = clock.step()
            ours_s += time.perf_counter() - start
            spent = [
                one + now - then for one, now, then in zip(spent, _cpu_s(server), cpu, strict=True)
            ]
            if not looked:
                break
            stencil = _stencil(books)
            bare_s += _bare(books, stencil, written, looked)
            written += looked
            cpu = _cpu_s(server)
        made = _invoices(books) - before - written
        if made != count:
            raise SystemExit(f"{made} invoices were made of {count}")
        sandbox_s = books.sandbox.spent_s - sandbox_s
    return {
        "store": store,
        "subscriptions": count,
        "invoices/s": count / ours_s,
        "bare rows/s": written / bare_s,
        "bare : ours": (written / bare_s) / (count / ours_s),
        "ms an invoice": ours_s * 1e3 / count,
        "of it the sandbox": sandbox_s * 1e3 / count,
        "CPU ms": spent[0] * 1e3 / count,
        "CPU ms of Postgres": spent[1] * 1e3 / count,
    }


def _cpu_s(server: int) -> list[float]:
    return [time.process_time(), family_cpu_s(server) if server else 0.0]


def _invoices(books: Books) -> int:
    with books.ports.store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(invoice)).scalar_one())


def _stencil(books: Books) -> Row:
    """A renewal's invoice, paid."""
    wanted = select(invoice).where(invoice.c.state == "paid").limit(1)
    with books.ports.store.read() as connection:
        return dict(connection.execute(wanted).mappings().one())


def _bare(books: Books, stencil: Row, first: int, count: int) -> float:
    """Seconds for so many rows, a transaction each."""
    copies = [
        {
            **stencil,
            "id": f"bare_{n}",
            "number": f"BARE-{n}",
            "tenant": "bare",
            "subscription": None,
        }
        for n in range(first, first + count)
    ]
    statement, start = insert(invoice), time.perf_counter()
    for copy in copies:
        with books.ports.store.write("bare") as connection:
            connection.execute(statement, copy)
    return time.perf_counter() - start


# growth ----------------------------------------------------------------------------------------


@dataclass
class House:
    """One size of a house, and the milliseconds that were seen in it."""

    books: Books
    size: int
    due: list[str]
    renewals_ms: list[float]
    checks_ms: list[float]


def growth(
    store: str,
    postgres: Postgres | None,
    folder: Path,
    seconds: float,
    sizes: tuple[int, ...] = SIZES,
) -> list[Row]:
    """One renewal and one entitlement check at each size, by turns until the time is over."""
    with _houses(postgres, folder, sizes) as houses:
        deadline, turns = time.monotonic() + seconds, list(houses)
        while True:
            # By turns, and each first as often; the first round finds nothing warm and is not counted.
            turns.reverse()
            for house in turns:
                _round(house)
            if len(houses[0].renewals_ms) in _COUNTED and time.monotonic() > deadline:
                break
    found = [
        (statistics.median(one.renewals_ms[1:]), statistics.median(one.checks_ms[1:]))
        for one in houses
    ]
    return [
        {
            "store": store,
            "tenants": house.size,
            "ms a renewal": renewal,
            f"to {sizes[0]}": renewal / found[0][0],
            "ms a check": check,
            f"check to {sizes[0]}": check / found[0][1],
            "renewals": COHORT * (len(house.renewals_ms) - 1),
        }
        for house, (renewal, check) in zip(houses, found, strict=True)
    ]


@contextmanager
def _houses(
    postgres: Postgres | None, folder: Path, sizes: tuple[int, ...]
) -> Generator[list[House]]:
    with ExitStack() as stack:
        made: list[House] = []
        for size in sizes:
            books = stack.enter_context(opened_books(folder / str(size), postgres, START))
            made.append(House(books, size, subscribed(books, size, due=COHORT), [], []))
        yield made


def _round(house: House) -> None:
    """Let the cohort's next month begin; then ask for each of it once."""
    books = house.books
    books.hands.at = books.next_due()
    clock, looked, start = books.clock, 0, time.perf_counter()
    while found := clock.step():
        looked += found
    taken_s = time.perf_counter() - start
    if looked != COHORT:
        raise SystemExit(f"{looked} tenants were due of {COHORT}")
    house.renewals_ms.append(taken_s * 1e3 / looked)
    house.checks_ms.append(_median_ms([_checked(books, name) for name in house.due]))


def _checked(books: Books, name: str) -> Callable[[], str]:
    handler = CheckEntitlementHandler()
    command = CheckEntitlement(tenant=name, feature=LIMITED)
    caller = Caller(
        principal="alice",
        actor="bench",
        actor_kind="agent",
        roles=("operator",),
        tenants=("*",),
        grant_id="bench",
    )

    def ask() -> str:
        with books.ports.store.read() as connection:
            view = View(connection, caller, books.ports, cast("Any", None))
            subject = handler.subject(command, view)
            told = handler.answer(command, view, subject, [], frozenset())
            return str(told["status"])

    return ask


def _median_ms(asked: list[Callable[[], str]]) -> float:
    taken: list[float] = []
    for ask in asked:
        start = time.perf_counter()
        status = ask()
        taken.append((time.perf_counter() - start) * 1e3)
        if status != "allowed":
            raise SystemExit(f"the check answered {status}")
    return statistics.median(taken)
