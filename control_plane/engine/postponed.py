"""What a run waits out: parts that do not answer now, and a catalog that is being put in force. Moves no run."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from control_plane.domain.run_record import Run
from control_plane.errors import PaybillError
from control_plane.handlers.catalog_in_force import waits_for_catalog

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
    }
)
_UNBEGUN: Final = frozenset({"pending", "planned", "policy_checking", "approved"})


class Postponed(PaybillError):
    """A part that the run needs does not answer now; the run stays as it is."""

    code = "postponed"


def postpone(error: PaybillError) -> None:
    """Raise Postponed for what passes by itself: that is no verdict on a run, and voids no approval."""
    if error.code in PASSING:
        raise Postponed from error


def is_put_off(connection: Connection, run: Run) -> bool:
    """Whether it has not begun, and another catalog is being put in force: to wait is no attempt."""
    if run.state not in _UNBEGUN or run.cancel_requested:
        return False
    return waits_for_catalog(connection, run.id)


def wait_for_catalog(connection: Connection, run: Run) -> None:
    """Raise Postponed while another run puts a catalog in force: nothing is begun beside it."""
    if waits_for_catalog(connection, run.id):
        raise Postponed("Another catalog is being put in force.")
