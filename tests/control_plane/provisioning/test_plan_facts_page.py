"""The page about plan facts: every fact, every judged type and every code, and no other. Not its prose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from control_plane.domain.canonical import Json
from control_plane.facts.tenant import TenantFacts
from control_plane.handlers.stack_steps import observed
from control_plane.provisioning import encryption, exposure
from control_plane.provisioning.plan_facts import PlanFacts, plan_facts
from control_plane.provisioning.port import ObservedPlan
from tests.control_plane.provisioning.test_scan import REFUSED
from tests.support.pages import Section, code, codes, sections

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def page() -> Mapping[str, Section]:
    return sections((ROOT / "docs" / "reference" / "plan-facts.md").read_text())


def sent() -> dict[str, Json]:
    seen = ObservedPlan(
        projection={}, digest="d", facts=plan_facts({}), artifact=b"", no_changes=True
    )
    return observed(seen).facts


def test_every_fact_is_told_and_no_other(page: Mapping[str, Section]) -> None:
    (table,) = page["Facts"].tables
    told = [code(one) for one in table.column("fact")]
    assert len(told) == len(set(told))
    assert set(told) == {*PlanFacts.model_fields, "blast_radius"}
    assert "" not in table.column("how it is found")


def test_every_attribute_is_told_with_its_fact_and_is_one_that_is_sent(
    page: Mapping[str, Section],
) -> None:
    (table,) = page["Facts"].tables
    told = {code(one) for one in table.column("attribute") if one}
    assert told == sent().keys() - {"module_admitted"}
    assert told == {name for name in TenantFacts.model_fields if name.startswith("infra_")}


@pytest.mark.parametrize(
    ("heading", "rules"),
    [("Reached from the internet", exposure.RULES), ("Unencrypted", encryption.RULES)],
)
def test_every_type_that_is_judged_is_told_once(
    page: Mapping[str, Section], heading: str, rules: Mapping[str, object]
) -> None:
    (table,) = page[heading].tables
    told = [name for cell in table.column("type") for name in codes(cell)]
    assert sorted(told) == sorted(rules)


def test_every_reason_to_refuse_a_module_is_told(page: Mapping[str, Section]) -> None:
    (table,) = page["Before Terraform runs"].tables
    told = [code(one) for one in table.column("code")]
    assert set(told) == {found for _text, found in REFUSED} | {"module_unreadable"}


def test_the_figures_that_make_a_plan_weighty_are_those_of_the_policy() -> None:
    policies = sections((ROOT / "docs" / "reference" / "policies.md").read_text())
    (table,) = policies["What a plan is judged by"].tables
    told = dict(zip(table.column("fact"), table.column("weighty"), strict=True))
    body = yaml.safe_load((ROOT / "policies" / "cerbos" / "tenant.yaml").read_text())
    figures: dict[str, str] = body["resourcePolicy"]["variables"]["local"]
    ceilings: dict[str, int] = yaml.safe_load(figures["cost_ceilings"])
    cost = told["`infra_monthly_cost_minor`"]
    for plan, ceiling in ceilings.items():
        assert f"{ceiling:,} cents for `{plan}`" in cost or f"{ceiling:,} for `{plan}`" in cost
    assert f"{int(figures['cost_ceiling'].rpartition(':')[2]):,} for any other" in cost
    budgets: dict[str, int] = yaml.safe_load(figures["blast_budgets"])
    radius = told["`infra_blast_radius`"]
    assert f"above {budgets['human']} where a human acts" in radius
    assert f"above {budgets['agent']} where an agent or the house does" in radius
    assert budgets["agent"] == budgets["house"]
