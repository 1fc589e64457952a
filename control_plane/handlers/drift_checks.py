"""The lifecycle of a look at a tenant's stack: whether it is still as it was applied. It changes nothing but our row of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection, select

from control_plane.commands import Command
from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import Json, instant, plain
from control_plane.domain.run_record import Run
from control_plane.domain.stack_record import StackRecord
from control_plane.errors import NotFound
from control_plane.handlers.cost_estimates import no_stack
from control_plane.handlers.drift_messages import tell_found
from control_plane.handlers.handler import (
    Observed,
    Ports,
    Step,
    Subject,
    TenantLifecycle,
    View,
    Work,
)
from control_plane.handlers.stack_records import stack_of_tenant
from control_plane.handlers.stack_steps import provisioner_of
from control_plane.handlers.tenant_moves import inside_of, noted, tenant_subject
from control_plane.infrastructure_commands import CheckDrift
from control_plane.provisioning.drift import Drifted
from control_plane.provisioning.stacks import StackRequest
from control_plane.store import rows, tables
from control_plane.store.infrastructure_tables import stack

_LOG = logging.getLogger("paybill.drift")
OPERATION: Final = "drift_check"
_SHOWN_MAX: Final = 200


def known_stack(work: Work, connection: Connection) -> StackRecord:
    """The tenant's stack as it is known; Refused (`stack_not_found`)."""
    known = stack_of_tenant(connection, work.run.tenant)
    if known is None:
        raise no_stack()
    return known


def known_now(work: Work) -> StackRecord:
    """The same for an outside step, which is given no transaction."""
    with work.ports.store.read() as connection:
        return known_stack(work, connection)


def as_applied(work: Work, known: StackRecord) -> StackRequest:
    """The stack as it was asked for when it was applied, whatever its plan offers by now."""
    return StackRequest(
        tenant=known.tenant,
        run_id=work.run.id,
        cloud=known.cloud,
        isolation=known.isolation,
        plan=known.plan,
        region=known.region,
        size=known.size,
        workspace=work.ports.workspace,
    )


def look(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Ask the cloud; what is told is addresses and names of attributes, never a value."""
    known = known_now(work)
    try:
        found = provisioner_of(work).drift(as_applied(work, known), should_stop=work.should_stop)
    except NotFound:
        # Nothing of it stands any more: all that we know of would have to be made again.
        gone = tuple(
            Drifted(address=one, actions=("create",), attributes=())
            for one in known.resources[:_SHOWN_MAX]
        )
        return {"resources": plain(gone), "drifted": True}
    return {"resources": plain(found.resources), "drifted": found.drifted}


def note(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Write down what the look has found."""
    inside = inside_of(connection)
    known = known_stack(work, inside)
    seen = noted(work, inside, "look")
    drifted = seen.get("drifted") is True
    if drifted:
        _LOG.warning("the stack of %s is no longer as it was applied", known.tenant)
    tell_found(work, inside, as_applied(work, known), drifted_in(seen))
    checked_at = instant(work.ports.clock.now())
    mine = (
        (stack.c.tenant == known.tenant)
        & (stack.c.cloud == known.cloud)
        & (stack.c.isolation == known.isolation)
    )
    rows.change(
        inside,
        stack,
        mine,
        state="drifted" if drifted else "stands",
        drift={"resources": seen["resources"]} if drifted else None,
        checked_at=checked_at,
    )
    return {
        "tenant": known.tenant,
        "cloud": known.cloud,
        "isolation": known.isolation,
        "drifted": drifted,
        "resources": seen["resources"],
        "checked_at": checked_at,
    }


def drifted_in(seen: Mapping[str, Json]) -> list[Json]:
    """The resources that a look has noted; a settled one noted none."""
    found = seen.get("resources")
    return list(found) if isinstance(found, list) else []


class CheckDriftHandler(TenantLifecycle):
    """Looks, and notes. Its plan is pure: there is nothing to decide on but that it may."""

    kind = OPERATION
    command_type: type[Command] = CheckDrift
    steps: tuple[Step, ...] = (
        Step("look", do=look, outside=True),
        Step("note", do=note, irreversible=True),
    )

    def subject(
        self,
        command: Command,
        view: View,
        run: Run | None,
        approval: Approval | None,
        step: str = "",
    ) -> Subject:
        """The tenant, with the stack that is known of it."""
        assert isinstance(command, CheckDrift)
        subject = tenant_subject(command.tenant, OPERATION, view, run, approval, step, {})
        return replace(subject, loaded=stack_of_tenant(view.connection, command.tenant))

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """There is something to look at; Refused (`stack_not_found`)."""
        if not isinstance(subject.loaded, StackRecord):
            raise no_stack()

    def observe(self, work: Work) -> Observed:
        """Nothing is planned: the look is the run's first step."""
        return Observed()

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """The row that is written."""
        assert isinstance(command, CheckDrift)
        return {"rows": {"stack_of": command.tenant, "looked_at": True}}

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """What this run has found, whatever came later."""
        return step_note(view, run, "note")


def step_note(view: View, run: Run, step: str) -> dict[str, Json]:
    """What a step of a finished run has noted."""
    table = tables.run_step
    where = (table.c.run_id == run.id) & (table.c.name == step)
    found = view.connection.execute(select(table.c.observed).where(where)).scalar_one()
    return dict(found)
