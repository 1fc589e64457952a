"""What a subscription entitles to at an instant, whether it is billed, and how it moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from control_plane.domain.gate import GateStep
from control_plane.domain.subscription import (
    INCOMPLETE_OPEN,
    SUBSCRIPTION,
    Exhausted,
    PendingChange,
    Subscription,
    SubscriptionState,
    TrialEnd,
    exhaustion_event,
)

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)


def subscription(state: str, **facts: Any) -> Subscription:
    base = {"id": "sub_1", "tenant": "acme", "plan": "team", "plan_version": 1, "state": state}
    return Subscription.model_validate({**base, **facts})


@pytest.mark.parametrize("state", get_args(SubscriptionState))
def test_without_dates_only_trial_and_active_entitle(state: str) -> None:
    assert subscription(state).entitled(NOW) is (state in {"trialing", "active"})


@pytest.mark.parametrize("state", get_args(SubscriptionState))
def test_charges_accrue_only_while_active_or_past_due(state: str) -> None:
    assert subscription(state).billable is (state in {"active", "past_due"})


def test_a_trial_entitles_until_its_end_though_no_sweep_has_run() -> None:
    trial = subscription("trialing", trial_ends_at=NOW)
    assert trial.entitled(NOW - TICK)
    assert not trial.entitled(NOW)


def test_past_due_entitles_within_its_grace() -> None:
    late = subscription("past_due", grace_ends_at=NOW)
    assert late.entitled(NOW - TICK)
    assert not late.entitled(NOW)


@pytest.mark.parametrize("state", ["active", "trialing", "past_due"])
def test_one_that_ends_with_its_period_entitles_until_then(state: str) -> None:
    later = NOW + timedelta(days=30)
    facts = {"current_period_end": NOW, "grace_ends_at": later, "trial_ends_at": later}
    ending = subscription(state, cancel_at_period_end=True, **facts)
    assert ending.entitled(NOW - TICK)
    assert not ending.entitled(NOW)
    assert subscription(state, **facts).entitled(NOW)


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(ValidationError):
        subscription("trialing", trial_ends_at=NOW.replace(tzinfo=None))


def test_every_living_subscription_can_be_canceled_and_no_ended_one() -> None:
    for state in SUBSCRIPTION.states:
        assert ("cancel" in SUBSCRIPTION.legal(state)) is (state not in SUBSCRIPTION.terminal)


def test_a_cancel_at_period_end_can_be_taken_back_where_it_can_be_asked() -> None:
    for state in SUBSCRIPTION.states:
        legal = SUBSCRIPTION.legal(state)
        assert ("cancel_at_period_end" in legal) is ("keep" in legal)
        if "keep" in legal:
            assert SUBSCRIPTION.next(state, "keep") == state


# Every row of the rules: from, event, to.
ROWS = {
    ("scheduled", "start"): "incomplete",
    ("scheduled", "start_paid"): "active",
    ("scheduled", "start_trial"): "trialing",
    ("incomplete", "invoice_paid"): "active",
    ("incomplete", "expire_incomplete"): "incomplete_expired",
    ("trialing", "end_trial"): "active",
    ("trialing", "invoice_paid"): "active",
    ("trialing", "invoice_failed"): "past_due",
    ("trialing", "end_trial_paused"): "paused",
    ("trialing", "end_trial_canceled"): "canceled",
    ("active", "invoice_failed"): "past_due",
    ("active", "invoice_overdue"): "past_due",
    ("past_due", "invoice_failed"): "past_due",
    ("past_due", "invoice_overdue"): "past_due",
    ("past_due", "invoice_paid"): "active",
    ("past_due", "invoice_waived"): "active",
    ("past_due", "exhaust_retries"): "unpaid",
    ("past_due", "exhaust_retries_canceled"): "canceled",
    ("unpaid", "invoice_paid"): "active",
    ("unpaid", "invoice_waived"): "active",
    ("unpaid", "end_dunning"): "canceled",
    ("active", "pause"): "paused",
    ("trialing", "pause"): "paused",
    ("paused", "resume"): "active",
    ("active", "change_plan"): "active",
    ("active", "apply_change"): "active",
    ("active", "drop_change"): "active",
    ("past_due", "apply_change"): "past_due",
    ("past_due", "drop_change"): "past_due",
    **{(state, "end_term"): "expired" for state in ("active", "past_due", "unpaid", "paused")},
    **{
        (state, event): state
        for state in ("active", "trialing", "past_due")
        for event in ("cancel_at_period_end", "keep")
    },
    **{(state, "end_period"): "canceled" for state in ("active", "trialing", "past_due")},
    **{
        (state, "cancel"): "canceled"
        for state in (
            "scheduled",
            "incomplete",
            "trialing",
            "active",
            "past_due",
            "unpaid",
            "paused",
        )
    },
}


def test_the_table_holds_every_row_of_the_rules_and_no_other() -> None:
    table = {(s, a.event): a.target for a in SUBSCRIPTION.transitions for s in a.sources}
    assert table == ROWS


@pytest.mark.parametrize("state", get_args(SubscriptionState))
def test_a_fixed_term_entitles_until_its_end_though_no_sweep_has_run(state: str) -> None:
    fixed = subscription(state, term_ends_at=NOW)
    assert fixed.entitled(NOW - TICK) is (state in {"trialing", "active"})
    assert not fixed.entitled(NOW)


def test_a_fixed_term_ends_also_for_one_in_debt_or_in_a_pause() -> None:
    # Else the debt would be renewed into periods that nobody is entitled in.
    for state in SUBSCRIPTION.states:
        began = state in {"active", "past_due", "unpaid", "paused"}
        assert ("end_term" in SUBSCRIPTION.legal(state)) is began


def test_its_gate_stands_where_its_debts_have_brought_it() -> None:
    steps = (
        GateStep(at=NOW, level="no_upgrades"),
        GateStep(at=NOW + timedelta(days=14), level="read_only"),
    )
    late = subscription("past_due", gates=steps)
    assert late.gate_level(NOW - TICK) == "clear"
    assert late.gate_level(NOW) == "no_upgrades"
    assert late.gate_level(NOW + timedelta(days=14)) == "read_only"


def test_a_pause_that_is_over_entitles_to_nothing_until_it_is_resumed() -> None:
    paused = subscription("paused", paused_until=NOW)
    assert not paused.entitled(NOW - TICK)
    assert not paused.entitled(NOW + TICK)
    assert not paused.billable


def test_to_pause_the_collection_is_not_to_pause_the_subscription() -> None:
    uncollected = subscription("active", collection_paused=True)
    assert uncollected.entitled(NOW)
    assert uncollected.billable


def test_a_pending_change_takes_no_right_away_and_gives_none() -> None:
    change = PendingChange(plan="free", plan_version=3, at=NOW)
    changing = subscription("active", pending_change=change)
    assert changing.plan == "team"
    assert changing.entitled(NOW + TICK)


def test_an_end_does_not_hang_on_the_zone_in_which_it_was_written_down() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    written = subscription("trialing", trial_ends_at=NOW.astimezone(berlin))
    assert written == subscription("trialing", trial_ends_at=NOW)
    assert written.trial_ends_at is not None
    assert written.trial_ends_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("state", "facts", "method", "at_trial_end", "event"),
    [
        ("incomplete", {"incomplete_ends_at": NOW}, True, "pause", "expire_incomplete"),
        ("trialing", {"trial_ends_at": NOW}, False, "pause", "end_trial_paused"),
        ("trialing", {"trial_ends_at": NOW}, False, "cancel", "end_trial_canceled"),
        ("trialing", {"trial_ends_at": NOW}, True, "cancel", None),
        *(
            (state, {"term_ends_at": NOW, "paused_until": NOW}, True, "pause", "end_term")
            for state in ("active", "past_due", "unpaid", "paused")
        ),
        ("paused", {"paused_until": NOW}, True, "pause", "resume"),
        ("paused", {"paused_until": NOW}, False, "pause", None),
        ("paused", {}, True, "pause", None),
        ("canceled", {"term_ends_at": NOW, "paused_until": NOW}, True, "pause", None),
        *(
            (state, {"current_period_end": NOW, "cancel_at_period_end": True}, True, "pause", None)
            for state in ("unpaid", "paused", "canceled", "expired")
        ),
        *(
            (state, {"current_period_end": NOW, "cancel_at_period_end": True}, *rest, "end_period")
            for state in ("active", "trialing", "past_due")
            for rest in ((True, "pause"), (False, "cancel"))
        ),
    ],
)
def test_time_alone_makes_an_event_due_from_its_instant_on(
    state: SubscriptionState,
    facts: dict[str, Any],
    method: bool,
    at_trial_end: TrialEnd,
    event: str | None,
) -> None:
    found = subscription(state, **facts)

    def due(now: datetime) -> str | None:
        return found.due_event(now, has_method=method, at_trial_end=at_trial_end)

    assert due(NOW - TICK) is None
    assert due(NOW) == due(NOW + timedelta(days=400)) == event
    assert event is None or event in SUBSCRIPTION.legal(state)


def test_one_that_ends_with_its_period_ends_so_and_not_as_a_trial() -> None:
    both = subscription(
        "trialing", trial_ends_at=NOW, current_period_end=NOW, cancel_at_period_end=True
    )
    assert both.due_event(NOW, has_method=False, at_trial_end="pause") == "end_period"


@pytest.mark.parametrize(("setting", "state"), [("unpaid", "unpaid"), ("cancel", "canceled")])
def test_the_plan_says_what_exhausted_retries_lead_to(setting: Exhausted, state: str) -> None:
    assert SUBSCRIPTION.next("past_due", exhaustion_event(setting)) == state


def test_a_debt_that_is_paid_or_waived_leads_back_from_wherever_dunning_led() -> None:
    for state in ("past_due", "unpaid"):
        for event in ("invoice_paid", "invoice_waived"):
            assert SUBSCRIPTION.next(state, event) == "active"


def test_a_first_invoice_stays_open_for_23_hours() -> None:
    opened = subscription("incomplete", incomplete_ends_at=NOW + INCOMPLETE_OPEN)
    last = NOW + timedelta(hours=23)
    assert opened.due_event(last - TICK, has_method=True, at_trial_end="pause") is None
    assert opened.due_event(last, has_method=True, at_trial_end="pause") == "expire_incomplete"
