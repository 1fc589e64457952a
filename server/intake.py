"""Hands pending jobs to the engine, and takes up runs that were left lying. Executes nothing."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Select, select

from control_plane.domain.canonical import digest, instant
from control_plane.domain.run import RUN_ACTIVE
from control_plane.handlers.handler import Ports
from control_plane.ports import JobEngine
from control_plane.store import tables

_BATCH_MAX = 100
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

    def sweep(self) -> int:
        """Make a job for each run that is active, silent and has none under way; how many it was."""
        now = self._ports.clock.now()
        silent = self._silent(instant(now - SILENCE_MAX), instant(now))
        # Looked at first: the whole store is taken only where there is something to write.
        with self._ports.store.read() as connection:
            if connection.execute(silent).first() is None:
                return 0
        made = 0
        with self._ports.store.write() as connection:
            for run in connection.execute(silent).all():
                job_id = digest({"sweep": run.id, "at": instant(now)})[:32]
                values = {
                    "id": job_id,
                    "routine": "run",
                    "run_id": run.id,
                    "tenant": run.tenant,
                    "state": "pending",
                    "created_at": instant(now),
                }
                connection.execute(tables.job.insert().values(**values))
                made += 1
        return made

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
        return select(run.c.id, run.c.tenant).where(wanted & ~under_way).limit(_BATCH_MAX)
