"""The payment port: an attempt ends as its provider says, in whatever order and however often it says so."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from itertools import product, repeat
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from control_plane.billing.dunning import next_question
from control_plane.billing.provider import (
    Answer,
    AnswerKind,
    Order,
    PaymentContradiction,
    lost,
    order_of,
    page_of,
    probed,
    settled,
    submitted,
    unavailable,
    unheard,
    unknown,
    unsent,
)
from control_plane.domain.dunning_policy import DunningPolicy
from control_plane.domain.machine import IllegalTransition
from control_plane.domain.money import Money
from control_plane.domain.payment import PAYMENT, PaymentAttempt, PaymentState, attempt_id
from control_plane.domain.terms import Method
from control_plane.errors import BadInput

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
KINDS: tuple[AnswerKind, ...] = get_args(AnswerKind)
STATES: tuple[PaymentState, ...] = get_args(PaymentState)
METHOD = Method(provider="sandbox", reference="sandbox_ok")
ENDS = {"succeeded": "succeeded", "failed": "failed", "canceled": "canceled"}
AFTER = {**ENDS, "action_required": "action_required", "pending": "unknown"}


def attempt(state: PaymentState = "created", **facts: Any) -> PaymentAttempt:
    base: dict[str, Any] = {
        "id": attempt_id("invoice_1", 1),
        "invoice": "invoice_1",
        "tenant": "acme",
        "number": 1,
        "amount_minor": 1_000,
        "currency": "EUR",
        "provider": "sandbox",
        "state": state,
        "created_at": NOW,
        "changed_at": NOW,
        "failure": "soft_decline" if state == "failed" else None,
        "unsettled": "unknown" if state == "unknown" else None,
        "deadline_at": LATER if state == "processing" else None,
    }
    return PaymentAttempt.model_validate({**base, **facts})


def answer(kind: AnswerKind, **told: Any) -> Answer:
    failure = "soft_decline" if kind == "failed" else None
    return Answer.model_validate({"kind": kind, "failure": failure, "reference": "pay_1", **told})


# shapes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "told",
    [
        {"kind": "failed"},
        {"kind": "succeeded", "failure": "soft_decline"},
        {"kind": "succeeded", "decline_code": "stolen_card"},
        {"kind": "pending", "action_url": "https://example.com"},
        {"kind": "action_required", "action_url": "http://example.com"},
        {"kind": "action_required", "action_url": "https://example.com/ä"},
        {"kind": "failed", "failure": "soft_decline", "decline_code": "Stolen Card"},
        {"kind": "succeeded", "reference": "ä"},
        {"kind": "succeeded", "reference": "x" * 256},
        {"kind": "lost"},
    ],
)
def test_an_answer_that_does_not_agree_with_itself_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Answer.model_validate(told)


@pytest.mark.parametrize("reference", ["", "x" * 121, "two words", "Kärtchen", "line\n"])
def test_a_methods_reference_is_a_token_of_printable_ascii(reference: str) -> None:
    with pytest.raises(ValidationError):
        Method(provider="stripe", reference=reference)


@pytest.mark.parametrize("minor", [0, -1])
def test_an_order_asks_for_more_than_nothing(minor: int) -> None:
    amount = Money(minor=minor, currency="EUR")
    with pytest.raises(ValidationError):
        Order(attempt="a", invoice="i", tenant="acme", amount=amount, method=METHOD)


def test_an_order_says_what_its_attempt_says() -> None:
    asked = order_of(attempt("unknown", provider_reference="pay_1"), METHOD)
    assert asked.attempt == attempt_id("invoice_1", 1)
    assert (asked.invoice, asked.tenant) == ("invoice_1", "acme")
    assert asked.amount == Money(minor=1_000, currency="EUR")
    assert (asked.reference, asked.made_at) == ("pay_1", NOW)


def test_an_order_is_not_made_with_a_method_of_another_provider() -> None:
    with pytest.raises(BadInput, match=r"method\.provider"):
        order_of(attempt(), Method(provider="stripe", reference="pm_1"))


def test_the_ports_errors_have_its_codes() -> None:
    codes = (unavailable("x").code, unknown("x").code)
    assert codes == ("payment_provider_unavailable", "payment_unknown")


# going out -------------------------------------------------------------------------------------


def test_an_attempt_is_submitted_with_a_deadline_and_counts_as_changed() -> None:
    elsewhere = timezone(timedelta(hours=9))
    found = submitted(attempt(), NOW.astimezone(elsewhere), LATER.astimezone(elsewhere))
    assert (found.state, found.deadline_at, found.heartbeat_at) == ("processing", LATER, NOW)
    assert (found.changed_at, found.version) == (NOW, 2)


@pytest.mark.parametrize("state", [one for one in STATES if one != "created"])
def test_an_attempt_goes_out_once(state: PaymentState) -> None:
    with pytest.raises(IllegalTransition):
        submitted(attempt(state), NOW, LATER)


@pytest.mark.parametrize("deadline", [NOW, NOW - timedelta(seconds=1)])
def test_a_deadline_lies_ahead(deadline: datetime) -> None:
    with pytest.raises(BadInput, match="deadline"):
        submitted(attempt(), NOW, deadline)


# every state and every answer ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "kind"), list(product(["processing", "action_required", "unknown"], KINDS))
)
def test_an_attempt_in_flight_takes_every_answer(state: PaymentState, kind: AnswerKind) -> None:
    before = attempt(state)
    found = settled(before, answer(kind), LATER)
    assert found.state == AFTER[kind]
    assert found.unsettled == ("pending" if kind == "pending" else None)
    assert found.failure == ("soft_decline" if kind == "failed" else None)
    assert settled(found, answer(kind), LATER + timedelta(days=1)) == found
    if state == kind:
        assert found == before
    else:
        assert (found.provider_reference, found.changed_at) == ("pay_1", LATER)
        assert found.version == before.version + 1
        assert (found.deadline_at, found.heartbeat_at) == (None, None)


@pytest.mark.parametrize(
    ("state", "kind"), list(product(["succeeded", "failed", "canceled"], KINDS))
)
def test_an_attempt_that_is_over_stays_and_a_contradiction_is_told(
    state: PaymentState, kind: AnswerKind
) -> None:
    before = attempt(state)
    contradicts = kind in ENDS and (state == "succeeded") != (kind == "succeeded")
    if not contradicts:
        assert settled(before, answer(kind), LATER) == before
        return
    with pytest.raises(PaymentContradiction) as raised:
        settled(before, answer(kind), LATER)
    assert (raised.value.code, raised.value.fact) == ("payment_contradiction", "state")


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_for_an_attempt_that_never_went_out_is_a_contradiction(kind: AnswerKind) -> None:
    with pytest.raises(PaymentContradiction):
        settled(attempt(), answer(kind), LATER)


def test_an_attempt_without_a_method_fails_before_it_goes_out() -> None:
    found = settled(attempt(), answer("failed", failure="no_method", reference=""), LATER)
    assert (found.state, found.failure) == ("failed", "no_method")


@pytest.mark.parametrize("state", ["processing", "action_required", "unknown", "failed"])
def test_an_answer_about_another_payment_is_a_contradiction(state: PaymentState) -> None:
    before = attempt(state, provider_reference="pay_2")
    for kind in KINDS:
        with pytest.raises(PaymentContradiction) as raised:
            settled(before, answer(kind), LATER)
        assert raised.value.fact == "reference"
    assert settled(before, answer("failed", reference=""), LATER).provider_reference == "pay_2"


def test_a_failure_keeps_its_class_and_the_providers_word() -> None:
    told = answer("failed", failure="hard_decline", decline_code="stolen_card")
    found = settled(attempt("processing"), told, LATER)
    assert (found.failure, found.decline_code) == ("hard_decline", "stolen_card")
    later = answer("failed", failure="soft_decline", decline_code="generic_decline")
    assert settled(found, later, LATER) == found


def test_time_does_not_run_back() -> None:
    before = attempt("processing", changed_at=LATER)
    assert settled(before, answer("succeeded"), NOW).changed_at == LATER


@pytest.mark.parametrize("change", [settled, probed])
def test_a_naive_instant_is_refused(change: Callable[..., PaymentAttempt]) -> None:
    with pytest.raises(TypeError):
        change(attempt("processing"), answer("succeeded"), NOW.replace(tzinfo=None))


# no answer -------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["processing", "action_required"])
def test_an_attempt_that_nobody_answers_for_is_unknown(state: PaymentState) -> None:
    found = lost(attempt(state), LATER)
    assert (found.state, found.unsettled, found.asked) == ("unknown", "unknown", 0)


@pytest.mark.parametrize("unsettled", ["unknown", "pending"])
def test_a_question_without_an_answer_is_counted(unsettled: str) -> None:
    before = attempt("unknown", unsettled=unsettled, asked=2)
    found = lost(before, LATER)
    assert (found.state, found.unsettled, found.asked) == ("unknown", unsettled, 3)
    assert found.changed_at == LATER


@pytest.mark.parametrize("change", [lost, unsent])
@pytest.mark.parametrize("state", ["succeeded", "failed", "canceled"])
def test_an_error_that_comes_after_the_end_changes_nothing(
    change: Callable[..., PaymentAttempt], state: PaymentState
) -> None:
    assert change(attempt(state), LATER) == attempt(state)


@pytest.mark.parametrize("change", [lost, unsent])
def test_an_attempt_that_never_went_out_cannot_be_lost(
    change: Callable[..., PaymentAttempt],
) -> None:
    with pytest.raises(IllegalTransition):
        change(attempt(), LATER)


def test_an_attempt_that_was_not_sent_has_failed_at_the_gateway() -> None:
    found = unsent(attempt("processing"), LATER)
    assert (found.state, found.failure) == ("failed", "gateway_error")


@pytest.mark.parametrize("state", ["action_required", "unknown"])
def test_a_provider_that_cannot_be_asked_says_nothing_of_an_attempt(state: PaymentState) -> None:
    with pytest.raises(IllegalTransition):
        unsent(attempt(state), LATER)


# questions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["processing", "action_required", "unknown"])
def test_what_the_provider_never_had_has_failed(state: PaymentState) -> None:
    found = probed(attempt(state, provider_reference="pay_1"), None, LATER)
    assert (found.state, found.failure) == ("failed", "gateway_error")


def test_what_succeeded_and_was_never_had_is_a_contradiction() -> None:
    with pytest.raises(PaymentContradiction):
        probed(attempt("succeeded"), None, LATER)


def test_a_question_about_what_is_pending_is_counted_and_a_message_is_not() -> None:
    pending = settled(attempt("unknown", asked=4), answer("pending"), LATER)
    assert (pending.unsettled, pending.asked) == ("pending", 0)
    assert settled(pending, answer("pending"), LATER) == pending
    again = probed(pending, answer("pending"), LATER + timedelta(hours=1))
    assert (again.unsettled, again.asked) == ("pending", 1)
    with pytest.raises(PaymentContradiction):
        probed(again, answer("pending", reference="pay_2"), LATER)


def test_a_question_about_what_waits_for_the_customer_is_counted_and_a_message_is_not() -> None:
    page = "https://bank.example/act/1"
    waits = settled(attempt("processing"), answer("action_required", action_url=page), NOW)
    assert (waits.state, waits.action_url, waits.asked) == ("action_required", page, 0)
    assert settled(waits, answer("action_required"), LATER) == waits
    again = probed(waits, answer("action_required", action_url=page), LATER)
    silent = unheard(again, LATER + timedelta(hours=1))
    assert [one.asked for one in (again, silent)] == [1, 2]
    assert (silent.state, silent.changed_at, silent.action_url) == ("action_required", NOW, page)
    with pytest.raises(PaymentContradiction):
        probed(again, answer("action_required", reference="pay_2"), LATER)
    ended = settled(silent, answer("succeeded"), LATER)
    assert (ended.state, ended.action_url) == ("succeeded", None)


def test_a_question_that_nobody_answers_loses_what_does_not_wait_for_the_customer() -> None:
    assert unheard(attempt("processing"), LATER) == lost(attempt("processing"), LATER)
    assert unheard(attempt("succeeded"), LATER) == attempt("succeeded")


@pytest.mark.parametrize(
    "page",
    [
        "https://bank.example/act?payment_intent_client_secret=1",
        "https://bank.example/act?Access_Token=1",
        "https://bank.example/act?x=1&password=",
        "https://anna:pass@bank.example/act",
    ],
)
def test_a_page_whose_address_holds_a_secret_is_kept_nowhere(page: str) -> None:
    told = answer("action_required", action_url=page)
    assert page_of(told) is None
    assert settled(attempt("processing"), told, LATER).action_url is None


def test_a_page_is_told_as_the_provider_gave_it() -> None:
    assert page_of(answer("action_required")) is None
    page = "https://bank.example/act?payment=1"
    assert page_of(answer("action_required", action_url=page)) == page


def test_questions_come_later_and_end_when_nothing_changes() -> None:
    policy = DunningPolicy()
    found = settled(attempt("processing"), answer("pending"), LATER)
    asked: list[datetime] = []
    while (at := next_question(policy, found)) is not None:
        asked.append(at)
        found = probed(found, answer("pending"), at)
    assert asked == sorted(set(asked))
    assert len(asked) == len(policy.pending_waits_s)


# any order -------------------------------------------------------------------------------------

# What may be heard of one attempt, in the order in which it happens. The last word is the end.
HISTORIES: tuple[tuple[AnswerKind, ...], ...] = (
    ("succeeded",),
    ("failed",),
    ("pending", "succeeded"),
    ("pending", "failed"),
    ("action_required", "succeeded"),
    ("action_required", "failed"),
    ("action_required", "canceled"),
    ("action_required", "pending", "succeeded"),
    ("action_required", "pending", "failed"),
)


def _heard(chosen: random.Random, history: tuple[AnswerKind, ...]) -> list[AnswerKind | None]:
    """Some of it, repeated and out of order, the end at least once; None for a lost answer."""
    heard: list[AnswerKind | None] = []
    for kind in history[:-1]:
        heard.extend(repeat(kind, chosen.randint(0, 3)))
    heard.extend(repeat(history[-1], chosen.randint(1, 3)))
    heard.extend(repeat(None, chosen.randint(0, 3)))
    chosen.shuffle(heard)
    return heard


def _ends_as_told(seed: int) -> None:
    chosen = random.Random(seed)
    history = chosen.choice(HISTORIES)
    current = submitted(attempt(), NOW, LATER)
    effects = 0
    for step, kind in enumerate(_heard(chosen, history)):
        at = NOW + timedelta(seconds=step)
        if kind is None:
            moved = lost(current, at)
        else:
            moved = chosen.choice([settled, probed])(current, answer(kind), at)
        effects += moved.state in PAYMENT.terminal and current.state not in PAYMENT.terminal
        assert moved.version in {current.version, current.version + 1}
        assert (moved.version == current.version) == (moved == current)
        current = moved
    assert (current.state, effects) == (history[-1], 1)
    assert current.provider_reference == "pay_1"


@pytest.mark.parametrize("seed", range(0, 10_000, 50))
def test_an_attempt_has_one_end_whatever_the_order(seed: int) -> None:
    _ends_as_told(seed)


@pytest.mark.sweep
def test_10_000_attempts_have_one_end_each_whatever_the_order() -> None:
    for seed in range(10_000):
        _ends_as_told(seed)
