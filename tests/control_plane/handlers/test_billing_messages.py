"""What happens to a tenant's billing, as its endpoints are told of it: with the change, once, and to them alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from control_plane.billing import letters, webhook_endpoints
from control_plane.billing.book import Note
from control_plane.billing.delivery import WAITS
from control_plane.billing.hook_rounds import SCOPE
from control_plane.billing.sender import Reach, Sender
from control_plane.billing.webhook_endpoints import NewEndpoint
from control_plane.billing.webhooks import new_secret, verify
from control_plane.domain.money import Money
from control_plane.engine.billing_clock import BillingClock
from control_plane.engine.failpoints import Failpoints
from control_plane.handlers.billing_messages import KINDS, message_of, told_outside
from control_plane.secrets.box import new_keypair
from control_plane.store.webhook_tables import webhook_message
from policies.gate import Gate
from server.hook_desk import HookDesk
from server.hook_wiring import HookRounds
from server.settings import Settings
from tests.support.approval_world import TENANT
from tests.support.hooks import (
    HOST,
    LOOPBACK,
    Reply,
    in_turn,
    leads_to,
    new_authority,
    receivers,
)
from tests.support.lifecycle_bench import Onboarded
from tests.support.paying_bench import PayingBench, paying

PRIVATE, PUBLIC = new_keypair()
SECRET: SecretStr = new_secret(bytes(32))
NOW = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)


@pytest.fixture
def bench(tmp_path: Path, gate: Gate, standing: Onboarded) -> Iterator[PayingBench]:
    """A world of this test's own, with one tenant on a free plan."""
    with paying(standing, tmp_path, gate) as made:
        yield made


def listens(
    bench: PayingBench, owner: str, *kinds: str, port: int = 443, name: str = "endpoint"
) -> None:
    asked = NewEndpoint(
        id=name, tenant=owner, url=f"https://{HOST}:{port}/paybill", kinds=kinds or ("*",)
    )
    with bench.world.store.write() as connection:
        webhook_endpoints.register(
            connection, PUBLIC, asked, SECRET, bench.world.clock.now(), frozenset({port})
        )


def messages(bench: PayingBench) -> list[dict[str, Any]]:
    """What was told, in the order of its making."""
    with bench.world.store.read() as connection:
        wanted = select(webhook_message.c.body).order_by(
            webhook_message.c.made_at, webhook_message.c.kind
        )
        return [json.loads(body) for body in connection.execute(wanted).scalars()]


def test_a_change_that_is_paid_is_told_to_the_tenants_endpoint(bench: PayingBench) -> None:
    listens(bench, TENANT)
    bench.on("team", seats=2)
    told = messages(bench)
    assert {"invoice.finalised", "invoice.paid"} <= {one["type"] for one in told}
    assert all(one["type"] in KINDS or one["type"].startswith("subscription.") for one in told)
    assert {one["tenant"] for one in told} == {TENANT}
    (paid,) = [one for one in told if one["type"] == "invoice.paid"]
    (invoice,) = bench.invoices
    total = {"minor": invoice.total_minor, "currency": "EUR"}
    assert (paid["data"]["reference"], paid["data"]["amount"]) == (invoice.id, total)


@pytest.mark.parametrize(("owner", "kinds"), [("", ("invoice.*",)), (TENANT, ("invoice.paid",))])
def test_an_endpoint_is_told_of_the_kinds_that_it_asked_for(
    bench: PayingBench, owner: str, kinds: tuple[str, ...]
) -> None:
    listens(bench, owner, *kinds)
    bench.on("team", seats=2)
    found = {one["type"] for one in messages(bench)}
    assert "invoice.paid" in found
    assert all(one.startswith("invoice.") for one in found)


def test_without_an_endpoint_nothing_is_written(bench: PayingBench) -> None:
    listens(bench, "globex")
    listens(bench, TENANT, name="gone")
    with bench.world.store.write() as connection:
        webhook_endpoints.remove(connection, "gone", bench.world.clock.now())
    bench.on("team", seats=2)
    assert messages(bench) == []


@pytest.mark.long
def test_what_time_does_is_told_too_and_once(bench: PayingBench) -> None:
    bench.on("team", seats=2)
    listens(bench, TENANT, "subscription.renewed", "invoice.finalised")
    bench.later(days=31, hours=2)
    told = messages(bench)
    assert "invoice.finalised" in {one["type"] for one in told}
    BillingClock(bench.world.ports, Failpoints()).look(TENANT)
    assert messages(bench) == told


def test_the_worker_brings_a_message_to_the_endpoint_signed(
    bench: PayingBench, tmp_path: Path
) -> None:
    authority = new_authority()
    with receivers(authority, tmp_path) as start:
        receiver = start()
        listens(bench, TENANT, "invoice.paid", port=receiver.port)
        bench.on("team", seats=2)
        reach = Reach(ports=frozenset({receiver.port}), allow_loopback=True)
        sender = Sender(leads_to([LOOPBACK]), reach, authority.trusting)
        rounds = HookRounds(bench.world.ports, Settings(), PRIVATE, sender)
        assert (rounds.step(), rounds.step()) == (1, 0)
    (request,) = receiver.requests
    verify([SECRET], request.headers, request.body, bench.world.clock.now())
    assert json.loads(request.body) == messages(bench)[0]


def test_an_operators_endpoint_is_told_of_a_paid_invoice_down_to_a_replay(
    bench: PayingBench, tmp_path: Path
) -> None:
    authority, clock, store = new_authority(), bench.world.clock, bench.world.store
    replies = in_turn([Reply(500)] * len(WAITS) + [Reply()])
    with receivers(authority, tmp_path) as start:
        receiver = start(replies)
        ports = frozenset({receiver.port})
        own = bench.world.ports
        desk = HookDesk(PUBLIC, own.recorder, clock, own.ids, ports)
        with store.write(SCOPE) as connection:
            made, secret = desk.add(connection, receiver.url(), TENANT, ("invoice.paid",))
        reach = Reach(ports=ports, allow_loopback=True)
        sender = Sender(leads_to([LOOPBACK]), reach, authority.trusting)
        rounds = HookRounds(own, Settings(), PRIVATE, sender)
        bench.on("team", seats=2)
        for wait in WAITS:
            clock.advance(wait * 1.1)
            assert (rounds.step(), rounds.step()) == (1, 0)
        with store.write(SCOPE) as connection:
            ((dead, kind, _),) = letters.dead(connection, made.id)
            assert (kind, dead.cause, dead.last_status) == ("invoice.paid", "exhausted", 500)
            assert desk.replay_since(connection, made.id, NOW - timedelta(days=365)) == 1
        assert (rounds.step(), rounds.step()) == (1, 0)
        with store.read() as connection:
            assert letters.dead(connection) == []
    assert len(receiver.requests) == len(WAITS) + 1
    assert len({request.body for request in receiver.requests}) == 1
    last = receiver.requests[-1]
    verified = verify([secret], last.headers, last.body, clock.now())
    told = json.loads(last.body)
    assert verified.id == dead.message
    assert (told["type"], told["tenant"]) == ("invoice.paid", TENANT)
    assert told["data"]["reference"] == bench.invoices[0].id


def test_a_note_is_the_same_message_each_time_and_another_is_another() -> None:
    note = Note(NOW, "invoice.paid", "in_1", Money(minor=900, currency="EUR"), "A-1")
    told = message_of("acme", note)
    assert told == message_of("acme", note)
    others = [
        message_of("globex", note),
        message_of("acme", replace(note, reference="in_2")),
        message_of("acme", replace(note, kind="invoice.voided")),
        message_of("acme", replace(note, at=NOW.replace(second=1))),
        message_of("acme", replace(note, amount=None)),
    ]
    assert len({told.id, *(one.id for one in others)}) == 6
    assert told.data == {
        "reference": "in_1",
        "amount": {"minor": 900, "currency": "EUR"},
        "detail": "A-1",
    }


def test_what_is_no_matter_of_a_customers_is_not_told() -> None:
    assert [one for one in ("payment.retried", "payment.succeeded", "x") if told_outside(one)] == []
    assert all(told_outside(one) for one in (*KINDS, "subscription.renewed"))
