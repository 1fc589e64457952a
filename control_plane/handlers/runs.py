"""Handlers of runs: read one, list them, ask one to stop. Executing a run is the engine's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import Connection, and_

from control_plane.commands import CancelRun, Command, GetRun, ListRuns
from control_plane.domain.call import Call
from control_plane.domain.canonical import Json
from control_plane.domain.effect import BEGUN
from control_plane.domain.run_record import Run, RunStep, RunSummary
from control_plane.errors import Refused
from control_plane.facts.load import facts_of_run, run_facts, run_row
from control_plane.facts.workspace import WorkspaceFacts
from control_plane.handlers.handler import (
    BlindChange,
    Lifecycle,
    Ports,
    Seen,
    SingleAnswer,
    Subject,
    View,
)
from control_plane.handlers.newest import Newest, within_grant
from control_plane.handlers.run_waits import waits_for
from control_plane.store import rows, tables


def described_run(view: View, run: Run) -> dict[str, Json]:
    """A run as a reader may see it, with its steps and what it waits for."""
    steps = steps_of(view.connection, run.id)
    waits = waits_for(view.connection, run, view.ports.clock.now())
    return _described(run, steps, waits)


def _described(run: Run, steps: list[RunStep], waits: str | None) -> dict[str, Json]:
    return {
        "run_id": run.id,
        "tenant": run.tenant,
        "kind": run.kind,
        "requested_by": run.principal,
        "state": run.state,
        "reason": run.reason or None,
        "detail": run.detail or None,
        "waits_for": waits,
        "created_at": run.created_at,
        "updated_at": run.updated_at,
        "plan_digest": run.plan_digest or None,
        "approval_id": run.approval_id,
        "attempts": run.attempts,
        "cancel_requested": run.cancel_requested,
        "steps": [{"name": step.name, "state": step.state} for step in steps],
        # A dry run has no other result than what it would have done.
        "result": run.plan if run.reason == "dry_run" else None,
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
        return described_run(view, subject.loaded)


class ListRunsHandler:
    """Lists the runs that the caller may read, the newest first."""

    _NEWEST = Newest(RunSummary, tables.run.c.created_at, tables.run.c.id)

    def subject(self, command: Command, view: View) -> Subject:
        """The workspace; each run is decided on its own."""
        return Subject(id="workspace", facts=WorkspaceFacts(), tenant=command.target())

    def page(self, command: Command, view: View) -> list[Subject]:
        """The runs of one scan."""
        assert isinstance(command, ListRuns)
        table = tables.run
        where = [within_grant(view.caller, table.c.tenant)]
        if command.tenant:
            where.append(table.c.tenant == command.tenant)
        if command.states:
            where.append(table.c.state.in_(command.states))
        if command.kind:
            where.append(table.c.kind == command.kind)

        def member(run: RunSummary) -> Subject:
            facts = facts_of_run(view.caller, run)
            return Subject(id=run.id, facts=facts, tenant=run.tenant, loaded=run)

        return self._NEWEST.page(command, view, and_(*where), member)

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The runs, and where the next page begins."""
        assert isinstance(command, ListRuns)
        runs, following = self._NEWEST.listed(command, view, page)
        return {"runs": [_summarize(run) for run in runs], "next_after": following}


def _summarize(run: RunSummary) -> dict[str, Json]:
    return {
        "run_id": run.id,
        "tenant": run.tenant,
        "kind": run.kind,
        "requested_by": run.principal,
        "state": run.state,
        "reason": run.reason or None,
        "dry_run": run.dry_run,
        "created_at": run.created_at,
        "updated_at": run.updated_at,
        "plan_digest": run.plan_digest or None,
        "approval_id": run.approval_id,
        "cancel_requested": run.cancel_requested,
    }


class CancelRunHandler(BlindChange):
    """Asks a run to stop. The worker undoes what was done.

    Refused for a run that is over, and from when one of its steps that cannot be undone has begun.
    """

    outside = False
    command_type: type[Command] = CancelRun

    def __init__(self, lifecycles: Iterable[Lifecycle]) -> None:
        self._final = {
            one.kind: frozenset(step.name for step in one.steps if step.irreversible)
            for one in lifecycles
        }

    def subject(self, command: Command, view: View) -> Subject:
        """The run, there or not."""
        assert isinstance(command, CancelRun)
        subject = _subject(view, command.run_id, ("cancel",), ())
        # Asked of an absent run too: it takes as many statements.
        begun = {one.name for one in steps_of(view.connection, subject.id) if one.state in BEGUN}
        run = subject.loaded
        if isinstance(run, Run) and begun & self._final.get(run.kind, frozenset()):
            return replace(subject, facts=subject.facts.model_copy(update={"cancelable": False}))
        return subject

    def parts(
        self, command: Command, call: Call, subject: Subject, ports: Ports, seen: Seen
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
        return described_run(view, run)
