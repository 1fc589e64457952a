"""Handlers that look into a run: its plan, and its log. They decide nothing on it, and move nothing."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, select

from control_plane.commands import Command
from control_plane.domain.canonical import Json, canonical
from control_plane.domain.run import RUN
from control_plane.domain.run_record import Run
from control_plane.facts.load import run_facts
from control_plane.handlers.handler import SingleAnswer, Subject, View
from control_plane.handlers.plan_text import plan_text
from control_plane.handlers.runs import steps_of
from control_plane.infrastructure_commands import GetRunLog, GetRunPlan
from control_plane.store.infrastructure_tables import run_event

# What a plan's parts may take of an answer: the text says the rest in short.
PARTS_BYTES_MAX: Final = 128 * 1024


def parts_of(run: Run) -> dict[str, Json]:
    """The parts of a run's plan; empty while it has none."""
    found = (run.plan or {}).get("parts")
    return dict(found) if isinstance(found, dict) else {}


def run_subject(view: View, run_id: str) -> Subject:
    """The run, there or not."""
    facts, run = run_facts(view.connection, view.caller, run_id)
    return Subject(id=run_id, facts=facts, tenant="" if run is None else run.tenant, loaded=run)


class GetRunPlanHandler(SingleAnswer):
    """Reads the plan of one run."""

    def subject(self, command: Command, view: View) -> Subject:
        """The run, there or not."""
        assert isinstance(command, GetRunPlan)
        return run_subject(view, command.run_id)

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """Digest, parts and text; all null while there is no plan, the parts also where they are large."""
        run = subject.loaded
        assert isinstance(run, Run), "the subject was decided to exist"
        told: dict[str, Json] = {"run_id": run.id, "tenant": run.tenant, "kind": run.kind}
        parts = parts_of(run)
        if not parts:
            return {
                **told,
                "plan_digest": None,
                "parts": None,
                "parts_left_out": False,
                "text": None,
                "lines_left_out": 0,
            }
        text = plan_text(parts)
        large = len(canonical(parts)) > PARTS_BYTES_MAX
        return {
            **told,
            "plan_digest": run.plan_digest or None,
            "parts": None if large else parts,
            "parts_left_out": large,
            "text": "\n".join(text.lines),
            "lines_left_out": text.left_out,
        }


class GetRunLogHandler(SingleAnswer):
    """Reads the steps of one run, and what it told of its resources."""

    def subject(self, command: Command, view: View) -> Subject:
        """The run, there or not."""
        assert isinstance(command, GetRunLog)
        return run_subject(view, command.run_id)

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """Every step that has begun, and a page of events; ``over`` where no more will come."""
        assert isinstance(command, GetRunLog)
        run = subject.loaded
        assert isinstance(run, Run), "the subject was decided to exist"
        limit = min(command.limit, view.ports.limits.rows_max)
        events = _events(view.connection, run.id, command.after, limit + 1)
        shown = events[:limit]
        return {
            "run_id": run.id,
            "state": run.state,
            "steps": [
                {
                    "name": step.name,
                    "state": step.state,
                    "begun_at": step.dispatched_at,
                    "ended_at": step.ended_at,
                }
                for step in steps_of(view.connection, run.id)
            ],
            "events": shown,
            "next_after": shown[-1]["position"] if shown else command.after,
            "over": len(events) == len(shown) and run.state in RUN.terminal,
        }


def _events(connection: Connection, run_id: str, after: int, limit: int) -> list[dict[str, Json]]:
    told = run_event.c
    statement = (
        select(told.position, told.at, told.address, told.doing, told.stage, told.elapsed_s)
        .where(told.run_id == run_id, told.position > after)
        .order_by(told.position)
        .limit(limit)
    )
    return [dict(row) for row in connection.execute(statement).mappings()]
