"""A subscription as it is moved by runs: charged once, asked of a human where it is much, undone to what was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graphs.errors import Unlisted
from policies.gate import Gate
from tests.support.approval_world import TENANT
from tests.support.lifecycle_bench import Onboarded
from tests.support.paying_bench import BILLING, PayingBench, paying


@pytest.fixture
def bench(tmp_path: Path, gate: Gate, standing: Onboarded) -> Iterator[PayingBench]:
    """A world of this test's own, with one tenant on a free plan."""
    with paying(standing, tmp_path, gate) as made:
        yield made


# a change of plan ------------------------------------------------------------------------------


def test_an_upgrade_is_charged_once_and_moves_plan_rights_and_tenant(bench: PayingBench) -> None:
    bench.on("team", seats=2)
    bench.later(days=10)
    bench.do("subscription_change", plan="pro", seats=5)
    assert bench.charged_minor() == [4100, 3523]
    assert (bench.subscription["plan"], bench.tenant.plan) == ("pro", "pro")
    assert bench.subscription["terms"]["seats"] == 5
    assert [one.state for one in bench.invoices] == ["paid", "paid"]
    assert bench.subscription["pending_plan"] is None


def test_seats_and_add_ons_are_bought_for_what_is_left_of_the_period(bench: PayingBench) -> None:
    bench.on("team", seats=2)
    bench.later(days=10)
    support = [{"name": "support", "quantity": 2}]
    bench.do("subscription_change", plan="team", seats=4, add_ons=support)
    # 21 of 31 days: of twice 5.00 back, of four times 5.00 and of twice 7.00 to pay.
    assert bench.charged_minor() == [4100, 1355 - 677 + 948]
    assert bench.subscription["terms"]["add_ons"] == support


def test_less_holds_from_the_periods_end_and_is_charged_nothing(bench: PayingBench) -> None:
    bench.on("pro")
    bench.do("subscription_change", plan="team")
    told = bench.subscription
    assert (told["plan"], told["pending_plan"]) == ("pro", "team")
    assert told["pending_at"] == told["current_period_end"]
    bench.later(days=31)
    assert (bench.subscription["plan"], bench.charged_minor()) == ("team", [9300, 3100])


def test_a_first_plan_that_fails_once_it_is_paid_leaves_the_free_one_and_the_money_as_credit(
    bench: PayingBench,
) -> None:
    bench.pays_with("sandbox_ok")
    run = bench.propose("subscription_change", plan="team", currency="EUR", seats=2)
    assert bench.work(run, "change_subscription.finish.before").state == "compensated"
    told = bench.subscription
    assert (told["plan"], told["terms"], told["current_period_end"]) == ("free", None, None)
    assert bench.charged_minor() == [4100]
    assert bench.book.credit_minor_in("EUR") == 4100
    assert bench.tenant.plan == "free"


def test_a_change_that_fails_once_it_is_paid_goes_on_as_before_with_the_money_as_credit(
    bench: PayingBench,
) -> None:
    bench.on("team", seats=2)
    bench.later(days=10)
    before = bench.subscription
    run = bench.propose("subscription_change", plan="team", seats=4)
    assert bench.work(run, "change_subscription.finish.before").state == "compensated"
    assert bench.subscription == before
    assert bench.book.credit_minor == bench.charged_minor()[1]


def test_without_a_method_the_change_is_refused_at_once(bench: PayingBench) -> None:
    code = bench.refused("subscription_change", plan="team", currency="EUR")
    assert code == "payment_method_required"


@pytest.mark.long_but_one
@pytest.mark.parametrize("method", ["sandbox_declined", "sandbox_stolen", "sandbox_down"])
def test_declined_everything_stays_as_it_was(bench: PayingBench, method: str) -> None:
    bench.on("team", seats=2)
    bench.pays_with(method)
    before, deferred = bench.subscription, bench.book.balances
    run = bench.work(bench.propose("subscription_change", plan="pro"))
    assert (run.state, run.reason) == ("compensated", "payment_declined")
    assert bench.subscription == before
    assert bench.charged_minor() == [4100]
    assert [one.state for one in bench.invoices] == ["paid", "void"]
    assert bench.book.balances == deferred
    bench.pays_with("sandbox_ok")
    bench.do("subscription_change", plan="pro")
    assert bench.charged_minor() == [4100, 6200 - 1000]


@pytest.mark.long_but_one
@pytest.mark.parametrize("paid", [True, False])
def test_what_waits_for_the_bank_holds_once_the_bank_has_paid_and_else_never(
    bench: PayingBench, paid: bool
) -> None:
    bench.on("team")
    bench.pays_with("sandbox_pending")
    bench.do("subscription_change", plan="pro")
    assert (bench.subscription["plan"], bench.subscription["pending_plan"]) == ("team", "pro")
    (attempt,) = bench.book.attempts.values()
    settle = bench.sandbox.complete if paid else bench.sandbox.abandon
    settle(attempt.id)
    bench.later(days=1)
    assert bench.subscription["plan"] == ("pro" if paid else "team")
    assert bench.subscription["pending_plan"] is None
    assert bench.charged_minor() == ([3100, 6200] if paid else [3100])
    assert bench.invoices[-1].state == ("paid" if paid else "void")


@pytest.mark.long_but_one
@pytest.mark.parametrize(
    ("method", "charged"), [("sandbox_timeout", [3100, 6200]), ("sandbox_lost", [3100])]
)
def test_where_the_provider_falls_silent_it_is_asked_and_charges_once_or_not_at_all(
    bench: PayingBench, method: str, charged: list[int]
) -> None:
    bench.on("team")
    bench.pays_with(method)
    bench.do("subscription_change", plan="pro")
    assert bench.subscription["pending_plan"] == "pro"
    bench.later(hours=1)
    assert bench.subscription["pending_plan"] is None
    assert bench.charged_minor() == charged
    assert bench.subscription["plan"] == ("pro" if len(charged) == 2 else "team")


def test_a_dry_run_says_what_would_be_and_moves_nothing(bench: PayingBench) -> None:
    bench.on("team")
    before = (bench.subscription, bench.versions(), bench.invoices)
    run = bench.work(bench.propose("subscription_change", plan="pro", dry_run=True))
    assert (run.state, run.reason) == ("discarded", "dry_run")
    told: Any = (run.plan or {})["parts"]
    assert told["money"]["invoices"][0]["due_minor"] == 6200
    assert told["entitlement"]["pending_plan"] == "pro"
    assert (bench.subscription, bench.versions(), bench.invoices) == before


# a quote and its age ---------------------------------------------------------------------------


def test_a_quote_that_is_too_old_is_refused(bench: PayingBench) -> None:
    bench.on("team")
    quoted = bench.preview("pro")["proration_at"]
    bench.later(hours=1, seconds=1)
    asked = {"plan": "pro", "proration_at": quoted}
    assert bench.refused("subscription_change", **asked) == "quote_expired"


def test_a_quote_whose_run_was_taken_up_too_late_is_refused(bench: PayingBench) -> None:
    bench.on("team")
    run_id = bench.propose("subscription_change", plan="pro")
    bench.later(hours=1, seconds=1)
    run = bench.work(run_id)
    assert (run.state, run.reason) == ("failed", "quote_expired")
    assert bench.charged_minor() == [3100]


def test_a_quote_of_a_period_that_is_over_is_refused(bench: PayingBench) -> None:
    bench.on("team")
    bench.later(days=30, hours=23, minutes=50)
    quoted = bench.preview("pro")["proration_at"]
    bench.later(minutes=20)
    asked = {"plan": "pro", "proration_at": quoted}
    assert bench.refused("subscription_change", **asked) == "quote_expired"


def test_nobody_is_charged_as_of_an_instant_that_is_still_to_come(bench: PayingBench) -> None:
    bench.on("team")
    wrong = bench.bad_input(
        "subscription_change",
        tenant=TENANT,
        plan="pro",
        proration_at=bench.at(days=30),
        idempotency_key="much-later",
    )
    assert wrong.startswith("proration_at")


# what a human is asked -------------------------------------------------------------------------


@pytest.mark.long
def test_a_charge_above_the_limit_waits_for_a_human(bench: PayingBench) -> None:
    bench.on("team")
    run = bench.parked("subscription_change", plan="vast")
    assert bench.charged_minor() == [3100]
    assert bench.approved(run).state == "applied"
    assert bench.charged_minor() == [3100, 310000 - 3100]


def test_a_charge_at_the_limit_does_not_wait(bench: PayingBench) -> None:
    bench.on("large")
    assert bench.charged_minor() == [100_000]


@pytest.mark.long
def test_an_approval_of_money_that_has_moved_since_charges_nothing(bench: PayingBench) -> None:
    bench.on("team")
    run = bench.parked("subscription_change", plan="vast")
    bench.do(
        "credit_note_issue",
        BILLING,
        invoice=bench.invoices[0].id,
        amount_minor=100,
        kind="balance",
        reason="goodwill",
    )
    ended = bench.approved(run)
    assert (ended.state, ended.reason) == ("failed", "digest_changed")
    assert bench.charged_minor() == [3100]
    assert bench.subscription["plan"] == "team"


def test_rights_end_at_once_only_by_a_humans_word(bench: PayingBench) -> None:
    bench.on("team", seats=2)
    bench.later(days=10)
    run = bench.parked("subscription_cancel", ends="now")
    assert bench.subscription["state"] == "active"
    assert bench.approved(run).state == "applied"
    assert (bench.subscription["state"], bench.subscription["entitled"]) == ("canceled", False)
    # What is unused stands to the tenant's credit.
    assert bench.book.credit_minor == 2100 + 677


@pytest.mark.long
def test_no_one_writes_a_payment_down_without_another(bench: PayingBench) -> None:
    owed = bench.owing()
    asked: dict[str, Any] = {"invoice": owed, "amount_minor": 3200, "reference": "bank-1"}
    run = bench.parked("payment_record", **asked)
    assert bench.approved(run).state == "applied"
    assert bench.subscription["state"] == "active"
    assert (bench.book.credit_minor, bench.charged_minor()) == (100, [3100])
    assert bench.refused("payment_record", BILLING, **asked) == "payment_recorded"


@pytest.mark.parametrize("tool", ["payment_record", "credit_note_issue"])
def test_who_runs_tenants_writes_no_money_down(bench: PayingBench, tool: str) -> None:
    with pytest.raises(Unlisted):
        bench.ask(tool, tenant=TENANT)


@pytest.mark.long
def test_a_retry_above_the_limit_waits_for_a_human(bench: PayingBench) -> None:
    bench.pays_with("sandbox_ok")
    run = bench.parked("subscription_change", plan="vast", currency="EUR")
    bench.approved(run)
    bench.pays_with("sandbox_declined")
    bench.later(days=31)
    bench.pays_with("sandbox_ok")
    retried = bench.parked("payment_retry", invoice=bench.invoices[-1].id)
    assert bench.approved(retried).state == "applied"
    assert bench.charged_minor() == [310_000, 310_000]


# ending, resting, going on ---------------------------------------------------------------------


def test_a_cancellation_at_the_periods_end_is_taken_back(bench: PayingBench) -> None:
    bench.on("team")
    before = bench.subscription
    bench.do("subscription_cancel", ends="period_end")
    assert bench.subscription == {**before, "cancel_at_period_end": True}
    assert bench.refused("subscription_cancel", ends="period_end") == "already_ending"
    bench.do("subscription_resume")
    assert bench.subscription == before
    assert bench.refused("subscription_resume") == "illegal_transition"


def test_one_that_is_ending_ends_with_its_period_and_is_billed_no_more(bench: PayingBench) -> None:
    bench.on("team")
    bench.do("subscription_cancel", ends="period_end")
    bench.later(days=31)
    assert bench.subscription["state"] == "canceled"
    assert bench.charged_minor() == [3100]
    assert bench.refused("subscription_resume") == "illegal_transition"


def test_a_free_one_has_no_period_to_end_with(bench: PayingBench) -> None:
    assert bench.refused("subscription_cancel", ends="period_end") == "no_period"


def test_a_pause_gives_back_what_is_unused_and_ends_by_itself(bench: PayingBench) -> None:
    bench.on("team")
    bench.later(days=10)
    bench.do("subscription_pause", until=bench.at(days=40))
    assert (bench.subscription["state"], bench.subscription["entitled"]) == ("paused", False)
    assert bench.book.credit_minor == 2100
    bench.later(days=39)
    assert bench.charged_minor() == [3100]
    bench.later(days=1)
    assert bench.subscription["state"] == "active"
    # The credit pays for the new period first.
    assert bench.charged_minor() == [3100, 1000]


@pytest.mark.long
def test_a_pause_is_lifted_before_its_time(bench: PayingBench) -> None:
    bench.on("team")
    bench.do("subscription_pause", until=bench.at(days=40))
    bench.later(days=1)
    bench.do("subscription_resume")
    bench.tick()
    assert bench.subscription["state"] == "active"
    assert bench.subscription["paused_until"] is None


def test_a_pause_is_refused_by_a_plan_that_has_none_and_for_a_time_that_is_past(
    bench: PayingBench,
) -> None:
    bench.pays_with("sandbox_ok")
    run = bench.parked("subscription_change", plan="vast", currency="EUR")
    bench.approved(run)
    asked = {"until": bench.at(days=9)}
    assert bench.refused("subscription_pause", **asked) == "pause_not_offered"


def test_a_pause_ends_in_the_future(bench: PayingBench) -> None:
    bench.on("team")
    asked = {"tenant": TENANT, "until": bench.at(), "idempotency_key": "until-now"}
    assert bench.bad_input("subscription_pause", **asked).startswith("until")


# money alone -----------------------------------------------------------------------------------


@pytest.mark.long
def test_a_new_method_and_a_retry_settle_a_debt(bench: PayingBench) -> None:
    owed = bench.owing()
    bench.pays_with("sandbox_ok")
    bench.do("payment_retry", invoice=owed)
    assert bench.subscription["state"] == "active"
    assert bench.charged_minor() == [3100, 3100]
    assert bench.refused("payment_retry", invoice=owed) == "nothing_due"


def test_a_retry_that_is_declined_fails_and_leaves_the_debt_as_it_was(bench: PayingBench) -> None:
    owed = bench.owing()
    run = bench.work(bench.propose("payment_retry", invoice=owed))
    assert (run.state, run.reason) == ("compensated", "payment_declined")
    assert bench.subscription["state"] == "past_due"
    assert bench.invoices[-1].due_minor == 3100
    assert bench.invoices[-1].attempts == 2


def test_while_a_payment_is_under_way_there_is_no_other(bench: PayingBench) -> None:
    bench.on("team")
    bench.pays_with("sandbox_pending")
    bench.later(days=31)
    owed = bench.invoices[-1].id
    assert bench.refused("payment_retry", invoice=owed) == "attempt_in_flight"


@pytest.mark.parametrize("tool", ["payment_retry", "payment_record", "credit_note_issue"])
def test_an_invoice_of_another_tenants_is_not_found(bench: PayingBench, tool: str) -> None:
    asked: dict[str, Any] = {"tenant": TENANT, "invoice": "invoice_1", "idempotency_key": tool * 2}
    if tool != "payment_retry":
        asked |= {"amount_minor": 1}
    asked |= {"reference": "x"} if tool == "payment_record" else {}
    asked |= {"kind": "balance", "reason": "mistake"} if tool == "credit_note_issue" else {}
    assert bench.ask(tool, BILLING, **asked)["outcome"] == "not_found"


def test_the_same_method_again_is_bad_input_and_an_unknown_provider_is_refused(
    bench: PayingBench,
) -> None:
    bench.pays_with("sandbox_ok")
    method = {"provider": "sandbox", "reference": "sandbox_ok"}
    asked = {"tenant": TENANT, "idempotency_key": "once-more"}
    assert bench.bad_input("payment_method_set", **method, **asked).startswith("reference")
    run_id = bench.propose("payment_method_set", provider="nobody", reference="x")
    run = bench.work(run_id)
    assert (run.state, run.reason) == ("failed", "provider_unknown")
    assert bench.subscription["payment_provider"] == "sandbox"


def test_the_token_of_a_method_is_nobodys_to_read(bench: PayingBench) -> None:
    bench.pays_with("sandbox_declined_7")
    assert "sandbox_declined_7" not in str(bench.subscription)


def test_a_credit_note_lowers_what_is_due_or_stands_to_the_tenants_credit(
    bench: PayingBench,
) -> None:
    owed = bench.owing()
    paid = bench.invoices[0].id
    note = {"reason": "service", "amount_minor": 100}
    bench.do("credit_note_issue", BILLING, invoice=owed, kind="reduction", **note)
    assert bench.invoices[-1].due_minor == 3000
    bench.do("credit_note_issue", BILLING, invoice=paid, kind="balance", **note)
    # What is still owed is paid out of it at once.
    assert (bench.invoices[-1].due_minor, bench.book.credit_minor) == (2900, 0)
    more = {"invoice": owed, "kind": "reduction", "reason": "service", "amount_minor": 2901}
    assert bench.refused("credit_note_issue", BILLING, **more) == "credit_refused"


def test_much_that_is_given_back_waits_for_a_human(bench: PayingBench) -> None:
    bench.on("large")
    note = {"invoice": bench.invoices[0].id, "kind": "balance", "reason": "mistake"}
    bench.do("credit_note_issue", BILLING, amount_minor=10_000, **note)
    run = bench.parked("credit_note_issue", amount_minor=10_001, **note)
    assert bench.approved(run).state == "applied"
    assert bench.book.credit_minor == 20_001
