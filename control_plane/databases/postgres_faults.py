"""What Postgres says went wrong, as errors of ours. Not a log: no word of the server's is passed on."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from control_plane.data.moving_ends import READ_ONLY
from control_plane.errors import Failed, NotFound, PaybillError, Refused, Unavailable

UNDEFINED: Final = frozenset({"22023", "3F000", "42704", "42883", "42P01"})
NOT_ADMITTED: Final = "42501"
_CONSTRAINTS: Final = {
    "23502": "not_null",
    "23503": "foreign_key",
    "23505": "unique",
    "23514": "check",
    "22001": "check",  # the length that SQLite checks is part of the type here
    "22003": "check",  # and so are the bounds of a number that is computed
}
_BUSY: Final = frozenset({"40001", "40P01", "53300", "55006", "55P03"})
_GONE_CLASSES: Final = frozenset({"08", "28", "3D", "53", "57", "58", "XX"})
_UNREADABLE: Final = frozenset({"XX001", "XX002"})
_DEADLINE: Final = "57014"
_READ_ONLY: Final = "25006"
_DISK_FULL: Final = "53100"
_INTEGRITY_CLASS: Final = "23"


def sqlstate(error: DBAPIError) -> str:
    """The five characters of SQL's own code, or none where no server has answered."""
    return str(getattr(error.orig, "sqlstate", None) or "")


def leaves_nothing(error: DBAPIError) -> bool:
    """Whether a COMMIT that failed so surely did not happen: a server that is still there said so."""
    return bool(sqlstate(error)) and not error.connection_invalidated


def fault(error: DBAPIError) -> PaybillError:
    """The error of ours; the statement left nothing, for its transaction is rolled back."""
    state = sqlstate(error)
    if state == _DISK_FULL:
        return Failed("There is no room left for the tenant's data.", code="disk_full")
    if state == _DEADLINE:
        return Failed(
            "The query took longer than it may: narrow the filter.", code="statement_deadline"
        )
    if state == _READ_ONLY and _told(error) == READ_ONLY:
        return Refused("The tenant's rows are read-only.", code="fenced", rule="freeze")
    if state in _CONSTRAINTS or state[:2] == _INTEGRITY_CLASS:
        rule = _constraint(error, state)
        return Refused("The row breaks a rule of its table.", code="constraint", rule=rule)
    if state in _BUSY:
        return _unavailable("busy")
    if state in _UNREADABLE:
        return _unavailable("unreadable")
    if not state or state[:2] in _GONE_CLASSES or error.connection_invalidated:
        return _unanswered(error, state)
    return Failed("The statement failed.", code="statement_failed")


@contextmanager
def translated() -> Generator[None]:
    """Whatever the driver or the pool raises inside, as errors of ours."""
    try:
        yield
    except DBAPIError as error:
        raise fault(error) from error
    except PoolTimeout as error:
        raise _unavailable("busy") from error


@contextmanager
def undefined_is_not_found() -> Generator[None]:
    """What names a role, schema or function that is not there is about an absent tenant."""
    try:
        yield
    except DBAPIError as error:
        if sqlstate(error) in UNDEFINED:
            raise NotFound from error
        raise


def _unanswered(error: DBAPIError, state: str) -> PaybillError:
    # A driver that refuses a value by itself gives no code either, and no server is to blame.
    if (
        not state
        and not error.connection_invalidated
        and not isinstance(error, OperationalError | InterfaceError)
    ):
        return Failed("The statement failed.", code="statement_failed")
    return _unavailable("unavailable")


def _unavailable(part: str) -> Unavailable:
    return Unavailable(f"The tenant's database is {part}.", code=f"database_{part}")


def _constraint(error: DBAPIError, state: str) -> str:
    if state not in _CONSTRAINTS:
        return "constraint"
    named = getattr(getattr(error.orig, "diag", None), "constraint_name", None) or ""
    # Postgres itself names a primary key so, and ours have no other name.
    if state == "23505" and named.endswith("_pkey"):
        return "primary_key"
    return _CONSTRAINTS[state]


def _told(error: DBAPIError) -> str:
    # Only to tell a trigger of ours from the server itself.
    return str(getattr(getattr(error.orig, "diag", None), "message_primary", None) or "")
