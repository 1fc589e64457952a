"""The rules of every kind, asked of the real engine."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from policies.decision import ActionDecision, Refusal

Ask = Callable[..., ActionDecision]

ROLES: tuple[str, ...] = (
    "viewer",
    "support",
    "operator",
    "billing",
    "approver",
    "auditor",
    "platform_admin",
)
EVERYONE: set[str] = {str(role) for role in ROLES}
ADMIN = {"platform_admin"}
CHANGERS = {"operator", "platform_admin"}
READERS = {"approver", "auditor", "platform_admin"}
COMMON = {(domain, "read") for domain in ("workspace", "tenant", "plan", "run", "approval")}
BILLED = {(domain, "read") for domain in ("subscription", "seat", "usage", "entitlement")}
SEATED = BILLED | {("seat", "write")}
# Money is not for everybody who may look at a subscription.
MONEY = {("invoice", "read")}
DOMAINS: tuple[str, ...] = (
    *("workspace", "tenant", "plan", "run", "approval", "record", "audit"),
    *("subscription", "seat", "usage", "entitlement", "invoice", "billing", "connection"),
)
RISKS = ("read", "write", "destructive")
MOVES = {("subscription", "write"), ("subscription", "destructive")}
# How to reach a database past us is told to services alone.
FOLLOWED = {("connection", risk) for risk in RISKS}

TOOLS: dict[str, set[tuple[str, str]]] = {
    "viewer": COMMON | BILLED,
    "support": COMMON
    | SEATED
    | MONEY
    | {("record", "read"), ("record", "write"), ("run", "write")},
    "operator": COMMON
    | SEATED
    | MONEY
    | MOVES
    | {("tenant", "write"), ("tenant", "destructive"), ("run", "write"), ("usage", "write")},
    "billing": COMMON | BILLED | MONEY | MOVES | {("run", "write"), ("billing", "write")},
    "approver": {(domain, "read") for domain in ("workspace", "run", "approval")},
    "auditor": BILLED
    | MONEY
    | {(d, "read") for d in ("workspace", "tenant", "run", "approval", "audit")},
    "platform_admin": {(str(one), str(risk)) for one, risk in product(DOMAINS, RISKS)} - FOLLOWED,
}

ALLOWED: dict[tuple[str, str], set[str]] = {
    ("workspace", "read"): EVERYONE,
    ("tenant", "register"): CHANGERS,
    ("tenant", "propose"): CHANGERS,
    ("tenant", "apply"): CHANGERS,
    ("subscription", "read"): EVERYONE - {"approver"},
    ("subscription", "propose"): CHANGERS | {"billing"},
    ("subscription", "apply"): CHANGERS | {"billing"},
    ("run", "read"): EVERYONE,
    ("run", "cancel"): CHANGERS | {"support", "billing"},
    ("approval", "read"): READERS,
    ("audit_leaf", "read"): {"auditor", "platform_admin"},
    ("usage", "read"): EVERYONE - {"approver"},
    ("usage", "record"): CHANGERS,
    ("entitlement", "read"): EVERYONE - {"approver"},
    ("connection", "read"): set(),
    ("connection", "acknowledge"): set(),
    ("invoice", "read"): EVERYONE - {"approver", "viewer"},
    ("seat", "read"): EVERYONE - {"approver"},
    ("seat", "assign"): CHANGERS | {"support"},
    ("seat", "release"): CHANGERS | {"support"},
    ("seat", "read_pii"): CHANGERS | {"support"},
    ("record", "read"): {"support", "platform_admin"},
    ("record", "query"): {"support", "platform_admin"},
    ("record", "create"): {"support", "platform_admin"},
    ("record", "update"): {"support", "platform_admin"},
    ("record", "delete"): ADMIN,
    ("record", "bulk_update"): {"support", "platform_admin"},
    ("record", "bulk_delete"): ADMIN,
    ("record", "undo"): {"support", "platform_admin"},
    ("record", "read_pii"): ADMIN,
}

APPROVED = {
    "operation": "onboard",
    "proposed_isolation": "silo",
    "plan_digest": "d1",
    "approval_present": True,
    "approval_by": "bob",
    "approval_digest": "d1",
}


def refusal(decision: ActionDecision) -> tuple[str, str]:
    assert not decision.allowed
    assert not decision.obligations
    (only,) = decision.refusals
    assert isinstance(only, Refusal)
    return only.code, only.fact


@pytest.mark.parametrize("role", ROLES)
def test_a_role_lists_and_calls_exactly_its_tools(ask: Ask, role: str) -> None:
    for action in ("list", "call"):
        seen = {
            (domain, risk)
            for domain, risk in product(DOMAINS, RISKS)
            if ask("mcp_tool", action, role, domain=domain, risk=risk).allowed
        }
        assert seen == TOOLS[role]


SERVED: dict[str, set[tuple[str, str]]] = {
    "service_usage_write": {("usage", "write")},
    "service_usage_read": {("usage", "read")},
    "service_entitlement_read": {("entitlement", "read")},
    "service_connection": FOLLOWED,
}
SERVED_OBJECTS: dict[tuple[str, str], set[str]] = {
    ("usage", "read"): {"service_usage_read", "service_usage_write"},
    ("usage", "record"): {"service_usage_write"},
    ("entitlement", "read"): {"service_entitlement_read"},
    ("connection", "read"): {"service_connection"},
    ("connection", "acknowledge"): {"service_connection"},
}


@pytest.mark.parametrize("role", SERVED)
def test_a_services_role_lists_and_calls_its_own_operation(ask: Ask, role: str) -> None:
    nothing: set[tuple[str, str]] = set()
    for kind, expected in (("service", SERVED[role]), ("agent", nothing), ("human", nothing)):
        for action in ("list", "call"):
            seen = {
                (domain, risk)
                for domain, risk in product(DOMAINS, RISKS)
                if ask("mcp_tool", action, role, actor_kind=kind, domain=domain, risk=risk).allowed
            }
            assert seen == expected


def test_a_service_may_do_exactly_what_its_roles_say(ask: Ask) -> None:
    for (kind, action), roles in ALLOWED.items():
        del roles
        may = {one for one in SERVED if ask(kind, action, one, actor_kind="service").allowed}
        assert may == SERVED_OBJECTS.get((kind, action), set()), (kind, action)


@pytest.mark.parametrize(("kind", "action"), SERVED_OBJECTS)
def test_a_services_role_is_good_for_its_tenants_and_in_no_other_hand(
    ask: Ask, kind: str, action: str
) -> None:
    roles = tuple(SERVED)
    assert ask(kind, action, *roles, actor_kind="service").allowed
    assert not ask(kind, action, *roles, actor_kind="service", member=False).allowed
    assert not ask(kind, action, *roles, actor_kind="service", exists=False).allowed
    assert not ask(kind, action, *roles, actor_kind="agent").allowed
    assert not ask(kind, action, *roles, actor_kind="human").allowed


def test_whatever_role_a_service_had_it_would_reach_no_other_tool(ask: Ask) -> None:
    for domain in set(DOMAINS) - {"usage", "entitlement", "connection"}:
        found = ask("mcp_tool", "call", "platform_admin", actor_kind="service", domain=domain)
        assert refusal(found) == ("not_for_services", "actor_kind")


@pytest.mark.parametrize(("kind", "action"), ALLOWED)
def test_a_role_may_do_exactly_what_its_row_says(ask: Ask, kind: str, action: str) -> None:
    assert {role for role in ROLES if ask(kind, action, role).allowed} == ALLOWED[kind, action]


@pytest.mark.parametrize(("kind", "action"), [*ALLOWED, ("mcp_tool", "call"), ("tenant", "read")])
def test_no_role_means_no_right(ask: Ask, kind: str, action: str) -> None:
    assert not ask(kind, action).allowed


@pytest.mark.parametrize(("kind", "action"), ALLOWED)
def test_a_stranger_to_the_tenant_may_do_nothing(ask: Ask, kind: str, action: str) -> None:
    assert not any(ask(kind, action, role, member=False).allowed for role in ROLES)


NEEDS_IT_THERE = [key for key in ALLOWED if key[0] != "tenant"]


@pytest.mark.parametrize(
    ("kind", "action"), [*NEEDS_IT_THERE, ("tenant", "read"), ("approval", "approve")]
)
def test_what_is_not_there_may_not_be_touched(ask: Ask, kind: str, action: str) -> None:
    assert not any(ask(kind, action, role, exists=False, who="bob").allowed for role in ROLES)


@pytest.mark.parametrize("access_mode", ["full", "read_only", "none"])
def test_a_tenant_is_visible_to_its_members_whatever_it_owes(ask: Ask, access_mode: str) -> None:
    for role in ROLES:
        assert ask("tenant", "read", role, exists=True, access_mode=access_mode).allowed


def test_pooled_onboarding_needs_no_approval(ask: Ask) -> None:
    assert ask("tenant", "propose", "operator").allowed
    assert ask("tenant", "apply", "operator").allowed


def test_silo_onboarding_is_proposed_freely_and_applied_with_an_approval(ask: Ask) -> None:
    assert ask("tenant", "propose", "operator", proposed_isolation="silo").allowed
    asked = ask("tenant", "apply", "operator", "platform_admin", proposed_isolation="silo")
    assert not asked.allowed
    assert [found.kind for found in asked.obligations] == ["approval"]
    assert asked.needs_approval
    assert ask("tenant", "apply", "operator", **APPROVED).allowed


@pytest.mark.parametrize(
    "change",
    [
        {"approval_present": False},
        {"approval_expired": True},
        {"approval_digest": "d2"},
        {"approval_digest": "", "plan_digest": ""},
        {"approval_by": "ann"},
    ],
)
def test_an_approval_that_does_not_hold_is_asked_for_again(
    ask: Ask, change: dict[str, object]
) -> None:
    assert ask("tenant", "apply", "operator", **(APPROVED | change)).needs_approval


def test_under_own_hand_the_requester_may_have_approved(ask: Ask) -> None:
    own = APPROVED | {"approval_by": "ann", "approval_rule": "own_hand"}
    assert ask("tenant", "apply", "operator", **own).allowed


def test_nobody_is_asked_to_approve_what_could_not_be_done_anyway(ask: Ask) -> None:
    silo = {"proposed_isolation": "silo", "infra_stateful_deletes": 1}
    assert refusal(ask("tenant", "apply", "operator", **silo))[0] == "stateful_delete"
    assert not ask("tenant", "apply", "viewer", proposed_isolation="silo").needs_approval


@pytest.mark.parametrize("state", ["pending", "provisioning", "provision_failed"])
def test_an_unfinished_tenant_may_be_onboarded_on(ask: Ask, state: str) -> None:
    assert ask("tenant", "apply", "operator", exists=True, state=state).allowed


@pytest.mark.parametrize("state", ["pending", "provision_failed"])
def test_a_name_whose_onboarding_failed_may_be_proposed_again(ask: Ask, state: str) -> None:
    assert ask("tenant", "propose", "operator", exists=True, state=state).allowed


@pytest.mark.parametrize(
    ("action", "facts", "code", "fact"),
    [
        (
            "propose",
            {"proposed_isolation": "bridge"},
            "isolation_not_in_plan",
            "proposed_isolation",
        ),
        ("apply", {"proposed_isolation": ""}, "isolation_not_in_plan", "proposed_isolation"),
        ("propose", {"exists": True, "state": "active"}, "tenant_exists", "exists"),
        ("apply", {"exists": True, "state": "active"}, "tenant_state", "state"),
        ("apply", {"infra_stateful_deletes": 2}, "stateful_delete", "infra_stateful_deletes"),
        ("apply", {"infra_local_exec": True}, "provisioner_not_admitted", "infra_local_exec"),
        ("apply", {"operation": "move", "exists": True}, "access_suspended", "access_mode"),
        (
            "propose",
            {"operation": "move", "exists": True, "access_mode": "read_only"},
            "read_only",
            "access_mode",
        ),
    ],
)
def test_a_tenant_change_is_refused_with_its_reason(
    ask: Ask, action: str, facts: dict[str, object], code: str, fact: str
) -> None:
    for _ in range(3):
        assert refusal(ask("tenant", action, "operator", **facts)) == (code, fact)


def test_an_admitted_module_may_run_local_programs(ask: Ask) -> None:
    facts = {"infra_local_exec": True, "module_admitted": True}
    assert ask("tenant", "apply", "operator", **facts).allowed


def test_an_operation_that_no_rule_names_is_denied(ask: Ask) -> None:
    facts = {"operation": "explode", "exists": True, "access_mode": "full"}
    assert not ask("tenant", "apply", "platform_admin", **facts).allowed


def test_a_run_of_another_is_seen_by_those_who_oversee(ask: Ask) -> None:
    assert {role for role in ROLES if ask("run", "read", role, own=False).allowed} == READERS
    assert {role for role in ROLES if ask("run", "cancel", role, own=False).allowed} == ADMIN


def test_a_run_past_the_point_of_return_is_not_cancelable(ask: Ask) -> None:
    assert refusal(ask("run", "cancel", "operator", cancelable=False)) == (
        "not_cancelable",
        "state",
    )


def test_a_requester_sees_the_own_approval(ask: Ask) -> None:
    assert all(ask("approval", "read", role, own=True).allowed for role in ROLES)


@pytest.mark.parametrize("action", ["approve", "deny"])
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("rule", ["two_people", "own_hand"])
@pytest.mark.parametrize("who", ["ann", "bob"])
def test_who_may_decide_an_approval(ask: Ask, action: str, role: str, rule: str, who: str) -> None:
    by_role = role in {"approver", "platform_admin"}
    expected = (
        (rule == "own_hand" or who != "ann") if by_role else (rule == "own_hand" and who == "ann")
    )
    assert ask("approval", action, role, rule=rule, who=who).allowed is expected
    for actor_kind in ("agent", "service"):
        decision = ask("approval", action, role, rule=rule, who=who, actor_kind=actor_kind)
        assert not decision.allowed
    assert not ask("approval", action, role, rule=rule, who=who, state="expired").allowed


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"actor_kind": "agent"}, "human_only"),
        ({"state": "approved"}, "not_pending"),
        ({"who": "ann"}, "own_request"),
    ],
)
def test_a_decision_on_an_approval_is_refused_with_its_reason(
    ask: Ask, how: dict[str, str], code: str
) -> None:
    assert refusal(ask("approval", "approve", "approver", **({"who": "bob"} | how)))[0] == code


@pytest.mark.parametrize(
    ("action", "facts", "code"),
    [
        ("query", {"access_mode": "none"}, "access_suspended"),
        ("read_pii", {"access_mode": "none"}, "access_suspended"),
    ],
)
def test_rows_are_refused_with_their_reason(
    ask: Ask, action: str, facts: dict[str, object], code: str
) -> None:
    assert refusal(ask("record", action, "platform_admin", **facts))[0] == code


@pytest.mark.parametrize("action", ["create", "update", "delete"])
@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"access_mode": "none"}, "access_suspended"),
        ({"access_mode": "read_only"}, "read_only"),
        ({"tenant_state": "suspended"}, "tenant_not_active"),
        ({"cordoned": True}, "tenant_cordoned"),
        ({"reference": True}, "reference_read_only"),
    ],
)
def test_every_change_of_rows_is_refused_with_the_same_reason(
    ask: Ask, action: str, facts: dict[str, object], code: str
) -> None:
    assert refusal(ask("record", action, "platform_admin", **facts))[0] == code


def test_a_read_only_tenant_may_be_queried(ask: Ask) -> None:
    assert ask("record", "query", "support", access_mode="read_only").allowed


@pytest.mark.parametrize(
    ("action", "facts", "code"),
    [
        ("assign", {"access_mode": "none"}, "access_suspended"),
        ("assign", {"access_mode": "read_only"}, "read_only"),
        ("assign", {"billing_access": "none"}, "billing_suspended"),
        ("assign", {"billing_access": "read_only"}, "billing_read_only"),
        ("read_pii", {"billing_access": "none"}, "billing_suspended"),
        ("assign", {"tenant_state": "suspended"}, "tenant_not_active"),
        ("read_pii", {"access_mode": "none"}, "access_suspended"),
    ],
)
def test_seats_are_refused_with_their_reason(
    ask: Ask, action: str, facts: dict[str, object], code: str
) -> None:
    assert refusal(ask("seat", action, "platform_admin", **facts))[0] == code


@pytest.mark.parametrize("access_mode", ["read_only", "none"])
@pytest.mark.parametrize("action", ["read", "release"])
def test_seats_are_listed_and_released_whatever_is_owed(
    ask: Ask, action: str, access_mode: str
) -> None:
    closed = {"access_mode": access_mode, "billing_access": access_mode}
    assert ask("seat", action, "support", tenant_state="suspended", **closed).allowed


@pytest.mark.parametrize(
    ("kind", "action"), [("usage", "read"), ("usage", "record"), ("entitlement", "read")]
)
@pytest.mark.parametrize("access_mode", ["read_only", "none"])
def test_usage_is_recorded_and_told_whatever_is_owed(
    ask: Ask, kind: str, action: str, access_mode: str
) -> None:
    said = ask(kind, action, "operator", access_mode=access_mode, tenant_state="suspended")
    assert said.allowed
