"""Who may decide an approval, and that it is consumed once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.approval import APPROVAL, ActorKind, ApprovalRule, may_decide
from control_plane.domain.machine import IllegalTransition


def code(
    rule: ApprovalRule, requester: str, approver: str, actor_kind: ActorKind = "human"
) -> str | None:
    refusal = may_decide(rule, requester, approver, actor_kind)
    return None if refusal is None else refusal.code


def test_two_people_are_two_people() -> None:
    assert code("two_people", "ana", "ben") is None
    assert code("two_people", "ana", "ana") == "same_person"


@pytest.mark.parametrize("spelling", ["Ana", "ana ", "ANA", "\uff41na"])
def test_another_spelling_is_not_another_person(spelling: str) -> None:
    assert code("two_people", "ana", spelling) == "same_person"
    assert code("own_hand", "ana", spelling) == "not_own_hand"


def test_own_hand_is_the_requester_alone() -> None:
    assert code("own_hand", "ana", "ana") is None
    assert code("own_hand", "ana", "ben") == "not_own_hand"


@pytest.mark.parametrize("rule", ["two_people", "own_hand"])
@pytest.mark.parametrize("kind", ["agent", "service", "HUMAN", ""])
@pytest.mark.parametrize("approver", ["ana", "ben"])
def test_nothing_but_a_human_ever_decides(
    rule: ApprovalRule, kind: ActorKind, approver: str
) -> None:
    assert code(rule, "ana", approver, kind) == "not_human"


@pytest.mark.parametrize(("requester", "approver"), [("", "ben"), ("ana", ""), (" ", " ")])
def test_a_nameless_person_decides_nothing(requester: str, approver: str) -> None:
    assert code("two_people", requester, approver) == "unknown_person"
    assert code("own_hand", requester, approver) == "unknown_person"


def test_an_unknown_rule_lets_nobody_decide() -> None:
    for approver in ("ana", "ben"):
        assert code("anyone", "ana", approver) == "unknown_rule"  # type: ignore[arg-type]


@given(st.text(), st.text())
def test_no_pair_may_decide_under_both_rules(requester: str, approver: str) -> None:
    allowed = [r for r in ("two_people", "own_hand") if code(r, requester, approver) is None]
    assert len(allowed) <= 1


def test_an_approval_is_consumed_once_and_only_when_approved() -> None:
    assert APPROVAL.next("approved", "consume") == "consumed"
    for state in APPROVAL.states:
        if state != "approved":
            with pytest.raises(IllegalTransition):
                APPROVAL.next(state, "consume")
