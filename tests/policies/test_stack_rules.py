"""What the policy makes of the facts of a stack's plan, asked of the real engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from policies.decision import ActionDecision
from tests.policies.test_house_rules import FOLLOW, HOUSE, SIGNED
from tests.policies.test_rules import CHANGERS, ROLES, refusal
from tests.policies.test_tenant_rules import OFFBOARD, RESTORE

Ask = Callable[..., ActionDecision]

REFUSED = [
    ({"infra_public_ingress": 1}, "public_ingress"),
    ({"infra_unencrypted": 1}, "unencrypted"),
    ({"infra_iam_wildcards": 1}, "iam_wildcard"),
    ({"infra_untagged": 1}, "untagged"),
    ({"infra_foreign": 1}, "foreign_resource"),
    ({"infra_reaches_out": 1}, "data_source_not_admitted"),
]
PLACED = [
    ({"proposed_cloud": "aws"}, "cloud_not_in_plan"),
    ({"proposed_cloud": ""}, "cloud_not_in_plan"),
    ({"proposed_region": "us"}, "region_not_in_plan"),
    ({"proposed_region": ""}, "region_not_in_plan"),
    ({"infra_regions": ["us"]}, "resource_elsewhere"),
    ({"infra_regions": ["eu", "unknown"]}, "resource_elsewhere"),
    ({"infra_monthly_cost_minor": 200_001}, "cost_too_high"),
]
WEIGHTY = [
    {"infra_monthly_cost_minor": 50_001},
    {"infra_unpriced": 1},
    {"infra_blast_radius": 81},
    {"infra_iam_unread": 1},
    {"infra_drift": 1},
]
LIGHT = {"infra_monthly_cost_minor": 50_000, "infra_blast_radius": 80, "infra_regions": ["eu"]}
APPROVED = {
    "plan_digest": "d1",
    "approval_present": True,
    "approval_by": "bob",
    "approval_digest": "d1",
}
CEILINGS = {"free": 1_000, "team": 20_000, "business": 100_000, "enterprise": 500_000}
BUDGETS = {"human": 80, "agent": 40, "house": 40, "service": 0}


@pytest.mark.parametrize("action", ["propose", "apply"])
@pytest.mark.parametrize(("facts", "code"), REFUSED)
@pytest.mark.parametrize("base", [{}, OFFBOARD, RESTORE])
def test_a_bad_stack_is_refused_in_every_operation_approved_or_not(
    ask: Ask, action: str, facts: dict[str, object], code: str, base: dict[str, object]
) -> None:
    for more in ({}, APPROVED):
        asked = ask("tenant", action, "platform_admin", **(base | facts | more))
        assert refusal(asked) == (code, next(iter(facts)))


@pytest.mark.parametrize("action", ["propose", "apply"])
@pytest.mark.parametrize(("facts", "code"), PLACED)
@pytest.mark.parametrize("base", [{}, RESTORE])
def test_a_stack_out_of_its_place_or_far_too_dear_is_refused_approved_or_not(
    ask: Ask, action: str, facts: dict[str, object], code: str, base: dict[str, object]
) -> None:
    for more in ({}, APPROVED):
        asked = ask("tenant", action, "platform_admin", **(base | facts | more))
        assert refusal(asked) == (code, next(iter(facts)))


@pytest.mark.parametrize("facts", [facts for facts, _code in PLACED])
def test_nothing_about_its_place_or_price_keeps_a_tenant_from_going(
    ask: Ask, facts: dict[str, object]
) -> None:
    gone = OFFBOARD | APPROVED | facts
    assert ask("tenant", "propose", "operator", **gone).allowed
    assert ask("tenant", "apply", "operator", **gone).allowed


@pytest.mark.parametrize("facts", WEIGHTY)
@pytest.mark.parametrize("base", [{}, RESTORE])
def test_a_weighty_stack_waits_for_a_human(
    ask: Ask, facts: dict[str, object], base: dict[str, object]
) -> None:
    assert ask("tenant", "propose", "operator", **(base | facts)).allowed
    asked = ask("tenant", "apply", "operator", **(base | facts))
    assert not asked.allowed
    assert asked.needs_approval
    assert ask("tenant", "apply", "operator", **(base | facts | APPROVED)).allowed
    own = base | facts | APPROVED | {"approval_by": "ann"}
    assert ask("tenant", "apply", "operator", **own).needs_approval
    stale = base | facts | APPROVED | {"approval_digest": "d2"}
    assert ask("tenant", "apply", "operator", **stale).needs_approval


@pytest.mark.parametrize("facts", WEIGHTY)
def test_a_weighty_stack_gives_a_role_no_more_than_it_has(
    ask: Ask, facts: dict[str, object]
) -> None:
    may = {role for role in ROLES if ask("tenant", "apply", role, **facts, **APPROVED).allowed}
    assert may == CHANGERS


def test_a_light_stack_waits_for_nobody(ask: Ask) -> None:
    assert ask("tenant", "apply", "operator", **LIGHT).allowed
    assert ask("tenant", "apply", "operator", **(RESTORE | LIGHT)).allowed


@pytest.mark.parametrize(("plan", "ceiling"), [*CEILINGS.items(), ("another", 50_000)])
def test_what_a_stack_may_cost_is_its_plans_to_say(ask: Ask, plan: str, ceiling: int) -> None:
    def at(cost: int) -> ActionDecision:
        return ask("tenant", "apply", "operator", proposed_plan=plan, infra_monthly_cost_minor=cost)

    assert at(ceiling).allowed
    assert at(ceiling + 1).needs_approval
    assert at(4 * ceiling).needs_approval
    assert refusal(at(4 * ceiling + 1)) == ("cost_too_high", "infra_monthly_cost_minor")


@pytest.mark.parametrize(("kind", "budget"), BUDGETS.items())
def test_how_far_one_may_reach_is_for_who_acts(ask: Ask, kind: str, budget: int) -> None:
    def at(radius: int) -> ActionDecision:
        facts = {"infra_blast_radius": radius}
        return ask("tenant", "apply", "operator", actor_kind=kind, **facts)

    assert at(budget).allowed
    assert at(budget + 1).needs_approval


@pytest.mark.parametrize("facts", [{"infra_monthly_cost_minor": 20_001}, *WEIGHTY[1:]])
def test_the_house_follows_a_plan_to_a_weighty_stack_only_with_anothers_approval(
    ask: Ask, facts: dict[str, object]
) -> None:
    heavy = FOLLOW | facts
    assert ask("tenant", "apply", "house", **heavy, **HOUSE).needs_approval
    assert ask("tenant", "apply", "house", **heavy, **SIGNED, **HOUSE).allowed
    own = SIGNED | {"approval_by": "house:billing"}
    assert ask("tenant", "apply", "house", **heavy, **own, **HOUSE).needs_approval


@pytest.mark.parametrize("facts", [facts for facts, _code in PLACED if "cloud" in str(facts)])
def test_a_plan_that_is_not_there_is_said_to_offer_no_isolation_model(
    ask: Ask, facts: dict[str, object]
) -> None:
    nowhere: dict[str, list[str]] = {"plan_isolations": [], "plan_clouds": [], "plan_regions": []}
    told = refusal(ask("tenant", "propose", "operator", **(facts | nowhere)))
    assert told == ("isolation_not_in_plan", "proposed_isolation")
