"""Asking for a catalog to be put in force, and following the run that does it. Not the run's work, and no terminal.

What is asked for is a call like an agent's, by a human's token: decided, recorded, and answered again
when it is made again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, func, select

from control_plane.domain.caller import Caller
from control_plane.domain.canonical import Json
from control_plane.domain.outcome import Outcome
from control_plane.domain.run import RUN
from control_plane.domain.run_record import Run
from control_plane.engine.failpoints import Failpoints
from control_plane.errors import Failed
from control_plane.facts.load import run_row
from control_plane.handlers.catalog_in_force import KIND, applied_digest, digest_before
from control_plane.ports import Store
from control_plane.store import tables
from graphs.errors import Unlisted
from graphs.outcomes import of_run
from server.catalog import digest_of, keep_copy, load_applied
from server.catalog_check import Checked, check_files, read_working
from server.clock import SystemClock
from server.face_process import verifier
from server.front import Front
from server.ids import RandomIds
from server.presence import open_face
from server.settings import Settings
from server.token_source import TokenSource
from server.wiring import wire_face
from server.worker_link import ensure_worker, worker_runs
from server.workspace import Workspace
from tools.operator_tools import OPERATOR_TOOLS

TOOL: Final = "catalog_apply"
# In which the run does nothing more; one that waits for an approval is not over.
RESTING: Final = RUN.terminal | {"compensation_failed"}
# What a call is answered while its run is not over.
UNDER_WAY: Final = ("running", "awaiting_approval", "unknown")
_STEPPING: Final = ("dispatched", "unknown", "undoing")
_DIGITS: Final = 24
_PAUSE_S: Final = 0.3
# An approval lapses after a day, and each state has a deadline of its own.
_FOLLOW_S_MAX: Final = 172_800.0


@dataclass(frozen=True, slots=True)
class Working:
    """A folder's files as they are to be applied, and the catalog that databases are led away from.

    Where ``checked`` has mistakes, nothing is kept. ``nothing`` says that they are in force, and
    that no database serves another catalog any more.
    """

    digest: str
    before: str
    nothing: bool = False
    checked: Checked | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: its state, the step under way or "", and the approval it has asked for or ""."""

    state: str
    step: str
    approval_id: str


def keep_working(
    workspace: Workspace, folder: Path, program: Callable[[], Path], store: Store
) -> Working:
    """Check a folder's files, read once, and keep a copy of them; what is in force is not checked.

    Raises BadInput when there is no such folder, Unavailable where the applied catalog's files are
    gone or altered.
    """
    files, unread = read_working(folder)
    digest = "" if unread else digest_of(files)
    with store.read() as connection:
        applied, before = applied_digest(connection) or "", digest_before(connection)
        if digest == applied:
            return Working(digest, before or applied, nothing=before is None)
        plans = load_applied(connection, workspace.catalogs).plans
    checked = check_files(files, unread, program, plans)
    if not checked.mistakes:
        keep_copy(workspace.catalogs, files)
    return Working(digest, applied, checked=checked)


@contextmanager
def opened_front(
    workspace: Workspace, settings: Settings, token_file: Path | None
) -> Generator[tuple[Front, Store]]:
    """A front over the operator's tools for a human's token, with a worker that answers."""

    def identify(store: Store) -> Callable[[], Caller]:
        source = TokenSource(verifier(workspace, store), SystemClock(), settings, token_file)
        return source.caller

    # For as long as this face is open the worker does not end for want of work.
    with open_face(workspace.state / "faces", RandomIds().new()):
        ensure_worker(workspace, settings)
        face = wire_face(workspace, settings, identify, Failpoints(), tools=OPERATOR_TOOLS)
        try:
            yield face.front, face.store
        finally:
            face.close()


def key_of(connection: Connection, working: Working) -> str:
    """The idempotency key of applying it now: the same until a run of the kind has come to its end."""
    run = tables.run
    over = (run.c.kind == KIND) & run.c.state.in_(sorted(RESTING))
    count = connection.execute(select(func.count()).where(over)).scalar_one()
    return f"catalog-{working.digest[:_DIGITS]}-{working.before[:_DIGITS]}-{count}"


def ask(front: Front, digest: str, key: str, *, dry_run: bool = False) -> Outcome:
    """Ask for the catalog to be put in force, as the holder of the token."""
    arguments = {"catalog": digest, "idempotency_key": key, "dry_run": dry_run}
    try:
        answer = front.call(TOOL, arguments)
    except Unlisted:
        told = "This token may not apply a catalog."
        return Outcome(outcome="refused", message=told, code="tool_not_listed")
    assert answer.outcome is not None, answer.bad_input
    return answer.outcome


def follow(
    store: Store, run_id: str, tell: Callable[[Progress], None], pause: Callable[[], None]
) -> Run:
    """Wait until a run rests, and tell each change on its way; the run as it then is.

    ``pause`` is called between two looks. Raises Failed (`deadline`) when it takes two days.
    """
    last: Progress | None = None
    for run, step in _looks(store, run_id, pause):
        now = Progress(run.state, step, run.approval_id or "")
        if now != last:
            tell(now)
            last = now
        if run.state in RESTING:
            return run
    raise Failed("The run did not end in time; it goes on.", code="deadline")


def pausing(workspace: Workspace, settings: Settings) -> Callable[[], None]:
    """A pause between two looks, after which there is a worker again if there was none."""

    def pause() -> None:
        time.sleep(_PAUSE_S)
        if not worker_runs(workspace):
            ensure_worker(workspace, settings)

    return pause


def outcome_of(run: Run) -> Outcome:
    """What a run that rests came to, as its call is answered when it is made again."""
    if run.state != "applied":
        return of_run(run, None)
    told = planned_catalog(run.plan or {})
    sides = {"catalog": told.get("after"), "before": told.get("before")}
    done = {name: one.get("catalog") for name, one in sides.items() if isinstance(one, Mapping)}
    return of_run(run, done)


def nothing_to_do(working: Working) -> Outcome:
    """The outcome where the catalog is in force."""
    result: dict[str, Json] = {"catalog": working.digest, "before": working.digest}
    told = "Nothing to do: this catalog is applied."
    return Outcome(outcome="done", message=told, result=result)


def half_applied(store: Store, digest: str) -> bool:
    """Whether it is in force, and databases still serve the one before."""
    with store.read() as connection:
        return applied_digest(connection) == digest and digest_before(connection) is not None


def planned_catalog(plan: Mapping[str, Json]) -> Mapping[str, Json]:
    """What a plan shows of the catalog; empty where it has none."""
    parts = plan.get("parts")
    found = parts.get("catalog") if isinstance(parts, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _looks(store: Store, run_id: str, pause: Callable[[], None]) -> Iterator[tuple[Run, str]]:
    end_s = time.monotonic() + _FOLLOW_S_MAX
    step = tables.run_step
    under_way = (step.c.run_id == run_id) & step.c.state.in_(_STEPPING)
    while time.monotonic() < end_s:
        with store.read() as connection:
            run = run_row(connection, run_id)
            assert run is not None, "runs are never deleted"
            found = select(step.c.name).where(under_way).order_by(step.c.position).limit(1)
            name = connection.execute(found).scalar()
        yield run, name or ""
        pause()
