"""What a call is told that a tenant's move came in the way of: to come again. Not the move, and no retry."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from control_plane.errors import Failed, PaybillError
from control_plane.facts.load import tenant_row
from control_plane.facts.record import RecordFacts
from control_plane.handlers.handler import Subject

RETRY_AFTER_S: Final = 1
"""A freeze lasts less than that as a rule, and what it may last at most is the move's to say."""

# What a call finds of it: rows that are frozen or closed, and a tenant that stands elsewhere.
_OF_A_MOVE: Final = frozenset({"fenced", "facts_moved"})
_MOVING: Final = "migrating"


def is_of_a_move(error: PaybillError) -> bool:
    """Whether a tenant's move may be what was in the way."""
    return error.code in _OF_A_MOVE


def told_of_move(
    connection: Connection, subject: Subject | None, error: PaybillError
) -> PaybillError:
    """Failed (`tenant_moving`, retryable) where the call's tenant is moving, or was when it was decided; else the error.

    Nothing of the call remained, and its key is free: the same call passes once the tenant stands.
    """
    if subject is None or not is_of_a_move(error):
        return error
    decided = subject.facts.tenant_state if isinstance(subject.facts, RecordFacts) else ""
    found = tenant_row(connection, subject.tenant)
    if _MOVING not in (decided, None if found is None else found.state):
        return error
    return Failed(
        "The tenant is being moved, and nothing was changed: make the call again.",
        code="tenant_moving",
        retryable=True,
        retry_after_s=RETRY_AFTER_S,
    )
