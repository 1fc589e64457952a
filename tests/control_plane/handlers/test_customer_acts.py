"""What a customer has to do before a payment is collected: told where, asked about by the clock, ended once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from control_plane.billing.provider import Answer, Order, settled
from control_plane.billing.providers.sandbox import SandboxProvider
from control_plane.domain.canonical import instant
from control_plane.domain.payment import PaymentAttempt
from control_plane.engine.billing_clock import BillingClock
from control_plane.engine.failpoints import Failpoints
from control_plane.handlers.billing_moves import closed_by_itself, take_word
from control_plane.store import rows
from control_plane.store.billing_tables import billing_account, payment_attempt
from policies.gate import Gate
from tests.support.approval_world import TENANT
from tests.support.lifecycle_bench import Onboarded
from tests.support.paying_bench import BILLING, PayingBench, paying


@pytest.fixture
def bench(tmp_path: Path, gate: Gate, standing: Onboarded) -> Iterator[PayingBench]:
    """A world of this test's own, with one tenant on a free plan."""
    with paying(standing, tmp_path, gate) as made:
        yield made


def attempts(bench: PayingBench) -> list[PaymentAttempt]:
    with bench.world.store.read() as connection:
        return rows.every(
            connection, payment_attempt, PaymentAttempt, payment_attempt.c.tenant == TENANT
        )


def due_at(bench: PayingBench) -> datetime:
    """When the clock looks at the tenant again."""
    found = select(billing_account.c.next_due_at).where(billing_account.c.tenant == TENANT)
    with bench.world.store.read() as connection:
        return datetime.fromisoformat(str(connection.execute(found).scalar_one()))


def test_an_upgrade_that_waits_for_the_customer_says_so_and_holds_once_the_clock_hears_of_it(
    bench: PayingBench,
) -> None:
    bench.on("team")
    assert bench.subscription["payment_action"] is None
    bench.pays_with("sandbox_action_2")
    asked: dict[str, Any] = {"plan": "pro", "idempotency_key": "upgrade-1"}
    assert bench.work(bench.propose("subscription_change", **asked)).state == "applied"
    told: Any = bench.ask("subscription_change", tenant=TENANT, **asked)
    (attempt,) = [one for one in attempts(bench) if one.state == "action_required"]
    now = bench.world.clock.now()
    action = {
        "invoice": attempt.invoice,
        "provider": "sandbox",
        "reference": f"sandbox_{attempt.id}",
        "url": f"https://sandbox.invalid/act/{attempt.id}",
        "since": instant(now),
        "until": bench.at(hours=23),
    }
    assert told["result"]["payment_action"] == bench.subscription["payment_action"] == action
    invoice: Any = bench.ask("invoice_get", BILLING, tenant=TENANT, invoice=attempt.invoice)
    (line,) = invoice["result"]["attempts"]
    assert (line["action_url"], line["action_until"]) == (action["url"], action["until"])
    assert "sandbox_action_2" not in str((told, invoice))
    # Asked about after five minutes, and after fifteen more.
    assert due_at(bench) == datetime.fromisoformat(bench.at(minutes=5))
    bench.later(minutes=5)
    assert bench.subscription["pending_plan"] == "pro"
    assert due_at(bench) == datetime.fromisoformat(bench.at(minutes=15))
    bench.later(minutes=15)
    assert (bench.subscription["plan"], bench.subscription["payment_action"]) == ("pro", None)
    assert bench.charged_minor() == [3100, 6200]


@pytest.mark.long
def test_a_retry_that_waits_says_so_and_fails_when_the_customer_fails(bench: PayingBench) -> None:
    owed = bench.owing()
    bench.pays_with("sandbox_action_failed_1")
    asked: dict[str, Any] = {"invoice": owed, "idempotency_key": "retry-acme-1"}
    assert bench.work(bench.propose("payment_retry", **asked)).state == "applied"
    told: Any = bench.ask("payment_retry", tenant=TENANT, **asked)["result"]
    assert told["payment_action"]["invoice"] == owed
    bench.later(minutes=5)
    assert bench.subscription["payment_action"] is None
    assert attempts(bench)[-1].state == "failed"
    assert (bench.subscription["state"], bench.charged_minor()) == ("past_due", [3100])


class Told(SandboxProvider):
    """A sandbox whose word comes by another way too, while it is asked."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.bench: PayingBench | None = None

    def ask(self, order: Order) -> Answer | None:
        told = super().ask(order)
        if self.bench is not None and told is not None:
            hears(self.bench, order.attempt, told)
        return told


def hears(bench: PayingBench, named: str, told: Answer) -> None:
    """What a webhook does with the provider's word."""
    ports = bench.world.ports
    (attempt,) = [one for one in attempts(bench) if one.id == named]
    with ports.store.write(TENANT) as connection:
        book = take_word(connection, ports, attempt, lambda held, at: settled(held, told, at))
        closed_by_itself(connection, ports, book)


@pytest.mark.long
def test_a_word_that_comes_by_webhook_while_the_clock_asks_has_one_effect(
    bench: PayingBench, tmp_path: Path
) -> None:
    told = Told(tmp_path / "told.db")
    ports = replace(bench.world.ports, payments={"sandbox": told})
    bench = PayingBench(bench.world.with_ports(ports), told)
    bench.on("team")
    bench.pays_with("sandbox_action_1")
    bench.do("subscription_change", plan="pro")
    told.bench = bench
    bench.later(minutes=5)
    BillingClock(ports, Failpoints()).step()
    assert [one.state for one in attempts(bench)] == ["succeeded", "succeeded"]
    assert bench.charged_minor() == [3100, 6200]
    assert bench.book.balances["cash_clearing", "EUR"] == 9300
    assert bench.subscription["plan"] == "pro"
    told.close()


class Confused(SandboxProvider):
    """A sandbox that names another payment when it is asked."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked = 0

    def ask(self, order: Order) -> Answer | None:
        self.asked += 1
        return Answer(kind="succeeded", reference="another")


def test_a_provider_that_contradicts_itself_is_not_asked_again_at_once(
    bench: PayingBench, tmp_path: Path
) -> None:
    confused = Confused(tmp_path / "confused.db")
    ports = replace(bench.world.ports, payments={"sandbox": confused})
    bench = PayingBench(bench.world.with_ports(ports), confused)
    bench.on("team")
    bench.pays_with("sandbox_action")
    bench.do("subscription_change", plan="pro")
    clock, asked = BillingClock(ports, Failpoints()), list[int]()
    for _ in range(2):
        bench.world.clock.advance(timedelta(minutes=5))
        for _ in range(3):
            clock.step()
            asked.append(confused.asked)
    assert asked == [1, 1, 1, 2, 2, 2]
    assert (bench.subscription["plan"], bench.charged_minor()) == ("team", [3100])
    confused.close()
