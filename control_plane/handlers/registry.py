"""Every command's handler, by the command's name. A command that is not here cannot be carried out."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from control_plane import commands, fleet_commands
from control_plane.database_commands import (
    AcknowledgeConnection,
    GetConnection,
    GetDatabase,
    ListBackups,
    ListDatabases,
)
from control_plane.engine.failpoints import (
    BILLING_BOUNDARIES,
    FACE_BOUNDARIES,
    HOUSE_BOUNDARIES,
    INSIDE_BOUNDARIES,
    OUTSIDE_BOUNDARIES,
    RUN_BOUNDARIES,
    UNDO_BOUNDARIES,
)
from control_plane.handlers.apply_catalog import ApplyCatalogHandler
from control_plane.handlers.approvals import GetApprovalHandler, ListApprovalsHandler
from control_plane.handlers.audit import SearchAuditHandler
from control_plane.handlers.backup_told import ListBackupsHandler
from control_plane.handlers.change_preview import PreviewChangeHandler
from control_plane.handlers.connections import (
    AcknowledgeConnectionHandler,
    GetConnectionHandler,
)
from control_plane.handlers.cost_estimates import EstimateCostHandler
from control_plane.handlers.credential_rotation import RotateCredentialsHandler
from control_plane.handlers.database_backup import BackUpDatabaseHandler
from control_plane.handlers.database_clone import CloneDatabaseHandler
from control_plane.handlers.database_drop import DropCloneHandler
from control_plane.handlers.database_migrate import MigrateDatabaseHandler
from control_plane.handlers.database_restore import RestoreDatabaseHandler
from control_plane.handlers.databases import GetDatabaseHandler, ListDatabasesHandler
from control_plane.handlers.drift_checks import CheckDriftHandler
from control_plane.handlers.drift_repairs import RepairDriftHandler
from control_plane.handlers.entitlement_checks import CheckEntitlementHandler
from control_plane.handlers.finalise_move import FinaliseMoveHandler
from control_plane.handlers.fleet_migration import FleetMigrationHandler
from control_plane.handlers.fleet_orders import (
    AbortFleetMigrationHandler,
    PauseFleetMigrationHandler,
)
from control_plane.handlers.fleet_views import GetFleetMigrationHandler
from control_plane.handlers.follow_plan import FollowPlanHandler
from control_plane.handlers.forecasts import SimulateSubscriptionHandler
from control_plane.handlers.freeze_changes import ChangeFreezeHandler
from control_plane.handlers.handler import Change, Lifecycle, Query
from control_plane.handlers.infrastructure import ListInfrastructureHandler
from control_plane.handlers.invoices import GetInvoiceHandler, ListInvoicesHandler
from control_plane.handlers.move import MoveTenantHandler
from control_plane.handlers.offboard import OffboardTenantHandler
from control_plane.handlers.onboard import OnboardTenantHandler
from control_plane.handlers.payment_moves import (
    IssueCreditNoteHandler,
    RecordPaymentHandler,
    RetryPaymentHandler,
)
from control_plane.handlers.quotas import ReleaseQuotaHandler, ReserveQuotaHandler
from control_plane.handlers.record_aggregates import AggregateRecordsHandler
from control_plane.handlers.record_changes import (
    CreateRecordHandler,
    DeleteRecordHandler,
    UpdateRecordHandler,
)
from control_plane.handlers.record_runs import ChangeRecordsHandler
from control_plane.handlers.records import (
    DescribeCollectionsHandler,
    GetRecordHandler,
    QueryRecordsHandler,
)
from control_plane.handlers.restore import RestoreTenantHandler
from control_plane.handlers.resume import ResumeTenantHandler
from control_plane.handlers.run_views import GetRunLogHandler, GetRunPlanHandler
from control_plane.handlers.runs import CancelRunHandler, GetRunHandler, ListRunsHandler
from control_plane.handlers.seats import (
    AssignSeatHandler,
    ListSeatsHandler,
    ReleaseSeatHandler,
)
from control_plane.handlers.stack_offers import ListStacksHandler
from control_plane.handlers.subscription_changes import (
    CancelSubscriptionHandler,
    ChangeSubscriptionHandler,
    PauseSubscriptionHandler,
    ResumeSubscriptionHandler,
    SetBillingDetailsHandler,
    SetPaymentMethodHandler,
)
from control_plane.handlers.subscriptions import GetSubscriptionHandler
from control_plane.handlers.suspend import SuspendTenantHandler
from control_plane.handlers.tenants import GetTenantHandler, ListTenantsHandler
from control_plane.handlers.usage import RecordUsageHandler, SummarizeUsageHandler
from control_plane.handlers.workspace import DescribeCallerHandler, ListPlansHandler
from control_plane.infrastructure_commands import (
    EstimateCost,
    GetRunLog,
    GetRunPlan,
    ListInfrastructure,
    ListStacks,
)
from control_plane.subscription_commands import (
    GetInvoice,
    ListInvoices,
    PreviewChange,
    SimulateSubscription,
)

QUERIES: Mapping[str, Query] = MappingProxyType(
    {
        commands.DescribeCaller.name: DescribeCallerHandler(),
        commands.ListPlans.name: ListPlansHandler(),
        commands.ListTenants.name: ListTenantsHandler(),
        commands.GetTenant.name: GetTenantHandler(),
        commands.GetSubscription.name: GetSubscriptionHandler(),
        commands.GetRun.name: GetRunHandler(),
        commands.ListRuns.name: ListRunsHandler(),
        commands.GetApproval.name: GetApprovalHandler(),
        commands.ListApprovals.name: ListApprovalsHandler(),
        commands.SearchAudit.name: SearchAuditHandler(),
        commands.DescribeCollections.name: DescribeCollectionsHandler(),
        commands.QueryRecords.name: QueryRecordsHandler(),
        commands.GetRecord.name: GetRecordHandler(),
        commands.AggregateRecords.name: AggregateRecordsHandler(),
        commands.SummarizeUsage.name: SummarizeUsageHandler(),
        commands.CheckEntitlement.name: CheckEntitlementHandler(),
        commands.ListSeats.name: ListSeatsHandler(),
        ListInvoices.name: ListInvoicesHandler(),
        GetInvoice.name: GetInvoiceHandler(),
        SimulateSubscription.name: SimulateSubscriptionHandler(),
        PreviewChange.name: PreviewChangeHandler(),
        ListInfrastructure.name: ListInfrastructureHandler(),
        ListStacks.name: ListStacksHandler(),
        GetRunPlan.name: GetRunPlanHandler(),
        GetRunLog.name: GetRunLogHandler(),
        EstimateCost.name: EstimateCostHandler(),
        fleet_commands.GetFleetMigration.name: GetFleetMigrationHandler(),
        GetDatabase.name: GetDatabaseHandler(),
        ListDatabases.name: ListDatabasesHandler(),
        ListBackups.name: ListBackupsHandler(),
        GetConnection.name: GetConnectionHandler(),
    }
)
LIFECYCLES: Mapping[str, Lifecycle] = MappingProxyType(
    {
        commands.OnboardTenant.name: OnboardTenantHandler(),
        commands.SuspendTenant.name: SuspendTenantHandler(),
        commands.ResumeTenant.name: ResumeTenantHandler(),
        commands.OffboardTenant.name: OffboardTenantHandler(),
        commands.RestoreTenant.name: RestoreTenantHandler(),
        commands.ChangeRecords.name: ChangeRecordsHandler(),
        commands.ApplyCatalog.name: ApplyCatalogHandler(),
        commands.FollowPlan.name: FollowPlanHandler(),
        fleet_commands.StartFleetMigration.name: FleetMigrationHandler(),
        **{
            one.command_type.name: one
            for one in (
                ChangeSubscriptionHandler(),
                CancelSubscriptionHandler(),
                PauseSubscriptionHandler(),
                ResumeSubscriptionHandler(),
                SetPaymentMethodHandler(),
                SetBillingDetailsHandler(),
                RetryPaymentHandler(),
                RecordPaymentHandler(),
                IssueCreditNoteHandler(),
                CheckDriftHandler(),
                RepairDriftHandler(),
                BackUpDatabaseHandler(),
                RotateCredentialsHandler(),
                RestoreDatabaseHandler(),
                CloneDatabaseHandler(),
                DropCloneHandler(),
                MigrateDatabaseHandler(),
                MoveTenantHandler(),
                FinaliseMoveHandler(),
            )
        },
    }
)
CHANGES: Mapping[str, Change] = MappingProxyType(
    {
        commands.CancelRun.name: CancelRunHandler(LIFECYCLES.values()),
        commands.ChangeFreeze.name: ChangeFreezeHandler(),
        commands.CreateRecord.name: CreateRecordHandler(),
        commands.UpdateRecord.name: UpdateRecordHandler(),
        commands.DeleteRecord.name: DeleteRecordHandler(),
        commands.RecordUsage.name: RecordUsageHandler(),
        commands.ReserveQuota.name: ReserveQuotaHandler(),
        commands.ReleaseQuota.name: ReleaseQuotaHandler(),
        commands.AssignSeat.name: AssignSeatHandler(),
        commands.ReleaseSeat.name: ReleaseSeatHandler(),
        AcknowledgeConnection.name: AcknowledgeConnectionHandler(),
        fleet_commands.PauseFleetMigration.name: PauseFleetMigrationHandler(),
        fleet_commands.AbortFleetMigration.name: AbortFleetMigrationHandler(),
    }
)


def failpoint_names() -> tuple[str, ...]:
    """Every boundary at which a fault can be armed: the faces', the runs', and each step's."""
    names = [*FACE_BOUNDARIES, *RUN_BOUNDARIES, *BILLING_BOUNDARIES, *HOUSE_BOUNDARIES]
    for lifecycle in LIFECYCLES.values():
        for step in lifecycle.steps:
            own = OUTSIDE_BOUNDARIES if step.outside else INSIDE_BOUNDARIES
            inverse = () if step.irreversible else UNDO_BOUNDARIES
            names += [f"{lifecycle.kind}.{step.name}.{each}" for each in (*own, *inverse)]
    return tuple(names)
