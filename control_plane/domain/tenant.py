"""A tenant and its lifecycle machine. Not its subscription, its databases or its data."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_serializer,
    field_validator,
    model_validator,
)

from control_plane.domain.home import MAIN, Home, ServerName, Slot
from control_plane.domain.isolation import Cloud, Isolation
from control_plane.domain.machine import Machine, Transient, Transition

# A tenant id becomes a schema, role and host name: hence lower case, no dots, at most 40.
TenantId: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,38}[a-z0-9]$")]
AccessMode: TypeAlias = Literal["full", "read_only", "none"]
SuspendReason: TypeAlias = Literal["billing", "quota", "security", "operator"]
TenantState: TypeAlias = Literal[
    "pending",
    "provisioning",
    "provision_failed",
    "active",
    "updating",
    "migrating",
    "suspending",
    "suspended",
    "resuming",
    "deprovisioning",
    "deprovision_failed",
    "deprovisioned",
    "restoring",
    "purging",
    "purged",
]

TENANT = Machine(
    name="tenant",
    initial="pending",
    states=get_args(TenantState),
    stable=frozenset(
        {
            "pending",
            "provision_failed",
            "active",
            "suspended",
            "deprovision_failed",
            "deprovisioned",
        }
    ),
    transient={
        "provisioning": Transient(3_600, ("succeed",)),
        "updating": Transient(3_600, ("succeed",)),
        "migrating": Transient(86_400, ("succeed",)),
        "suspending": Transient(600, ("succeed",)),
        "resuming": Transient(1_800, ("succeed",)),
        "deprovisioning": Transient(7_200, ("succeed",)),
        "restoring": Transient(14_400, ("succeed",)),
        "purging": Transient(3_600, ("succeed",), cancel=""),
    },
    terminal=frozenset({"purged"}),
    transitions=(
        Transition(
            frozenset({"pending", "provision_failed"}),
            "provision",
            "provisioning",
            guard="subscription_entitled, quota_reserved, plan_approved",
        ),
        Transition("provisioning", "succeed", "active", guard="readiness_probe_passed"),
        Transition("provisioning", "fail", "provision_failed", guard="residue_listed"),
        Transition("provisioning", "cancel", "provision_failed", guard="residue_listed"),
        Transition("active", "change_plan", "updating", guard="subscription_change_confirmed"),
        Transition("active", "resize", "updating", guard="plan_approved"),
        Transition("updating", "succeed", "active", guard="readiness_probe_passed"),
        Transition("updating", "fail", "active", guard="residue_listed"),
        Transition("updating", "cancel", "active", guard="nothing_irreversible_begun"),
        Transition("active", "move_isolation", "migrating", guard="plan_allows_isolation"),
        Transition("migrating", "succeed", "active", guard="target_verified"),
        Transition("migrating", "fail", "active", guard="one_side_serves"),
        Transition("migrating", "cancel", "active", guard="before_cutover"),
        Transition("active", "suspend", "suspending", guard="reason_added"),
        # A second reason is added to a tenant that is suspended already.
        Transition("suspended", "suspend", "suspended", guard="reason_added"),
        Transition("suspending", "succeed", "suspended"),
        Transition("suspending", "fail", "active", guard="operator_alerted"),
        Transition("suspending", "cancel", "active", guard="no_suspend_reason_left"),
        Transition("suspended", "clear", "resuming", guard="no_suspend_reason_left"),
        Transition("resuming", "succeed", "active", guard="readiness_probe_passed"),
        Transition("resuming", "fail", "suspended", guard="reason_added"),
        Transition("resuming", "cancel", "suspended", guard="reason_added"),
        Transition(
            frozenset({"active", "suspended", "provision_failed", "deprovision_failed"}),
            "deprovision",
            "deprovisioning",
            guard="unprotected, no_legal_hold, approved, backup_verified, subscription_ended",
        ),
        Transition("deprovisioning", "succeed", "deprovisioned", guard="effects_absent"),
        Transition("deprovisioning", "fail", "deprovision_failed", guard="residue_listed"),
        # Called off, the tenant stays shut under the reason `operator`: clearing it probes it.
        Transition("deprovisioning", "cancel", "suspended", guard="nothing_irreversible_begun"),
        Transition("deprovisioned", "restore", "restoring", guard="restorable, entitled"),
        Transition("restoring", "succeed", "active", guard="readiness_probe_passed"),
        Transition("restoring", "fail", "deprovisioned", guard="residue_listed"),
        Transition("restoring", "cancel", "deprovisioned", guard="residue_listed"),
        Transition(
            "deprovisioned",
            "purge",
            "purging",
            guard="retention_over, no_legal_hold, approved",
            irreversible=True,
        ),
        Transition("purging", "succeed", "purged", guard="tombstone_kept"),
        Transition("purging", "fail", "deprovisioned", guard="residue_listed"),
    ),
)


class Tenant(BaseModel):
    """One tenant as the registry holds it. `version` counts its writes, from 1."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: TenantId
    display_name: str = Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")
    state: TenantState
    isolation: Isolation
    plan: str = Field(min_length=1, max_length=40)
    cloud: Cloud = "local"
    region: str = Field(min_length=1, max_length=40)
    server: ServerName = MAIN
    slot: Slot = 0
    access_mode: AccessMode = "full"
    suspend_reasons: frozenset[SuspendReason] = frozenset()
    cordoned: bool = False
    deletion_protection: bool = True
    legal_hold: bool = False
    restorable_until: str | None = None
    version: int = Field(default=1, ge=1)

    # A tenant of the embedded stack has none in its row: so had each before there were others.
    @field_validator("cloud", mode="before")
    @classmethod
    def _embedded(cls, cloud: object) -> object:
        return "local" if cloud is None else cloud

    @field_serializer("cloud")
    def _kept(self, cloud: Cloud) -> str | None:
        return None if cloud == "local" else cloud

    # Nor is it said of a database that stands where each did before there were other places.
    @field_validator("server", mode="before")
    @classmethod
    def _own(cls, server: object) -> object:
        return MAIN if server is None else server

    @field_serializer("server")
    def _kept_server(self, server: str) -> str | None:
        return None if server == MAIN else server

    @field_validator("slot", mode="before")
    @classmethod
    def _first(cls, slot: object) -> object:
        return 0 if slot is None else slot

    @field_serializer("slot")
    def _kept_slot(self, slot: int) -> int | None:
        return slot or None

    @property
    def home(self) -> Home:
        """Where its database stands."""
        return Home(self.isolation, self.server, self.slot)

    @model_validator(mode="after")
    def _suspended_has_a_reason(self) -> Self:
        if self.state == "suspended" and not self.suspend_reasons:
            raise ValueError("a suspended tenant has a reason")
        return self


_STRICTNESS: tuple[AccessMode, ...] = get_args(AccessMode)


def stricter(one: AccessMode, other: AccessMode) -> AccessMode:
    """The access mode of the two that leaves less open."""
    return one if _STRICTNESS.index(one) >= _STRICTNESS.index(other) else other
