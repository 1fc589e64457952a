"""What requests of a product cost at its own door: usage beside bare inserts, and checks of entitlements. Starts no face."""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from http.client import HTTPConnection
from itertools import count
from typing import Any

from billing_place import LIMITED, METER, Faced, tenant_name
from sqlalchemy import insert, select

from control_plane.billing.entitlements import MeteredEntitlement, check
from control_plane.domain.canonical import instant
from control_plane.store.batch import PARAMETER, engine_of, rows_of, text_of
from control_plane.store.usage_tables import usage_event

TENANTS = 8
_STEM = b"@@@@@@@@"
_WARM = 20
_WAIT_S = 60.0
_COLUMNS = tuple(column.name for column in usage_event.columns)
_stems = count()
Row = dict[str, Any]


# the callers -----------------------------------------------------------------------------------


class Door:
    """One kept connection to a face for each thread that asks."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        self._own = threading.local()

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The answer's body; whatever is not a plain yes ends the benchmark."""
        if not hasattr(self._own, "connection"):
            self._own.connection = HTTPConnection("127.0.0.1", self._port, timeout=_WAIT_S)
        connection: HTTPConnection = self._own.connection
        connection.request(method, path, body, self._headers)
        answered = connection.getresponse()
        told = answered.read()
        if answered.status != HTTPStatus.OK:
            raise SystemExit(f"{path} answered {answered.status}: {told[:600]!r}")
        return told


@dataclass
class Slices:
    """What one kind of request came to, over all its turns."""

    wall_s: float = 0.0
    walls_ms: list[float] = field(default_factory=list[float])
    cpu_s: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def asked(self) -> int:
        """How many requests there were."""
        return len(self.walls_ms)

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.asked / self.wall_s

    def p(self, percent: int) -> float:
        """A percentile, in milliseconds."""
        walls = sorted(self.walls_ms)
        return walls[min(len(walls) - 1, len(walls) * percent // 100)]

    def cpu_us(self, name: str, units: int = 1) -> float:
        """Microseconds of CPU for each unit, of which each request has so many."""
        return self.cpu_s[name] * 1e6 / (self.asked * units)


def turn(
    slices: Slices,
    faced: Faced,
    pool: ThreadPoolExecutor,
    callers: int,
    seconds: float,
    one: Callable[[int], object],
) -> None:
    """Let so many callers ask for so long; each request is told its number."""
    deadline = time.perf_counter() + seconds

    def calling() -> list[float]:
        walls: list[float] = []
        while not walls or time.perf_counter() < deadline:
            start = time.perf_counter()
            one(next(_stems))
            walls.append((time.perf_counter() - start) * 1e3)
        return walls

    before, start = faced.cpu_s(), time.perf_counter()
    found = [made.result() for made in [pool.submit(calling) for _ in range(callers)]]
    slices.wall_s += time.perf_counter() - start
    for name, now in faced.cpu_s().items():
        slices.cpu_s[name] = slices.cpu_s.get(name, 0.0) + now - before[name]
    for walls in found:
        slices.walls_ms += walls


# usage -----------------------------------------------------------------------------------------


def usage(store: str, faced: Faced, seconds: float, events: int, callers: int) -> Row:
    """Batches of so many events through the face, and by turns the same rows as one bare insert."""
    door = Door(faced.face.port, faced.face.token)
    now = instant(datetime.now(UTC))
    bodies = [_body(tenant_name(number), events) for number in range(TENANTS)]
    texts = [_rows(tenant_name(number), events, now) for number in range(TENANTS)]
    statement = _bare_insert(faced)
    accepted = f'"accepted":{events},'.encode()

    def through(number: int) -> None:
        told = door.ask("POST", "/v1/usage", bodies[number % TENANTS].replace(_STEM, _stem(number)))
        if accepted not in told.replace(b'": ', b'":').replace(b"}", b",}"):
            raise SystemExit(f"not all were accepted: {told[:600]!r}")

    def bare(number: int) -> None:
        text = texts[number % TENANTS].replace(_STEM.decode(), _stem(number).decode())
        with faced.books.ports.store.write(tenant_name(number % TENANTS)) as connection:
            connection.execute(statement, {PARAMETER: text})

    ours, theirs = Slices(), Slices()
    with ThreadPoolExecutor(callers) as pool:
        turn(Slices(), faced, pool, callers, seconds / 20, through)
        for _ in range(4):
            turn(ours, faced, pool, callers, seconds / 8, through)
            turn(theirs, faced, pool, callers, seconds / 8, bare)
    return {
        "store": store,
        "events a request": events,
        "callers": callers,
        "events/s": ours.rate * events,
        "bare rows/s": theirs.rate * events,
        "bare : ours": theirs.rate / ours.rate,
        "p50 ms": ours.p(50),
        "CPU µs an event, face": ours.cpu_us("face", events),
        "engine": ours.cpu_us("engine", events),
        "worker": ours.cpu_us("worker", events),
        "Postgres": ours.cpu_us("Postgres", events),
        "bare Postgres": theirs.cpu_us("Postgres", events),
    }


def _stem(number: int) -> bytes:
    return f"{number:0{len(_STEM)}d}".encode()


def _body(tenant: str, events: int) -> bytes:
    stem, now = _STEM.decode(), datetime.now(UTC)
    told = [
        {
            "source": "gateway",
            "id": f"{stem}-{number:04d}",
            "meter": METER,
            "quantity": 1 + number % 7,
            # No two at one instant, as in use: what is remembered of an instant is no gain.
            "occurred_at": instant(now - timedelta(microseconds=number)),
        }
        for number in range(events)
    ]
    return json.dumps({"tenant": tenant, "events": told}).encode()


def _rows(tenant: str, events: int, now: str) -> str:
    stem = _STEM.decode()
    return text_of(
        [
            {
                "tenant": tenant,
                "source": "bare",
                "id": f"{stem}-{number:04d}",
                "meter": METER,
                "quantity": "1",
                "counted_key": "",
                "occurred_at": now,
                "received_at": now,
                "period_start": now,
            }
            for number in range(events)
        ]
    )


def _bare_insert(faced: Faced) -> Any:
    with faced.books.ports.store.read() as connection:
        given = rows_of(engine_of(connection), _COLUMNS)
    return insert(usage_event).from_select(_COLUMNS, select(*(given.c[name] for name in _COLUMNS)))


# entitlements ----------------------------------------------------------------------------------


def checks(store: str, faced: Faced, seconds: float, callers: int) -> Row:
    """Checks of one metered entitlement through the face."""
    door = Door(faced.face.port, faced.face.token)

    def ask(number: int) -> None:
        told = door.ask("GET", f"/v1/entitlements/{tenant_name(number % TENANTS)}/{LIMITED}")
        if b'"allowed"' not in told:
            raise SystemExit(f"the check answered {told[:600]!r}")

    found = Slices()
    with ThreadPoolExecutor(callers) as pool:
        turn(Slices(), faced, pool, callers, seconds / 10, ask)
        turn(found, faced, pool, callers, seconds * 0.9, ask)
    pure = pure_checks(min(seconds, 1.0))
    return {
        "store": store,
        "callers": callers,
        "checks/s": found.rate,
        "p50 ms": found.p(50),
        "p99 ms": found.p(99),
        "CPU µs a check, face": found.cpu_us("face"),
        "engine": found.cpu_us("engine"),
        "worker": found.cpu_us("worker"),
        "Postgres": found.cpu_us("Postgres"),
        "the bare rule, checks/s": pure,
    }


def pure_checks(seconds: float) -> float:
    """How often a second the rule alone is asked; the median of five turns."""
    entitlement = MeteredEntitlement(
        feature=LIMITED, soft_limit=Decimal(80), hard_limit=Decimal(100), grace_hours=48
    )
    used, none, asked, now = Decimal(10), Decimal(0), Decimal(1), datetime.now(UTC)
    rates: list[float] = []
    for _ in range(5):
        calls, start = 0, time.perf_counter()
        while (taken := time.perf_counter() - start) < seconds / 5:
            for _ in range(_WARM):
                check(entitlement, used, none, asked, now)
            calls += _WARM
        rates.append(calls / taken)
    return statistics.median(rates)
