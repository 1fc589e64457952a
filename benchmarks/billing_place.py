"""Workspaces whose tenants have a paid plan, on either store. Measures nothing.

The first tenant's subscription goes through the rules and the sandbox; the others are copies of its
rows. No run onboards any of them, and none has a database of its own.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

import psutil
from many_tickets import CATALOG
from place import AUDIENCE, Place, started_worker
from servers import Listening, all_over_http
from sqlalchemy import Connection, Table, create_engine, insert, select, text

from control_plane.audit.recorder import LeafRecorder
from control_plane.billing import book_store, starting
from control_plane.billing.provider import Answer, Order
from control_plane.billing.providers.sandbox import SandboxProvider
from control_plane.domain.canonical import instant
from control_plane.domain.subscription import Subscription
from control_plane.domain.tenant import Tenant
from control_plane.domain.terms import Method, Terms
from control_plane.engine.billing_clock import BillingClock
from control_plane.engine.failpoints import Failpoints
from control_plane.handlers.billing_moves import closed_by_itself
from control_plane.handlers.handler import Ports
from control_plane.store import rows, tables
from control_plane.store.billing_tables import billing_account
from server import keys
from server.catalog import load_applied, write_sample
from server.clock import SystemClock
from server.ids import RandomIds
from server.initialise import Answers, initialise
from server.opening import open_store
from server.settings import read_settings
from server.workspace import Workspace
from tests.support.postgres import Postgres, running_postgres

StoreName = Literal["sqlite", "postgres"]
PLAN = "paid"
METER, LIMITED = "api_calls", "storage_gb"
NEVER = datetime(2999, 1, 1, tzinfo=UTC)
_PASSPHRASE = b"only for a benchmark"
_COPIED: tuple[tuple[Table, str], ...] = (
    (tables.tenant, "id"),
    (tables.fence, "tenant"),
    (tables.subscription, "tenant"),
    (billing_account, "tenant"),
)
_COPIES_AT_ONCE = 1_000


def tenant_name(number: int) -> str:
    """Tenant n, from 0."""
    return f"t{number:06d}"


@dataclass
class Hands:
    """A clock that shows what it is set to."""

    at: datetime

    def now(self) -> datetime:
        """The instant it shows."""
        return self.at


class TimedSandbox(SandboxProvider):
    """The sandbox, and the seconds spent in it."""

    spent_s = 0.0

    def charge(self, order: Order) -> Answer:
        """As the other."""
        start = time.perf_counter()
        try:
            return super().charge(order)
        finally:
            self.spent_s += time.perf_counter() - start


@dataclass(frozen=True)
class Books:
    """A workspace's store with everything that the billing clock reaches, in this process."""

    folder: Path
    workspace: Workspace
    ports: Ports
    hands: Hands
    sandbox: TimedSandbox

    @property
    def clock(self) -> BillingClock:
        """A billing clock over it, with no failure planted."""
        return BillingClock(self.ports, Failpoints())

    def next_due(self) -> datetime:
        """When the first account of all is due."""
        table = billing_account.c.next_due_at
        with self.ports.store.read() as connection:
            found = connection.execute(
                select(table).where(table.is_not(None)).order_by(table).limit(1)
            )
            return datetime.fromisoformat(found.scalars().first() or "")


# a server --------------------------------------------------------------------------------------


@contextmanager
def durable_postgres() -> Generator[Postgres]:
    """A server of this process's own that waits for its disk, as one in use does."""
    with running_postgres() as server:
        engine = create_engine(server.owner, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("ALTER SYSTEM SET fsync = 'on'"))
            connection.execute(text("SELECT pg_reload_conf()"))
        engine.dispose()
        yield server


def family_cpu_s(pid: int) -> float:
    """The CPU seconds of a process, of what it has started, and of what of that has ended."""
    try:
        main = psutil.Process(pid)
        family = [main, *main.children(recursive=True)]
        return sum(sum(one.cpu_times()[:4]) for one in family)
    except psutil.NoSuchProcess:
        return 0.0


# tenants ---------------------------------------------------------------------------------------


@contextmanager
def opened_books(folder: Path, postgres: Postgres | None, at: datetime) -> Generator[Books]:
    """A new workspace with no tenant, in this process; its clock shows `at`."""
    root, home = folder / "ws", folder / "home"
    root.mkdir(parents=True)
    write_sample(root / "catalog")
    shutil.copytree(CATALOG, root / "catalog", dirs_exist_ok=True)
    owner = None if postgres is None else postgres.owner
    answers = Answers("bench", "own_hand", _PASSPHRASE, owner)
    workspace = initialise(root, home, answers, SystemClock(), RandomIds())
    store, hands = open_store(workspace), Hands(at)
    sandbox = TimedSandbox(folder / "sandbox.db")
    with store.read() as connection:
        catalog = load_applied(connection, workspace.catalogs)
    public = keys.load_public(workspace.keys)
    unused = cast("Any", None)
    ports = Ports(
        store=store,
        clock=hands,
        ids=RandomIds(),
        recorder=LeafRecorder(public.seal_bytes, hands, RandomIds()),
        notes=unused,
        catalog=catalog,
        databases=unused,
        cursor_key=b"",
        hmac_key=b"",
        root=("", b""),
        payments={sandbox.name: sandbox},
    )
    try:
        yield Books(folder, workspace, ports, hands, sandbox)
    finally:
        sandbox.close()
        store.close()


def subscribed(books: Books, count: int, *, due: int | None = None) -> list[str]:
    """Write so many tenants with a paid plan that begins now; the names of those that fall due.

    Of all of them `due` are, evenly strewn; the others are put off for ever.
    """
    _first(books)
    every = count // (due or count)
    falling = {tenant_name(number * every) for number in range(due or count)}
    names = [tenant_name(number) for number in range(1, count)]
    with books.ports.store.read() as connection:
        stencils = {
            table.name: dict(
                connection.execute(select(table).where(table.c[column] == tenant_name(0)))
                .mappings()
                .one()
            )
            for table, column in _COPIED
        }
    for start in range(0, len(names), _COPIES_AT_ONCE):
        with books.ports.store.write() as connection:
            _copy(connection, stencils, names[start : start + _COPIES_AT_ONCE], falling)
    return sorted(falling)


def _copy(
    connection: Connection,
    stencils: dict[str, dict[str, Any]],
    names: Sequence[str],
    falling: set[str],
) -> None:
    for table, column in _COPIED:
        copies = [{**stencils[table.name], column: name} for name in names]
        for copy in copies:
            if table is tables.subscription:
                copy["id"] = copy["tenant"]
            if table is billing_account and copy["tenant"] not in falling:
                copy["next_due_at"] = instant(NEVER)
        connection.execute(insert(table), copies)


def _first(books: Books) -> None:
    name, now, ports = tenant_name(0), books.hands.at, books.ports
    held = Subscription(id=name, tenant=name, plan=PLAN, plan_version=1, state="scheduled")
    known = {column.name for column in tables.subscription.columns}
    with ports.store.write(name) as connection:
        rows.put(connection, tables.tenant, _tenant(name))
        connection.execute(insert(tables.fence).values(tenant=name, epoch=1))
        told = held.model_dump(mode="json", include=known)
        connection.execute(insert(tables.subscription).values(**told))
        book = book_store.load(connection, name, ports.catalog.plans)
        book.revise(
            terms=Terms(currency="EUR", anchor_at=now, seats=2),
            method=Method(provider="sandbox", reference="sandbox_ok"),
            method_set_at=now,
        )
        starting.start(book, now)
        closed_by_itself(connection, ports, book)
    books.clock.look(name)
    with ports.store.read() as connection:
        state = book_store.load(connection, name, ports.catalog.plans).subscription.state
    if state != "active":
        raise SystemExit(f"the first subscription is {state}")


def _tenant(name: str) -> Tenant:
    return Tenant(
        id=name,
        display_name=name,
        isolation="pooled",
        plan=PLAN,
        region="local",
        state="active",
        access_mode="full",
    )


# a face ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Faced:
    """A face over HTTP beside the store that it writes, and the processes that a request costs."""

    books: Books
    face: Listening
    engine_pid: int
    worker_pid: int
    postgres_pid: int | None

    def cpu_s(self) -> dict[str, float]:
        """The CPU seconds of each so far; the policy engine runs below the worker."""
        engine = family_cpu_s(self.engine_pid)
        postgres = 0.0 if self.postgres_pid is None else family_cpu_s(self.postgres_pid)
        return {
            "face": family_cpu_s(self.face.pid),
            "engine": engine,
            "worker": family_cpu_s(self.worker_pid) - engine,
            "Postgres": postgres,
        }


@contextmanager
def faced(folder: Path, postgres: Postgres | None, tenants: int) -> Generator[Faced]:
    """A workspace with a few tenants, its worker, and a face over HTTP with a token for them all."""
    with opened_books(folder, postgres, datetime.now(UTC)) as books:
        subscribed(books, tenants)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(Path.home()),
            "PAYBILL_HOME": str(folder / "home"),
            "PAYBILL_CACHE": str(read_settings().cache),
            "PAYBILL_LIMITS__CALLS_IN_FLIGHT_MAX": "32",
        }
        place = Place(folder, environment, books.workspace.state)
        place.run(
            *("token", "issue", "--principal", "alice", "--actor", "bench"),
            *("--roles", "operator", "--tenants", ",".join(map(tenant_name, range(tenants)))),
            *("--audience", AUDIENCE, "--out", str(place.token("http"))),
        )
        with started_worker(place), all_over_http(place, ("Paybill",)) as (face,):
            worker, engine = place.worker_pids()
            server = None if postgres is None else postgres.pid
            yield Faced(books, face, engine, worker, server)
