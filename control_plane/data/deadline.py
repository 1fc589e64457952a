"""A bound on the time of one block's statements. Not the deadline of the call."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import OperationalError

from control_plane.errors import Failed

_STEPS_BETWEEN_LOOKS: Final = 1_000
_QUERY_CANCELED: Final = "57014"


@contextmanager
def statement_deadline(connection: Connection, deadline_ms: int) -> Generator[None]:
    """Interrupt what runs longer than `deadline_ms`. Raises Failed, code `statement_deadline`."""
    if connection.dialect.name == "sqlite":
        with _sqlite_deadline(connection, deadline_ms):
            yield
    else:
        with _postgres_deadline(connection, deadline_ms):
            yield


@contextmanager
def _sqlite_deadline(connection: Connection, deadline_ms: int) -> Generator[None]:
    ends_at = time.monotonic() + deadline_ms / 1_000
    passed = False

    def look() -> int:
        nonlocal passed
        passed = time.monotonic() >= ends_at
        return int(passed)

    driver = connection.connection.driver_connection
    assert driver is not None  # an open connection has one
    driver.set_progress_handler(look, _STEPS_BETWEEN_LOOKS)
    try:
        yield
    except OperationalError:
        if not passed:
            raise
        raise _late() from None
    finally:
        driver.set_progress_handler(None, 0)


@contextmanager
def _postgres_deadline(connection: Connection, deadline_ms: int) -> Generator[None]:
    # For the transaction only, as a bound parameter: SET takes none.
    connection.execute(select(func.set_config("statement_timeout", str(deadline_ms), True)))
    try:
        yield
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != _QUERY_CANCELED:
            raise
        raise _late() from None


def _late() -> Failed:
    return Failed(
        "The query took longer than it may: narrow the filter.", code="statement_deadline"
    )
