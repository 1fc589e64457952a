"""The rules of a catalog that is to be put in force: who may ask for it, and what stands in its way."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from policies.decision import ActionDecision
from policies.gate import Gate
from policies.request import Principal, Resource
from tests.policies.conftest import NEUTRAL
from tests.policies.test_rules import ADMIN, ROLES, Ask, refusal

READERS = {"auditor", "platform_admin"}
STEPS = ("", "expand", "ready", "switch", "contract")
STAGES = [("propose", "")] + [("apply", step) for step in STEPS]
SIGNED: dict[str, object] = {
    "plan_digest": "d1",
    "approval_present": True,
    "approval_by": "bob",
    "approval_digest": "d1",
}
# What an approval may lack, and whether it holds all the same.
APPROVALS: list[tuple[dict[str, object], bool]] = [
    ({}, False),
    (SIGNED, True),
    (SIGNED | {"approval_present": False}, False),
    (SIGNED | {"approval_expired": True}, False),
    (SIGNED | {"approval_digest": "d2"}, False),
    (SIGNED | {"approval_digest": "", "plan_digest": ""}, False),
    (SIGNED | {"approval_by": "ann"}, False),
    (SIGNED | {"approval_by": "ann", "approval_rule": "own_hand"}, True),
    (SIGNED | {"approval_rule": "own_hand"}, True),
]
# What no shipped rule reads, each as it is where much changes.
WEIGHTS: dict[str, object] = {
    "moves": 40,
    "loses_data": True,
    "policies_changed": True,
    "rights_changed": 300,
    "plans_dropped": 3,
    "voided": 12,
}


@pytest.mark.parametrize(("stage", "step"), STAGES)
@pytest.mark.parametrize(
    ("action", "roles"), [("read", READERS), ("propose", ADMIN), ("apply", ADMIN)]
)
def test_who_may_read_propose_and_apply_at_every_stage(
    ask: Ask, action: str, roles: set[str], stage: str, step: str
) -> None:
    def may(role: str, **more: object) -> bool:
        facts = {**SIGNED, "stage": stage, "step": step, **more}
        return ask("catalog", action, role, **facts).allowed

    assert {role for role in ROLES if may(role)} == roles
    assert not any(may(role, member=False) for role in ROLES)
    assert not any(may(role, exists=False) for role in ROLES)


def test_no_role_and_no_other_action_has_any_right(ask: Ask) -> None:
    for action in ("read", "propose", "apply"):
        assert not ask("catalog", action, **SIGNED).allowed
    for action in ("delete", "retract", "approve"):
        assert not ask("catalog", action, *ROLES, **SIGNED).allowed


@pytest.mark.parametrize("risk", ["read", "write", "destructive"])
def test_a_tool_about_catalogs_is_a_platform_admins_alone(ask: Ask, risk: str) -> None:
    for action in ("list", "call"):
        seen = {
            one
            for one in ROLES
            if ask("mcp_tool", action, one, domain="catalog", risk=risk).allowed
        }
        assert seen == ADMIN


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("approval", "holds"), APPROVALS)
def test_it_is_proposed_freely_and_applied_with_an_approval_that_holds(
    ask: Ask, approval: dict[str, object], holds: bool, step: str
) -> None:
    assert ask("catalog", "propose", "platform_admin", **approval).allowed
    asked = ask("catalog", "apply", "platform_admin", **approval, stage="apply", step=step)
    assert asked.allowed is holds
    assert [one.kind for one in asked.obligations] == ([] if holds else ["approval"])


@pytest.mark.parametrize("weight", WEIGHTS)
def test_what_it_weighs_neither_forbids_it_nor_spares_the_approval(ask: Ask, weight: str) -> None:
    facts = {weight: WEIGHTS[weight]}
    assert ask("catalog", "propose", "platform_admin", **facts).allowed
    assert ask("catalog", "apply", "platform_admin", **facts).needs_approval
    assert ask("catalog", "apply", "platform_admin", **facts, **SIGNED).allowed


@pytest.mark.parametrize("action", ["propose", "apply"])
@pytest.mark.parametrize("role", ROLES)
def test_an_agent_neither_proposes_nor_applies_whatever_is_approved(
    ask: Ask, role: str, action: str
) -> None:
    for approval, _ in APPROVALS:
        asked = ask("catalog", action, role, actor_kind="agent", **approval)
        assert refusal(asked) == ("agents_apply_no_catalog", "actor_kind")


@pytest.mark.parametrize("role", sorted(READERS))
def test_an_agent_reads_what_its_human_may_read(ask: Ask, role: str) -> None:
    assert ask("catalog", "read", role, actor_kind="agent").allowed


@pytest.mark.parametrize("action", ["propose", "apply"])
@pytest.mark.parametrize("refused_moves", [1, 2, 1000])
def test_what_no_database_follows_is_refused_and_put_to_nobody(
    ask: Ask, action: str, refused_moves: int
) -> None:
    for approval, _ in APPROVALS:
        asked = ask("catalog", action, "platform_admin", **approval, refused_moves=refused_moves)
        assert refusal(asked) == ("evolution_refused", "refused_moves")
    assert ask("catalog", "read", "auditor", refused_moves=refused_moves).allowed


def test_nobody_is_asked_to_approve_what_the_requester_may_not_do(ask: Ask) -> None:
    for role in ROLES:
        if role not in ADMIN:
            assert not ask("catalog", "apply", role).needs_approval
        for lacking in ({"exists": False}, {"member": False}):
            assert not ask("catalog", "apply", role, **lacking).needs_approval


@pytest.mark.parametrize("actor_kind", ["human", "service", "agent"])
@pytest.mark.parametrize("role", ROLES)
def test_every_combination_is_decided_by_what_the_rules_say(
    gate: Gate, role: str, actor_kind: str
) -> None:
    expected: list[dict[str, str]] = []
    resources: list[Resource] = []
    for facts, holds in _states():
        sent = NEUTRAL["catalog"] | facts
        resources.append(Resource("catalog", "x", sent, ("read", "propose", "apply")))
        there = facts["exists"] and facts["member"]
        barred = actor_kind == "agent" or facts["refused_moves"] != 0
        changed = "refused" if barred else "allowed" if there and role in ADMIN else "denied"
        waits = changed == "allowed" and not holds
        expected.append(
            {
                "read": "allowed" if there and role in READERS else "denied",
                "propose": changed,
                "apply": "waits" if waits else changed,
            }
        )
    principal = Principal("ann", (role,), {"actor_kind": actor_kind, "actor": ""})
    answers = gate.check(principal, resources)
    assert [{name: _told(one) for name, one in a.actions.items()} for a in answers] == expected


def _states() -> Iterator[tuple[dict[str, Any], bool]]:
    for exists, member, refused_moves in product((True, False), (True, False), (0, 1)):
        for (approval, holds), (stage, step) in product(APPROVALS, STAGES):
            fixed = {"exists": exists, "member": member, "refused_moves": refused_moves}
            yield {**fixed, **approval, "stage": stage, "step": step}, holds


def _told(decision: ActionDecision) -> str:
    if decision.allowed:
        return "allowed"
    if decision.refusals:
        return "refused"
    return "waits" if decision.needs_approval else "denied"
