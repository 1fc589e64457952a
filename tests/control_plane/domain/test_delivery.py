"""One delivery of a webhook: its table, and a record that agrees with its state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from control_plane.domain.delivery import DELIVERY, Delivery, DeliveryState
from control_plane.domain.machine import IllegalTransition

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
ROWS = {
    ("pending", "send"): "sending",
    ("pending", "disable"): "dead_lettered",
    ("pending", "cancel"): "canceled",
    ("sending", "succeed"): "delivered",
    ("sending", "fail"): "pending",
    ("sending", "lose"): "pending",
    ("sending", "reject"): "dead_lettered",
    ("sending", "gone"): "dead_lettered",
    ("sending", "exhaust"): "dead_lettered",
    ("dead_lettered", "replay"): "pending",
    ("dead_lettered", "expire"): "expired",
    ("dead_lettered", "cancel"): "canceled",
}


def delivery(state: str, **facts: Any) -> Delivery:
    base = {
        "id": "delivery_1",
        "tenant": "acme",
        "endpoint": "endpoint_1",
        "message": "msg_1",
        "state": state,
        "next_attempt_at": NOW if state == "pending" else None,
        "cause": "exhausted" if state == "dead_lettered" else None,
        "deadline_at": NOW if state == "sending" else None,
        "created_at": NOW,
        "changed_at": NOW,
    }
    return Delivery.model_validate({**base, **facts})


@pytest.mark.parametrize("state", get_args(DeliveryState))
@pytest.mark.parametrize("event", DELIVERY.events)
def test_the_table_is_exactly_this(state: str, event: str) -> None:
    if (state, event) in ROWS:
        assert DELIVERY.next(state, event) == ROWS[state, event]
        return
    with pytest.raises(IllegalTransition) as caught:
        DELIVERY.next(state, event)
    assert caught.value.legal == tuple(sorted(name for at, name in ROWS if at == state))


def test_only_a_request_on_its_way_can_be_delivered() -> None:
    assert {state for (state, _), target in ROWS.items() if target == "delivered"} == {"sending"}


@pytest.mark.parametrize("state", get_args(DeliveryState))
def test_a_record_that_agrees_with_its_state_is_taken(state: str) -> None:
    assert delivery(state).state == state


@pytest.mark.parametrize(
    ("state", "facts"),
    [
        ("pending", {"next_attempt_at": None}),
        ("sending", {"next_attempt_at": NOW}),
        ("dead_lettered", {"cause": None}),
        ("pending", {"cause": "gone"}),
        ("sending", {"deadline_at": None}),
        ("delivered", {"deadline_at": NOW}),
        ("pending", {"changed_at": NOW - timedelta(seconds=1)}),
        ("pending", {"attempts": -1}),
        ("pending", {"last_status": 99}),
        ("pending", {"secret": "whsec_"}),
        ("pending", {"created_at": NOW.replace(tzinfo=None)}),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(state: str, facts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        delivery(state, **facts)
