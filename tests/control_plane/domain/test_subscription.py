"""What a subscription entitles to at an instant, and whether it is billed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from control_plane.domain.subscription import SUBSCRIPTION, Subscription, SubscriptionState

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
