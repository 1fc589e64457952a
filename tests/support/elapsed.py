"""Weeks of a tenant's subscription lived in a moment, by the real billing clock under an earlier time. Not a worker, and no test."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from control_plane.audit.recorder import guard
from control_plane.billing import book_store, starting
from control_plane.billing.book import Book
from control_plane.billing.clockwork import next_due_at
from control_plane.billing.providers.sandbox import SandboxProvider
from control_plane.domain.terms import Method, Terms
from control_plane.engine.billing_clock import BillingClock
from control_plane.engine.failpoints import Failpoints
from control_plane.handlers.billing_moves import closed_by_itself
from control_plane.handlers.handler import Ports
from control_plane.ports import Store
from control_plane.store import rows, tables
from server.wiring import face_ports
from tests.support.house import House

FIRST: Final = "sandbox_ok"


@dataclass(frozen=True)
class Past:
    """What was agreed on `began` ago, by a method that works: two seats, monthly, in euros.

    The method is `then` from the first payment on. The clock has looked at it `looks` times since,
    each time when something was due, and `moved` is what was done to it then.
    """

    plan: str
    began: timedelta
    then: str = FIRST
    looks: int = 1_000
    moved: Callable[[Book, datetime], None] | None = None


class _Earlier:
    """A clock that stands where it is put."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        """The instant it shows."""
        return self.at


class _OneTransaction:
    """A store whose every transaction is the one that is given: a worker sees all of it, or nothing."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextmanager
    def _held(self) -> Generator[Connection]:
        yield self._connection

    def write(self, scope: str | None = None) -> Any:
        """See `Store`."""
        return self._held()

    append = read = write

    def close(self) -> None:
        """It is whoever opened it that closes it."""


def live(house: House, tenant: str, past: Past) -> None:
    """Put a tenant that stands on a plan, and let what has become of it since be done at its instants."""
    now = datetime.now(UTC)
    with (
        house.store() as store,
        closing(SandboxProvider(house.workspace.sandbox_db)) as sandbox,
        store.write(tenant) as connection,
    ):
        clock = _Earlier(now - past.began)
        held: Store = _OneTransaction(connection)
        ports = face_ports(house.workspace, house.settings, held, "worker")
        ports = replace(ports, clock=clock, payments={sandbox.name: sandbox})
        with closing(ports.databases):
            _begin(connection, ports, tenant, past)
            billing = BillingClock(ports, Failpoints())
            billing.look(tenant)
            _afterwards(connection, ports, tenant, past)
            for _ in range(past.looks):
                due = next_due_at(_book(connection, ports, tenant))
                if due is None or due > now:
                    break
                clock.at = max(clock.at, due)
                billing.look(tenant)


def _book(connection: Connection, ports: Ports, tenant: str) -> Book:
    return book_store.load(connection, tenant, ports.catalog.plans)


def _begin(connection: Connection, ports: Ports, tenant: str, past: Past) -> None:
    """A subscription that starts anew, on a tenant whose row says so."""
    offer, at = ports.catalog.plans.offer(past.plan), ports.clock.now()
    table, key = tables.tenant, (tables.tenant.name, tenant)
    stood = guard(connection, *key)
    rows.change(
        connection, table, table.c.id == tenant, version=table.c.version + 1, plan=offer.name
    )
    ports.recorder.record(connection, "tenant.put_on", tenant, {}, (key,), (stood,))
    agreed = {"currency": "EUR", "anchor_at": at, "seats": 2}
    terms = Terms.model_validate(agreed, strict=True)
    book = _book(connection, ports, tenant)
    book.revise(
        plan=offer.name,
        plan_version=offer.version,
        state="scheduled",
        terms=terms,
        method=Method(provider="sandbox", reference=FIRST),
        method_set_at=at,
    )
    starting.start(book, at)
    closed_by_itself(connection, ports, book)


def _afterwards(connection: Connection, ports: Ports, tenant: str, past: Past) -> None:
    book, at = _book(connection, ports, tenant), ports.clock.now()
    if past.then != FIRST:
        book.revise(method=Method(provider="sandbox", reference=past.then), method_set_at=at)
    if past.moved is not None:
        past.moved(book, at)
    closed_by_itself(connection, ports, book)
