"""Every command, as a frozen fact in the imperative. Not the tools' schemas, and no deeds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field

from control_plane.domain.canonical import Json, digest
from control_plane.domain.record import Record
from control_plane.domain.tenant import AccessMode
from control_plane.domain.terms import Agreement


class Command(Record):
    """What is asked of the control plane. ``name`` finds its handler."""

    name: ClassVar[str] = ""

    def target(self) -> str:
        """The tenant that the command is about; empty when it is about none."""
        return str(getattr(self, "tenant", ""))

    @classmethod
    def restored(cls, stored: Mapping[str, Json]) -> Self:
        """A command as a run keeps it: through JSON, because a strict part takes a list only there."""
        return cls.model_validate_json(json.dumps(stored))

    def digest(self) -> str:
        """What a permit is bound to: the command's name and every value of it."""
        return digest({"name": self.name, "values": self})


class DescribeCaller(Command):
    """Tell the caller who they are here."""

    name: ClassVar[str] = "describe_caller"


class ListPlans(Command):
    """List the plans on offer."""

    name: ClassVar[str] = "list_plans"


class ListTenants(Command):
    """List the tenants that the caller may read."""

    name: ClassVar[str] = "list_tenants"
    limit: int = 50
    after: str | None = None


class GetTenant(Command):
    """Read one tenant."""

    name: ClassVar[str] = "get_tenant"
    tenant: str


class GetSubscription(Command):
    """Read a tenant's subscription."""

    name: ClassVar[str] = "get_subscription"
    tenant: str


class OnboardTenant(Command):
    """Bring a tenant into being: subscription, infrastructure, database."""

    name: ClassVar[str] = "onboard_tenant"
    tenant: str
    display_name: str
    proposed_plan: str
    proposed_isolation: str
    proposed_cloud: str = "local"
    proposed_region: str
    agreement: Agreement | None = None


class SuspendTenant(Command):
    """Shut a tenant for a reason: what its access mode leaves open stays open."""

    name: ClassVar[str] = "suspend_tenant"
    tenant: str
    proposed_reason: str
    proposed_access: AccessMode


class ResumeTenant(Command):
    """Clear one reason of a tenant's suspension; with the last one gone, open it again."""

    name: ClassVar[str] = "resume_tenant"
    tenant: str
    proposed_reason: str


class OffboardTenant(Command):
    """Take a tenant away: back its data up, then remove data, resources and rights."""

    name: ClassVar[str] = "offboard_tenant"
    tenant: str
    proposed_cancel: bool


class FollowPlan(Command):
    """Bring a tenant's stack to the plan that its subscription is on by now."""

    name: ClassVar[str] = "follow_plan"
    tenant: str
    proposed_plan: str


class RestoreTenant(Command):
    """Bring an offboarded tenant back out of its backup."""

    name: ClassVar[str] = "restore_tenant"
    tenant: str


class ApplyCatalog(Command):
    """Put a kept catalog in force: policies, plans, and every tenant's tables."""

    name: ClassVar[str] = "apply_catalog"
    catalog: str


class ChangeFreeze(Command):
    """Keep runs from beginning, or let them: of the workspace, of one tenant, in one cloud.

    ``of`` is the tenant's id or the cloud's name, and empty for the workspace.
    """

    name: ClassVar[str] = "change_freeze"
    scope: Literal["workspace", "tenant", "cloud"]
    of: str
    on: bool
    reason: str


class GetRun(Command):
    """Read one run."""

    name: ClassVar[str] = "get_run"
    run_id: str


class NewestFirst(Command):
    """The base of listings that begin with the newest; every other field of theirs is a filter."""

    limit: int = 50
    after: str | None = None

    def filter(self) -> dict[str, Json]:
        """What the listing is restricted to: a cursor is good for no other."""
        return self.model_dump(mode="json", exclude={"limit", "after"})


class ListRuns(NewestFirst):
    """List the runs that the caller may read. An empty field restricts nothing."""

    name: ClassVar[str] = "list_runs"
    tenant: str = ""
    states: tuple[str, ...] = ()
    kind: str = ""


class ListApprovals(NewestFirst):
    """List the approvals that the caller may read. An empty field restricts nothing."""

    name: ClassVar[str] = "list_approvals"
    tenant: str = ""
    states: tuple[str, ...] = ()


class SearchAudit(NewestFirst):
    """List the leaves of the log that the caller may see, from ``since`` to before ``until``."""

    name: ClassVar[str] = "search_audit"
    tenant: str = ""
    kind: str = ""
    since: str = ""
    until: str = ""


class CancelRun(Command):
    """Ask a run to stop; what it has done is undone."""

    name: ClassVar[str] = "cancel_run"
    run_id: str


class GetApproval(Command):
    """Read one approval."""

    name: ClassVar[str] = "get_approval"
    approval_id: str


class DescribeCollections(Command):
    """Tell what the declared collections look like; one whole, or all in short."""

    name: ClassVar[str] = "describe_collections"
    collection: str = ""


class RecordCommand(Command):
    """The base of what is about a tenant's records."""

    tenant: str
    collection: str


class QueryRecords(RecordCommand):
    """Read a page of a collection's records. No ``fields`` are all that may be read."""

    name: ClassVar[str] = "query_records"
    filter: dict[str, Json] | None = None
    sort: str | None = None
    fields: tuple[str, ...] = ()
    limit: int = 20
    cursor: str | None = None


class GetRecord(RecordCommand):
    """Read one record."""

    name: ClassVar[str] = "get_record"
    record_id: str
    fields: tuple[str, ...] = ()


class AggregateRecords(RecordCommand):
    """Count, sum and compare records, by group. A measure has an ``op`` and, but for a count, a ``field``."""

    name: ClassVar[str] = "aggregate_records"
    filter: dict[str, Json] | None = None
    measures: tuple[dict[str, Json], ...]
    group_by: tuple[str, ...] = ()
    limit: int = 20


class CreateRecord(RecordCommand):
    """Add one record to a collection."""

    name: ClassVar[str] = "create_record"
    values: dict[str, Json]


class UpdateRecord(RecordCommand):
    """Change fields of a record that is still at ``version``; what is not named stays."""

    name: ClassVar[str] = "update_record"
    record_id: str
    version: int
    values: dict[str, Json]


class ChangeRecords(RecordCommand):
    """Change records as a run: one that must be asked about first, or all that a filter finds.

    ``op`` is the action that is decided on, and says which of the other values count.
    """

    name: ClassVar[str] = "change_records"
    op: Literal["create", "update", "delete", "bulk_update", "bulk_delete", "undo"]
    collection: str = ""
    record_id: str = ""
    version: int = 0
    values: dict[str, Json] = Field(default_factory=dict[str, Json])
    filter: dict[str, Json] | None = None
    undone_run: str = ""


class DeleteRecord(RecordCommand):
    """Remove a record that is still at ``version``."""

    name: ClassVar[str] = "delete_record"
    record_id: str
    version: int


class ListSeats(Command):
    """List who holds a seat of a tenant's."""

    name: ClassVar[str] = "list_seats"
    tenant: str
    limit: int = 50
    after: str | None = None


class AssignSeat(Command):
    """Give a user of a tenant's a seat."""

    name: ClassVar[str] = "assign_seat"
    tenant: str
    holder: str


class ReleaseSeat(Command):
    """Take a user's seat back."""

    name: ClassVar[str] = "release_seat"
    tenant: str
    holder: str


class RecordUsage(Command):
    """Record what a tenant has used. ``events`` is one JSON text: a list of lists, each of source,
    id, meter, quantity and instant, all as text.

    A thousand events are written down, sealed and digested many times over: as one text they cost
    what one value costs.
    """

    name: ClassVar[str] = "record_usage"
    tenant: str
    events: str


class SummarizeUsage(Command):
    """Tell what a tenant has used, in the period that ``at`` lies in; empty is the running one."""

    name: ClassVar[str] = "summarize_usage"
    tenant: str
    at: str = ""


class ReserveQuota(Command):
    """Hold so much of a meter for a resource, ahead of its use. ``quantity`` is a decimal as text;
    ``expires_at`` an instant, or empty: then it is held until it is released.
    """

    name: ClassVar[str] = "reserve_quota"
    tenant: str
    feature: str
    resource: str
    quantity: str
    expires_at: str = ""


class ReleaseQuota(Command):
    """Let go of what a resource holds of a meter."""

    name: ClassVar[str] = "release_quota"
    tenant: str
    feature: str
    resource: str


class CheckEntitlement(Command):
    """Tell whether a tenant may use so much more of a feature; 0 only reads. A decimal as text."""

    name: ClassVar[str] = "check_entitlement"
    tenant: str
    feature: str
    quantity: str = "1"
