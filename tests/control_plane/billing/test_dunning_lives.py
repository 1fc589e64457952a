"""Whole lives of a debt: machines, clocks and ladder together, under sweeps that come late."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from control_plane.billing.dunning import (
    DunningFacts,
    Standing,
    debts_of,
    grace_end,
    next_attempt,
    next_question,
    standing,
    subscription_event,
)
from control_plane.domain.dunning_policy import DunningPolicy
from control_plane.domain.invoice import INVOICE, Invoice, InvoiceLine, allocate, finalize, line_id
from control_plane.domain.payment import PAYMENT, FailureClass, PaymentAttempt, attempt_id
from control_plane.domain.subscription import SUBSCRIPTION, Subscription

M = TypeVar("M", bound=BaseModel)
START = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
DAY = timedelta(days=1)
ANSWERS = (*get_args(FailureClass), "paid", "lost")
_LINE = InvoiceLine(
    id=line_id("invoice_1", "base", "team"),
    invoice="invoice_1",
    kind="base",
    reference="team",
    description="Team, February",
    amount_minor=1_000,
    currency="EUR",
)
DRAFT = Invoice(id="invoice_1", tenant="acme", currency="EUR", lines=(_LINE,), total_minor=1_000)


def changed(record: M, **changes: Any) -> M:
    return type(record).model_validate({**dict(record), **changes})


@dataclass
class Life:
    """One tenant, one invoice, and a provider that answers as it was told to."""

    policy: DunningPolicy
    answers: list[str]
    never_suspend: bool
    method_set_at: datetime | None
    invoice: Invoice = field(default_factory=lambda: finalize(DRAFT, "INV-1", START, START))
    subscription: Subscription = field(
        default_factory=lambda: Subscription(
            id="sub_1", tenant="acme", plan="team", plan_version=1, state="active"
        )
    )
    attempts: list[PaymentAttempt] = field(default_factory=list[PaymentAttempt])
    charged_minor: int = 0

    def sweep(self, now: datetime) -> Standing:
        self._ask(now)
        method = self.method_set_at if self.method_set_at and self.method_set_at <= now else None
        at = next_attempt(self.policy, self.invoice, self.attempts, method)
        if at is not None and at <= now:
            self._try(now)
        reached = self.standing(now)
        for _ in SUBSCRIPTION.states:
            event = subscription_event(self.subscription.state, reached, self.policy)
            if event is None:
                return reached
            self._fire(event)
            reached = self.standing(now)
        pytest.fail("the ladder does not come to rest")

    def facts(self) -> DunningFacts:
        return DunningFacts(
            debts=debts_of([self.invoice]),
            never_suspend=self.never_suspend,
            canceled=self.subscription.state in SUBSCRIPTION.terminal,
        )

    def standing(self, now: datetime) -> Standing:
        return standing(self.policy, self.facts(), now)

    def _fire(self, event: str, **changes: Any) -> None:
        state = SUBSCRIPTION.next(self.subscription.state, event)
        self.subscription = changed(self.subscription, state=state, **changes)

    def _try(self, now: datetime) -> None:
        number = len(self.attempts) + 1
        made = PaymentAttempt(
            id=attempt_id("invoice_1", number),
            invoice="invoice_1",
            tenant="acme",
            number=number,
            amount_minor=self.invoice.due_minor,
            currency="EUR",
            provider="sandbox",
            created_at=now,
            changed_at=now,
        )
        sent = changed(made, state=PAYMENT.next("created", "submit"), deadline_at=now + DAY)
        self.attempts.append(sent)
        self._answer(now, {"paid": "succeed", "lost": "lose"}, "fail")

    def _ask(self, now: datetime) -> None:
        at = next_question(self.policy, self.attempts[-1]) if self.attempts else None
        if at is not None and at <= now:
            self._answer(now, {"paid": "settle_succeeded", "lost": "ask_again"}, "settle_failed")

    def _answer(self, now: datetime, events: dict[str, str], failed: str) -> None:
        answer = self.answers.pop(0) if self.answers else "lost"
        last = self.attempts[-1]
        state = PAYMENT.next(last.state, events.get(answer, failed))
        asked = last.asked + (last.state == "unknown")
        self.attempts[-1] = changed(
            last,
            state=state,
            failure=answer if state == "failed" else None,
            unsettled="unknown" if state == "unknown" else None,
            asked=asked,
            deadline_at=None,
            changed_at=now,
        )
        if state == "succeeded":
            self._paid(last.amount_minor)
        elif state == "failed":
            self._failed()

    def _paid(self, amount_minor: int) -> None:
        self.charged_minor += amount_minor
        self.invoice = allocate(self.invoice, amount_minor)
        if self.subscription.state in {"past_due", "unpaid"}:
            self._fire("invoice_paid", grace_ends_at=None)

    def _failed(self) -> None:
        assert INVOICE.next(self.invoice.state, "fail_payment") == self.invoice.state
        if self.subscription.state == "active":
            self._fire("invoice_failed", grace_ends_at=grace_end(self.policy, self.facts()))


def check_life(life: Life, waits_h: list[int]) -> None:
    now = START
    for wait_h in waits_h:
        reached = life.sweep(now)
        gate = reached.gate
        assert life.charged_minor in {0, 1_000}
        assert (life.charged_minor == 1_000) is (life.invoice.state == "paid")
        if life.invoice.state == "paid":
            assert reached == Standing()
            assert life.subscription.state in {"active", "canceled"}
        if life.subscription.state == "past_due":
            assert life.subscription.entitled(now) is (gate.access_mode == "full")
        if life.never_suspend:
            assert not gate.suspended
            assert life.subscription.state in {"active", "past_due"}
        if life.subscription.state == "canceled":
            days = 14 if life.policy.when_exhausted == "cancel" else 30
            assert now >= START + days * DAY
        # Between sweeps nothing is given that the next sweep would take away.
        now += timedelta(hours=wait_h)
        late = life.subscription
        if late.state == "past_due" and life.standing(now).gate.suspended:
            assert not late.entitled(now)


LIVES = st.builds(
    Life,
    policy=st.sampled_from([DunningPolicy(), DunningPolicy(when_exhausted="cancel")]),
    answers=st.lists(st.sampled_from(ANSWERS), max_size=40),
    never_suspend=st.booleans(),
    method_set_at=st.none() | st.integers(0, 50).map(lambda day: START + day * DAY),
)
WAITS_H = st.lists(st.integers(1, 24 * 9), min_size=1, max_size=40)


@settings(max_examples=40, deadline=None)
@given(life=LIVES, waits_h=WAITS_H)
def test_a_debt_is_charged_once_closes_by_its_days_and_lifts_when_paid(
    life: Life, waits_h: list[int]
) -> None:
    check_life(life, waits_h)


@pytest.mark.sweep
@settings(max_examples=10_000, deadline=None)
@given(life=LIVES, waits_h=WAITS_H)
def test_ten_thousand_debts_do_the_same(life: Life, waits_h: list[int]) -> None:
    check_life(life, waits_h)


def test_a_debt_that_nobody_pays_is_walked_down_the_whole_ladder_hour_by_hour() -> None:
    life = Life(DunningPolicy(), ["soft_decline"] * 40, never_suspend=False, method_set_at=None)
    seen: list[tuple[int, str, str]] = []
    for hour in range(24 * 40):
        reached = life.sweep(START + timedelta(hours=hour))
        step = (hour // 24, life.subscription.state, reached.gate.access_mode)
        if not seen or seen[-1][1:] != step[1:]:
            seen.append(step)
    assert seen == [
        (0, "past_due", "full"),
        (14, "unpaid", "read_only"),
        (21, "unpaid", "none"),
        (30, "canceled", "none"),
    ]
    assert [(one.changed_at - START) // DAY for one in life.attempts] == [0, 1, 3, 5, 7, 9, 11, 14]
