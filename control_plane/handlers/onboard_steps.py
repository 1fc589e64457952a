"""The steps of onboarding, each with its inverse and its probe. Not their order of execution: the engine's."""

from __future__ import annotations

from sqlalchemy import Connection

from control_plane.commands import OnboardTenant
from control_plane.domain.canonical import Json
from control_plane.domain.home import Home
from control_plane.domain.isolation import Isolation
from control_plane.domain.tenant import TENANT, Tenant
from control_plane.facts.load import tenant_row
from control_plane.handlers import handovers, stack_home, stack_steps
from control_plane.handlers.billing_moves import attempt_of
from control_plane.handlers.database_rows import begin_database, settle_database
from control_plane.handlers.handler import Step, Work
from control_plane.handlers.move_rows import columns_of
from control_plane.handlers.stack_records import record_verified
from control_plane.handlers.subscription_moves import subscribe, take_back_subscription
from control_plane.handlers.subscription_steps import collecting
from control_plane.handlers.tenant_moves import (
    data_epoch_of,
    inside_of,
    move_tenant,
    noted,
    set_data_epoch,
    tenant_of,
)
from control_plane.store import rows, tables


def register(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Write the tenant (provisioning) and its subscription, with its first invoice where one is due."""
    assert isinstance(work.command, OnboardTenant)
    command, inside = work.command, inside_of(connection)
    offer = work.ports.catalog.plans.offer(command.proposed_plan)
    found = tenant_row(inside, command.tenant)
    isolation: Isolation = command.proposed_isolation  # type: ignore[assignment]
    values = {
        "display_name": command.display_name,
        "plan": command.proposed_plan,
        "cloud": command.proposed_cloud,
        "region": command.proposed_region,
        **columns_of(Home(isolation, stack_home.server_planned(work))),
    }
    if found is None:
        born = {"id": command.tenant, "state": TENANT.next("pending", "provision"), **values}
        rows.put(inside, tables.tenant, Tenant.model_validate(born))
    else:
        move_tenant(inside, found, "provision", **values)
    begin_database(work, inside)
    attempt = subscribe(work, inside, command.tenant, offer, command.agreement)
    return {"tenant": command.tenant, "attempt": attempt}


def unregister(work: Work, connection: Connection | None) -> None:
    """Leave the tenant in a stable state that says what happened; its name stays its own."""
    inside = inside_of(connection)
    tenant = tenant_row(inside, work.run.tenant)
    if tenant is None or tenant.state != "provisioning":
        return
    settle_database(work, inside, "fail")
    move_tenant(inside, tenant, "fail")
    named = noted(work, inside, "register").get("attempt")
    attempt = attempt_of(inside, named) if isinstance(named, str) else None
    take_back_subscription(work, inside, None if attempt is None else attempt.invoice)


def activate(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Open the tenant."""
    inside = inside_of(connection)
    tenant = tenant_of(work, inside)
    state = move_tenant(inside, tenant, "succeed")
    settle_database(work, inside, "succeed")
    set_data_epoch(inside, tenant.id, data_epoch_of(work, inside))
    record_verified(work, inside)
    handovers.tell_first(work, inside)
    return {"state": state}


STEPS: tuple[Step, ...] = (
    Step("register", do=register, undo=unregister),
    collecting("register"),
    Step(
        "provision",
        do=stack_steps.provision,
        undo=stack_steps.deprovision,
        probe=stack_steps.probe_infrastructure,
        outside=True,
    ),
    Step(
        "database",
        do=stack_steps.create_database,
        undo=stack_steps.drop_database,
        probe=stack_steps.probe_database,
        outside=True,
    ),
    Step("verify", do=stack_steps.verify_ready, outside=True),
    Step(
        "hand_over",
        do=handovers.make_first,
        undo=handovers.unmake_first,
        probe=handovers.probe_first,
        outside=True,
    ),
    Step("activate", do=activate, irreversible=True),
)
