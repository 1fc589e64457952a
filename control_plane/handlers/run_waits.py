"""What an active run waits for, and until when, before it is taken up. Moves no run, and decides nothing about it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from sqlalchemy import Connection

from control_plane.domain.run_record import Run, RunStep
from control_plane.handlers.catalog_in_force import waits_for_catalog
from control_plane.handlers.freezes import is_frozen
from control_plane.store import rows, tables

WaitsFor: TypeAlias = Literal["catalog", "freeze", "look"]
"""Another catalog is put in force; a freeze is in force; the next look at an effect that was not seen."""
LOOKS: Final = "looks"
"""Where a step of unknown standing keeps how often it was looked at in vain."""
LOST: Final = "lost"
"""Where it keeps how the run came to be of unknown standing: ``reason`` and ``detail``."""
FIRST_WAIT: Final = timedelta(seconds=30)
LAST_WAIT: Final = timedelta(hours=1)
_DOUBLINGS_MAX: Final = 16
UNBEGUN: Final = frozenset({"pending", "planned", "policy_checking", "approved"})


def waits_for(connection: Connection, run: Run, now: datetime) -> WaitsFor | None:
    """What it waits for at `now` (aware); None where a worker may take it up, or it waits for a human."""
    if run.state == "unknown":
        again_at = look_again_at(connection, run)
        return "look" if again_at is not None and now < again_at else None
    if run.state not in UNBEGUN or run.cancel_requested:
        return None
    if waits_for_catalog(connection, run.id):
        return "catalog"
    return "freeze" if is_run_frozen(connection, run) else None


def is_run_frozen(connection: Connection, run: Run) -> bool:
    """Whether a freeze keeps it from beginning."""
    proposed = run.command.get("proposed_cloud")
    return is_frozen(connection, run.tenant, proposed if isinstance(proposed, str) else "")


def look_again_at(connection: Connection, run: Run) -> datetime | None:
    """When an effect that could not be seen is looked for again; None where it was never looked for."""
    table = tables.run_step
    doubted = (table.c.run_id == run.id) & (table.c.state == "unknown")
    step = rows.first(connection, table, RunStep, doubted)
    looks = looks_at(step)
    if step is None or step.ended_at is None or looks == 0:
        return None
    return datetime.fromisoformat(step.ended_at) + wait_after(looks)


def wait_after(looks: int) -> timedelta:
    """How long after so many looks in vain: each time twice as long, from half a minute to an hour."""
    return min(FIRST_WAIT * (1 << min(looks - 1, _DOUBLINGS_MAX)), LAST_WAIT)


def looks_in_vain(connection: Connection, run_id: str) -> int:
    """How often a run was looked at in vain, at all of its steps: those are no attempts at its work."""
    table = tables.run_step
    found = rows.every(connection, table, RunStep, table.c.run_id == run_id)
    return sum(looks_at(step) for step in found)


def looks_at(step: RunStep | None) -> int:
    """How often a step was looked at in vain."""
    looks = (step.observed or {}).get(LOOKS) if step is not None else None
    return looks if isinstance(looks, int) else 0
