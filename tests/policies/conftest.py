"""One engine for the room's tests, and short ways to ask it. Not a test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from policies.binary import Binary, find_binary
from policies.bundle import Bundle, build_bundle
from policies.decision import ActionDecision
from policies.gate import Gate
from policies.pdp import Pdp, new_runtime_dir
from policies.request import Principal, Resource

POLICIES = Path(__file__).parents[2] / "policies" / "cerbos"

Ask = Callable[..., ActionDecision]

NEUTRAL: dict[str, dict[str, Any]] = {
    "mcp_tool": {"risk": "read", "domain": "tenant"},
    "workspace": {"exists": True, "member": True},
    "tenant": {
        "exists": False,
        "member": True,
        "state": "",
        "access_mode": "none",
        "billing_level": "clear",
        "billing_access": "full",
        "isolation": "",
        "plan": "",
        "cordoned": False,
        "suspend_reasons": [],
        "deletion_protection": False,
        "legal_hold": False,
        "restorable": False,
        "backup_verified": False,
        "subscription_state": "",
        "subscription_ended": False,
        "operation": "onboard",
        "stage": "propose",
        "step": "",
        "proposed_isolation": "pooled",
        "proposed_plan": "starter",
        "proposed_cloud": "local",
        "proposed_region": "eu",
        "proposed_server": "",
        "way_back_over": False,
        "proposed_reason": "",
        "proposed_access": "",
        "proposed_cancel": False,
        "plan_isolations": ["pooled", "silo"],
        "plan_clouds": ["local"],
        "plan_regions": ["eu"],
        "approval_rule": "two_people",
        "approval_present": False,
        "approval_by": "",
        "approval_digest": "",
        "plan_digest": "",
        "approval_expired": False,
        "frozen": False,
        "requester": "ann",
        "infra_creates": 1,
        "infra_updates": 0,
        "infra_deletes": 0,
        "infra_replaces": 0,
        "infra_blast_radius": 1,
        "infra_stateful_deletes": 0,
        "infra_local_exec": False,
        "infra_reaches_out": 0,
        "infra_public_ingress": 0,
        "infra_unencrypted": 0,
        "infra_iam_wildcards": 0,
        "infra_iam_unread": 0,
        "infra_untagged": 0,
        "infra_foreign": 0,
        "infra_drift": 0,
        "infra_regions": [],
        "infra_monthly_cost_minor": 0,
        "infra_unpriced": 0,
        "module_admitted": False,
    },
    "subscription": {
        "exists": True,
        "member": True,
        "state": "active",
        "plan": "starter",
        "billing_level": "clear",
        "operation": "",
        "ends_now": False,
        "amount_minor": 0,
        "stage": "",
        "step": "",
        "approval_rule": "two_people",
        "approval_present": False,
        "approval_by": "",
        "approval_digest": "",
        "approval_expired": False,
        "frozen": False,
        "plan_digest": "",
        "requester": "ann",
    },
    "run": {"exists": True, "member": True, "own": True, "state": "running", "cancelable": True},
    "approval": {
        "exists": True,
        "member": True,
        "own": False,
        "state": "pending",
        "rule": "two_people",
        "requester": "ann",
    },
    "audit_leaf": {"exists": True, "member": True},
    "connection": {"exists": True, "member": True},
    "database": {
        "exists": True,
        "member": True,
        "state": "available",
        "purpose": "serving",
        "isolation": "pooled",
        "tenant_state": "active",
        "access_mode": "full",
        "billing_level": "clear",
        "operation": "",
        "backup_verified": False,
        "former_kept": False,
        "rows_lost": 0,
        "clear_groups": [],
        "clear_handles": False,
        "migrations": 0,
        "contracts": 0,
        "non_transactional": 0,
        "changes_rows": False,
        "stage": "",
        "step": "",
        "approval_rule": "two_people",
        "approval_present": False,
        "approval_by": "",
        "approval_digest": "",
        "approval_expired": False,
        "frozen": False,
        "plan_digest": "",
        "requester": "ann",
    },
    "freeze": {"exists": True, "member": True, "scope": "workspace", "frozen": False},
    "fleet": {
        "exists": True,
        "member": True,
        "operation": "migrate",
        "stage": "propose",
        "step": "",
        "databases": 0,
        "migrations": 0,
        "contracts": 0,
        "non_transactional": 0,
        "changes_rows": False,
        "failures_max": 0,
        "approval_rule": "two_people",
        "approval_present": False,
        "approval_by": "",
        "approval_digest": "",
        "approval_expired": False,
        "frozen": False,
        "plan_digest": "",
        "requester": "ann",
    },
    "seat": {
        "exists": True,
        "member": True,
        "access_mode": "full",
        "billing_access": "full",
        "tenant_state": "active",
        "size": 3,
        "assigned": 1,
        "reserved": 0,
        "holds": False,
    },
    "usage": {
        "exists": True,
        "member": True,
        "access_mode": "full",
        "tenant_state": "active",
        "subscription_state": "active",
    },
    "invoice": {"exists": True, "member": True, "state": "open", "overdue": False},
    "entitlement": {
        "exists": True,
        "member": True,
        "feature": "sso",
        "access_mode": "full",
        "tenant_state": "active",
        "subscription_state": "active",
    },
    "catalog": {
        "exists": True,
        "member": True,
        "operation": "apply",
        "stage": "propose",
        "step": "",
        "moves": 0,
        "refused_moves": 0,
        "loses_data": False,
        "policies_changed": False,
        "rights_changed": 0,
        "plans_dropped": 0,
        "voided": 0,
        "approval_rule": "two_people",
        "approval_present": False,
        "approval_by": "",
        "approval_digest": "",
        "approval_expired": False,
        "frozen": False,
        "plan_digest": "",
        "requester": "ann",
    },
    "record": {
        "exists": True,
        "member": True,
        "collection": "orders",
        "access_mode": "full",
        "billing_access": "full",
        "tenant_state": "active",
        "cordoned": False,
        "reference": False,
        "stage": "",
        "step": "",
        "change_rows": 0,
        "change_groups": [],
        "change_money_max": 0,
        "approval_rule": "two_people",
        "approval_present": False,
        "approval_by": "",
        "approval_digest": "",
        "approval_expired": False,
        "frozen": False,
        "plan_digest": "",
        "requester": "ann",
    },
}


@pytest.fixture(scope="session")
def binary() -> Binary:
    """The engine as a clean machine gets it: setting, PATH, the user's cache, or fetched."""
    setting = os.environ.get("PAYBILL_CERBOS_BIN")
    return find_binary(
        setting=Path(setting) if setting else None,
        environment=os.environ,
        cache_dir=platformdirs.user_cache_path("paybill"),
    )


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return build_bundle([POLICIES], tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="session")
def pdp(binary: Binary, bundle: Bundle) -> Iterator[Pdp]:
    yield from _engine(binary, bundle)


@pytest.fixture
def own_pdp(binary: Binary, bundle: Bundle) -> Iterator[Pdp]:
    """An engine that the test may harm."""
    yield from _engine(binary, bundle)


def _engine(binary: Binary, bundle: Bundle) -> Iterator[Pdp]:
    engine = Pdp(binary.path, bundle, new_runtime_dir())
    try:
        engine.start()
        engine.wait_ready(15)
        yield engine
    finally:
        engine.stop()
        shutil.rmtree(engine.runtime_dir)


@pytest.fixture(scope="session")
def gate(pdp: Pdp) -> Iterator[Gate]:
    opened = Gate(pdp.socket, pdp.bundle.version, deadline_s=5.0)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def ask(gate: Gate) -> Ask:
    """Ask for one action: `ask(kind, action, *roles, who=..., actor_kind=..., **facts)`."""

    def one(
        kind: str,
        action: str,
        *roles: str,
        who: str = "ann",
        actor_kind: str = "human",
        **facts: Any,
    ) -> ActionDecision:
        principal = Principal(who, roles, {"actor_kind": actor_kind, "actor": ""})
        resource = Resource(kind, "x", NEUTRAL[kind] | facts, (action,))
        return gate.check(principal, [resource])[0].actions[action]

    return one
