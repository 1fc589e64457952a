"""The rules of a tenant that stands: shutting and opening it, taking it down and bringing it back."""

from __future__ import annotations

import pytest

from tests.policies.test_rules import APPROVED, CHANGERS, ROLES, Ask, refusal

SUSPEND = {"operation": "suspend", "exists": True, "access_mode": "full"}
RESUME = {"operation": "resume", "exists": True, "access_mode": "none"}
OPERATIONS = [(SUSPEND, "active"), (SUSPEND, "suspended"), (RESUME, "suspended")]


@pytest.mark.parametrize(("facts", "state"), OPERATIONS)
@pytest.mark.parametrize("action", ["propose", "apply"])
def test_who_may_suspend_and_resume(
    ask: Ask, action: str, facts: dict[str, object], state: str
) -> None:
    def may(role: str, **more: object) -> bool:
        return ask("tenant", action, role, **(facts | {"state": state} | more)).allowed

    assert {role for role in ROLES if may(role)} == CHANGERS
    assert not any(may(role, member=False) for role in ROLES)
    assert not any(may(role, exists=False) for role in ROLES)


@pytest.mark.parametrize(("facts", "passing"), [(SUSPEND, "suspending"), (RESUME, "resuming")])
def test_a_run_goes_on_in_the_state_that_it_brought_about_and_none_is_proposed_in_it(
    ask: Ask, facts: dict[str, object], passing: str
) -> None:
    there = facts | {"state": passing}
    assert ask("tenant", "apply", "operator", **there).allowed
    assert refusal(ask("tenant", "propose", "platform_admin", **there)) == ("tenant_state", "state")


@pytest.mark.parametrize("access_mode", ["full", "read_only", "none"])
def test_access_that_was_taken_keeps_nobody_from_resuming_or_suspending(
    ask: Ask, access_mode: str
) -> None:
    for facts in (SUSPEND, RESUME):
        there = facts | {"state": "suspended", "access_mode": access_mode}
        assert ask("tenant", "propose", "operator", **there).allowed
        assert ask("tenant", "apply", "operator", **there).allowed


@pytest.mark.parametrize("action", ["propose", "apply"])
def test_a_security_reason_is_cleared_by_a_platform_admin_alone(ask: Ask, action: str) -> None:
    security = {"state": "suspended", "proposed_reason": "security"}
    assert ask("tenant", action, "operator", "platform_admin", **(RESUME | security)).allowed
    said = ("security_reason", "proposed_reason")
    assert refusal(ask("tenant", action, "operator", **(RESUME | security))) == said
    assert ask("tenant", action, "operator", **(SUSPEND | security)).allowed


@pytest.mark.parametrize("facts", [SUSPEND, RESUME])
def test_shutting_and_opening_wait_for_nobodys_approval(ask: Ask, facts: dict[str, object]) -> None:
    there = facts | {"state": "suspended", "isolation": "silo"}
    assert ask("tenant", "apply", "operator", **there).allowed
    assert not ask("tenant", "apply", "viewer", **there).needs_approval


@pytest.mark.parametrize("action", ["propose", "apply"])
@pytest.mark.parametrize(
    ("facts", "state"), [(SUSPEND, "provision_failed"), (RESUME, "active"), (SUSPEND, "purged")]
)
def test_no_operation_begins_where_it_does_not_belong(
    ask: Ask, action: str, facts: dict[str, object], state: str
) -> None:
    there = facts | {"state": state}
    assert refusal(ask("tenant", action, "operator", **there)) == ("tenant_state", "state")


OFFBOARD = {
    "operation": "offboard",
    "exists": True,
    "access_mode": "full",
    "state": "active",
    "proposed_isolation": "",
    "proposed_cancel": True,
    "infra_deletes": 2,
    "infra_stateful_deletes": 1,
}
RESTORE = {
    "operation": "restore",
    "exists": True,
    "access_mode": "none",
    "state": "deprovisioned",
    "restorable": True,
}
SIGNED = {name: APPROVED[name] for name in APPROVED if name.startswith(("plan_", "approval_"))}


@pytest.mark.parametrize("isolation", ["pooled", "bridge", "silo"])
@pytest.mark.parametrize(
    "state", ["active", "suspended", "provision_failed", "deprovision_failed", "deprovisioning"]
)
def test_an_offboarding_always_waits_for_an_approval(ask: Ask, isolation: str, state: str) -> None:
    facts = OFFBOARD | {"isolation": isolation, "state": state}
    for role in CHANGERS:
        asked = ask("tenant", "apply", role, **facts)
        assert not asked.allowed
        assert asked.needs_approval
        assert ask("tenant", "apply", role, **(facts | SIGNED)).allowed
    own = facts | SIGNED | {"approval_by": "ann"}
    assert ask("tenant", "apply", "operator", **own).needs_approval
    assert ask("tenant", "apply", "operator", **own, approval_rule="own_hand").allowed


@pytest.mark.parametrize("facts", [OFFBOARD | SIGNED, RESTORE])
@pytest.mark.parametrize("action", ["propose", "apply"])
def test_who_may_offboard_and_restore(ask: Ask, action: str, facts: dict[str, object]) -> None:
    def may(role: str, **more: object) -> bool:
        return ask("tenant", action, role, **(facts | more)).allowed

    assert {role for role in ROLES if may(role)} == CHANGERS
    assert not any(may(role, member=False) for role in ROLES)
    assert not any(may(role, exists=False) for role in ROLES)
    assert not any(
        ask("tenant", "apply", role, **facts, member=False).needs_approval for role in ROLES
    )


@pytest.mark.parametrize("action", ["propose", "apply"])
@pytest.mark.parametrize(
    ("change", "code", "fact"),
    [
        ({"deletion_protection": True}, "deletion_protected", "deletion_protection"),
        ({"legal_hold": True}, "legal_hold", "legal_hold"),
        ({"proposed_cancel": False}, "subscription_active", "subscription_ended"),
        ({"state": "deprovisioned"}, "tenant_state", "state"),
        ({"state": "provisioning"}, "tenant_state", "state"),
    ],
)
def test_whatever_keeps_a_tenant_refuses_its_offboarding_approved_or_not(
    ask: Ask, action: str, change: dict[str, object], code: str, fact: str
) -> None:
    for facts in (OFFBOARD, OFFBOARD | SIGNED):
        for step in ("", "close", "finish"):
            asked = ask("tenant", action, "platform_admin", **(facts | change), step=step)
            assert refusal(asked) == (code, fact)


def test_a_subscription_that_has_ended_needs_no_canceling(ask: Ask) -> None:
    ended = OFFBOARD | SIGNED | {"proposed_cancel": False, "subscription_ended": True}
    assert ask("tenant", "propose", "operator", **ended).allowed
    assert ask("tenant", "apply", "operator", **ended).allowed


@pytest.mark.parametrize("step", ["drop_database", "destroy"])
def test_no_step_destroys_anything_without_a_proven_backup(ask: Ask, step: str) -> None:
    facts = OFFBOARD | SIGNED | {"state": "deprovisioning", "step": step}
    assert refusal(ask("tenant", "apply", "platform_admin", **facts)) == (
        "backup_not_verified",
        "backup_verified",
    )
    assert ask("tenant", "apply", "operator", **facts, backup_verified=True).allowed


@pytest.mark.parametrize("step", ["begin", "close", "backup", "verify_backup", "finish", ""])
def test_every_other_step_of_it_needs_none(ask: Ask, step: str) -> None:
    facts = OFFBOARD | SIGNED | {"state": "deprovisioning", "step": step}
    assert ask("tenant", "apply", "operator", **facts).allowed


def test_a_pooled_tenant_comes_back_without_an_approval_and_a_silo_with_one(ask: Ask) -> None:
    assert ask("tenant", "propose", "operator", **RESTORE, proposed_isolation="silo").allowed
    silo = RESTORE | {"proposed_isolation": "silo"}
    assert ask("tenant", "apply", "operator", **silo).needs_approval
    assert ask("tenant", "apply", "operator", **(silo | SIGNED)).allowed
    assert ask("tenant", "apply", "operator", **(RESTORE | {"state": "restoring"})).allowed


@pytest.mark.parametrize("reason", ["billing", "quota", "security"])
def test_what_was_shut_for_a_cause_is_opened_by_a_restore_only_with_an_approval(
    ask: Ask, reason: str
) -> None:
    shut = RESTORE | {"suspend_reasons": ["operator", reason]}
    assert ask("tenant", "propose", "operator", **shut).allowed
    assert ask("tenant", "apply", "operator", **shut).needs_approval
    assert ask("tenant", "apply", "operator", **(shut | SIGNED)).allowed


@pytest.mark.parametrize("action", ["propose", "apply"])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"restorable": False}, "not_restorable"),
        ({"state": "active"}, "tenant_state"),
        ({"proposed_isolation": "bridge"}, "isolation_not_in_plan"),
        ({"infra_stateful_deletes": 1}, "stateful_delete"),
        ({"infra_local_exec": True}, "provisioner_not_admitted"),
    ],
)
def test_a_restore_is_refused_with_its_reason(
    ask: Ask, action: str, change: dict[str, object], code: str
) -> None:
    assert refusal(ask("tenant", action, "platform_admin", **(RESTORE | change)))[0] == code
