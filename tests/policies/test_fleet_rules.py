"""Who changes all tenants' databases, with whose approval, and who may stop it; asked of the real engine."""

from __future__ import annotations

from itertools import product

import pytest

from tests.policies.test_catalog_rules import APPROVALS, SIGNED
from tests.policies.test_rules import CHANGERS, ROLES, Ask, refusal

READERS = CHANGERS | {"auditor"}
RIGHTS = (("read", READERS), ("propose", CHANGERS), ("pause", CHANGERS), ("abort", CHANGERS))


@pytest.mark.parametrize(("action", "roles"), [*RIGHTS, ("apply", CHANGERS)])
def test_it_is_for_who_runs_tenants_and_has_every_one(
    ask: Ask, action: str, roles: set[str]
) -> None:
    def may(role: str, **more: object) -> bool:
        return ask("fleet", action, role, **SIGNED, **more).allowed

    assert {role for role in ROLES if may(role)} == roles
    assert not any(may(role, member=False) for role in ROLES)
    assert not any(may(role, exists=False) for role in ROLES)


@pytest.mark.parametrize(("approval", "holds"), APPROVALS)
@pytest.mark.parametrize("weight", [{}, {"databases": 9, "contracts": 1, "changes_rows": True}])
def test_it_is_begun_with_an_approval_that_holds_whatever_it_weighs(
    ask: Ask, approval: dict[str, object], holds: bool, weight: dict[str, object]
) -> None:
    for role in sorted(CHANGERS):
        told = ask("fleet", "apply", role, stage="apply", **approval, **weight)
        assert told.allowed is holds
        assert told.needs_approval is not holds
        assert ask("fleet", "propose", role, **approval, **weight).allowed


@pytest.mark.parametrize(("role", "kind"), list(product(sorted(CHANGERS), ["agent", "service"])))
def test_an_agent_asks_and_stops_and_begins_nothing_without_a_human(
    ask: Ask, role: str, kind: str
) -> None:
    for action in ("read", "propose", "pause", "abort"):
        assert ask("fleet", action, role, actor_kind=kind).allowed
    assert not ask("fleet", "apply", role, actor_kind=kind).allowed


@pytest.mark.parametrize("action", ["propose", "apply"])
def test_a_freeze_keeps_it_from_beginning_and_lets_what_has_begun_go_on(
    ask: Ask, action: str
) -> None:
    assert refusal(ask("fleet", action, "operator", **SIGNED, frozen=True)) == ("frozen", "frozen")
    assert ask("fleet", action, "operator", **SIGNED, frozen=True, step="carry").allowed
    assert ask("fleet", "pause", "operator", frozen=True).allowed


@pytest.mark.parametrize("risk", ["read", "write", "destructive"])
def test_its_tools_are_for_who_runs_tenants(ask: Ask, risk: str) -> None:
    for action in ("list", "call"):
        seen = {r for r in ROLES if ask("mcp_tool", action, r, domain="fleet", risk=risk).allowed}
        assert seen - {"auditor"} == CHANGERS
