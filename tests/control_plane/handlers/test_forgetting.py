"""What becomes of a gone tenant's seats, meters, webhooks and payment method, and what is kept of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Connection, func, insert, select

from control_plane.billing import book_store, seat_store
from control_plane.billing.book import Book
from control_plane.domain.canonical import instant
from control_plane.domain.terms import Method
from control_plane.handlers.billing_moves import closed_by_itself, opened
from control_plane.handlers.forgetting import forget
from control_plane.handlers.offboard import RETENTION_DAYS
from control_plane.store import tables
from control_plane.store.seat_tables import seat
from control_plane.store.usage_tables import (
    reservation,
    soft_limit_passed,
    usage_event,
    usage_tally,
)
from control_plane.store.webhook_tables import (
    webhook_delivery,
    webhook_endpoint,
    webhook_message,
)
from tests.support.approval_world import TENANT
from tests.support.lifecycle_bench import Bench
from tests.support.offboarding import offboard, unvouched

HELD = (
    seat,
    usage_event,
    usage_tally,
    reservation,
    soft_limit_passed,
    webhook_delivery,
    webhook_endpoint,
    webhook_message,
)
OVER = timedelta(days=RETENTION_DAYS)


def _used(bench: Bench, tenant: str = TENANT) -> None:
    """Give a tenant something of everything that could tell of a person."""
    world = bench.world
    now = world.ports.clock.now()
    at = instant(now)
    with world.store.write(tenant) as connection:
        seat_store.assign(connection, tenant, "ann@acme.test", size=3, now=now, by="alice")
        event = {"tenant": tenant, "source": "app", "id": "1", "meter": "calls"}
        counted = {"quantity": "1", "counted_key": "ann@acme.test"}
        when = {"occurred_at": at, "received_at": at, "period_start": at}
        connection.execute(insert(usage_event), {**event, **counted, **when})
        tally = {"aggregation": "unique", "keys": ["ann@acme.test"]}
        window = {"tenant": tenant, "meter": "calls", "period_start": at}
        connection.execute(insert(usage_tally), {**window, "tally": tally})
        feature = {"tenant": tenant, "feature": "calls"}
        held = {"resource": "r", "quantity": "1", "reserved_at": at}
        connection.execute(insert(reservation), {**feature, **held})
        connection.execute(insert(soft_limit_passed), {**feature, "passed_at": at})
        _told(connection, tenant, at)


def _told(connection: Connection, tenant: str, at: str) -> None:
    endpoint = {"id": f"e-{tenant}", "tenant": tenant, "url": "https://acme.test/hook"}
    connection.execute(
        insert(webhook_endpoint),
        {**endpoint, "kinds": ["tenant.any"], "secret": b"s", "created_at": at},
    )
    message = {"id": f"m-{tenant}", "tenant": tenant, "kind": "any", "body": b"{}", "made_at": at}
    connection.execute(insert(webhook_message), message)
    delivery = {
        "id": f"d-{tenant}",
        "tenant": tenant,
        "endpoint": f"e-{tenant}",
        "message": f"m-{tenant}",
        "state": "delivered",
        "attempts": 1,
        "replays": 0,
        "created_at": at,
        "changed_at": at,
        "version": 1,
    }
    connection.execute(insert(webhook_delivery), delivery)


def _counts(bench: Bench, tenant: str = TENANT) -> list[int]:
    with bench.world.store.read() as connection:
        return [
            connection.execute(
                select(func.count()).select_from(table).where(table.c.tenant == tenant)
            ).scalar_one()
            for table in HELD
        ]


def _book(bench: Bench) -> Book:
    with bench.world.store.read() as connection:
        return book_store.load(connection, TENANT, bench.world.ports.catalog.plans)


def _paying(bench: Bench) -> None:
    world = bench.world
    with world.store.write(TENANT) as connection:
        book = opened(connection, world.ports, TENANT)
        method = Method(provider="sandbox", reference="sandbox_ok")
        book.revise(method=method, method_set_at=world.ports.clock.now())
        closed_by_itself(connection, world.ports, book)


@pytest.fixture
def gone(bench: Bench) -> Bench:
    """A tenant that had everything, and was offboarded."""
    _used(bench)
    _paying(bench)
    offboard(bench)
    return bench


def test_a_tenant_that_can_come_back_keeps_its_seats_and_meters(gone: Bench) -> None:
    gone.world.clock.advance(OVER - timedelta(minutes=1))
    assert forget(gone.world.ports) == 0
    assert _counts(gone) == [1] * len(HELD)
    assert gone.do("tenant_restore").state == "applied"
    gone.world.clock.advance(OVER)
    assert forget(gone.world.ports) == 0
    now = gone.world.ports.clock.now()
    with gone.world.store.read() as connection:
        assert seat_store.seat_of(connection, TENANT, "ann@acme.test", now) is not None
    assert _book(gone).subscription.method is not None


def test_of_one_that_cannot_nothing_personal_is_kept(gone: Bench) -> None:
    _used(gone, "other")
    invoices = _book(gone).invoices
    gone.world.clock.advance(OVER)
    assert forget(gone.world.ports) == 1
    assert _counts(gone) == [0] * len(HELD)
    assert _counts(gone, "other") == [1] * len(HELD)
    book = _book(gone)
    assert (book.subscription.method, book.subscription.buyer) == (None, None)
    assert book.invoices == invoices
    assert unvouched(gone) == []
    assert forget(gone.world.ports) == 0


def test_a_legal_hold_keeps_everything(gone: Bench) -> None:
    world = gone.world
    world.alter(tables.tenant, tables.tenant.c.id == TENANT, legal_hold=True)
    world.clock.advance(OVER)
    assert forget(world.ports) == 0
    assert _counts(gone) == [1] * len(HELD)
