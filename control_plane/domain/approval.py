"""An approval's machine, and who may decide one. Not the signature, the rendering or the row."""

from __future__ import annotations

import unicodedata
from typing import Literal, TypeAlias, get_args

from control_plane.domain.machine import Machine, Transition
from control_plane.errors import Refused

ApprovalState: TypeAlias = Literal[
    "pending",
    "approved",
    "rejected",
    "expired",
    "superseded",
    "void",
    "revoked",
    "consumed",
]
ApprovalRule: TypeAlias = Literal["two_people", "own_hand"]
ActorKind: TypeAlias = Literal["human", "agent", "service", "house"]

APPROVAL = Machine(
    name="approval",
    initial="pending",
    states=get_args(ApprovalState),
    stable=frozenset({"pending", "approved"}),
    transient={},
    terminal=frozenset({"rejected", "expired", "superseded", "void", "revoked", "consumed"}),
    transitions=(
        Transition(
            "pending", "approve", "approved", guard="may_decide, digest_signed, not_expired"
        ),
        Transition("pending", "reject", "rejected", guard="may_decide"),
        Transition("pending", "supersede", "superseded", guard="newer_plan"),
        Transition(frozenset({"pending", "approved"}), "expire", "expired", guard="past_expiry"),
        Transition(
            frozenset({"pending", "approved"}), "void", "void", guard="digest_changed_or_run_ended"
        ),
        Transition("approved", "revoke", "revoked", guard="may_decide"),
        Transition(
            "approved",
            "consume",
            "consumed",
            guard="digest_equal, not_expired, right_decided_again",
            irreversible=True,
        ),
    ),
)


def may_decide(
    rule: ApprovalRule, requester: str, approver: str, actor_kind: ActorKind
) -> Refused | None:
    """Why this approver may not decide the requester's approval; None when the rule lets them.

    `requester` and `approver` name human principals; `actor_kind` says what acts for the approver
    now. Only a human in person decides. Returns the refusal so that a page can show it.
    """
    if actor_kind != "human":
        return Refused(
            "an approval is decided by a human in person", code="not_human", rule="approval.actor"
        )
    if not _person(requester) or not _person(approver):
        return Refused(
            "requester and approver must be known", code="unknown_person", rule="approval.rule"
        )
    if rule == "two_people" and _person(requester) == _person(approver):
        return Refused(
            "the requester never decides their own request",
            code="same_person",
            rule="approval.rule",
        )
    if rule == "own_hand" and requester != approver:
        return Refused(
            "the requester decides with their own hand", code="not_own_hand", rule="approval.rule"
        )
    if rule not in get_args(ApprovalRule):
        return Refused("the approval rule is not known", code="unknown_rule", rule="approval.rule")
    return None


def _person(name: str) -> str:
    # One person under two spellings must not count as two people.
    return unicodedata.normalize("NFKC", name).strip().casefold()
