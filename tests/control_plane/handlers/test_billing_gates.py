"""What a debt closes and a payment opens, from the policy's answer to a tenant's records."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from policies.gate import Gate
from tests.support.approval_world import REQUESTER, TENANT
from tests.support.lifecycle_bench import Onboarded
from tests.support.paying_bench import BILLING, VIEWER, PayingBench, paying

MONTH_DAYS = 31


@pytest.fixture
def bench(tmp_path: Path, gate: Gate, standing: Onboarded) -> Iterator[PayingBench]:
    """A tenant on a plan with a price, paid for its first month."""
    with paying(standing, tmp_path, gate) as made:
        made.on("team", seats=2)
        yield made


def owing(bench: PayingBench, days: int) -> None:
    """Let the next payment be declined, and so many whole days go by after it."""
    bench.pays_with("sandbox_declined")
    bench.later(days=MONTH_DAYS)
    assert bench.subscription["state"] == "past_due"
    for _ in range(days):
        bench.later(days=1)


def test_a_debt_of_a_week_leaves_records_open(bench: PayingBench) -> None:
    owing(bench, 7)
    assert bench.query()["outcome"] == "done"
    assert bench.create()["outcome"] == "done"


@pytest.mark.long
def test_from_the_fourteenth_day_records_are_read_and_no_longer_changed(bench: PayingBench) -> None:
    owing(bench, 14)
    assert bench.query()["outcome"] == "done"
    refused = bench.create()
    assert (refused["outcome"], refused["code"]) == ("refused", "billing_read_only")
    assert refused["fact"] == "billing_access"
    assert "paid" in refused["message"]


def test_from_the_twenty_first_day_nothing_is_served(bench: PayingBench) -> None:
    owing(bench, 21)
    for refused in (bench.query(), bench.create()):
        assert (refused["outcome"], refused["code"]) == ("refused", "billing_suspended")


def test_a_sweep_that_never_runs_opens_nothing(bench: PayingBench) -> None:
    owing(bench, 0)
    # Nobody looks at the tenant again: the gate follows from the dates that were written down.
    bench.world.clock.advance(timedelta(days=21))
    assert bench.query()["code"] == "billing_suspended"


@pytest.mark.long
def test_a_payment_opens_everything_on_the_next_call(bench: PayingBench) -> None:
    owing(bench, 21)
    assert bench.query()["code"] == "billing_suspended"
    bench.pays_with("sandbox_ok")
    bench.tick()
    assert bench.query()["outcome"] == "done"
    assert bench.create()["outcome"] == "done"
    assert bench.subscription["state"] == "active"
    assert bench.subscription["gates"] == []


def test_what_a_debt_closes_is_told_to_whoever_may_read_the_tenant(bench: PayingBench) -> None:
    owing(bench, 14)
    told = bench.ask("tenant_get", VIEWER, tenant=TENANT)["result"]
    assert told["access_mode"] == "read_only"
    assert told["suspend_reasons"] == ["billing"]
    assert told["billing_level"] == "read_only"
    # Its own state is another matter: nothing was suspended that would have to be resumed.
    assert told["state"] == "active"


def test_whoever_may_pay_is_told_by_which_tools(bench: PayingBench) -> None:
    owing(bench, 0)
    refused = bench.ask(
        "subscription_change",
        REQUESTER,
        tenant=TENANT,
        plan="pro",
        idempotency_key="key-of-an-upgrade",
    )
    assert (refused["outcome"], refused["code"]) == ("refused", "payment_overdue")
    assert "payment_retry" in refused["next_tools"]


@pytest.mark.long
def test_a_debt_ends_the_subscription_at_the_last_rung_and_keeps_what_is_owed(
    bench: PayingBench,
) -> None:
    owing(bench, 30)
    assert bench.subscription["state"] == "canceled"
    assert bench.subscription["billing_level"] == "deprovision"
    assert sum(one.due_minor for one in bench.invoices) == 4100
    assert bench.charged_minor() == [4100]


@pytest.mark.long
def test_a_human_books_a_transfer_only_with_anothers_approval(bench: PayingBench) -> None:
    owing(bench, 14)
    (debt,) = [one for one in bench.invoices if one.due_minor]
    run = bench.propose(
        "payment_record",
        BILLING,
        invoice=debt.id,
        amount_minor=debt.due_minor,
        reference="bank-2026-0001",
    )
    parked = bench.world.work(run)
    assert parked.state == "awaiting_approval"
    assert bench.create()["code"] == "billing_read_only"
    bench.world.answer(parked)
    assert bench.world.work(run).state == "applied"
    assert bench.create()["outcome"] == "done"
