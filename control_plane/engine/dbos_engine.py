"""The job engine over DBOS Transact. Not a workflow: a job is one step, one routine call.

DBOS is a singleton of its process, and importing it takes about a second: it is imported by
`launch`, never by this module. Its rows are the engine's own, beside our store's.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from control_plane.engine.dbos_codec import JsonCodec, RoutineFailed, refuse_pickle
from control_plane.engine.dbos_database import SCHEMA, Place, open_database, prepare_database
from control_plane.engine.dbos_log import quiet
from control_plane.engine.port import JobStatus, Routine, check_text, check_word
from control_plane.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from dbos import DBOSClient, WorkflowStatus
    from dbos._serialization import Serializer

_APP: Final = "paybill"
_VERSION: Final = "1"  # DBOS's default is a hash of the code: each release would strand its jobs
_QUEUE: Final = "jobs"
_WORKFLOW: Final = "paybill.job"
_RECOVER_ROWS_MAX = 500
_RECOVER_PASSES_MAX = 200
_SETTLE_POLLS_MAX = 40
_SETTLE_POLL_S = 0.05
_POLL_S_MIN, _POLL_S_MAX = 0.02, 5.0
_WORKERS_MAX = 64
# A database that restarts is waited for: half an hour, then the job fails and its run is swept up.
_BEGIN_TRY_S = 0.5
_BEGIN_TRIES_MAX = 3600
# Claimed by us and not begun after this long: the claim's answer was lost with its connection.
_LOST_S = 120.0  # longer than DBOS waits between two tries of a statement

_STATUS: Final[Mapping[str, JobStatus]] = {
    "DELAYED": "waiting",
    "ENQUEUED": "waiting",
    "PENDING": "working",
    "SUCCESS": "done",
}  # ERROR, CANCELLED and whatever else DBOS ends with: failed

_log = logging.getLogger(__name__)


class _PutBack(BaseException):
    """Leaves a job that was claimed while the engine stops as it is: DBOS records no outcome."""


class _Singleton:
    """Who may use DBOS in this process: one engine, until the last of its routines has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: object = None

    def take(self, engine: object) -> None:
        with self._lock:
            if self._holder is not None:
                raise Unavailable("a job engine runs in this process already")
            self._holder = engine

    def release(self, engine: object) -> None:
        with self._lock:
            if self._holder is engine:
                self._holder = None


_singleton = _Singleton()


class DbosEngine:
    """A JobEngine on `place`: a SQLite file, which it creates with mode 0600, or a Postgres URL.

    On Postgres its tables lie in a schema of their own, which must be the login's alone.
    `executor_id` marks the jobs this process holds: it must be new for every process, or `recover`
    cannot tell a dead predecessor's jobs from its own. `workers`: routines at once (1 to 64).
    `poll_s`: how often waiting jobs are looked for, in seconds (0.02 to 5). `busy_timeout_ms`: how
    long a statement waits for a file's lock. Every method is called from a thread without an
    event loop; before `launch` and after `stop` all but `launch` and `stop` raise Unavailable.
    """

    def __init__(
        self,
        place: Place,
        *,
        executor_id: str,
        workers: int = 4,
        poll_s: float = 0.5,
        busy_timeout_ms: int = 30_000,
    ) -> None:
        check_text("executor_id", executor_id)
        if not 1 <= workers <= _WORKERS_MAX:
            raise BadInput("workers", f"must be 1 to {_WORKERS_MAX}")
        if not _POLL_S_MIN <= poll_s <= _POLL_S_MAX:
            raise BadInput("poll_s", f"must be {_POLL_S_MIN} to {_POLL_S_MAX}")
        self._place = place
        self._executor_id = executor_id
        self._workers = workers
        self._poll_s = poll_s
        self._busy_timeout_ms = busy_timeout_ms
        self._routines: dict[str, Routine] = {}
        self._gate = threading.Condition()
        self._at_work: set[str] = set()
        self._put_back: set[str] = set()
        self._begun: set[str] = set()
        self._unseen_since_s: dict[str, float] = {}
        self._stopping = False
        self._client: DBOSClient | None = None
        self._sql: sa.Engine | None = None

    def launch(self, routines: Mapping[str, Routine]) -> None:
        """Start to call `routines`. Unavailable: DBOS, its file or this process does not allow it.

        Takes one to three seconds, most of it the import.
        """
        _singleton.take(self)
        self._routines, self._stopping = dict(routines), False
        self._put_back.clear()
        self._begun.clear()
        self._unseen_since_s.clear()
        try:
            refuse_pickle()
            quiet()
            self._sql = open_database(
                self._place, busy_ms=self._busy_timeout_ms, connections=self._workers + 12
            )
            self._boot(self._sql)
        except BaseException as error:
            self._let_go()
            _singleton.release(self)
            if isinstance(error, Unavailable) or not isinstance(error, Exception):
                raise
            raise Unavailable(f"the job engine does not start: {type(error).__name__}") from error

    def enqueue(self, name: str, job_id: str, partition: str) -> None:
        """Queue the job unless its id is known; see the port for the errors."""
        check_text("job_id", job_id)
        check_text("partition", partition)
        client = self._need_client()
        if name not in self._routines:
            raise BadInput("name", "must be a routine of this engine")
        with _reached():
            client.enqueue(
                {
                    "workflow_name": _WORKFLOW,
                    "queue_name": _QUEUE,
                    "workflow_id": job_id,
                    "queue_partition_key": partition,
                    "app_version": _VERSION,
                },
                name,
                job_id,
            )

    def status(self, job_id: str) -> JobStatus:
        """Tell where the job is."""
        row = self._row(job_id)
        return "absent" if row is None else _STATUS.get(row.status, "failed")

    def cancel(self, job_id: str) -> None:
        """End a waiting job as failed; leave any other."""
        client = self._need_client()
        # DBOS would free the partition of a job that is still at work. The gate decides who is
        # first: a job that is claimed but not yet called looks at its row there.
        with self._gate, _reached():
            if job_id not in self._at_work and self._row(job_id) is not None:
                client.cancel_workflow(job_id)

    def recover(self) -> int:
        """Queue again what nobody works on, each job in its own partition; returns how many.

        That is what other executors held, and what we claimed but never began because the
        connection was lost between the two. A held row that is no job of ours is canceled, lest it
        be called or block a partition.
        """
        client = self._need_client()
        recovered = 0
        for _ in range(_RECOVER_PASSES_MAX):
            held = self._held_by_nobody()
            if not held:
                break
            ours = [row.workflow_id for row in held if _is_job(row)]
            alien = [row.workflow_id for row in held if not _is_job(row)]
            with _reached():
                if ours:
                    # Without the queue's name DBOS would use its own queue: no partitions there.
                    client.resume_workflows(ours, queue_name=_QUEUE)
                if alien:
                    _log.warning("%d rows that are no job were canceled", len(alien))
                    client.cancel_workflows(alien)
            recovered += len(ours)
        return recovered

    def stop(self, grace_s: float) -> None:
        """Call nothing more, wait `grace_s` seconds at most for routines, let go of DBOS."""
        with self._gate:
            if self._client is None or self._stopping:
                return
            self._stopping = True
            self._gate.wait_for(lambda: not self._at_work, timeout=grace_s)
        if grace_s > 0:
            self._settle()
        self._let_go()
        with self._gate:
            if not self._at_work:
                _singleton.release(self)

    def _boot(self, sql: sa.Engine) -> None:
        from dbos import DBOS, DBOSClient  # it takes a second

        codec = cast("Serializer", JsonCodec())
        # Tables and queue come first: from its first poll on, DBOS claims jobs by the queue's row,
        # and a predecessor may have left one there that allows more workers.
        prepare_database(sql)
        self._client = DBOSClient(
            system_database_engine=sql,
            dbos_system_schema=SCHEMA,
            serializer=codec,
            application_name=_APP,
            lazy=True,
            retry_connection_errors=False,  # it would go on for as long as the database is away
        )
        self._client.register_queue(
            _QUEUE,
            partition_concurrency=1,
            worker_concurrency=self._workers,
            polling_interval_sec=self._poll_s,
            on_conflict="always_update",
            application_name=_APP,
        )
        for schedule in self._client.list_schedules():
            # We make none: one that is there was planted, and its context can stop DBOS's thread.
            self._client.delete_schedule(schedule["schedule_name"])
        DBOS(
            config={
                "name": _APP,
                "system_database_engine": sql,
                "dbos_system_schema": SCHEMA,
                "executor_id": self._executor_id,
                "application_version": _VERSION,
                "serializer": codec,
                "max_executor_threads": self._workers + 4,
                "notification_listener_polling_interval_sec": 0.2,
                "scheduler_polling_interval_sec": 3600.0,
                "enable_otlp": False,
                "use_listen_notify": False,
                "log_level": "WARNING",
            }
        )
        # No limit on attempts: what is poison is counted in our own row, by the caller.
        DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=None)(self._workflow())
        DBOS.launch()

    def _workflow(self) -> Callable[[str, str], str]:
        from dbos import DBOS  # it takes a second

        def job(name: str, job_id: str) -> str:
            # A planted row may not speak for another job.
            if DBOS.workflow_id != job_id:
                raise RoutineFailed("ForeignRow")
            with self._gate:
                self._begun.add(job_id)
            return DBOS.run_step({"name": "routine"}, self._call, name, job_id)

        return job

    def _call(self, name: str, job_id: str) -> str:
        routine = self._routines.get(name)
        if routine is None:
            raise RoutineFailed("UnknownRoutine")
        if not self._begin(job_id):
            return "canceled"
        try:
            return check_word(routine(job_id))
        except BaseException as error:  # noqa: BLE001 -- an exit would hold the partition for ever
            # DBOS would log and store the text of the exception, which may hold a secret.
            _log.error("a routine ended with %s at %s", type(error).__name__, _place(error))
            raise RoutineFailed(type(error).__name__) from None
        finally:
            self._end(job_id)

    def _begin(self, job_id: str) -> bool:
        with self._gate:
            for _ in range(_BEGIN_TRIES_MAX):
                if self._stopping or job_id in self._at_work:
                    self._put_back.add(job_id)
                    self._begun.discard(job_id)
                    raise _PutBack
                try:
                    row = self._row(job_id)
                except Unavailable:
                    self._gate.wait(_BEGIN_TRY_S)
                    continue
                if row is None or row.status != "PENDING":
                    return False
                self._at_work.add(job_id)
                return True
        raise RoutineFailed("Unavailable")

    def _end(self, job_id: str) -> None:
        with self._gate:
            self._at_work.discard(job_id)
            self._gate.notify_all()
            if self._client is None and not self._at_work:
                _singleton.release(self)

    def _settle(self) -> None:
        """Wait until DBOS has recorded the outcomes of the routines that ended."""
        pause = threading.Event()
        for _ in range(_SETTLE_POLLS_MAX):
            try:
                held = self._held()
            except Unavailable:
                return
            mine = {row.workflow_id for row in held if row.executor_id == self._executor_id}
            with self._gate:
                if not mine - self._at_work - self._put_back:
                    return
            pause.wait(_SETTLE_POLL_S)

    def _let_go(self) -> None:
        if self._sql is None:
            return
        from dbos import DBOS  # it takes a second

        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=0)
        with self._gate:
            client, self._client = self._client, None
            sql, self._sql = self._sql, None
        if client is not None:
            client.destroy()
        sql.dispose()

    def _need_client(self) -> DBOSClient:
        client = self._client
        if client is None:
            raise Unavailable("the job engine does not run")
        return client

    def _row(self, job_id: str) -> WorkflowStatus | None:
        client = self._need_client()
        with _reached():
            rows = client.list_workflows(workflow_ids=[job_id], load_input=False, load_output=False)
        return rows[0] if rows else None

    def _held(self) -> list[WorkflowStatus]:
        client = self._need_client()
        with _reached():
            return client.list_workflows(
                status="PENDING", limit=_RECOVER_ROWS_MAX, load_input=False, load_output=False
            )

    def _held_by_nobody(self) -> list[WorkflowStatus]:
        try:
            rows = self._held()
        except Unavailable:
            # What was claimed before the database went away may still begin.
            self._unseen_since_s.clear()
            raise
        mine = {row.workflow_id for row in rows if row.executor_id == self._executor_id}
        now_s = time.monotonic()
        with self._gate:
            self._begun &= mine | self._at_work
            unseen = mine - self._begun - self._at_work
            self._unseen_since_s = {one: self._unseen_since_s.get(one, now_s) for one in unseen}
            lost = {one for one, s in self._unseen_since_s.items() if now_s - s >= _LOST_S}
            for one in lost:
                del self._unseen_since_s[one]
        return [row for row in rows if row.workflow_id not in mine - lost]


@contextmanager
def _reached() -> Generator[None]:
    """Turn what the driver says of a database that does not answer into Unavailable."""
    try:
        yield
    except SQLAlchemyError as error:
        raise Unavailable(f"the job engine's database: {type(error).__name__}") from None


def _is_job(row: WorkflowStatus) -> bool:
    return row.name == _WORKFLOW and row.queue_name == _QUEUE


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
