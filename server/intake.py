"""Hands pending jobs to the engine, and takes up runs that were left lying. Executes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, Row, Select, select

from control_plane.domain.canonical import digest, instant
from control_plane.domain.run import RUN_ACTIVE
from control_plane.facts.load import run_row
from control_plane.handlers.handler import Ports
from control_plane.handlers.run_waits import waits_for
from control_plane.ports import JobEngine
from control_plane.store import tables

_BATCH_MAX = 100
_TAKE_UP_MAX = 10_000
# A run at work beats once a second: after this long without, nobody works on it.
SILENCE_MAX = timedelta(seconds=30)
_RESTING = frozenset({"awaiting_approval", "compensation_failed"})
# Made once: it is asked several times a second.
_WAITING = (
    select(tables.job)
    .where(tables.job.c.state == "pending")
    .order_by(tables.job.c.created_at)
    .limit(_BATCH_MAX)
)


class Intake:
    """Jobs are rows first: a face commits them, and the same id twice is one job to the engine."""

    def __init__(self, ports: Ports, engine: JobEngine) -> None:
        self._ports = ports
        self._engine = engine

    def step(self) -> int:
        """Enqueue what waits; how many it was. A kill between the two lines repeats the first."""
        table = tables.job
        with self._ports.store.read() as connection:
            jobs = connection.execute(_WAITING).all()
        for job in jobs:
            self._engine.enqueue(job.routine, job.id, job.tenant or "workspace")
            with self._ports.store.write(job.tenant or None) as connection:
                connection.execute(
                    table.update()
                    .where((table.c.id == job.id) & (table.c.state == "pending"))
                    .values(state="enqueued")
                )
        return len(jobs)

    def take_up(self) -> int:
        """Make a job for each run that is active, since none is worked on as before; how many it was.

        For who begins to work, or goes over to another catalog: runs may have waited for that, and
        those that wait for an approval learn that their plan holds no more.
        """
        now = instant(self._ports.clock.now())
        run = tables.run
        active = sorted(RUN_ACTIVE - {"compensation_failed"})
        found = select(run.c.id, run.c.tenant).where(run.c.state.in_(active)).limit(_TAKE_UP_MAX)
        with self._ports.store.read() as connection:
            runs = connection.execute(found).all()
        if runs:
            with self._ports.store.write() as connection:
                self._wake(connection, runs, now)
        return len(runs)

    def sweep(self) -> int:
        """Make a job for each run that is active, silent and has none under way; how many it was."""
        now = self._ports.clock.now()
        silent = self._silent(instant(now - SILENCE_MAX), instant(now))
        # Looked at first: the whole store is taken only where there is something to write.
        with self._ports.store.read() as connection:
            due = self._due(connection, silent, now)
        if not due:
            return 0
        with self._ports.store.write() as connection:
            runs = connection.execute(silent.where(tables.run.c.id.in_(due))).all()
            self._wake(connection, runs, instant(now))
        return len(runs)

    def _due(self, connection: Connection, silent: Select[str, str], now: datetime) -> list[str]:
        # Without those that wait for something: they may do so for days, and in any number.
        found = connection.execute(silent).all()
        return [one.id for one in found if not self._waits(connection, one.id, now)][:_BATCH_MAX]

    def _waits(self, connection: Connection, run_id: str, now: datetime) -> bool:
        run = run_row(connection, run_id)
        return run is not None and waits_for(connection, run, now) is not None

    def _wake(self, connection: Connection, runs: Sequence[Row[str, str]], now: str) -> None:
        for run in runs:
            values = {
                "id": digest({"sweep": run.id, "at": now})[:32],
                "routine": "run",
                "run_id": run.id,
                "tenant": run.tenant,
                "state": "pending",
                "created_at": now,
            }
            connection.execute(tables.job.insert().values(**values))

    def _silent(self, before: str, now: str) -> Select[str, str]:
        run, job, approval = tables.run, tables.job, tables.approval
        under_way = (
            select(job.c.id)
            .where((job.c.run_id == run.c.id) & (job.c.state != "finished"))
            .where(job.c.created_at > before)
            .exists()
        )
        working = run.c.state.in_(sorted(RUN_ACTIVE - _RESTING)) & (
            (run.c.heartbeat_at.is_(None)) | (run.c.heartbeat_at < before)
        )
        answered = (
            select(approval.c.id)
            .where(approval.c.id == run.c.approval_id)
            .where((approval.c.state != "pending") | (approval.c.expires_at <= now))
            .exists()
        )
        parked = (run.c.state == "awaiting_approval") & (answered | run.c.cancel_requested)
        wanted = (working & (run.c.updated_at < before)) | parked
        return select(run.c.id, run.c.tenant).where(wanted & ~under_way).limit(_TAKE_UP_MAX)
