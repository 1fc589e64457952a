"""When an attempt is made again, and when a provider is asked about one that is not settled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.billing.dunning import is_exhausted, next_attempt, next_question
from control_plane.domain.dunning_policy import DunningPolicy
from control_plane.domain.invoice import (
    Invoice,
    InvoiceLine,
    InvoiceState,
    allocate,
    finalize,
    line_id,
    void,
)
from control_plane.domain.payment import (
    IN_FLIGHT,
    PAYMENT,
    FailureClass,
    PaymentAttempt,
    PaymentState,
    UnsettledClass,
    attempt_id,
)

DUE = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
USUAL = DunningPolicy()
SOFT: list[FailureClass] = ["soft_decline"]
GATEWAY: list[FailureClass] = ["gateway_error"]
DAYS = (0, 1, 3, 5, 7, 9, 11, 14)
_LINE = InvoiceLine(
    id=line_id("invoice_1", "base", "team"),
    invoice="invoice_1",
    kind="base",
    reference="team",
    description="Team, March",
    amount_minor=1_000,
    currency="EUR",
)
DRAFT = Invoice(id="invoice_1", tenant="acme", currency="EUR", lines=(_LINE,), total_minor=1_000)
OWED = finalize(DRAFT, "INV-000001", DUE, DUE)


def attempt(
    number: int,
    at: datetime,
    state: PaymentState = "failed",
    *,
    failure: FailureClass | None = None,
    unsettled: UnsettledClass = "unknown",
    asked: int = 0,
) -> PaymentAttempt:
    return PaymentAttempt(
        id=attempt_id("invoice_1", number),
        invoice="invoice_1",
        tenant="acme",
        number=number,
        amount_minor=1_000,
        currency="EUR",
        provider="sandbox",
        state=state,
        failure=failure or ("soft_decline" if state == "failed" else None),
        unsettled=unsettled if state == "unknown" else None,
        deadline_at=at if state in PAYMENT.transient else None,
        created_at=at,
        changed_at=at,
        asked=asked,
    )


def collect(
    failures: Sequence[FailureClass], late: timedelta = timedelta(0)
) -> list[tuple[datetime, FailureClass]]:
    """Every attempt that comes by itself, each made `late` after its instant."""
    made: list[PaymentAttempt] = []
    for number, failure in enumerate(failures, start=1):
        at = next_attempt(USUAL, OWED, made)
        if at is None:
            break
        made.append(attempt(number, at + late, failure=failure))
    return [(one.changed_at - late, one.failure) for one in made if one.failure]


def test_soft_declines_are_tried_again_on_the_days_of_the_schedule() -> None:
    tried = [at for at, _ in collect(SOFT * 20)]
    assert tried == [DUE + day * DAY for day in DAYS]


def test_the_first_attempt_is_due_with_the_invoice_and_not_before_it_is_final() -> None:
    assert next_attempt(USUAL, OWED, []) == DUE
    assert next_attempt(USUAL, DRAFT, []) is None


@pytest.mark.parametrize("failure", ["hard_decline", "no_method"])
def test_a_hard_decline_or_no_method_waits_for_a_new_method_and_then_goes_on(
    failure: FailureClass,
) -> None:
    made = [attempt(1, DUE), attempt(2, DUE + DAY, failure=failure)]
    assert next_attempt(USUAL, OWED, made) is None
    assert is_exhausted(USUAL, OWED, made)
    assert next_attempt(USUAL, OWED, made, DUE + DAY) is None  # the one that was declined
    new = DUE + 4 * DAY
    assert next_attempt(USUAL, OWED, made, new) == new
    assert not is_exhausted(USUAL, OWED, made, new)
    again = [*made, attempt(3, new + TICK)]
    assert next_attempt(USUAL, OWED, again, new) == DUE + 5 * DAY


def test_gateway_errors_have_a_clock_of_their_own_and_then_the_days_again() -> None:
    tried = [at for at, _ in collect(GATEWAY * 40)]
    waits = [later - earlier for earlier, later in pairwise(tried)][:8]
    assert waits == [timedelta(seconds=300 * 2**n) for n in range(8)]
    assert tried[0] == DUE
    assert tried[9:] == [DUE + day * DAY for day in DAYS[1:]]


def test_days_that_were_slept_through_are_made_up_for_by_one_attempt() -> None:
    slept = [attempt(1, DUE + 8 * DAY)]
    assert next_attempt(USUAL, OWED, slept) == DUE + 9 * DAY


def test_an_attempt_that_never_went_out_counts_as_no_try() -> None:
    assert next_attempt(USUAL, OWED, [attempt(1, DUE, "canceled")]) == DUE


@pytest.mark.parametrize("state", sorted(IN_FLIGHT))
def test_nothing_is_tried_while_an_attempt_is_in_flight_or_unknown(state: PaymentState) -> None:
    flying = [attempt(1, DUE), attempt(2, DUE + DAY, state)]
    assert next_attempt(USUAL, OWED, flying) is None
    # Nor with a new method: what is unknown may have been paid.
    assert next_attempt(USUAL, OWED, flying, DUE + 2 * DAY) is None
    assert not is_exhausted(USUAL, OWED, flying)


@pytest.mark.parametrize("invoice", [allocate(OWED, 1_000), void(OWED), DRAFT])
def test_what_owes_nothing_is_never_tried_and_never_exhausted(invoice: Invoice) -> None:
    assert next_attempt(USUAL, invoice, [], DUE + DAY) is None
    assert not is_exhausted(USUAL, invoice, [])


def test_an_invoice_that_was_written_off_is_not_tried_by_itself() -> None:
    state: InvoiceState = "uncollectible"
    assert next_attempt(USUAL, OWED.model_copy(update={"state": state}), []) is None


def test_a_part_that_was_paid_does_not_end_the_schedule() -> None:
    part = allocate(OWED, 400)
    assert next_attempt(USUAL, part, [attempt(1, DUE, "succeeded")]) == DUE + DAY


@settings(max_examples=40, deadline=None)
@given(
    failures=st.lists(
        st.sampled_from(["soft_decline", "gateway_error", "hard_decline", "no_method"]),
        max_size=40,
    ),
    late_h=st.integers(0, 100),
)
def test_whatever_fails_and_however_late_the_tries_rise_and_end(
    failures: list[FailureClass], late_h: int
) -> None:
    tried = collect(failures, timedelta(hours=late_h))
    instants = [at for at, _ in tried]
    assert instants == sorted(set(instants))
    assert len(tried) <= len(DAYS) + len(USUAL.gateway_waits_s)
    assert all(failure in {"soft_decline", "gateway_error"} for _, failure in tried[:-1])
    assert sum(failure == "soft_decline" for _, failure in tried) <= len(DAYS)


@pytest.mark.parametrize(
    ("unsettled", "waits_s"),
    [("unknown", (300, 3_600, *(86_400,) * 5)), ("pending", (3_600, 86_400))],
)
def test_an_unsettled_attempt_is_asked_about_on_its_clock_and_then_a_human_attests(
    unsettled: UnsettledClass, waits_s: tuple[int, ...]
) -> None:
    for asked, wait_s in enumerate(waits_s):
        waiting = attempt(1, DUE, "unknown", unsettled=unsettled, asked=asked)
        assert next_question(USUAL, waiting) == DUE + timedelta(seconds=wait_s)
    spent = attempt(1, DUE, "unknown", unsettled=unsettled, asked=len(waits_s))
    assert next_question(USUAL, spent) is None


@pytest.mark.parametrize(
    "state", ["created", "processing", "action_required", "succeeded", "failed", "canceled"]
)
def test_nobody_is_asked_about_an_attempt_that_is_not_unknown(state: PaymentState) -> None:
    assert next_question(USUAL, attempt(1, DUE, state)) is None
