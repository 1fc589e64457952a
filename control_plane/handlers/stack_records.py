"""The row of a tenant's stack: as a run left it, and as a look found it. Not the stack, and no authority over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

from sqlalchemy import ColumnElement, Connection, delete, insert

from control_plane.domain.canonical import Json, instant
from control_plane.domain.run_record import Run
from control_plane.domain.stack_record import StackRecord
from control_plane.facts.load import run_row
from control_plane.handlers.drift_messages import tell_applied
from control_plane.handlers.handler import Work
from control_plane.handlers.stack_steps import request_of
from control_plane.handlers.tenant_moves import noted, tenant_of
from control_plane.provisioning.site import UNNAMED
from control_plane.provisioning.stacks import StackRequest
from control_plane.store import rows
from control_plane.store.infrastructure_tables import stack

# What a run of these states was planned with holds for nothing yet: it is planned again.
_UNPLANNED: Final = frozenset({"pending", "planning"})


def account_held(connection: Connection, request: StackRequest) -> str | None:
    """In which account of its cloud a tenant's stack stands, or is about to; None where none does.

    The run in hand says it once it is planned, and of what stands the run that applied it last:
    both were decided on with it. UNNAMED where that run was planned before accounts were told.
    """
    run = run_row(connection, request.run_id)
    if run is not None and run.tenant == request.tenant and run.state not in _UNPLANNED:
        planned = _account_of(run)
        if planned != UNNAMED:
            return planned
    mine = (stack.c.tenant == request.tenant) & (stack.c.cloud == request.cloud)
    standing = mine & (stack.c.state != "gone")
    found = rows.first(connection, stack, StackRecord, standing)
    if found is None:
        return None
    applied = run_row(connection, found.run_id)
    return UNNAMED if applied is None else _account_of(applied)


def _account_of(run: Run) -> str:
    parts = _mapping((run.plan or {}).get("parts"))
    changes = _mapping(_mapping(parts.get("infrastructure")).get("changes"))
    return _text(changes.get("account")) or UNNAMED


def stack_of_tenant(connection: Connection, tenant: str) -> StackRecord | None:
    """The stack that stands for a tenant, the last applied one; None where none does."""
    found = rows.every(
        connection,
        stack,
        StackRecord,
        (stack.c.tenant == tenant) & (stack.c.state != "gone"),
        order_by=stack.c.applied_at,
    )
    return found[-1] if found else None


def record_verified(work: Work, connection: Connection) -> None:
    """Write down the tenant's stack as the step `verify` of this run found it."""
    seen = _mapping(noted(work, connection, "verify").get("stack"))
    record_stack(work, connection, request_of(work, tenant_of(work, connection)), seen)


def record_stack(
    work: Work, connection: Connection, request: StackRequest, seen: Mapping[str, Json]
) -> None:
    """Write down how a run leaves a stack; `seen` is what the step that looked has noted."""
    infrastructure = _infrastructure(work)
    facts = work.run.plan_facts or {}
    tell_applied(work, connection, request)
    _forget(connection, request)
    record = StackRecord(
        tenant=request.tenant,
        cloud=request.cloud,
        isolation=request.isolation,
        region=request.region,
        plan=request.plan,
        size=request.size,
        state="stands",
        run_id=work.run.id,
        plan_digest=str(infrastructure.get("digest", "")),
        resources=tuple(str(one) for one in cast("Sequence[Json]", seen.get("resources") or ())),
        outputs=dict(cast("Mapping[str, Json]", seen.get("outputs") or {})),
        monthly_cost_minor=_whole(facts.get("infra_monthly_cost_minor")),
        price_table=_text(_mapping(infrastructure.get("found")).get("price_version")),
        applied_at=instant(work.ports.clock.now()),
    )
    connection.execute(insert(stack), record.model_dump(mode="json"))


def record_gone(work: Work, connection: Connection, request: StackRequest) -> None:
    """Write down that a run has taken a stack away; nothing where none was known."""
    rows.change(
        connection,
        stack,
        _key(request),
        state="gone",
        run_id=work.run.id,
        resources=[],
        outputs={},
        monthly_cost_minor=None,
        drift=None,
        applied_at=instant(work.ports.clock.now()),
    )


def _forget(connection: Connection, request: StackRequest) -> None:
    connection.execute(delete(stack).where(_key(request)))


def _key(request: StackRequest) -> ColumnElement[bool]:
    return (
        (stack.c.tenant == request.tenant)
        & (stack.c.cloud == request.cloud)
        & (stack.c.isolation == request.isolation)
    )


def _infrastructure(work: Work) -> Mapping[str, Json]:
    return _mapping(_mapping((work.run.plan or {}).get("parts")).get("infrastructure"))


def _mapping(value: object) -> Mapping[str, Json]:
    return cast("Mapping[str, Json]", value) if isinstance(value, Mapping) else {}


def _whole(value: Json) -> int | None:
    return value if isinstance(value, int) else None


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) and value else None
