"""What a run waits out: parts that do not answer now, a catalog that is being put in force, a freeze. Moves no run."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from control_plane.domain.run_record import Run
from control_plane.errors import PaybillError
from control_plane.handlers.catalog_in_force import waits_for_catalog
from control_plane.handlers.freezes import FROZEN
from control_plane.handlers.run_waits import is_run_frozen, waits_for

PASSING: Final = frozenset(
    {
        "policy_engine_unavailable",
        "store_locked",
        "store_full",
        "store_unavailable",
        # What was committed is seen when the run is taken up again from its rows.
        "commit_unknown",
        # Whoever works by the catalog that is in force now, or after this worker, takes it up.
        "catalog_moved",
        "worker_leaves",
        "postponed",
        # A freeze that came while it was decided.
        FROZEN,
    }
)


class Postponed(PaybillError):
    """A part that the run needs does not answer now; the run stays as it is."""

    code = "postponed"


def postpone(error: PaybillError) -> None:
    """Raise Postponed for what passes by itself: that is no verdict on a run, and voids no approval."""
    if error.code in PASSING:
        raise Postponed from error


def is_put_off(connection: Connection, run: Run, now: datetime) -> bool:
    """Whether it waits for something at `now` (aware): to wait is no attempt."""
    return waits_for(connection, run, now) is not None


def require_beginning(connection: Connection, run: Run) -> None:
    """Raise Postponed while nothing begins: another catalog is put in force, or a freeze is."""
    if waits_for_catalog(connection, run.id):
        raise Postponed("Another catalog is being put in force.")
    if is_run_frozen(connection, run):
        raise Postponed("A freeze is in force.")
