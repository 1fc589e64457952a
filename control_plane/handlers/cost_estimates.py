"""The handler that tells what a run's plan or a tenant's stack costs a month. No invoice, and no new plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from control_plane.commands import Command
from control_plane.domain.canonical import Json, instant
from control_plane.domain.run_record import Run
from control_plane.domain.stack_record import StackRecord
from control_plane.errors import Refused
from control_plane.facts.load import run_row, tenant_at_hand
from control_plane.handlers.handler import SingleAnswer, Subject, View
from control_plane.handlers.run_views import parts_of, run_subject
from control_plane.handlers.stack_records import stack_of_tenant
from control_plane.infrastructure_commands import EstimateCost
from control_plane.provisioning.prices import shipped_prices

_NOTHING: Final[Mapping[str, Json]] = MappingProxyType({})


class EstimateCostHandler(SingleAnswer):
    """Reads the estimate that was made when the plan was observed."""

    def subject(self, command: Command, view: View) -> Subject:
        """The run or the tenant, there or not."""
        assert isinstance(command, EstimateCost)
        if command.run_id:
            return run_subject(view, command.run_id)
        now = instant(view.ports.clock.now())
        facts, _, _ = tenant_at_hand(view.connection, view.caller, command.tenant, now)
        stands = stack_of_tenant(view.connection, command.tenant)
        return Subject(id=command.tenant, facts=facts, tenant=command.tenant, loaded=stands)

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """What it costs; Refused (`plan_not_observed`, `stack_not_found`) where nothing was estimated."""
        stands = subject.loaded
        if isinstance(stands, Run):
            found = _found(stands)
            if "monthly_cost_minor" not in found:
                raise Refused(
                    "The run has no plan of a stack, or none yet.",
                    code="plan_not_observed",
                    rule="run.plan",
                    fact="plan",
                )
            minor = found["monthly_cost_minor"]
            return _told(stands, minor, found.get("price_version"), found)
        if not isinstance(stands, StackRecord):
            raise no_stack()
        made_by = run_row(view.connection, stands.run_id)
        found = _NOTHING if made_by is None else _found(made_by)
        minor, table = stands.monthly_cost_minor, stands.price_table
        return _told(stands, minor, table or found.get("price_version"), found)


def no_stack() -> Refused:
    """The refusal where no stack of a tenant is known."""
    return Refused(
        "No stack of this tenant is known.", code="stack_not_found", rule="stack", fact="exists"
    )


def _found(run: Run) -> Mapping[str, Json]:
    infrastructure = parts_of(run).get("infrastructure")
    found = infrastructure.get("found") if isinstance(infrastructure, Mapping) else None
    return found if isinstance(found, Mapping) else _NOTHING


def _told(
    basis: Run | StackRecord, minor: Json, table: Json, found: Mapping[str, Json]
) -> dict[str, Json]:
    unpriced = found.get("unpriced")
    return {
        "basis": "plan" if isinstance(basis, Run) else "stack",
        "tenant": basis.tenant,
        "run_id": basis.id if isinstance(basis, Run) else basis.run_id,
        "monthly_cost_minor": minor,
        "currency": shipped_prices().currency,
        "price_table": table or None,
        "unpriced": list(unpriced) if isinstance(unpriced, Sequence) else [],
    }
