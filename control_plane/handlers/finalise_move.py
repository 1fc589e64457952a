"""The lifecycle that removes what a tenant has left by a move: its former database, and the stack under it. Moves no tenant."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sqlalchemy import Connection

from control_plane.commands import Command
from control_plane.databases.port import DatabaseEngine
from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import Json, instant
from control_plane.domain.database import Database
from control_plane.domain.home import Home
from control_plane.domain.run_record import Run
from control_plane.domain.tenant import Tenant
from control_plane.errors import Failed, Refused
from control_plane.facts.tenant import TenantFacts
from control_plane.handlers import stack_steps
from control_plane.handlers.database_rows import database_row, move_database, standing
from control_plane.handlers.handler import (
    Observed,
    Ports,
    Probe,
    Step,
    Subject,
    TenantLifecycle,
    View,
    Work,
)
from control_plane.handlers.house_cause import cause_parts
from control_plane.handlers.move_rows import change_move, former, move_that_left
from control_plane.handlers.removing import destroy_stack
from control_plane.handlers.stack_records import record_gone
from control_plane.handlers.tenant_moves import inside_of, tenant_of, tenant_subject
from control_plane.handlers.tenants import described
from control_plane.move_commands import FinaliseMove
from control_plane.provisioning.stacks import StackRequest

OPERATION: Final = "finalise_move"


def begin(work: Work, connection: Connection | None) -> dict[str, Json]:
    """From here on the database is no way back any more."""
    inside = inside_of(connection)
    left = _left(work, inside)
    if left.state != "deleting":
        move_database(work, inside, left, "delete")
    return {"database": left.id}


def drop(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Remove the rows; what was removed already is fine."""
    engine, home = _place(work)
    engine.drop(work.run.tenant, home.isolation, work.epoch)
    if engine.exists(work.run.tenant, home.isolation):
        raise Failed("The database is still there.", code="database_remains", retryable=True)
    return {"dropped": True}


def probe_dropped(work: Work) -> Probe:
    """Whether the rows are gone."""
    engine, home = _place(work)
    return "absent" if engine.exists(work.run.tenant, home.isolation) else "present"


def destroy(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Take the stack away that nothing of the tenant stands on any more; nothing where something does."""
    wanted = _stack_left(work)
    if wanted is not None:
        destroy_stack(work, wanted)
    return {"destroyed": wanted is not None}


def probe_destroyed(work: Work) -> Probe:
    """Whether the stack is gone, or stays."""
    wanted = _stack_left(work)
    if wanted is None:
        return "present"
    seen = stack_steps.provisioner_of(work).settle(wanted, should_stop=stack_steps.beating(work))
    return "present" if seen == "absent" else "absent"


def finish(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Say that it is gone; its row stays as a tombstone."""
    inside = inside_of(connection)
    left, wanted = _left(work, inside), _stack_left(work, inside)
    move_database(work, inside, left, "succeed")
    move = move_that_left(inside, left.id)
    if move is not None:
        change_move(work, inside, move.run_id, state="finalised")
    if wanted is not None:
        record_gone(work, inside, wanted)
    return {"database": left.id}


class FinaliseMoveHandler(TenantLifecycle):
    """Removes one former database; asked for by the house once its time is over, or by a human."""

    kind = OPERATION
    command_type: type[Command] = FinaliseMove
    steps: tuple[Step, ...] = (
        Step("begin", do=begin, irreversible=True),
        Step("drop", do=drop, probe=probe_dropped, outside=True, irreversible=True),
        Step("destroy", do=destroy, probe=probe_destroyed, outside=True, irreversible=True),
        Step("finish", do=finish, irreversible=True),
    )

    def subject(
        self,
        command: Command,
        view: View,
        run: Run | None,
        approval: Approval | None,
        step: str = "",
    ) -> Subject:
        """The tenant, with the database that would go; whether its time is over is a fact."""
        assert isinstance(command, FinaliseMove)
        left = former(view.connection, command.tenant, command.database)
        proposed: dict[str, object] = {
            "way_back_over": left is not None and _is_over(left, view.ports)
        }
        subject = tenant_subject(command.tenant, OPERATION, view, run, approval, step, proposed)
        return replace(subject, loaded=left)

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """It is a database that the tenant has left. Refused (`not_former`, `tenant_state`)."""
        assert isinstance(subject.facts, TenantFacts)
        if not isinstance(subject.loaded, Database):
            raise Refused(
                "The tenant has left no such database.",
                code="not_former",
                rule="database.purpose",
                fact="state",
            )
        if subject.facts.state not in ("active", "suspended"):
            raise Refused(
                "The tenant is under way.",
                code="tenant_state",
                rule="tenant_machine",
                fact="state",
            )

    def observe(self, work: Work) -> Observed:
        """Plan the removal of the stack, where nothing stands on it any more; changes nothing."""
        with work.ports.store.read() as connection:
            left = _left(work, connection)
            _require_no_copy(connection, tenant_of(work, connection), left)
        parts: dict[str, Json] = {
            "data": {
                "database": left.id,
                "from": {"server": left.server, "isolation": left.isolation, "slot": left.slot},
                "kept_until": left.kept_until,
            },
            **cause_parts(work.run),
        }
        wanted = _stack_left(work)
        if wanted is None:
            return Observed(parts=parts)
        provisioner = stack_steps.provisioner_of(work)
        seen = stack_steps.observed(
            provisioner.observe(wanted, destroy=True, should_stop=work.should_stop)
        )
        return Observed(parts={**seen.parts, **parts}, facts=seen.facts, artifact=seen.artifact)

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """The row that changes."""
        assert isinstance(command, FinaliseMove)
        return {"rows": {"tenant": command.tenant, "database": command.database}}

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """The tenant as it stands now."""
        return described(view, run.tenant)


def _require_no_copy(connection: Connection, tenant: Tenant, left: Database) -> None:
    """Whoever removes a copy leaves its stack: it goes with the last database that was left there."""
    beside = [
        one.purpose
        for one in standing(connection, tenant)
        if one.isolation == left.isolation and one.id != left.id
    ]
    if left.isolation != tenant.isolation and beside and set(beside) == {"clone"}:
        raise Refused(
            "A copy stands on the stack that would go: remove it first.",
            code="clone_kept",
            rule="database.purpose",
            fact="isolation",
        )


def _is_over(left: Database, ports: Ports) -> bool:
    return left.kept_until is not None and left.kept_until <= instant(ports.clock.now())


def _left(work: Work, connection: Connection) -> Database:
    assert isinstance(work.command, FinaliseMove)
    found = former(connection, work.run.tenant, work.command.database)
    if found is None:
        raise Refused("The tenant has left no such database.", code="not_former")
    return found


def _place(work: Work) -> tuple[DatabaseEngine, Home]:
    assert isinstance(work.command, FinaliseMove)
    with work.ports.store.read() as connection:
        found = database_row(connection, work.command.database)
    assert found is not None, "a database keeps its row"
    return work.ports.databases.at(found.home), found.home


def _stack_left(work: Work, connection: Connection | None = None) -> StackRequest | None:
    """The stack that only the former database stands on, if it has one."""
    if connection is None:
        with work.ports.store.read() as reading:
            return _stack_left(work, reading)
    assert isinstance(work.command, FinaliseMove)
    tenant = tenant_of(work, connection)
    left = database_row(connection, work.command.database)
    assert left is not None, "a database keeps its row"
    others = [one for one in standing(connection, tenant) if one.id != left.id]
    if left.isolation in {tenant.isolation, *(one.isolation for one in others)}:
        return None
    return stack_steps.requested(work, tenant.cloud, left.isolation, tenant.plan, tenant.region)
