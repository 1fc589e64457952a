"""The handler that lists the stacks that are known. It asks no cloud: what one would say now is found by a look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, and_, select, true, tuple_

from control_plane.commands import Command
from control_plane.data.cursor import open_end, seal_end
from control_plane.data.deadline import statement_deadline
from control_plane.domain.canonical import Json, digest, instant
from control_plane.domain.stack_record import StackRecord
from control_plane.domain.tenant import Tenant
from control_plane.facts.load import Standing, facts_of_tenant, standings
from control_plane.facts.tenant import TenantFacts
from control_plane.facts.workspace import WorkspaceFacts
from control_plane.handlers.handler import Subject, View
from control_plane.handlers.newest import within_grant
from control_plane.infrastructure_commands import ListInfrastructure
from control_plane.provisioning.prices import shipped_prices
from control_plane.store import rows, tables
from control_plane.store.infrastructure_tables import stack

ADDRESSES_MAX: Final = 50
"""How many addresses of one stack are told; how many there are is told with them."""
OUTPUTS: Final = "read_outputs"
"""The action on a tenant that opens what its stack says of itself."""


class _Scope(BaseModel):
    """What a cursor holds for."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    caller: str
    stacks_of: str


class _Listed(NamedTuple):
    """One of a page; asked about twice, the second time for its outputs."""

    stack: StackRecord
    outputs: bool


class _Scanned(NamedTuple):
    """Where the scan ended; None where it saw the last row."""

    end: tuple[str, str, str] | None


def addresses(known: tuple[str, ...]) -> list[Json]:
    """The first addresses of a stack, in order."""
    return [*sorted(known)[:ADDRESSES_MAX]]


def drifted_of(known: StackRecord) -> list[Json]:
    """What the last look found to be otherwise than applied: address, actions, attributes."""
    found = (known.drift or {}).get("resources")
    return list(found) if isinstance(found, Sequence) and not isinstance(found, str) else []


class ListInfrastructureHandler:
    """Lists the stacks of the tenants that the caller may read."""

    def subject(self, command: Command, view: View) -> Subject:
        """The workspace; each stack is decided on as its tenant."""
        return Subject(id="workspace", facts=WorkspaceFacts(), tenant=command.target())

    def page(self, command: Command, view: View) -> list[Subject]:
        """The next stacks, each for itself and for its outputs; last the scan, so it is never empty.

        Raises NotFound for a cursor of another caller or question, Failed (`statement_deadline`).
        """
        assert isinstance(command, ListInfrastructure)
        limit = _limit(command, view)
        statement = (
            select(stack)
            .where(_where(command, view))
            .order_by(stack.c.tenant, stack.c.cloud, stack.c.isolation)
            .limit(limit + 1)
        )
        with statement_deadline(view.connection, view.ports.limits.statement_ms_max):
            found = [
                rows.parse(StackRecord, dict(row))
                for row in view.connection.execute(statement).mappings()
            ]
        shown = found[:limit]
        facts = _facts(view, sorted({one.tenant for one in shown}))
        members = [
            Subject(
                id=one.tenant,
                facts=facts[one.tenant],
                reads=("read", OUTPUTS) if outputs else ("read",),
                tenant=one.tenant,
                loaded=_Listed(one, outputs),
            )
            for one in shown
            for outputs in (False, True)
        ]
        end = _place(shown[-1]) if len(found) > limit else None
        scan = Subject(id="scan", facts=WorkspaceFacts(), loaded=_Scanned(end))
        return [*members, scan]

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The stacks, and where the next page begins."""
        assert isinstance(command, ListInfrastructure)
        *members, scan = page
        assert isinstance(scan.loaded, _Scanned), "whoever may list may read the workspace"
        listed = [one.loaded for one in members if isinstance(one.loaded, _Listed)]
        opened = {_place(one.stack) for one in listed if one.outputs}
        told: list[Json] = [
            _told(one.stack, outputs=_place(one.stack) in opened)
            for one in listed
            if not one.outputs
        ]
        end = scan.loaded.end
        key, scope = view.ports.cursor_key, _scope(command, view)
        return {"stacks": told, "next_after": None if end is None else seal_end(key, scope, end)}


def _limit(command: ListInfrastructure, view: View) -> int:
    return min(command.limit, view.ports.limits.rows_max)


def _where(command: ListInfrastructure, view: View) -> ColumnElement[bool]:
    asked = {"tenant": command.tenant, "cloud": command.cloud, "state": command.state}
    named = [stack.c[name] == value for name, value in asked.items() if value]
    behind: ColumnElement[bool] = true()
    if command.after is not None:
        end = open_end(view.ports.cursor_key, _scope(command, view), command.after)
        behind = tuple_(stack.c.tenant, stack.c.cloud, stack.c.isolation) > tuple_(*end)
    return and_(within_grant(view.caller, stack.c.tenant), behind, *named)


def _scope(command: ListInfrastructure, view: View) -> _Scope:
    caller = f"{view.caller.principal}\0{view.caller.actor}"
    return _Scope(caller=caller, stacks_of=digest(command.filter()))


def _place(known: StackRecord) -> tuple[str, str, str]:
    return (known.tenant, known.cloud, known.isolation)


def _facts(view: View, tenants: list[str]) -> dict[str, TenantFacts]:
    """The facts of several tenants; two statements. Of one that is gone from our rows: that it is."""
    now = instant(view.ports.clock.now())
    table = tables.tenant
    found = rows.every(view.connection, table, Tenant, table.c.id.in_(tenants))
    known = standings(view.connection, tenants, now)
    facts = dict.fromkeys(tenants, TenantFacts(exists=False, member=True))
    for one in found:
        facts[one.id] = facts_of_tenant(one, known.get(one.id, Standing()), True, now)
    return facts


def _told(known: StackRecord, *, outputs: bool) -> dict[str, Json]:
    priced = known.monthly_cost_minor is not None
    drifted = drifted_of(known)
    return {
        "tenant": known.tenant,
        "cloud": known.cloud,
        "isolation": known.isolation,
        "region": known.region,
        "plan": known.plan,
        "size": known.size,
        "state": known.state,
        "resources": addresses(known.resources),
        "resource_count": len(known.resources),
        "monthly_cost_minor": known.monthly_cost_minor,
        "currency": shipped_prices().currency if priced else None,
        "price_table": known.price_table,
        "applied_at": known.applied_at,
        "run_id": known.run_id,
        "plan_digest": known.plan_digest or None,
        "checked_at": known.checked_at,
        "drift": drifted[:ADDRESSES_MAX],
        "drift_count": len(drifted),
        "outputs": known.outputs if outputs else None,
    }
