"""What a change would come to: told to the cent, committed to the same cent, and refused by the same codes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.data.record_count import count_on
from policies.gate import Gate
from tests.support.approval_world import TENANT
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import ADMIN, Onboarded
from tests.support.paying_bench import VIEWER, PayingBench, paying


@pytest.fixture
def bench(tmp_path: Path, gate: Gate, standing: Onboarded) -> Iterator[PayingBench]:
    """A world of this test's own, with one tenant on a free plan."""
    with paying(standing, tmp_path, gate) as made:
        yield made


def sums(lines: list[dict[str, Any]]) -> dict[str, int]:
    return {f"{one['kind']}:{one['reference']}": one["amount_minor"] for one in lines}


def test_a_first_plan_with_a_price_is_quoted_for_a_whole_period(bench: PayingBench) -> None:
    told = bench.preview("team", currency="EUR", seats=2)
    assert sums(told["lines"]) == {"base:plan": 3100, "seats:seats": 1000}
    assert (told["total_minor"], told["credit_minor"], told["due_minor"]) == (4100, 0, 4100)
    assert (told["direction"], told["applies"], told["currency"]) == ("upgrade", "when_paid", "EUR")
    assert told["recurring_minor"] == 4100
    assert told["applies_at"] == told["proration_at"] == "2030-01-01T09:00:00.000000Z"
    assert told["unfit"] == []


@pytest.mark.long
def test_an_upgrade_gives_back_and_charges_what_is_left_of_the_period(bench: PayingBench) -> None:
    bench.on("team", seats=2)
    bench.later(days=10)
    told = bench.preview("pro")
    # 21 of 31 days are left: of 31.00 and 10.00 back, of 93.00 to pay.
    assert sums(told["lines"]) == {
        "proration_credit:plan": -2100,
        "proration_credit:seats": -677,
        "proration_debit:plan": 6300,
    }
    assert (told["total_minor"], told["due_minor"], told["recurring_minor"]) == (3523, 3523, 9300)


@pytest.mark.long_but_one
@pytest.mark.parametrize("minutes", [0, 1, 59])
def test_what_is_committed_within_the_hour_is_what_was_quoted(
    bench: PayingBench, minutes: int
) -> None:
    bench.on("team", seats=2)
    bench.later(days=10, hours=3)
    told = bench.preview("pro")
    bench.later(minutes=minutes)
    bench.do("subscription_change", plan="pro", proration_at=told["proration_at"])
    made = bench.invoices[-1]
    assert {f"{one.kind}:{one.reference}": one.amount_minor for one in made.lines} == sums(
        told["lines"]
    )
    assert (made.total_minor, bench.charged_minor()[-1]) == (told["total_minor"], told["due_minor"])


@pytest.mark.long
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    plan=st.sampled_from(("team", "pro", "vast")),
    seats=st.integers(0, 40) | st.none(),
    support=st.integers(1, 3) | st.none(),
    hours=st.integers(1, 30),
)
def test_a_preview_changes_nothing_and_adds_up(
    bench: PayingBench, plan: str, seats: int | None, support: int | None, hours: int
) -> None:
    if bench.subscription["terms"] is None:
        bench.on("team", seats=2)
    bench.later(hours=hours)
    before = (bench.book, bench.versions(), bench.invoices)
    add_ons = None if support is None else [{"name": "support", "quantity": support}]
    told = bench.ask(
        "subscription_preview_change",
        VIEWER,
        tenant=TENANT,
        plan=plan,
        seats=seats,
        add_ons=add_ons,
    )
    after = (bench.book, bench.versions(), bench.invoices)
    assert [one.subscription for one in (before[0], after[0])] == [before[0].subscription] * 2
    assert before[0].balances == after[0].balances
    assert before[1:] == after[1:]
    if told["outcome"] == "done":
        quoted = told["result"]
        assert quoted["total_minor"] == max(0, sum(sums(quoted["lines"]).values()))
        assert quoted["due_minor"] == quoted["total_minor"] - quoted["credit_minor"]
    else:
        assert told["code"] in {"same_plan", "add_on_not_offered"}


@pytest.mark.long
def test_a_preview_takes_no_number(bench: PayingBench) -> None:
    bench.on("team")
    bench.preview("pro")
    bench.do("subscription_change", plan="pro")
    assert [one.number for one in bench.invoices] == ["INV-000001", "INV-000002"]


@pytest.mark.long
def test_less_is_quoted_for_the_periods_end_with_what_stands_in_its_way(
    bench: PayingBench,
) -> None:
    bench.on("pro")
    for holder in ("a@x", "b@x", "c@x", "d@x"):
        bench.ask("seat_assign", tenant=TENANT, holder=holder, idempotency_key=fresh_key())
    told = bench.preview("free")
    assert (told["direction"], told["applies"]) == ("downgrade", "period_end")
    assert told["applies_at"] == bench.subscription["current_period_end"]
    assert (told["lines"], told["due_minor"], told["unfit"]) == ([], 0, ["seats"])
    assert bench.refused("subscription_change", plan="free") == "does_not_fit"


@pytest.mark.long_but_one
@pytest.mark.parametrize(("records", "unfit"), [(1000, []), (1001, ["records"])])
def test_a_smaller_plan_without_room_for_the_records_is_refused(
    bench: PayingBench, records: int, unfit: list[str]
) -> None:
    bench.on("pro")
    databases = bench.world.ports.databases.main
    with databases.transaction(TENANT, "pooled") as connection:
        count_on(connection, TENANT, records)
    assert bench.preview("free")["unfit"] == unfit
    if unfit:
        assert bench.refused("subscription_change", plan="free") == "does_not_fit"
    else:
        bench.do("subscription_change", plan="free")


def test_what_fell_due_meanwhile_is_reckoned_with_before_anything_is_quoted(
    bench: PayingBench,
) -> None:
    bench.on("team")
    bench.world.clock.advance(bench.month)
    # No clock has looked since: the next period runs by now, and nobody has paid for it yet.
    assert refused(bench, "pro") == "payment_overdue"
    bench.tick()
    told = bench.preview("pro")
    assert sums(told["lines"]) == {"proration_credit:plan": -3100, "proration_debit:plan": 9300}


# refusals --------------------------------------------------------------------------------------

REFUSED: dict[str, dict[str, Any]] = {
    "same_plan": {"plan": "team"},
    "interval_not_offered": {"plan": "team", "interval": "year"},
    "add_on_not_offered": {"plan": "pro", "add_ons": [{"name": "support", "quantity": 1}]},
    "two_currencies": {"plan": "pro", "currency": "USD"},
}


@pytest.mark.slice_of(2)
@pytest.mark.parametrize("code", REFUSED)
def test_what_the_change_refuses_the_preview_refuses_by_the_same_code(
    bench: PayingBench, code: str
) -> None:
    bench.on("team")
    asked = REFUSED[code]
    told = bench.ask("subscription_preview_change", VIEWER, tenant=TENANT, **asked)
    assert (told["outcome"], told["code"]) == ("refused", code)
    assert bench.refused("subscription_change", **asked) == code


@pytest.mark.long
def test_one_that_ends_or_changes_already_is_quoted_no_other_change(bench: PayingBench) -> None:
    bench.on("pro")
    bench.do("subscription_change", plan="team")
    assert refused(bench, "vast") == "change_pending"
    bench.do("subscription_cancel", ends="period_end")
    assert refused(bench, "vast") == "already_ending"


def test_one_in_debt_is_quoted_no_change_until_it_is_paid(bench: PayingBench) -> None:
    bench.on("team")
    bench.pays_with("sandbox_declined")
    bench.later(days=31)
    assert bench.subscription["state"] == "past_due"
    assert refused(bench, "pro") == "payment_overdue"
    bench.later(minutes=1)
    bench.pays_with("sandbox_ok")
    bench.tick()
    assert bench.preview("pro")["applies"] == "when_paid"


def test_a_plan_that_nobody_declared_is_not_found(bench: PayingBench) -> None:
    asked = {"tenant": TENANT, "plan": "nosuch"}
    told = bench.ask("subscription_preview_change", VIEWER, **asked)
    changed = bench.ask("subscription_change", ADMIN, **asked, idempotency_key=fresh_key())
    assert told["outcome"] == changed["outcome"] == "not_found"


def test_a_first_price_needs_a_currency(bench: PayingBench) -> None:
    told = bench.bad_input("subscription_preview_change", VIEWER, tenant=TENANT, plan="team")
    assert told.startswith("currency")


def test_a_tenant_outside_the_grant_is_not_found_as_one_that_is_not_there(
    bench: PayingBench,
) -> None:
    bench.world.grant("eve", "platform_admin", actor="eve-bot")
    bench.world.alter_grant("eve", tenants=["globex"])
    outside = bench.ask("subscription_preview_change", "eve", tenant=TENANT, plan="pro")
    assert outside == bench.ask("subscription_preview_change", ADMIN, tenant="globex", plan="pro")
    assert outside["outcome"] == "not_found"


def refused(bench: PayingBench, plan: str) -> str:
    """The code by which both the preview and the change refuse."""
    told = bench.ask("subscription_preview_change", VIEWER, tenant=TENANT, plan=plan)
    assert told["outcome"] == "refused", told
    assert bench.refused("subscription_change", plan=plan) == told["code"]
    return str(told["code"])
