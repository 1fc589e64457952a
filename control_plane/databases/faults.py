"""What SQLite says went wrong, as errors of ours. Not a log: no word of SQLite's is passed on."""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError

from control_plane.data.moving_ends import READ_ONLY
from control_plane.errors import Failed, PaybillError, Refused, Unavailable

_PRIMARY_CODE: Final = 0xFF  # an extended result code carries its primary one in the low byte
_UNAVAILABLE: Final = {
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_LOCKED: "busy",
    sqlite3.SQLITE_NOTADB: "unreadable",
    sqlite3.SQLITE_CORRUPT: "unreadable",
    sqlite3.SQLITE_CANTOPEN: "unavailable",
    sqlite3.SQLITE_READONLY: "unavailable",
    sqlite3.SQLITE_IOERR: "unavailable",
    sqlite3.SQLITE_NOMEM: "unavailable",
    sqlite3.SQLITE_PERM: "unavailable",
}
_LEFT_NOTHING: Final = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CONSTRAINT}
)
_CONSTRAINTS: Final = {
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: "primary_key",
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: "unique",
    sqlite3.SQLITE_CONSTRAINT_NOTNULL: "not_null",
    sqlite3.SQLITE_CONSTRAINT_CHECK: "check",
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: "foreign_key",
}


def result_code(error: DBAPIError) -> int:
    """SQLite's extended result code, or SQLITE_ERROR where the driver gives none."""
    return int(getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR))


def leaves_nothing(error: DBAPIError) -> bool:
    """Whether a COMMIT that failed so surely did not happen; else the file must be asked."""
    return result_code(error) & _PRIMARY_CODE in _LEFT_NOTHING


def fault(error: DBAPIError) -> PaybillError:
    """The error of ours; the statement left nothing, for its transaction is rolled back."""
    code = result_code(error)
    primary = code & _PRIMARY_CODE
    if primary == sqlite3.SQLITE_FULL:
        return Failed("There is no room left for the tenant's data.", code="disk_full")
    if code == sqlite3.SQLITE_CONSTRAINT_TRIGGER and str(error.orig) == READ_ONLY:
        return Refused("The tenant's rows are read-only.", code="fenced", rule="freeze")
    if primary == sqlite3.SQLITE_CONSTRAINT:
        rule = _CONSTRAINTS.get(code, "constraint")
        return Refused("The row breaks a rule of its table.", code="constraint", rule=rule)
    if primary in _UNAVAILABLE:
        part = _UNAVAILABLE[primary]
        return Unavailable(f"The tenant's database is {part}.", code=f"database_{part}")
    return Failed("The statement failed.", code="statement_failed")
