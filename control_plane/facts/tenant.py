"""The facts of a tenant that policy decides on, with what a command proposes for it. Not the tenant itself."""

from __future__ import annotations

from typing import ClassVar, Literal

from control_plane.domain.gate import GateLevel
from control_plane.domain.tenant import AccessMode
from control_plane.facts.approvable import Approvable


class TenantFacts(Approvable):
    """Kind ``tenant``. Proposed values are arguments and carry that name; the rest is ours."""

    kind: ClassVar[str] = "tenant"
    # The steps of a run verify what the later ones ask for.
    own_writes: ClassVar[frozenset[str]] = Approvable.own_writes | {"backup_verified"}

    # What only a tenant that has been in service has: it is nothing to an onboarding.
    of_service: ClassVar[frozenset[str]] = frozenset(
        {
            "suspend_reasons",
            "deletion_protection",
            "legal_hold",
            "restorable",
            "subscription_ended",
            "billing_level",
            "billing_access",
        }
    )

    exists: bool
    member: bool
    state: str = ""
    access_mode: AccessMode = "none"
    billing_level: GateLevel = "clear"
    billing_access: AccessMode = "full"
    isolation: Literal["", "silo", "bridge", "pooled"] = ""
    plan: str = ""
    cordoned: bool = False
    suspend_reasons: tuple[str, ...] = ()
    deletion_protection: bool = False
    legal_hold: bool = False
    restorable: bool = False
    backup_verified: bool = False
    subscription_state: str = ""
    subscription_ended: bool = False
    operation: str = ""
    proposed_isolation: Literal["", "silo", "bridge", "pooled"] = ""
    proposed_plan: str = ""
    proposed_cloud: Literal["", "local", "aws", "azure", "gcp", "oci", "ibm"] = ""
    proposed_region: str = ""
    proposed_server: str = ""
    way_back_over: bool = False
    proposed_reason: str = ""
    proposed_access: Literal["", "read_only", "none"] = ""
    proposed_cancel: bool = False
    plan_isolations: tuple[str, ...] = ()
    plan_clouds: tuple[str, ...] = ()
    plan_regions: tuple[str, ...] = ()
    infra_creates: int = 0
    infra_updates: int = 0
    infra_deletes: int = 0
    infra_replaces: int = 0
    infra_blast_radius: int = 0
    infra_stateful_deletes: int = 0
    infra_local_exec: bool = False
    infra_reaches_out: int = 0
    infra_public_ingress: int = 0
    infra_unencrypted: int = 0
    infra_iam_wildcards: int = 0
    infra_iam_unread: int = 0
    infra_untagged: int = 0
    infra_foreign: int = 0
    infra_drift: int = 0
    infra_regions: tuple[str, ...] = ()
    infra_monthly_cost_minor: int = 0
    infra_unpriced: int = 0
    module_admitted: bool = False

    def unread(self) -> frozenset[str]:
        """An onboarding decides on a name, and not on what became of it."""
        return self.of_service if self.operation == "onboard" else frozenset()
