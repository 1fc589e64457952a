"""Handlers of runs: read one, ask one to stop. Executing a run is the engine's."""

from __future__ import annotations

from sqlalchemy import Connection

from control_plane.commands import CancelRun, Command, GetRun
from control_plane.domain.call import Call
from control_plane.domain.canonical import Json
from control_plane.domain.run_record import Run, RunStep
from control_plane.errors import Refused
from control_plane.facts.load import run_facts, run_row
from control_plane.handlers.handler import Ports, SingleAnswer, Subject, View
from control_plane.store import rows, tables


def describe(run: Run, steps: list[RunStep]) -> dict[str, Json]:
    """A run as a reader may see it."""
    return {
        "run_id": run.id,
        "tenant": run.tenant,
        "kind": run.kind,
        "state": run.state,
        "reason": run.reason or None,
        "detail": run.detail or None,
        "created_at": run.created_at,
        "updated_at": run.updated_at,
        "plan_digest": run.plan_digest or None,
        "approval_id": run.approval_id,
        "attempts": run.attempts,
        "cancel_requested": run.cancel_requested,
        "steps": [{"name": step.name, "state": step.state} for step in steps],
        # A dry run has no other result than what it would have done.
        "result": run.plan if run.reason == "dry_run" else run.result,
    }


def steps_of(connection: Connection, run_id: str) -> list[RunStep]:
    """A run's steps in their order."""
    table = tables.run_step
    return rows.every(
        connection, table, RunStep, table.c.run_id == run_id, order_by=table.c.position
    )


def _subject(view: View, run_id: str, acts: tuple[str, ...], extras: tuple[str, ...]) -> Subject:
    facts, run = run_facts(view.connection, view.caller, run_id)
    return Subject(
        id=run_id,
        facts=facts,
        acts=acts,
        extras=extras,
        tenant="" if run is None else run.tenant,
        loaded=run,
    )


class GetRunHandler(SingleAnswer):
    """Reads one run."""

    def subject(self, command: Command, view: View) -> Subject:
        """The run, there or not."""
        assert isinstance(command, GetRun)
        return _subject(view, command.run_id, (), ())

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The run and its steps."""
        assert isinstance(subject.loaded, Run)
        return describe(subject.loaded, steps_of(view.connection, subject.id))


class CancelRunHandler:
    """Asks a run to stop. The worker undoes what was done; a run that is over is refused."""

    outside = False

    def subject(self, command: Command, view: View) -> Subject:
        """The run, there or not."""
        assert isinstance(command, CancelRun)
        return _subject(view, command.run_id, ("cancel",), ())

    def parts(
        self, command: Command, call: Call, subject: Subject, ports: Ports
    ) -> dict[str, Json]:
        """The one row that would change."""
        return {"rows": {"run": subject.id, "cancel_requested": True}}

    def affect(
        self,
        command: Command,
        call: Call,
        subject: Subject,
        ports: Ports,
        connection: Connection | None,
    ) -> Json:
        """Mark the run, and wake the worker for it."""
        assert connection is not None
        assert isinstance(subject.loaded, Run)
        run = subject.loaded
        table = tables.run
        asserted = (table.c.id == run.id) & (table.c.state == run.state)
        if not rows.change(
            connection, table, asserted, cancel_requested=True, updated_at=call.as_of
        ):
            raise Refused("The run has moved on; read it again.", code="run_moved", fact="state")
        connection.execute(
            tables.job.insert().values(
                id=call.derive_id("job"),
                routine="run",
                run_id=run.id,
                tenant=run.tenant,
                state="pending",
                created_at=call.as_of,
            )
        )
        return run.id

    def recover(self, call: Call, ports: Ports) -> Json:
        """Never asked: the change and its outcome are one transaction."""
        return None

    def answer(
        self, effect: Json, command: Command, view: View, may: frozenset[str]
    ) -> dict[str, Json]:
        """The run as it stands now."""
        run = run_row(view.connection, str(effect))
        assert run is not None, "runs are never deleted"
        return describe(run, steps_of(view.connection, run.id))
