"""Who may freeze runs, how far, and what a freeze keeps from beginning; asked of the real engine."""

from __future__ import annotations

from itertools import product

import pytest

from tests.policies.test_drift_rules import CHECK, REPAIR, SIGNED
from tests.policies.test_house_rules import FOLLOW, HOUSE
from tests.policies.test_rules import ADMIN, CHANGERS, ROLES, Ask, refusal

ACTS = ("set", "lift")
FROZEN = ("frozen", "frozen")
AGENTS = {"actor_kind": "agent"}


@pytest.mark.parametrize("action", ACTS)
@pytest.mark.parametrize(
    ("scope", "roles"), [("workspace", ADMIN), ("cloud", ADMIN), ("tenant", CHANGERS)]
)
def test_what_reaches_beyond_a_tenant_is_for_who_has_every_one(
    ask: Ask, action: str, scope: str, roles: set[str]
) -> None:
    def may(role: str, **more: object) -> bool:
        return ask("freeze", action, role, scope=scope, **more).allowed

    assert {role for role in ROLES if may(role)} == roles
    assert {role for role in ROLES if may(role, frozen=True)} == roles
    assert not any(may(role, member=False) for role in ROLES)
    assert not any(may(role, exists=False) for role in ROLES)


@pytest.mark.parametrize(("action", "role"), list(product(ACTS, sorted(CHANGERS))))
@pytest.mark.parametrize("kind", ["agent", "service", "house"])
def test_only_a_human_sets_or_lifts_one(ask: Ask, action: str, role: str, kind: str) -> None:
    told = ask("freeze", action, role, scope="tenant", actor_kind=kind)
    assert refusal(told) == ("human_only", "actor_kind")


def test_who_freezes_calls_the_tool_and_nobody_else(ask: Ask) -> None:
    def may(role: str, **more: object) -> bool:
        return ask("mcp_tool", "call", role, domain="freeze", risk="write", **more).allowed

    assert {role for role in ROLES if may(role)} == CHANGERS
    assert not may("house", **HOUSE)


ASKED: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("tenant", "operator", {"stage": "propose"}),
    ("tenant", "operator", {**CHECK}),
    ("tenant", "operator", {**REPAIR}),
    ("subscription", "operator", {"operation": "change"}),
    ("catalog", "platform_admin", {**SIGNED}),
)


@pytest.mark.parametrize("action", ["propose", "apply"])
@pytest.mark.parametrize(("kind", "role", "facts"), ASKED)
def test_nothing_is_proposed_or_begun_while_it_is_frozen(
    ask: Ask, action: str, kind: str, role: str, facts: dict[str, object]
) -> None:
    assert refusal(ask(kind, action, role, **facts, frozen=True)) == FROZEN


@pytest.mark.parametrize(("kind", "role", "facts"), ASKED)
def test_what_has_begun_goes_on_while_it_is_frozen(
    ask: Ask, kind: str, role: str, facts: dict[str, object]
) -> None:
    begun = {**facts, "stage": "apply", "step": "finish"}
    open_one = ask(kind, "apply", role, **begun)
    assert open_one.allowed
    assert ask(kind, "apply", role, **begun, frozen=True).allowed


@pytest.mark.parametrize(
    "action", ["create", "update", "delete", "bulk_update", "bulk_delete", "undo"]
)
def test_a_run_of_records_does_not_begin_either(ask: Ask, action: str) -> None:
    assert ask("record", action, "platform_admin").allowed
    assert refusal(ask("record", action, "platform_admin", frozen=True)) == FROZEN
    assert ask("record", action, "platform_admin", frozen=True, step="change").allowed


def test_an_approval_does_not_lift_it_and_the_house_is_held_too(ask: Ask) -> None:
    for action in ("propose", "apply"):
        assert ask("tenant", action, "house", **FOLLOW, **HOUSE).allowed
        assert refusal(ask("tenant", action, "house", **FOLLOW, **HOUSE, frozen=True)) == FROZEN
    assert refusal(ask("tenant", "apply", "operator", **REPAIR, **SIGNED, frozen=True)) == FROZEN


@pytest.mark.parametrize(("kind", "role"), [("tenant", "viewer"), ("subscription", "viewer")])
def test_reads_go_on(ask: Ask, kind: str, role: str) -> None:
    assert ask(kind, "read", role, exists=True, frozen=True).allowed
