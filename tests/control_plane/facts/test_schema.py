"""The policy's schema files are the fact classes, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

import policies
from control_plane.facts.base import Facts
from control_plane.facts.schema import FACT_CLASSES, policy_schema, schema_text
from control_plane.facts.tenant import TenantFacts

SCHEMAS = Path(policies.__file__).parent / "cerbos" / "_schemas"


@pytest.mark.parametrize("facts", FACT_CLASSES, ids=lambda facts: facts.kind)
def test_a_schema_file_is_what_its_fact_class_generates(facts: type[Facts]) -> None:
    assert (SCHEMAS / f"{facts.kind}.json").read_text() == schema_text(facts)


def test_every_schema_file_has_a_fact_class_but_those_of_the_gate_itself() -> None:
    named = {path.stem for path in SCHEMAS.glob("*.json")} - {"principal", "canary"}
    assert named == {facts.kind for facts in FACT_CLASSES}


def test_every_attribute_is_required_and_no_other_is_let_in() -> None:
    for facts in FACT_CLASSES:
        schema = policy_schema(facts)
        assert schema["required"] == sorted(facts.model_fields)
        assert schema["additionalProperties"] is False


def test_what_a_call_writes_itself_and_how_it_stands_to_the_caller_is_in_no_digest() -> None:
    here = TenantFacts(exists=True, member=True, state="active", stage="propose")
    there = here.model_copy(update={"member": False, "stage": "apply", "approval_present": True})
    assert here.values_digest() == there.values_digest()


@pytest.mark.parametrize("name", sorted(TenantFacts.of_service))
def test_what_only_a_tenant_in_service_has_is_in_no_digest_of_an_onboarding(name: str) -> None:
    onboarding = TenantFacts(exists=True, member=True, operation="onboard")
    other = ("security",) if name == "suspend_reasons" else True
    changed = onboarding.model_copy(update={name: other})
    assert onboarding.values_digest() == changed.values_digest()
    later = {"operation": "offboard"}
    there = onboarding.model_copy(update=later), changed.model_copy(update=later)
    assert there[0].values_digest() != there[1].values_digest()


@pytest.mark.parametrize("name", sorted(set(TenantFacts.model_fields) - {"member"}))
def test_any_other_fact_changes_the_digest(name: str) -> None:
    here = TenantFacts(exists=True, member=True)
    other: dict[type, object] = {bool: not getattr(here, name), int: 7, str: "other", tuple: ("x",)}
    changed = here.model_copy(update={name: other[type(getattr(here, name))]})
    same = name in TenantFacts.own_writes
    assert (here.values_digest() == changed.values_digest()) is same
