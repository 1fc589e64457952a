"""An event of Stripe's, from where it is kept to the invoice that it settles: once, whatever comes again."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from control_plane.billing.hook_rounds import Worked, work_off
from control_plane.billing.inbox import Arrival, Inbox, receive
from control_plane.billing.provider import Answer, Order, unavailable
from control_plane.billing.providers.stripe_events import read_event
from control_plane.domain.money import Money
from control_plane.domain.payment import PaymentAttempt
from control_plane.handlers.stripe_words import PROVIDER, StripeWords
from control_plane.secrets.box import new_keypair
from control_plane.store import rows
from control_plane.store.billing_tables import payment_attempt
from control_plane.store.webhook_tables import inbound_event
from policies.gate import Gate
from tests.support.approval_world import TENANT
from tests.support.lifecycle_bench import Onboarded
from tests.support.paying_bench import PayingBench, paying

SECRET = SecretStr("whsec_of_the_endpoint")
PRIVATE, PUBLIC = new_keypair()
WAITS = Answer(kind="action_required", reference="pi_1")
PAID = Answer(kind="succeeded", reference="pi_1")


class Stub:
    """Stripe as far as it is asked here: it lets every charge wait for the customer."""

    name = PROVIDER

    def __init__(self) -> None:
        self.says: Answer | None = WAITS
        self.silent = False
        self.asked = 0

    def charge(self, order: Order) -> Answer:
        return WAITS

    def ask(self, order: Order) -> Answer | None:
        self.asked += 1
        if self.silent:
            raise unavailable("Stripe does not answer")
        return self.says

    def cancel(self, order: Order) -> Answer | None:
        return self.says

    def refund(self, refund_id: str, order: Order, amount: Money) -> Answer:
        raise AssertionError("nothing is given back here")


class Scene:
    """A tenant whose first invoice waits for the customer, and a worker that takes events."""

    def __init__(self, bench: PayingBench, stub: Stub) -> None:
        self.bench = bench
        self.stub = stub
        self.words = StripeWords(bench.world.ports, [SECRET])
        self.number = 0

    @property
    def attempt(self) -> PaymentAttempt:
        with self.bench.world.store.read() as connection:
            (found,) = rows.every(
                connection, payment_attempt, PaymentAttempt, payment_attempt.c.tenant == TENANT
            )
        return found

    def comes(self, kind: str, status: str, **fields: Any) -> str:
        """Keep an event, as the door does; its id."""
        self.number += 1
        named = fields.pop("attempt", None) or self.attempt.id
        now = self.bench.world.clock.now()
        intent = {
            "id": "pi_1",
            "object": "payment_intent",
            "status": status,
            "amount": 1000,
            "currency": "eur",
            "metadata": {"paybill_attempt": named},
            "latest_charge": "ch_1",
            **fields,
        }
        event: dict[str, Any] = {
            "id": f"evt_{self.number}",
            "type": kind,
            "created": int(now.timestamp()),
            "data": {"object": intent},
        }
        body = json.dumps(event).encode()
        headers = signed(body, int(now.timestamp()))
        assert read_event([SECRET], headers, body, now) is not None
        arrival = Arrival(provider=PROVIDER, id=event["id"], body=body, headers=headers)
        assert receive(self.bench.world.store, PUBLIC, arrival, now)
        return str(event["id"])

    def works(self, **later: float) -> Worked:
        """One round of the worker."""
        self.bench.world.clock.advance(timedelta(seconds=1, **later))
        inbox = Inbox(PRIVATE, "w")
        effects = {PROVIDER: self.words}
        return work_off(self.bench.world.store, inbox, effects, self.bench.world.clock.now)

    def outcome(self, event: str) -> str | None:
        with self.bench.world.store.read() as connection:
            wanted = select(inbound_event.c.outcome).where(inbound_event.c.id == event)
            found: str | None = connection.execute(wanted).scalar_one()
        return found

    @property
    def invoice_states(self) -> list[str]:
        return [one.state for one in self.bench.invoices]


def signed(body: bytes, at_s: int) -> dict[str, str]:
    made = hmac.new(SECRET.get_secret_value().encode(), b"%d." % at_s + body, hashlib.sha256)
    return {"stripe-signature": f"t={at_s},v1={made.hexdigest()}"}


@pytest.fixture
def scene(tmp_path: Path, gate: Gate, standing: Onboarded) -> Iterator[Scene]:
    with paying(standing, tmp_path, gate) as made:
        stub = Stub()
        ports = replace(made.world.ports, payments={"sandbox": made.sandbox, PROVIDER: stub})
        bench = replace(made, world=made.world.with_ports(ports))
        bench.do("payment_method_set", provider=PROVIDER, reference="pm_1")
        bench.do("subscription_change", plan="team", currency="EUR", seats=2)
        scene = Scene(bench, stub)
        assert scene.attempt.state == "action_required"
        yield scene


def test_a_payment_that_succeeded_settles_its_attempt_and_pays_the_invoice(scene: Scene) -> None:
    assert scene.invoice_states == ["open"]
    event = scene.comes("payment_intent.succeeded", "succeeded")
    assert scene.works() == Worked(completed=1)
    assert (scene.attempt.state, scene.invoice_states) == ("succeeded", ["paid"])
    assert (scene.outcome(event), scene.stub.asked) == ("settled", 0)


@pytest.mark.long
def test_events_that_come_twice_and_late_have_one_effect(scene: Scene) -> None:
    scene.comes("payment_intent.succeeded", "succeeded")
    scene.comes("payment_intent.succeeded", "succeeded")
    scene.comes("payment_intent.requires_action", "requires_action")
    assert scene.works() == Worked(completed=3)
    version = scene.attempt.version
    scene.comes("payment_intent.succeeded", "succeeded")
    assert scene.works() == Worked(completed=1)
    assert (scene.attempt.version, scene.invoice_states) == (version, ["paid"])


def test_where_an_event_does_not_say_how_it_ends_stripe_is_asked(scene: Scene) -> None:
    scene.stub.says = PAID
    event = scene.comes("payment_intent.payment_failed", "requires_payment_method")
    assert scene.works() == Worked(completed=1)
    assert (scene.stub.asked, scene.outcome(event)) == (1, "settled")
    assert scene.invoice_states == ["paid"]


def test_while_stripe_is_silent_the_event_waits_and_nothing_moves(scene: Scene) -> None:
    before = scene.attempt
    scene.stub.silent = True
    event = scene.comes("payment_intent.payment_failed", "requires_payment_method")
    assert scene.works() == Worked(failed=1)
    assert (scene.attempt, scene.outcome(event)) == (before, "payment_provider_unavailable")
    scene.stub.silent, scene.stub.says = False, PAID
    assert scene.works(minutes=1) == Worked(completed=1)
    assert scene.invoice_states == ["paid"]


def test_an_attempt_that_is_not_ours_is_ignored(scene: Scene) -> None:
    before = scene.attempt
    event = scene.comes("payment_intent.succeeded", "succeeded", attempt="payment_of_nobody_at_all")
    assert scene.works() == Worked(completed=1)
    assert (scene.outcome(event), scene.attempt) == ("ignored", before)


def test_an_attempt_of_another_provider_is_not_stripes_to_settle(scene: Scene) -> None:
    with scene.bench.world.store.write() as connection:
        connection.execute(payment_attempt.update().values(provider="sandbox"))
    event = scene.comes("payment_intent.succeeded", "succeeded")
    assert scene.works() == Worked(completed=1)
    assert (scene.outcome(event), scene.attempt.state) == ("ignored", "action_required")


def test_a_word_of_another_payment_is_left_to_a_human(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    before = scene.attempt
    event = scene.comes("payment_intent.succeeded", "succeeded", id="pi_2")
    assert scene.works() == Worked(completed=1)
    assert (scene.outcome(event), scene.attempt) == ("contradiction", before)
    assert f"contradicts itself about {before.id}" in caplog.text


def test_a_row_that_was_put_there_without_a_signature_has_no_effect(scene: Scene) -> None:
    before, now = scene.attempt, scene.bench.world.clock.now()
    body = json.dumps({"id": "evt_forged"}).encode()
    forged = {"stripe-signature": f"t={int(now.timestamp())},v1={'0' * 64}"}
    arrival = Arrival(provider=PROVIDER, id="evt_forged", body=body, headers=forged)
    receive(scene.bench.world.store, PUBLIC, arrival, now)
    assert scene.works() == Worked(failed=1)
    assert (scene.outcome("evt_forged"), scene.attempt) == ("webhook_signature", before)
