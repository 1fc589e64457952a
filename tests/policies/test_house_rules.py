"""What the house may ask for by itself, asked of the real engine: nothing but what money and dates call for."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from policies.decision import ActionDecision
from tests.policies.conftest import NEUTRAL
from tests.policies.test_rules import DOMAINS, RISKS, refusal

Ask = Callable[..., ActionDecision]

HOUSE = {"who": "house:billing", "actor_kind": "house"}
LAST = {
    "operation": "offboard",
    "exists": True,
    "state": "active",
    "access_mode": "full",
    "billing_level": "deprovision",
    "billing_access": "none",
    "subscription_ended": True,
    "requester": "house:billing",
}
SIGNED = {
    "plan_digest": "d1",
    "approval_present": True,
    "approval_by": "bob",
    "approval_digest": "d1",
}
FOLLOW = {
    "operation": "follow_plan",
    "exists": True,
    "state": "active",
    "access_mode": "full",
    "plan": "pro",
    "proposed_plan": "team",
    "requester": "house:billing",
}
OPENING = {
    "operation": "resume",
    "exists": True,
    "state": "suspended",
    "proposed_reason": "billing",
    "suspend_reasons": ["billing"],
    "requester": "house:billing",
}
BELOW = ("clear", "no_upgrades", "no_new_resources", "read_only", "no_access")


def test_the_house_calls_what_changes_a_tenant_and_reads_nothing_by_a_tool(ask: Ask) -> None:
    may = {
        (domain, risk)
        for domain, risk in product((*DOMAINS, "catalog"), RISKS)
        if ask("mcp_tool", "call", "house", domain=domain, risk=risk, **HOUSE).allowed
    }
    assert may == {("tenant", "write"), ("tenant", "destructive")}


def test_at_the_last_rung_it_may_ask_and_always_needs_an_approval(ask: Ask) -> None:
    assert ask("tenant", "propose", "house", **LAST, **HOUSE).allowed
    assert ask("tenant", "apply", "house", **LAST, **HOUSE).needs_approval
    assert ask("tenant", "apply", "house", **LAST, **SIGNED, **HOUSE).allowed


@pytest.mark.parametrize("rule", ["two_people", "own_hand"])
def test_its_own_hand_is_never_an_approval(ask: Ask, rule: str) -> None:
    own = LAST | SIGNED | {"approval_by": "house:billing", "approval_rule": rule}
    assert ask("tenant", "apply", "house", **own, **HOUSE).needs_approval


@pytest.mark.parametrize("level", BELOW)
@pytest.mark.parametrize("step", ["", "begin", "close", "backup", "verify_backup", "drop_database"])
def test_below_the_last_rung_it_is_refused_up_to_the_step_that_destroys(
    ask: Ask, level: str, step: str
) -> None:
    given = LAST | SIGNED | {"billing_level": level, "step": step, "backup_verified": True}
    told = refusal(ask("tenant", "apply", "house", **given, **HOUSE))
    assert told == ("debt_settled", "billing_level")
    if not step:
        assert refusal(ask("tenant", "propose", "house", **given, **HOUSE))[0] == "debt_settled"


@pytest.mark.parametrize("step", ["destroy", "finish"])
def test_once_the_data_is_gone_it_goes_on(ask: Ask, step: str) -> None:
    given = LAST | SIGNED | {"billing_level": "clear", "step": step, "backup_verified": True}
    assert ask("tenant", "apply", "house", **(given | {"state": "deprovisioning"}), **HOUSE).allowed


@pytest.mark.parametrize("action", ["propose", "apply"])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"deletion_protection": True}, "deletion_protected"),
        ({"legal_hold": True}, "legal_hold"),
        ({"subscription_ended": False}, "subscription_active"),
        ({"state": "deprovisioned"}, "tenant_state"),
        ({"infra_local_exec": True}, "provisioner_not_admitted"),
    ],
)
def test_every_guard_that_stops_a_human_stops_it_too(
    ask: Ask, action: str, change: dict[str, object], code: str
) -> None:
    assert refusal(ask("tenant", action, "house", **(LAST | SIGNED | change), **HOUSE))[0] == code


def test_nothing_is_destroyed_without_a_proven_backup(ask: Ask) -> None:
    given = LAST | SIGNED | {"step": "drop_database", "state": "deprovisioning"}
    told = ask("tenant", "apply", "house", **given, **HOUSE)
    assert refusal(told)[0] == "backup_not_verified"


def test_a_plan_is_followed_and_what_holds_data_goes_only_with_an_approval(ask: Ask) -> None:
    for action in ("propose", "apply"):
        assert ask("tenant", action, "house", **FOLLOW, **HOUSE).allowed
    heavy = FOLLOW | {"infra_stateful_deletes": 1}
    assert ask("tenant", "apply", "house", **heavy, **HOUSE).needs_approval
    assert ask("tenant", "apply", "house", **heavy, **SIGNED, **HOUSE).allowed
    own = heavy | SIGNED | {"approval_by": "house:billing", "approval_rule": "own_hand"}
    assert not ask("tenant", "apply", "house", **own, **HOUSE).allowed


@pytest.mark.parametrize(
    "change",
    [
        {"proposed_plan": "pro"},
        {"state": "suspended"},
        {"exists": False},
        {"proposed_isolation": "bridge"},
        {"infra_local_exec": True},
    ],
)
def test_no_plan_is_followed_otherwise(ask: Ask, change: dict[str, object]) -> None:
    for action in ("propose", "apply"):
        assert not ask("tenant", action, "house", **(FOLLOW | change), **HOUSE).allowed


def test_it_opens_what_a_debt_has_shut_once_that_is_paid_and_nothing_else(ask: Ask) -> None:
    for action in ("propose", "apply"):
        assert ask("tenant", action, "house", **OPENING, **HOUSE).allowed
        for change in (
            {"billing_access": "none"},
            {"proposed_reason": "operator"},
            {"proposed_reason": "security"},
        ):
            assert not ask("tenant", action, "house", **(OPENING | change), **HOUSE).allowed


@pytest.mark.parametrize("operation", ["onboard", "suspend", "restore"])
def test_it_asks_for_no_other_change_of_a_tenant(ask: Ask, operation: str) -> None:
    for state, action in product(
        ("", "active", "suspended", "deprovisioned"), ("propose", "apply")
    ):
        given = LAST | SIGNED | {"operation": operation, "state": state, "restorable": True}
        assert not ask("tenant", action, "house", **given, **HOUSE).allowed


# What it may do with a database: test_database_rules.py.
OPEN = {"tenant", "mcp_tool", "workspace", "database"}


@pytest.mark.parametrize("kind", sorted(set(NEUTRAL) - OPEN))
def test_it_may_do_nothing_with_anything_else(ask: Ask, kind: str) -> None:
    actions = (
        *("read", "propose", "apply", "query", "create", "update", "delete", "record"),
        *("assign", "release", "cancel", "approve", "deny"),
    )
    assert [one for one in actions if ask(kind, one, "house", **HOUSE).allowed] == []


@pytest.mark.parametrize("role", ["operator", "platform_admin", "billing"])
def test_no_human_follows_a_plan_or_clears_a_debts_reason_for_it(ask: Ask, role: str) -> None:
    for action in ("propose", "apply"):
        assert not ask("tenant", action, role, **FOLLOW).allowed
