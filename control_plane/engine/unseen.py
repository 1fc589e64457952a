"""A run whose effect is of unknown standing: what a look at it leads to, and why it cannot be seen. Does nothing again."""

from __future__ import annotations

from control_plane.domain.run_record import Run
from control_plane.engine.ends import detail_of, passes, reason_of
from control_plane.engine.postponed import Postponed, postpone
from control_plane.engine.runbook import Fenced, Runbook
from control_plane.engine.stepping import Stepping
from control_plane.errors import PaybillError, Unknown


def reconciled(book: Runbook, stepping: Stepping) -> Run:
    """Look, and move the run on by what is seen.

    What passes by itself is raised, and the run stays. Raises Postponed where somebody has to put
    something right first: then the run is of unknown standing again, and says why.
    """
    try:
        seen = stepping.reconcile()
    except Fenced:
        raise
    except PaybillError as error:
        postpone(error)
        if passes(error) or isinstance(error, Unknown):
            raise
        _unseen(book, stepping, error)
        raise Postponed("The effect cannot be seen.") from error
    if seen == "present":
        return book.advance("settle_present", reason="", detail="")
    # It ends for how it was lost, and not for what kept it from being seen meanwhile.
    return book.advance("settle_absent", **stepping.lost_by())


def _unseen(book: Runbook, stepping: Stepping, error: PaybillError) -> None:
    with book.writing() as connection:
        stepping.looked_in_vain(connection)
        book.move(connection, "fail", reason=reason_of(error), detail=detail_of(error))
