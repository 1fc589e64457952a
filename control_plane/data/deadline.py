"""A bound on the time of one block's statements. Not the deadline of the call."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import OperationalError

from control_plane.errors import Failed

_STEPS_BETWEEN_LOOKS: Final = 1_000
_QUERY_CANCELED: Final = "57014"
HELD: Final = "paybill_held"
"""The execution option that names the settings which hold in a connection's transaction already."""
GATHERING: Final[tuple[str, ...]] = ("enable_sort", "enable_bitmapscan")
"""The settings of Postgres without which it walks an index in order, where there is one."""


@contextmanager
def statement_deadline(
    connection: Connection, deadline_ms: int, *, in_order: bool = False
) -> Generator[None]:
    """Interrupt what runs longer than `deadline_ms`. Raises Failed, code `statement_deadline`.

    `in_order` is for the first rows of an order: an index is walked in that order, where there is
    one, rather than a tenant's rows gathered and sorted.
    """
    if connection.dialect.name == "sqlite":
        with _sqlite_deadline(connection, deadline_ms):
            yield
    else:
        with _postgres_deadline(connection, deadline_ms, in_order):
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
def _postgres_deadline(connection: Connection, deadline_ms: int, in_order: bool) -> Generator[None]:
    # Without statistics any condition is believed to leave a handful of rows, so that sorting them
    # seems to cost nothing: all of a tenant's would be read for each page.
    gathering = dict.fromkeys(GATHERING, "off" if in_order else "on")
    wanted = {**gathering, "statement_timeout": str(deadline_ms)}
    held: Mapping[str, str] = connection.get_execution_options().get(HELD, {})
    # What holds already is not said again: it would be half of what a page costs.
    if missing := {name: value for name, value in wanted.items() if held.get(name) != value}:
        # For the transaction only, as bound parameters: SET takes none.
        set_all = [func.set_config(name, value, True) for name, value in missing.items()]
        connection.execute(select(*set_all))
        connection.execution_options(**{HELD: {**held, **missing}})
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
