"""Who may look for drift and put it right, and what of a repair a human is asked about; asked of the real engine."""

from __future__ import annotations

import pytest

from tests.policies.test_house_rules import HOUSE
from tests.policies.test_rules import CHANGERS, ROLES, Ask, refusal

CHECK = {
    "operation": "drift_check",
    "exists": True,
    "state": "active",
    "access_mode": "full",
}
REPAIR = CHECK | {"operation": "drift_repair", "infra_creates": 0, "infra_updates": 1}
SIGNED = {
    "plan_digest": "d1",
    "approval_present": True,
    "approval_by": "bob",
    "approval_digest": "d1",
}
BOTH = ("propose", "apply")
STATES = ("active", "suspended", "provision_failed", "deprovision_failed")


@pytest.mark.parametrize("action", BOTH)
@pytest.mark.parametrize("facts", [CHECK, REPAIR], ids=["check", "repair"])
def test_who_runs_tenants_may_and_nobody_else(
    ask: Ask, action: str, facts: dict[str, object]
) -> None:
    def may(role: str, **more: object) -> bool:
        return ask("tenant", action, role, **(facts | more)).allowed

    assert {role for role in ROLES if may(role)} == CHANGERS
    assert not any(may(role, member=False) for role in ROLES)
    assert not any(may(role, exists=False) for role in ROLES)
    # Whether the house asks at all is not a matter of policy.
    assert ask("tenant", action, "house", **facts, **HOUSE).allowed


def test_what_a_stack_says_of_itself_is_for_who_runs_tenants(ask: Ask) -> None:
    there = {"exists": True, "operation": ""}
    may = {role for role in ROLES if ask("tenant", "read_outputs", role, **there).allowed}
    assert may == CHANGERS
    for less in ({"exists": False}, {"member": False}):
        assert not ask("tenant", "read_outputs", "operator", **(there | less)).allowed


@pytest.mark.parametrize("action", BOTH)
@pytest.mark.parametrize("state", STATES)
def test_a_look_is_had_in_every_state_and_a_repair_in_service(
    ask: Ask, action: str, state: str
) -> None:
    there = {"state": state, "access_mode": "full" if state == "active" else "none"}
    assert ask("tenant", action, "operator", **(CHECK | there)).allowed
    repaired = ask("tenant", action, "operator", **(REPAIR | {"state": state}))
    assert repaired.allowed == (state == "active")
    if state != "active":
        assert refusal(repaired) == ("tenant_state", "state")


@pytest.mark.parametrize("action", BOTH)
@pytest.mark.parametrize("level", ["no_new_resources", "read_only", "no_access", "deprovision"])
def test_what_is_overdue_keeps_from_a_repair_and_not_from_a_look(
    ask: Ask, action: str, level: str
) -> None:
    owing = {"billing_level": level}
    said = refusal(ask("tenant", action, "operator", **(REPAIR | owing)))
    assert said == ("payment_overdue", "billing_level")
    assert ask("tenant", action, "operator", **(CHECK | owing)).allowed


@pytest.mark.parametrize(
    "heavy",
    [
        {"infra_stateful_deletes": 1},
        {"infra_iam_unread": 1},
        {"infra_unpriced": 1},
        {"infra_blast_radius": 81},
    ],
)
def test_what_cannot_be_brought_back_or_is_not_known_waits_for_a_human(
    ask: Ask, heavy: dict[str, object]
) -> None:
    given = REPAIR | {"stage": "apply"} | heavy
    assert ask("tenant", "apply", "operator", **given).needs_approval
    assert ask("tenant", "apply", "operator", **given, **SIGNED).allowed
    own = given | SIGNED | {"approval_by": "ann"}
    assert ask("tenant", "apply", "operator", **own).needs_approval


@pytest.mark.parametrize(
    "heavy",
    [
        {"infra_deletes": 1},
        {"infra_replaces": 1},
        {"infra_stateful_deletes": 1},
        {"infra_iam_unread": 1},
        {"infra_blast_radius": 41},
    ],
)
def test_the_house_takes_nothing_away_without_another_ones_approval(
    ask: Ask, heavy: dict[str, object]
) -> None:
    given = REPAIR | {"stage": "apply", "requester": "house:billing"} | heavy
    assert ask("tenant", "apply", "house", **given, **HOUSE).needs_approval
    assert ask("tenant", "apply", "house", **given, **SIGNED, **HOUSE).allowed
    own = given | SIGNED | {"approval_by": "house:billing", "approval_rule": "own_hand"}
    assert ask("tenant", "apply", "house", **own, **HOUSE).needs_approval


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"state": "suspended"}, "tenant_state"),
        ({"billing_level": "no_new_resources"}, "payment_overdue"),
        ({"infra_local_exec": True}, "provisioner_not_admitted"),
        ({"infra_public_ingress": 1}, "public_ingress"),
        ({"infra_foreign": 1}, "foreign_resource"),
    ],
)
def test_what_stops_a_humans_repair_stops_the_houses(
    ask: Ask, change: dict[str, object], code: str
) -> None:
    given = REPAIR | SIGNED | {"stage": "apply"} | change
    assert refusal(ask("tenant", "apply", "house", **given, **HOUSE))[0] == code


def test_that_there_is_drift_asks_nobody_of_its_repair(ask: Ask) -> None:
    given = REPAIR | {"stage": "apply", "infra_drift": 7, "proposed_isolation": "silo"}
    assert ask("tenant", "apply", "operator", **given).allowed


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"infra_local_exec": True}, "provisioner_not_admitted"),
        ({"infra_public_ingress": 1}, "public_ingress"),
        ({"infra_unencrypted": 1}, "unencrypted"),
        ({"infra_iam_wildcards": 1}, "iam_wildcard"),
        ({"infra_untagged": 1}, "untagged"),
        ({"infra_foreign": 1}, "foreign_resource"),
        ({"infra_reaches_out": 1}, "data_source_not_admitted"),
        ({"infra_regions": ["us"]}, "resource_elsewhere"),
        ({"infra_monthly_cost_minor": 10_000_000}, "cost_too_high"),
    ],
)
def test_no_approval_lets_a_repair_do_what_no_stack_may(
    ask: Ask, change: dict[str, object], code: str
) -> None:
    given = REPAIR | SIGNED | {"stage": "apply"} | change
    assert refusal(ask("tenant", "apply", "operator", **given))[0] == code
