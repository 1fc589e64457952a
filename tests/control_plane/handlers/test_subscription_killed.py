"""The moves of a subscription by workers that die or fail at each boundary: made once, charged once, nothing lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.engine.billing_clock import BillingClock
from control_plane.engine.failpoints import BILLING_BOUNDARIES
from control_plane.handlers.registry import failpoint_names
from policies.gate import Gate
from tests.support.approval_world import TENANT
from tests.support.lifecycle_bench import Killed, Onboarded, Striking
from tests.support.paying_bench import BILLING, PayingBench, paying
from tests.support.slices import sliced

OTHERS = {
    "cancel_subscription": "subscription_cancel",
    "pause_subscription": "subscription_pause",
    "resume_subscription": "subscription_resume",
    "set_payment_method": "payment_method_set",
    "set_billing_details": "billing_details_set",
    "retry_payment": "payment_retry",
    "record_payment": "payment_record",
    "issue_credit_note": "credit_note_issue",
}
OTHER_POINTS = [name for name in failpoint_names() if name.split(".")[0] in OTHERS]
NAMES = [name for name in failpoint_names() if name.startswith("change_subscription.")]
FORWARD = [name for name in NAMES if ".undo_" not in name]
BACKWARD = [name for name in NAMES if ".undo_" in name]
LAST = "change_subscription.finish.before"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.sweep)])
def bench(
    tmp_path: Path, gate: Gate, standing: Onboarded, request: pytest.FixtureRequest
) -> Iterator[PayingBench]:
    """A world of this test's own over each store, with one tenant on a free plan."""
    server = request.getfixturevalue("postgres") if request.param == "postgres" else None
    with paying(standing, tmp_path, gate, server) as made:
        yield made


@pytest.mark.long_but_one
@pytest.mark.parametrize("point", sliced(FORWARD))
def test_a_worker_that_died_anywhere_in_a_change_has_another_charge_once(
    bench: PayingBench, point: str
) -> None:
    bench.on("team", seats=2)
    before = bench.subscription
    run_id = bench.propose("subscription_change", plan="pro")
    bench.work_until_killed(run_id, point)
    bench.tick()
    run = bench.work(run_id)
    bench.tick()
    if point.endswith("collect.dispatched"):
        # Whether it had gone out nobody knew: asked, the provider had not heard of it.
        assert (run.state, run.reason) == ("compensated", "payment_declined")
        assert (bench.subscription, bench.charged_minor()) == (before, [4100])
        assert [one.state for one in bench.invoices] == ["paid", "void"]
        bench.do("subscription_change", plan="pro")
    else:
        assert run.state == "applied"
        assert [one.state for one in bench.invoices] == ["paid", "paid"]
    assert bench.charged_minor() == [4100, 9300 - 4100]
    assert (bench.subscription["plan"], bench.tenant.plan) == ("pro", "pro")


def ready(bench: PayingBench, kind: str) -> dict[str, Any]:
    """Bring the tenant to where a move starts; the arguments of the move."""
    if kind in ("retry_payment", "record_payment", "issue_credit_note"):
        asked: dict[str, Any] = {"invoice": bench.owing()}
        if kind == "retry_payment":
            bench.pays_with("sandbox_ok")
            return asked
        asked["amount_minor"] = 100
        if kind == "record_payment":
            return asked | {"reference": "bank-1"}
        return asked | {"kind": "reduction", "reason": "service"}
    bench.on("team")
    if kind == "resume_subscription":
        bench.do("subscription_cancel", ends="period_end")
        return {}
    begun: dict[str, dict[str, Any]] = {
        "cancel_subscription": {"ends": "period_end"},
        "pause_subscription": {"until": bench.at(days=9)},
        "set_payment_method": {"provider": "sandbox", "reference": "sandbox_stolen"},
        "set_billing_details": {"country": "DE", "business": True, "vat_id": "DE123456789"},
    }
    return begun[kind]


@pytest.mark.long_but_one
@pytest.mark.parametrize("point", sliced([one for one in OTHER_POINTS if ".undo_" not in one]))
def test_a_worker_that_died_anywhere_in_a_move_has_another_make_it_once(
    bench: PayingBench, point: str
) -> None:
    kind = point.split(".", maxsplit=1)[0]
    asked, charged = ready(bench, kind), bench.charged_minor()
    run_id = bench.propose(OTHERS[kind], BILLING, **asked)
    if kind == "record_payment":
        assert bench.work(run_id).state == "awaiting_approval"
        bench.world.answer(bench.world.run(run_id))
    before = bench.book
    bench.work_until_killed(run_id, point)
    run = bench.work(run_id)
    if point.endswith("collect.dispatched"):
        # Nobody knew whether it had gone out. It is asked about, and tried again by itself later.
        assert (run.state, bench.charged_minor()) == ("compensated", charged)
        bench.later(hours=1)
    else:
        assert run.state == "applied"
    after = bench.book
    due_minor = [sum(one.due_minor for one in book.owed()) for book in (before, after)]
    taken_minor = {"retry_payment": 3100, "record_payment": 100, "issue_credit_note": 100}
    assert due_minor[0] - due_minor[1] == taken_minor.get(kind, 0)
    assert bench.charged_minor() == charged + [3100] * (kind == "retry_payment")


@pytest.mark.long
@pytest.mark.parametrize("point", sliced([one for one in OTHER_POINTS if ".undo_" in one]))
def test_a_move_whose_only_step_failed_has_nothing_to_undo(bench: PayingBench, point: str) -> None:
    kind, step, _ = point.split(".")
    asked = ready(bench, kind)
    run_id = bench.propose(OTHERS[kind], BILLING, **asked)
    if kind == "record_payment":
        assert bench.work(run_id).state == "awaiting_approval"
        bench.world.answer(bench.world.run(run_id))
    before = (bench.subscription, bench.book.balances, bench.charged_minor())
    run = bench.work(run_id, f"{kind}.{step}.before")
    assert run.state in ("failed", "compensated"), run
    assert (bench.subscription, bench.book.balances, bench.charged_minor()) == before


@pytest.mark.parametrize("point", BILLING_BOUNDARIES)
def test_a_clock_that_died_anywhere_in_a_renewal_is_followed_by_one_that_charges_once(
    bench: PayingBench, point: str
) -> None:
    bench.on("team")
    bench.world.clock.advance(bench.month)
    with pytest.raises(Killed):
        BillingClock(bench.world.ports, Striking(point)).look(TENANT)
    # Past the deadline of an attempt that went out nobody knows what became of it: it is asked about.
    for _ in range(3):
        bench.later(hours=1)
    assert bench.charged_minor() == [3100, 3100]
    assert [one.state for one in bench.invoices] == ["paid", "paid"]
    assert bench.subscription["state"] == "active"


@pytest.mark.parametrize("point", sliced(BACKWARD))
def test_a_worker_that_died_anywhere_in_undoing_it_loses_no_money(
    bench: PayingBench, point: str
) -> None:
    bench.on("team", seats=2)
    before = bench.subscription
    run_id = bench.propose("subscription_change", plan="pro")
    bench.work_until_killed(run_id, point, LAST)
    bench.tick()
    assert bench.work(run_id, LAST).state == "compensated"
    bench.tick()
    assert bench.subscription == before
    # What was charged in between is the tenant's: it pays for what comes next.
    assert bench.charged_minor() == [4100, 9300 - 4100]
    assert bench.book.credit_minor == 9300 - 4100
