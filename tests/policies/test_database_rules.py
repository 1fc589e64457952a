"""Who sees a tenant's database and where it stands, who backs it up, brings it back and copies it; asked of the real engine."""

from __future__ import annotations

import pytest

from policies.decision import ActionDecision
from tests.policies.test_house_rules import HOUSE
from tests.policies.test_rules import ADMIN, CHANGERS, EVERYONE, ROLES, Ask, refusal

SIGNED = {
    "plan_digest": "d1",
    "approval_present": True,
    "approval_by": "bob",
    "approval_digest": "d1",
}
BACKUP: dict[str, object] = {"operation": "backup"}
RESTORE: dict[str, object] = {"operation": "restore", "backup_verified": True, "rows_lost": 7}
BACK: dict[str, object] = {"operation": "swap_back", "former_kept": True}
CLONE: dict[str, object] = {"operation": "clone"}
ROTATE: dict[str, object] = {"operation": "rotate"}
MIGRATE: dict[str, object] = {"operation": "migrate", "migrations": 2}
CLEAR = CLONE | {"clear_groups": ["pii"]}
DROP: dict[str, object] = {"operation": "drop", "purpose": "clone"}
BOTH = ("propose", "apply")
MOVING = {
    "backup": "backing_up",
    "restore": "restoring",
    "swap_back": "restoring",
    "clone": "cloning",
    "rotate": "rotating",
    "migrate": "migrating",
}


def test_who_reads_tenants_reads_of_their_databases_and_fewer_where_they_stand(ask: Ask) -> None:
    def may(action: str, **more: object) -> set[str]:
        return {role for role in ROLES if ask("database", action, role, **more).allowed}

    assert may("read") == EVERYONE - {"approver"}
    assert may("read_place") == CHANGERS | {"auditor"}
    for less in ({"exists": False}, {"member": False}):
        assert may("read", **less) == may("read_place", **less) == set()


@pytest.mark.parametrize(
    "facts", [BACKUP, CLONE, DROP, ROTATE], ids=["backup", "clone", "drop", "rotate"]
)
@pytest.mark.parametrize("action", BOTH)
def test_who_runs_tenants_may_without_asking_anybody(
    ask: Ask, action: str, facts: dict[str, object]
) -> None:
    def may(role: str, **more: object) -> bool:
        return ask("database", action, role, **(facts | more)).allowed

    assert {role for role in ROLES if may(role)} == CHANGERS
    assert not any(may(role, member=False) or may(role, exists=False) for role in ROLES)


@pytest.mark.parametrize("action", BOTH)
def test_the_house_backs_up_and_removes_copies_and_nothing_else(ask: Ask, action: str) -> None:
    for facts in (BACKUP, DROP):
        assert ask("database", action, "house", **facts, **HOUSE).allowed
    for facts in (RESTORE | SIGNED, BACK | SIGNED, CLONE, ROTATE, MIGRATE | SIGNED):
        assert not ask("database", action, "house", **facts, **HOUSE).allowed


@pytest.mark.parametrize(
    "facts",
    [RESTORE, BACK, MIGRATE, MIGRATE | {"contracts": 1, "changes_rows": True}],
    ids=["backup", "former", "migrations", "contracts"],
)
def test_what_is_brought_back_or_migrated_always_waits_for_another_human(
    ask: Ask, facts: dict[str, object]
) -> None:
    for role in sorted(CHANGERS):
        assert ask("database", "propose", role, **facts).allowed
        asked = ask("database", "apply", role, **facts)
        assert (asked.allowed, asked.needs_approval) == (False, True)
        assert ask("database", "apply", role, **facts, **SIGNED).allowed
        own = SIGNED | {"approval_by": "ann"}
        assert not ask("database", "apply", role, **facts, **own).allowed
        assert ask("database", "apply", role, **facts, **own, approval_rule="own_hand").allowed
        for less in ({"approval_expired": True}, {"approval_digest": "d2"}):
            assert not ask("database", "apply", role, **(facts | SIGNED | less)).allowed
    for role in sorted(EVERYONE - CHANGERS):
        asked = ask("database", "apply", role, **facts)
        assert (asked.allowed, asked.needs_approval) == (False, False)


@pytest.mark.parametrize("action", BOTH)
def test_only_what_was_proven_or_is_kept_is_brought_back(ask: Ask, action: str) -> None:
    unproven = ask(
        "database", action, "operator", **(RESTORE | SIGNED | {"backup_verified": False})
    )
    assert refusal(unproven) == ("backup_not_verified", "backup_verified")
    gone = ask("database", action, "operator", **(BACK | SIGNED | {"former_kept": False}))
    assert refusal(gone) == ("former_not_kept", "former_kept")


def test_a_copy_that_shows_a_group_is_for_who_may_read_it_and_waits(ask: Ask) -> None:
    for action in BOTH:
        told = ask("database", action, "operator", **CLEAR, **SIGNED)
        assert refusal(told) == ("group_sensitive", "clear_groups")
    for role in sorted(ADMIN):
        assert ask("database", "propose", role, **CLEAR).allowed
        asked = ask("database", "apply", role, **CLEAR)
        assert (asked.allowed, asked.needs_approval) == (False, True)
        assert ask("database", "apply", role, **CLEAR, **SIGNED).allowed


@pytest.mark.parametrize("action", BOTH)
def test_what_leaves_as_a_handle_alone_is_in_no_copy(ask: Ask, action: str) -> None:
    told = ask("database", action, "platform_admin", **CLEAR, **SIGNED, clear_handles=True)
    assert refusal(told) == ("group_sealed", "clear_groups")


@pytest.mark.parametrize("action", BOTH)
@pytest.mark.parametrize("purpose", ["serving", "incoming", "former"])
def test_only_a_copy_is_removed(ask: Ask, action: str, purpose: str) -> None:
    told = ask("database", action, "platform_admin", **(DROP | {"purpose": purpose}))
    assert refusal(told) == ("not_a_clone", "purpose")


@pytest.mark.parametrize("facts", [BACKUP, RESTORE, BACK, CLONE, MIGRATE])
@pytest.mark.parametrize("state", ["migrating", "rotating", "stopped", "failed", "creating"])
def test_nothing_begins_while_the_database_is_under_way_or_shut(
    ask: Ask, facts: dict[str, object], state: str
) -> None:
    own = MOVING[str(facts["operation"])]
    for action in ("propose",) if state == own else BOTH:
        told = ask("database", action, "operator", **facts, **SIGNED, state=state)
        assert refusal(told) == ("database_state", "state")
    begun = ask("database", "apply", "operator", **facts, **SIGNED, state=own)
    assert begun.allowed
    again = ask("database", "propose", "operator", **facts, **SIGNED, state=own)
    assert refusal(again) == ("database_state", "state")


SHUT: dict[str, object] = {"state": "stopped", "tenant_state": "suspended", "access_mode": "none"}


@pytest.mark.parametrize("action", BOTH)
def test_a_suspended_tenant_is_backed_up_by_who_runs_tenants_alone(ask: Ask, action: str) -> None:
    def may(role: str, **more: object) -> bool:
        return ask("database", action, role, **(BACKUP | SHUT | more)).allowed

    assert {role for role in ROLES if may(role)} == CHANGERS
    assert not any(may(role, member=False) or may(role, exists=False) for role in ROLES)
    assert not ask("database", action, "house", **BACKUP, **SHUT, **HOUSE).allowed
    for role in sorted(CHANGERS):
        assert not may(role, frozen=True)
        for facts in (RESTORE, BACK, CLONE, ROTATE):
            assert not ask("database", action, role, **facts, **SIGNED, **SHUT).allowed


@pytest.mark.parametrize("action", BOTH)
def test_a_suspended_tenant_is_migrated_with_an_approval(ask: Ask, action: str) -> None:
    def told(role: str, **more: object) -> ActionDecision:
        return ask("database", action, role, **(MIGRATE | SHUT | more))

    assert {role for role in ROLES if told(role, **SIGNED).allowed} == CHANGERS
    for role in sorted(CHANGERS):
        assert told(role).needs_approval is (action == "apply")
        assert not told(role, **SIGNED, member=False).allowed
        assert refusal(told(role, **SIGNED, frozen=True)) == ("frozen", "frozen")


@pytest.mark.parametrize("action", BOTH)
@pytest.mark.parametrize("tenant_state", ["migrating", "suspending", "resuming", "deprovisioning"])
def test_a_tenant_that_is_moved_or_on_its_way_is_not_migrated(
    ask: Ask, action: str, tenant_state: str
) -> None:
    told = ask("database", action, "operator", **MIGRATE, **SIGNED, tenant_state=tenant_state)
    assert refusal(told) == ("tenant_state", "tenant_state")


@pytest.mark.parametrize("kind", ["agent", "service"])
def test_an_agent_asks_for_a_migration_and_applies_none_without_a_human(
    ask: Ask, kind: str
) -> None:
    for role in sorted(CHANGERS):
        assert ask("database", "propose", role, **MIGRATE, actor_kind=kind).allowed
        assert not ask("database", "apply", role, **MIGRATE, actor_kind=kind).allowed


@pytest.mark.parametrize("action", BOTH)
@pytest.mark.parametrize(
    "tenant_state", ["suspending", "resuming", "deprovisioning", "deprovision_failed", "active"]
)
def test_a_shut_database_of_a_tenant_that_is_not_suspended_is_not_backed_up(
    ask: Ask, action: str, tenant_state: str
) -> None:
    facts = BACKUP | SHUT | {"tenant_state": tenant_state}
    assert refusal(ask("database", action, "operator", **facts)) == ("database_state", "state")


@pytest.mark.parametrize("action", BOTH)
@pytest.mark.parametrize("facts", [RESTORE, BACK, CLONE, ROTATE])
def test_a_tenant_out_of_service_is_neither_brought_back_nor_copied(
    ask: Ask, action: str, facts: dict[str, object]
) -> None:
    told = ask("database", action, "operator", **facts, **SIGNED, tenant_state="suspended")
    assert refusal(told) == ("tenant_state", "tenant_state")


def test_who_owes_gets_no_copy_and_a_backup_all_the_same(ask: Ask) -> None:
    owing = {"billing_level": "no_new_resources"}
    told = ask("database", "propose", "operator", **CLONE, **owing)
    assert refusal(told) == ("payment_overdue", "billing_level")
    for facts in (BACKUP, RESTORE, BACK, DROP, MIGRATE):
        assert ask("database", "propose", "operator", **facts, **owing).allowed


@pytest.mark.parametrize("facts", [BACKUP, RESTORE, BACK, CLONE, DROP, MIGRATE])
def test_nothing_begins_while_it_is_frozen_and_what_has_begun_goes_on(
    ask: Ask, facts: dict[str, object]
) -> None:
    for action in BOTH:
        told = ask("database", action, "operator", **facts, **SIGNED, frozen=True)
        assert refusal(told) == ("frozen", "frozen")
    assert ask("database", "apply", "operator", **facts, **SIGNED, frozen=True, step="x").allowed


def test_who_may_call_the_tools(ask: Ask) -> None:
    def may(risk: str) -> set[str]:
        asked = {"domain": "database", "risk": risk}
        return {role for role in ROLES if ask("mcp_tool", "call", role, **asked).allowed}

    assert may("read") == EVERYONE - {"approver"}
    assert may("write") == may("destructive") == CHANGERS
    assert ask("mcp_tool", "call", "house", domain="database", risk="write", **HOUSE).allowed
