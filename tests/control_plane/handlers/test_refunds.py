"""A credit note that is paid back by the way it was paid: by a tool, put to its provider by the clock, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.domain.payment import attempt_id
from control_plane.engine.billing_clock import BillingClock
from control_plane.engine.failpoints import BILLING_BOUNDARIES
from control_plane.handlers.registry import failpoint_names
from policies.gate import Gate
from tests.support.approval_world import TENANT
from tests.support.lifecycle_bench import Killed, Onboarded, Striking
from tests.support.paying_bench import BILLING, PayingBench, paying
from tests.support.slices import sliced

POINTS = [
    one for one in failpoint_names() if one.startswith("issue_credit_note.") and ".undo_" not in one
]


@pytest.fixture
def bench(tmp_path: Path, gate: Gate, standing: Onboarded) -> Iterator[PayingBench]:
    """A world of this test's own, with one tenant on a free plan."""
    with paying(standing, tmp_path, gate) as made:
        yield made


def bought(bench: PayingBench, method: str = "sandbox_ok") -> dict[str, Any]:
    """A tenant that has paid 3100; what refunds 1000 of it."""
    bench.pays_with(method)
    bench.do("subscription_change", plan="team", currency="EUR")
    invoice = bench.invoices[0].id
    return {"invoice": invoice, "amount_minor": 1000, "kind": "refund", "reason": "service"}


def shown(bench: PayingBench) -> list[tuple[str, str | None]]:
    """How the refunds of the first invoice stand, as a reader is told it."""
    invoice = bench.invoices[0].id
    told: Any = bench.ask("invoice_get", BILLING, tenant=TENANT, invoice=invoice)["result"]
    stands = [one["refund"] for one in told["credit_notes"]]
    return [
        ("none", None) if one is None else (one["state"], one["decline_code"]) for one in stands
    ]


def refunded_minor(bench: PayingBench) -> int:
    """What the sandbox really gave back of the first invoice."""
    return bench.sandbox.refunded(attempt_id(bench.invoices[0].id, 1))


def standing_minor(bench: PayingBench) -> tuple[int, int, int]:
    """What is promised, what stands to the tenant's credit, and what the provider holds for us."""
    book = bench.book
    clearing = book.balances.get(("cash_clearing", "EUR"), 0)
    return -book.balances.get(("refunds", "EUR"), 0), book.credit_minor, clearing


def test_a_refund_is_promised_by_the_tool_and_given_by_the_clock_and_bounded_by_what_was_paid(
    bench: PayingBench,
) -> None:
    asked = bought(bench)
    bench.do("credit_note_issue", BILLING, **asked)
    assert (shown(bench), refunded_minor(bench)) == ([("pending", None)], 0)
    assert standing_minor(bench) == (1000, 0, 3100)
    bench.tick()
    assert (shown(bench), refunded_minor(bench)) == ([("succeeded", None)], 1000)
    assert standing_minor(bench) == (0, 0, 2100)
    bench.tick()
    assert refunded_minor(bench) == 1000
    more = {**asked, "amount_minor": 2101}
    assert bench.refused("credit_note_issue", BILLING, **more) == "credit_refused"
    # What is paid back in part may be credit for the rest.
    bench.do("credit_note_issue", BILLING, **{**asked, "amount_minor": 2100, "kind": "balance"})
    bench.tick()
    assert shown(bench) == [("succeeded", None), ("none", None)]
    assert standing_minor(bench) == (0, 2100, 2100)


@pytest.mark.long_but_one
@pytest.mark.parametrize(
    ("method", "first", "then"),
    [
        ("sandbox_refund_timeout", (1000, 0, 3100), (0, 0, 2100)),
        ("sandbox_refund_lost", (1000, 0, 3100), (0, 0, 2100)),
        ("sandbox_refund_pending", (1000, 0, 3100), (0, 0, 2100)),
        ("sandbox_refund_failed", (0, 1000, 3100), (0, 1000, 3100)),
    ],
)
def test_whatever_the_provider_says_of_a_refund_it_is_given_once_or_is_credit(
    bench: PayingBench, method: str, first: tuple[int, int, int], then: tuple[int, int, int]
) -> None:
    asked = bought(bench, method)
    bench.do("credit_note_issue", BILLING, **asked)
    bench.tick()
    assert standing_minor(bench) == first
    bench.tick()  # nothing is due before five minutes have passed
    assert standing_minor(bench) == first
    bench.later(minutes=5)
    assert standing_minor(bench) == then
    failed = method.endswith("failed")
    assert refunded_minor(bench) == (0 if failed else 1000)
    end = ("failed", "refund_refused") if failed else ("succeeded", None)
    assert shown(bench) == [end]


@pytest.mark.long
def test_a_refund_above_the_limit_waits_for_a_human(bench: PayingBench) -> None:
    bench.pays_with("sandbox_ok")
    bench.do("subscription_change", plan="large", currency="EUR")
    asked = {"invoice": bench.invoices[0].id, "kind": "refund", "reason": "service"}
    run = bench.parked("credit_note_issue", amount_minor=10_001, **asked)
    bench.tick()
    assert (refunded_minor(bench), standing_minor(bench)[0]) == (0, 0)
    assert bench.approved(run).state == "applied"
    bench.tick()
    assert refunded_minor(bench) == 10_001


@pytest.mark.long
def test_what_came_by_transfer_is_not_refunded_through_a_provider(bench: PayingBench) -> None:
    owed = bench.owing()
    run = bench.parked("payment_record", invoice=owed, amount_minor=3100, reference="bank-1")
    assert bench.approved(run).state == "applied"
    asked = {"invoice": owed, "amount_minor": 1000, "kind": "refund", "reason": "service"}
    assert bench.refused("credit_note_issue", BILLING, **asked) == "refund_not_covered"


@pytest.mark.long_but_one
@pytest.mark.parametrize("point", [*sliced(POINTS), *BILLING_BOUNDARIES])
def test_a_worker_that_died_anywhere_in_a_refund_is_followed_by_one_that_gives_it_once(
    bench: PayingBench, point: str
) -> None:
    asked = bought(bench)
    run_id = bench.propose("credit_note_issue", BILLING, **asked)
    if point in POINTS:
        bench.work_until_killed(run_id, point)
    assert bench.work(run_id).state == "applied"
    if point in BILLING_BOUNDARIES:
        with pytest.raises(Killed):
            BillingClock(bench.world.ports, Striking(point)).look(TENANT)
    bench.tick()
    bench.tick()
    assert (shown(bench), refunded_minor(bench)) == ([("succeeded", None)], 1000)
    assert standing_minor(bench) == (0, 0, 2100)
