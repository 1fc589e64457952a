"""The policy's schema files are the fact classes, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

import policies
from control_plane.facts.base import Facts
from control_plane.facts.catalog import CatalogFacts
from control_plane.facts.record import RecordFacts
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


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind in (CatalogFacts, TenantFacts)
        for name in sorted(set(kind.model_fields) - {"member"})
    ],
)
def test_any_other_fact_changes_the_digest(
    kind: type[CatalogFacts | TenantFacts], name: str
) -> None:
    here = kind(exists=True, member=True)
    value = getattr(here, name)
    other: dict[type, object] = {bool: not value, int: 7, str: "other", tuple: ("x",)}
    changed = here.model_copy(update={name: other[type(value)]})
    same = name in kind.own_writes
    assert (here.values_digest() == changed.values_digest()) is same


@pytest.mark.parametrize("kind", [CatalogFacts, RecordFacts])
def test_an_approval_is_told_alike_whatever_it_is_an_approval_of(kind: type[Facts]) -> None:
    def approval(facts: type[Facts]) -> dict[str, tuple[object, object]]:
        return {
            name: (field.annotation, field.default)
            for name, field in facts.model_fields.items()
            if name.startswith("approval_") or name in ("plan_digest", "requester")
        }

    assert approval(kind) == approval(TenantFacts)
