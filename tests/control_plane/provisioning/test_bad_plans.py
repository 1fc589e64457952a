"""Planted bad plans and the shipped modules' own, before the real policy engine. Not Terraform at work.

Each plan in `bad_plans/` breaks one rule: the engine refuses it, or asks for an approval, by that rule
and by no other. Those of `terraform_data` were made by Terraform, the others are written in its shape.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import pytest

from control_plane.domain.isolation import Cloud, Isolation
from control_plane.facts.tenant import TenantFacts
from control_plane.handlers.stack_steps import observed
from control_plane.provisioning.plan_facts import PlanFacts, plan_facts
from control_plane.provisioning.port import ObservedPlan
from policies.bundle import build_bundle
from policies.decision import ActionDecision, Refusal
from policies.gate import Gate
from policies.pdp import Pdp, new_runtime_dir
from policies.request import Attribute, Principal, Resource
from tests.support.recorded_plans import recorded, shipped

PLANS: Final = Path(__file__).with_name("bad_plans")
POLICIES: Final = Path(__file__).parents[3] / "policies" / "cerbos"
CLOUD: Final = {"aws": "aws", "azurerm": "azure", "google": "gcp", "oci": "oci", "ibm": "ibm"}

PUBLIC = ("guard_public_ingress", "public_ingress", "infra_public_ingress")
UNENCRYPTED = ("guard_unencrypted", "unencrypted", "infra_unencrypted")
WILDCARD = ("guard_iam_wildcards", "iam_wildcard", "infra_iam_wildcards")
UNTAGGED = ("guard_untagged", "untagged", "infra_untagged")
FOREIGN = ("guard_foreign", "foreign_resource", "infra_foreign")
STATEFUL = ("guard_stateful_deletes", "stateful_delete", "infra_stateful_deletes")
PROGRAM = ("guard_provisioner", "provisioner_not_admitted", "infra_local_exec")
ELSEWHERE = ("guard_elsewhere", "resource_elsewhere", "infra_regions")

REFUSED: Final[dict[str, tuple[str, str, str]]] = {
    "administrator_of_everything_ibm": WILDCARD,
    "another_tenants_role_deleted": FOREIGN,
    "another_workspaces_key_changed": FOREIGN,
    "bucket_forgotten": STATEFUL,
    "database_deleted": STATEFUL,
    "database_replaced": STATEFUL,
    "editor_of_a_project_google": WILDCARD,
    "everybody_in_a_bucket_google": WILDCARD,
    "far_above_the_ceiling": ("guard_cost", "cost_too_high", "infra_monthly_cost_minor"),
    "half_tagged_bucket_google": UNTAGGED,
    "manage_the_tenancy_oracle": WILDCARD,
    "owner_of_a_subscription_azure": WILDCARD,
    "provider_in_another_region": ELSEWHERE,
    "public_blobs_azure": PUBLIC,
    "public_bucket_aws": PUBLIC,
    "public_bucket_google": PUBLIC,
    "public_bucket_oracle": PUBLIC,
    "public_by_an_unknown_source": PUBLIC,
    "public_by_two_halves": PUBLIC,
    "public_database_aws": PUBLIC,
    "public_database_azure": PUBLIC,
    "public_database_google": PUBLIC,
    "public_database_ibm": PUBLIC,
    "public_firewall_azure": PUBLIC,
    "public_firewall_google": PUBLIC,
    "public_security_group": PUBLIC,
    "public_security_group_ipv6": PUBLIC,
    "public_security_list_oracle": PUBLIC,
    "public_security_rule_azure": PUBLIC,
    "public_security_rule_ibm": PUBLIC,
    "reads_anothers_state": (
        "guard_reaches_out",
        "data_source_not_admitted",
        "infra_reaches_out",
    ),
    "resource_in_another_region": ELSEWHERE,
    "runs_a_program": PROGRAM,
    "runs_a_program_in_a_nested_module": PROGRAM,
    "unencrypted_database_aws": UNENCRYPTED,
    "unencrypted_disk_aws": UNENCRYPTED,
    "unencrypted_way_to_a_database_google": UNENCRYPTED,
    "unencrypted_way_to_storage_azure": UNENCRYPTED,
    "untagged_bucket_aws": UNTAGGED,
    "untagged_network_ibm": UNTAGGED,
    "wildcard_action_aws": WILDCARD,
    "wildcard_attached_aws": WILDCARD,
    "wildcard_principal_aws": WILDCARD,
    "wildcard_resource_aws": WILDCARD,
}
# What a human must approve, and the fact without which nobody need be asked.
APPROVED: Final[dict[str, str]] = {
    "above_the_ceiling": "infra_monthly_cost_minor",
    "changed_behind_our_back": "infra_drift",
    "far_reaching": "infra_blast_radius",
    "grant_that_is_not_shown_aws": "infra_iam_unread",
    "size_without_a_price": "infra_unpriced",
    "type_without_a_price": "infra_unpriced",
}


@pytest.fixture(scope="module")
def gate(cerbos_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """The shipped policies in a real engine."""
    bundle = build_bundle([POLICIES], tmp_path_factory.mktemp("bundles"))
    engine = Pdp(cerbos_binary, bundle, new_runtime_dir())
    try:
        engine.start()
        engine.wait_ready(15)
        opened = Gate(engine.socket, bundle.version, deadline_s=5.0)
        yield opened
        opened.close()
    finally:
        engine.stop()
        shutil.rmtree(engine.runtime_dir)


def plan(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((PLANS / f"{name}.json").read_text())
    return loaded


def tenant(found: PlanFacts, plan_json: dict[str, Any], isolation: str = "pooled") -> TenantFacts:
    """An onboarding at `apply`, in the place that the plan's own variables name."""
    place = next((CLOUD[kind] for kind in map(family, found.resource_types) if kind in CLOUD), "")
    cloud, region = place or "local", plan_json["variables"]["region"]["value"]
    seen = ObservedPlan(projection={}, digest="d", facts=found, artifact=b"", no_changes=False)
    return TenantFacts.model_validate(
        {
            "exists": False,
            "member": True,
            "operation": "onboard",
            "stage": "apply",
            "proposed_isolation": isolation,
            "proposed_plan": "team",
            "proposed_cloud": cloud,
            "proposed_region": region,
            "plan_isolations": ("pooled", "bridge", "silo"),
            "plan_clouds": (cloud,),
            "plan_regions": (region,),
            **observed(seen).facts,
            "module_admitted": False,
        }
    )


def family(kind: str) -> str:
    return kind.partition("_")[0]


def decided(gate: Gate, facts: TenantFacts, action: str = "apply") -> ActionDecision:
    principal = Principal("ann", ("operator",), {"actor_kind": "agent", "actor": "bot"})
    attributes = cast("dict[str, Attribute]", facts.attributes())
    asked = Resource("tenant", "acme", attributes, (action,))
    return gate.check(principal, [asked])[0].actions[action]


def test_every_planted_plan_has_its_rule_and_every_rule_its_plan() -> None:
    assert {path.stem for path in PLANS.iterdir()} == REFUSED.keys() | APPROVED.keys()
    assert not REFUSED.keys() & APPROVED.keys()
    assert len(REFUSED) + len(APPROVED) >= 25


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_bad_plan_is_refused_by_its_own_rule_alone(gate: Gate, name: str) -> None:
    found = plan_facts(plan(name))
    decision = decided(gate, tenant(found, plan(name)))
    assert not decision.allowed
    (refusal,) = decision.refusals
    assert isinstance(refusal, Refusal)
    rule, code, fact = REFUSED[name]
    assert (refusal.rule.partition("#")[2], refusal.code, refusal.fact) == (rule, code, fact)


@pytest.mark.parametrize("name", sorted(APPROVED))
def test_a_weighty_plan_waits_for_a_human_for_its_own_reason_alone(gate: Gate, name: str) -> None:
    facts = tenant(plan_facts(plan(name)), plan(name))
    decision = decided(gate, facts)
    assert not decision.allowed
    assert decision.refusals == ()
    assert decision.needs_approval
    assert decided(gate, facts.model_copy(update={APPROVED[name]: 0})).allowed
    signed = {"approval_present": True, "approval_by": "bob", "requester": "ann"}
    digests = {"approval_digest": "d1", "plan_digest": "d1"}
    assert decided(gate, facts.model_copy(update=signed | digests)).allowed


@pytest.mark.parametrize(("cloud", "isolation"), list(shipped()))
def test_the_plan_of_a_shipped_module_is_refused_by_nothing(
    gate: Gate, cloud: Cloud, isolation: Isolation
) -> None:
    plan_json = recorded(cloud, isolation)
    facts = tenant(plan_facts(plan_json), plan_json, isolation)
    decision = decided(gate, facts)
    assert decision.refusals == ()
    asked = isolation == "silo" or facts.infra_iam_unread > 0
    assert decision.needs_approval is asked
    assert decision.allowed is not asked
    assert facts.infra_unpriced == 0
