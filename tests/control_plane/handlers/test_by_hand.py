"""Payments by the provider `manual`: nothing is charged, and what a human writes down ends the attempt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from control_plane.billing.provider import PaymentProvider
from control_plane.billing.providers.manual import ManualProvider
from control_plane.domain.payment import PaymentAttempt
from control_plane.store import rows
from control_plane.store.billing_tables import payment_attempt
from policies.gate import Gate
from tests.support.approval_world import TENANT
from tests.support.lifecycle_bench import Onboarded
from tests.support.paying_bench import BILLING, PayingBench, paying

MONTH_MINOR = 3100


@pytest.fixture
def bench(tmp_path: Path, gate: Gate, standing: Onboarded) -> Iterator[PayingBench]:
    """A world whose worker lets a method be a transfer, beside the sandbox."""
    with paying(standing, tmp_path, gate) as made:
        both: dict[str, PaymentProvider] = {"sandbox": made.sandbox, "manual": ManualProvider()}
        world = made.world.with_ports(replace(made.world.ports, payments=both))
        yield PayingBench(world, made.sandbox)


def by_hand(bench: PayingBench, reference: str = "bank") -> None:
    bench.do("payment_method_set", provider="manual", reference=reference)


def attempts(bench: PayingBench) -> list[PaymentAttempt]:
    table = payment_attempt
    with bench.world.store.read() as connection:
        found = rows.every(connection, table, PaymentAttempt, table.c.tenant == TENANT)
    return sorted(found, key=lambda one: (one.created_at, one.number))


def states(bench: PayingBench) -> list[tuple[str, str]]:
    return [(one.provider, one.state) for one in attempts(bench)]


def written_down(bench: PayingBench, minor: int, reference: str) -> None:
    invoice = bench.invoices[-1].id
    asked: dict[str, Any] = {"invoice": invoice, "amount_minor": minor, "reference": reference}
    assert bench.approved(bench.parked("payment_record", **asked)).state == "applied"


def test_a_larger_plan_waits_for_the_transfer_and_holds_once_it_is_written_down(
    bench: PayingBench,
) -> None:
    by_hand(bench)
    bench.do("subscription_change", plan="team", currency="EUR")
    assert states(bench) == [("manual", "unknown")]
    assert bench.subscription["plan"] == "free"
    written_down(bench, MONTH_MINOR - 1, "bank-1")
    assert (states(bench), bench.subscription["plan"]) == ([("manual", "unknown")], "free")
    written_down(bench, 1, "bank-2")
    assert states(bench) == [("manual", "canceled")]
    assert (bench.subscription["plan"], bench.invoices[-1].state) == ("team", "paid")
    # The money was booked once, and as a transfer.
    assert bench.book.balances["cash", "EUR"] == MONTH_MINOR
    assert bench.charged_minor() == []


def test_nothing_is_charged_and_nobody_asked_on_once_it_is_paid(bench: PayingBench) -> None:
    bench.on("team")
    by_hand(bench)
    bench.later(days=31)
    assert states(bench)[-1] == ("manual", "unknown")
    bench.later(days=1)
    written_down(bench, MONTH_MINOR, "bank-1")
    before = attempts(bench)
    bench.later(days=5)
    assert attempts(bench) == before
    assert bench.subscription["state"] == "active"
    assert bench.charged_minor() == [MONTH_MINOR]


def test_a_transfer_that_does_not_come_is_a_debt_by_its_date(bench: PayingBench) -> None:
    bench.on("team")
    by_hand(bench)
    bench.later(days=31)
    told = bench.subscription
    assert (told["state"], told["entitled"]) == ("past_due", True)
    for _ in range(8):
        bench.later(days=2)
    assert bench.subscription["billing_level"] != "clear"
    written_down(bench, MONTH_MINOR, "bank-1")
    assert bench.subscription["state"] == "active"
    assert states(bench)[-1] == ("manual", "canceled")


def test_another_method_collects_what_waited_by_hand(bench: PayingBench) -> None:
    bench.on("team")
    by_hand(bench)
    bench.later(days=31)
    bench.pays_with("sandbox_ok")
    assert states(bench)[-1] == ("manual", "canceled")
    bench.later(minutes=1)
    assert states(bench)[-1] == ("sandbox", "succeeded")
    assert bench.charged_minor() == [MONTH_MINOR, MONTH_MINOR]
    assert bench.subscription["state"] == "active"


def test_another_method_gives_up_a_change_that_waited_by_hand(bench: PayingBench) -> None:
    by_hand(bench)
    bench.do("subscription_change", plan="team", currency="EUR")
    bench.pays_with("sandbox_ok")
    assert bench.subscription["plan"] == "free"
    assert bench.book.subscription.pending_change is None
    assert bench.invoices[-1].due_minor == 0
    bench.do("subscription_change", plan="team", currency="EUR")
    assert bench.subscription["plan"] == "team"


def test_what_came_by_hand_is_given_back_by_no_provider(bench: PayingBench) -> None:
    by_hand(bench)
    bench.do("subscription_change", plan="team", currency="EUR")
    written_down(bench, MONTH_MINOR, "bank-1")
    asked = {"invoice": bench.invoices[-1].id, "amount_minor": 100, "reason": "mistake"}
    assert (
        bench.refused("credit_note_issue", BILLING, kind="refund", **asked) == "refund_not_covered"
    )


def test_a_worker_without_it_takes_no_such_method(
    tmp_path: Path, gate: Gate, standing: Onboarded
) -> None:
    with paying(standing, tmp_path, gate) as bare:
        run = bare.work(bare.propose("payment_method_set", provider="manual", reference="bank"))
        assert (run.state, run.reason) == ("failed", "provider_unknown")
