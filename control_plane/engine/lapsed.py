"""Whether what the house has asked for is over, while a human has still to answer. Ends no run."""

from __future__ import annotations

from control_plane.domain.house import is_house
from control_plane.domain.run_record import Run
from control_plane.engine.postponed import postpone
from control_plane.errors import NotFound, PaybillError, Refused
from control_plane.handlers.handler import Ports
from control_plane.ports import Regate


def lapsed(ports: Ports, regate: Regate, run: Run) -> PaybillError | None:
    """The refusal that its plan gets by now; None where it stands, or a person asked for it.

    A person takes back what they no longer want; the house's question goes with its reason. Raises
    Postponed where that cannot be decided now.
    """
    if run.state != "awaiting_approval" or not is_house(run.principal):
        return None
    try:
        with ports.store.read() as connection:
            regate.settle(connection, run)
    except (Refused, NotFound) as error:
        postpone(error)
        return error
    return None
