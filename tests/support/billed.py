"""A tenant of a world put on priced plans, and its months lived by the real clock. Holds no test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from control_plane.audit.leaf import Guard
from control_plane.billing import book_store, starting
from control_plane.billing.providers.sandbox import SandboxProvider
from control_plane.domain.canonical import Json
from control_plane.domain.subscription import Subscription
from control_plane.domain.terms import Method, Terms
from control_plane.engine.billing_clock import BillingClock
from control_plane.engine.failpoints import Failpoints
from control_plane.handlers.billing_moves import closed_by_itself
from control_plane.handlers.handler import Ports
from control_plane.ports import Recorder
from control_plane.store.billing_tables import billing_account
from control_plane.store.schema import METADATA
from tests.support.approval_world import TENANT, World
from tests.support.books import PLANS
from tests.support.lifecycle_bench import Bench


def priced(bench: Bench) -> Bench:
    """The same bench with the plans of the books, and a sandbox that collects."""
    catalog: Any = bench.world.ports.catalog
    world = bench.world.with_catalog(replace(catalog, plans=PLANS))
    provider = SandboxProvider(world.workspace.sandbox_db)
    ports = replace(world.ports, payments={provider.name: provider})
    return Bench(replace(world, ports=ports))


def begin(
    bench: Bench,
    plan: str,
    *,
    method: str = "sandbox_ok",
    terms: Mapping[str, Any] | None = None,
) -> Subscription:
    """Start the tenant's subscription anew on a plan, as of now: monthly, 2 seats, in euros."""
    ports, now = bench.world.ports, bench.world.clock.now()
    agreed = {"currency": "EUR", "anchor_at": now, "seats": 2, **(terms or {})}
    with ports.store.write(TENANT) as connection:
        book = book_store.load(connection, TENANT, PLANS)
        book.revise(
            plan=plan,
            plan_version=PLANS.offer(plan).version,
            state="scheduled",
            terms=Terms.model_validate(agreed, strict=True),
            method=Method(provider="sandbox", reference=method) if method else None,
            method_set_at=now if method else None,
        )
        starting.start(book, now)
        closed_by_itself(connection, ports, book)
        return book.subscription


@dataclass
class Heard:
    """A recorder that keeps what billing told, and passes everything on."""

    inner: Recorder
    told: list[Json] = field(default_factory=list[Json])

    def record(
        self,
        connection: Connection,
        kind: str,
        tenant: str,
        payload: Mapping[str, Json],
        guards: tuple[tuple[str, str], ...] = (),
        found: tuple[Guard, ...] = (),
        *,
        only_moved: bool = False,
    ) -> str:
        """One leaf."""
        happened = payload.get("happened")
        if isinstance(happened, list):
            self.told += happened
        return self.inner.record(
            connection, kind, tenant, payload, guards, found, only_moved=only_moved
        )


def live(bench: Bench, until: datetime) -> list[dict[str, Any]]:
    """Everything that the real clock does up to `until`, turned to each instant that is due."""
    heard = Heard(bench.world.ports.recorder)
    ports = replace(bench.world.ports, recorder=heard)
    clock = BillingClock(ports, Failpoints())
    while (at := _due(ports)) is not None and at <= until:
        _turn(bench.world, at)
        assert clock.step() == 1
    _turn(bench.world, until)
    return [one for one in heard.told if isinstance(one, dict)]


def _turn(world: World, at: datetime) -> None:
    now = world.clock.now()
    if at > now:
        world.clock.advance(at - now)


def _due(ports: Ports) -> datetime | None:
    with ports.store.read() as connection:
        found = connection.execute(select(billing_account.c.next_due_at)).scalar()
    return None if found is None else datetime.fromisoformat(found)


def everything(bench: Bench) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of the store."""
    with bench.world.store.read() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in METADATA.sorted_tables
        }
