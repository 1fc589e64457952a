"""How an effect and the outputs of a policy become one answer."""

from __future__ import annotations

import pytest

from policies.decision import ActionDecision, Decision, Obligation, Output, Refusal, decide_action
from policies.errors import BadFacts

APPROVAL = {"obligation": "approval"}
REFUSAL = {"refusal": {"code": "read_only", "fact": "access_mode"}}


def decide(*values: object, allowed: bool = False) -> ActionDecision:
    outputs = [Output(f"p#{number}", "apply", value) for number, value in enumerate(values)]
    return decide_action(allowed=allowed, policy="p", outputs=outputs, part="tenant.apply")


def test_a_refusal_voids_an_obligation() -> None:
    decided = decide(APPROVAL, REFUSAL)
    assert decided.refusals == (Refusal("read_only", "access_mode", "p#1"),)
    assert decided.obligations == ()
    assert not decided.needs_approval


def test_the_same_rule_seen_through_two_roles_speaks_once() -> None:
    outputs = [Output("p#a", "apply", APPROVAL)] * 2
    decided = decide_action(allowed=False, policy="p", outputs=outputs, part="x")
    assert decided.obligations == (Obligation("approval", {}),)


def test_null_says_nothing() -> None:
    assert decide(None, allowed=True) == ActionDecision(True, "p")


def test_an_obligation_carries_its_data() -> None:
    (obligation,) = decide(APPROVAL | {"rule": "two_people"}).obligations
    assert obligation.data == {"rule": "two_people"}


@pytest.mark.parametrize("value", [APPROVAL, REFUSAL])
def test_an_allow_that_objects_is_no_allow(value: object) -> None:
    with pytest.raises(BadFacts):
        decide(value, allowed=True)


@pytest.mark.parametrize(
    "value",
    [
        {"obligation": "mask", "fields": ["a"]},
        {"obligation": 1},
        {"obligation": ["approval"]},
        {},
        {"note": "x"},
        APPROVAL | REFUSAL,
        "approval",
        True,
        [APPROVAL],
        {"refusal": "no"},
        {"refusal": {"code": "x"}},
        {"refusal": {"code": "Not A Code", "fact": "f"}},
        {"refusal": {"code": "x", "fact": "f", "value": "secret"}},
    ],
)
@pytest.mark.parametrize("allowed", [True, False])
def test_an_output_that_is_not_understood_is_bad_facts(value: object, allowed: bool) -> None:
    with pytest.raises(BadFacts) as caught:
        decide(value, allowed=allowed)
    assert "secret" not in str(caught.value)


def test_an_output_that_failed_is_bad_facts() -> None:
    outputs = [Output("p#a", "apply", None, error="no such key")]
    with pytest.raises(BadFacts):
        decide_action(allowed=True, policy="p", outputs=outputs, part="x")


def test_what_was_not_asked_is_not_allowed() -> None:
    decision = Decision("tenant", "x", {"read": ActionDecision(True, "p")}, "c", "d1")
    assert decision.allows("read")
    assert not decision.allows("apply")
