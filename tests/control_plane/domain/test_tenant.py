"""A tenant's own rules: its id, its frozen record, its reasons."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from control_plane.domain.tenant import Tenant, TenantId

TENANT_ID: TypeAdapter[str] = TypeAdapter(TenantId)
FACTS: dict[str, Any] = {
    "id": "acme",
    "display_name": "Acme & Söhne",
    "state": "active",
    "isolation": "pooled",
    "plan": "free",
    "region": "local",
}


def tenant_with(**changes: Any) -> Tenant:
    return Tenant.model_validate({**FACTS, **changes})


@pytest.mark.parametrize("text", ["abc", "a-1", "a" * 40, "a1b2"])
def test_a_proper_tenant_id_is_taken(text: str) -> None:
    assert TENANT_ID.validate_python(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "ab",
        "a" * 41,
        "Acme",
        "1acme",
        "-acme",
        "acme-",
        "ac_me",
        "ac.me",
        "acme\n",
        "äcme",
    ],
)
def test_an_improper_tenant_id_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TENANT_ID.validate_python(text)


def test_a_new_tenant_is_protected_and_unrestricted() -> None:
    tenant = tenant_with()
    assert (tenant.access_mode, tenant.deletion_protection, tenant.version) == ("full", True, 1)
    assert (tenant.cordoned, tenant.legal_hold, tenant.suspend_reasons) == (
        False,
        False,
        frozenset(),
    )


def test_a_tenant_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError):
        setattr(tenant_with(), "state", "purged")  # noqa: B010


@pytest.mark.parametrize(
    "change",
    [
        {"state": "gone"},
        {"isolation": "shared"},
        {"access_mode": "some"},
        {"suspend_reasons": frozenset({"mood"})},
        {"cordoned": 1},
        {"version": "1"},
        {"version": 0},
        {"display_name": "two\nlines"},
        {"owner": "x"},
    ],
)
def test_nothing_is_coerced_and_nothing_unknown_is_taken(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        tenant_with(**change)


def test_a_suspended_tenant_has_a_reason() -> None:
    with pytest.raises(ValidationError, match="a suspended tenant has a reason"):
        tenant_with(state="suspended")
    shut = tenant_with(state="suspended", suspend_reasons=frozenset({"billing"}))
    assert shut.suspend_reasons == {"billing"}


def test_a_tenant_comes_back_from_json_as_it_was() -> None:
    tenant = tenant_with(suspend_reasons=frozenset({"quota", "billing"}))
    assert Tenant.model_validate_json(json.dumps(tenant.model_dump(mode="json"))) == tenant
