"""Who may move a tenant to another database, and who may remove what it has left; asked of the real engine."""

from __future__ import annotations

import pytest

from tests.policies.test_drift_rules import SIGNED
from tests.policies.test_house_rules import HOUSE
from tests.policies.test_rules import CHANGERS, ROLES, Ask, refusal

MOVE: dict[str, object] = {
    "operation": "move",
    "exists": True,
    "state": "active",
    "access_mode": "full",
    "isolation": "pooled",
    "proposed_isolation": "bridge",
    "plan_isolations": ["pooled", "bridge"],
}
FINALISE: dict[str, object] = {
    "operation": "finalise_move",
    "exists": True,
    "state": "active",
    "access_mode": "full",
}
BOTH = ("propose", "apply")


def test_who_runs_tenants_may_propose_a_move_and_nobody_else(ask: Ask) -> None:
    assert {role for role in ROLES if ask("tenant", "propose", role, **MOVE).allowed} == CHANGERS
    for less in ({"member": False}, {"exists": False}):
        assert not any(ask("tenant", "propose", role, **(MOVE | less)).allowed for role in ROLES)
    assert not ask("tenant", "propose", "house", **(MOVE | HOUSE)).allowed


def test_a_move_always_asks_a_human(ask: Ask) -> None:
    asked = ask("tenant", "apply", "operator", **MOVE)
    assert not asked.allowed
    assert [one.kind for one in asked.obligations] == ["approval"]
    assert ask("tenant", "apply", "operator", **(MOVE | SIGNED)).allowed
    going = MOVE | SIGNED | {"state": "migrating"}
    assert ask("tenant", "apply", "operator", **going).allowed


@pytest.mark.parametrize("action", BOTH)
def test_a_plan_says_where_its_tenants_may_go(ask: Ask, action: str) -> None:
    said = refusal(ask("tenant", action, "operator", **(MOVE | {"proposed_isolation": "silo"})))
    assert said == ("isolation_not_in_plan", "proposed_isolation")


@pytest.mark.parametrize("state", ["suspended", "provision_failed", "deprovisioned", "updating"])
@pytest.mark.parametrize("action", BOTH)
def test_only_who_is_in_service_is_moved(ask: Ask, action: str, state: str) -> None:
    said = refusal(ask("tenant", action, "operator", **(MOVE | SIGNED | {"state": state})))
    assert said == ("tenant_state", "state")


@pytest.mark.parametrize("action", BOTH)
def test_what_is_overdue_keeps_from_a_move(ask: Ask, action: str) -> None:
    owing = MOVE | SIGNED | {"billing_level": "no_new_resources"}
    assert refusal(ask("tenant", action, "operator", **owing)) == (
        "payment_overdue",
        "billing_level",
    )


def test_what_was_left_goes_by_itself_once_its_time_is_over(ask: Ask) -> None:
    over = FINALISE | {"way_back_over": True}
    for action in BOTH:
        assert ask("tenant", action, "house", **(over | HOUSE)).allowed
        assert ask("tenant", action, "operator", **over).allowed
        assert not ask("tenant", action, "house", **(FINALISE | HOUSE)).allowed


def test_before_its_time_a_human_is_asked(ask: Ask) -> None:
    assert ask("tenant", "propose", "operator", **FINALISE).allowed
    asked = ask("tenant", "apply", "operator", **FINALISE)
    assert not asked.allowed
    assert [one.kind for one in asked.obligations] == ["approval"]
    assert ask("tenant", "apply", "operator", **(FINALISE | SIGNED)).allowed


@pytest.mark.parametrize("action", BOTH)
def test_a_legal_hold_keeps_what_was_left(ask: Ask, action: str) -> None:
    held = FINALISE | {"way_back_over": True, "legal_hold": True}
    assert refusal(ask("tenant", action, "operator", **held)) == ("legal_hold", "legal_hold")
    assert not ask("tenant", action, "house", **(held | HOUSE)).allowed
