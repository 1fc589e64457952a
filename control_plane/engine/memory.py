"""A job engine in memory, for tests and one-process runs. Not durable: it ends with its process."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from control_plane.engine.port import JobStatus, Routine, check_text, check_word
from control_plane.errors import BadInput, Unavailable


@dataclass
class InlineJob:
    """One job: what to call, where it queues, how far it is, and which engine holds it."""

    name: str
    partition: str
    status: JobStatus = "waiting"
    holder: object = None


@dataclass
class InlineJobs:
    """The jobs by id, in the order they came, and the one lock over them."""

    rows: dict[str, InlineJob] = field(default_factory=dict[str, InlineJob])
    changed: threading.Condition = field(default_factory=threading.Condition)


class InlineEngine:
    """A JobEngine that keeps its jobs in `jobs`; a successor given the same sees what was left.

    `workers`: how many routines run at once.
    """

    def __init__(self, *, workers: int = 4, jobs: InlineJobs | None = None) -> None:
        kept = InlineJobs() if jobs is None else jobs
        self._workers = workers
        self._jobs = kept.rows
        self._changed = kept.changed
        self._routines: dict[str, Routine] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._gone = False

    def launch(self, routines: Mapping[str, Routine]) -> None:
        """Start to call `routines`. Unavailable: it runs already."""
        with self._changed:
            if self._pool is not None:
                raise Unavailable("the job engine runs already")
            self._routines, self._gone = dict(routines), False
            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="inline-job")
            self._start_ready()

    def enqueue(self, name: str, job_id: str, partition: str) -> None:
        """Queue the job unless its id is known; see the port for the errors."""
        check_text("job_id", job_id)
        check_text("partition", partition)
        with self._changed:
            self._need_pool()
            if name not in self._routines:
                raise BadInput("name", "must be a routine of this engine")
            self._jobs.setdefault(job_id, InlineJob(name, partition))
            self._start_ready()

    def status(self, job_id: str) -> JobStatus:
        """Tell where the job is."""
        with self._changed:
            self._need_pool()
            job = self._jobs.get(job_id)
            return "absent" if job is None else job.status

    def cancel(self, job_id: str) -> None:
        """End a waiting job as failed; leave any other."""
        with self._changed:
            self._need_pool()
            job = self._jobs.get(job_id)
            if job is not None and job.status == "waiting":
                job.status = "failed"

    def recover(self) -> int:
        """Queue again the jobs that another engine left working; returns how many."""
        with self._changed:
            self._need_pool()
            held = [job for job in self._jobs.values() if self._is_orphan(job)]
            for job in held:
                job.status, job.holder = "waiting", None
            self._start_ready()
            return len(held)

    def stop(self, grace_s: float) -> None:
        """Call nothing more and wait `grace_s` seconds at most for routines at work."""
        with self._changed:
            pool, self._pool = self._pool, None
            if pool is None:
                return
            self._changed.wait_for(lambda: not self._mine(), timeout=grace_s)
            self._gone = True
        pool.shutdown(wait=False, cancel_futures=True)

    def _need_pool(self) -> ThreadPoolExecutor:
        if self._pool is None:
            raise Unavailable("the job engine does not run")
        return self._pool

    def _mine(self) -> list[InlineJob]:
        jobs = self._jobs.values()
        return [job for job in jobs if job.status == "working" and job.holder is self]

    def _is_orphan(self, job: InlineJob) -> bool:
        return job.status == "working" and job.holder is not self

    def _start_ready(self) -> None:
        if self._pool is None:
            return
        busy = {job.partition for job in self._jobs.values() if job.status == "working"}
        room = self._workers - len(self._mine())
        for job_id, job in self._jobs.items():
            if room > 0 and job.status == "waiting" and job.partition not in busy:
                job.status, job.holder = "working", self
                busy.add(job.partition)
                room -= 1
                self._pool.submit(self._work, job_id, job)

    def _work(self, job_id: str, job: InlineJob) -> None:
        status: JobStatus = "done"
        try:
            check_word(self._routines[job.name](job_id))
        except BaseException:  # noqa: BLE001 -- whatever a routine raises, its partition goes on
            status = "failed"
        with self._changed:
            # Left to itself by stop, or held by a successor: this outcome is not ours to write.
            if job.holder is self and not self._gone:
                job.status = status
            self._start_ready()
            self._changed.notify_all()
