"""What SQLite leaves of removed rows in a file that tenants share, taken out of it. Not their removal.

A removed row's bytes may go on standing in free parts of the file and in its write-ahead log, until
they are written over. Scrubbed, the file holds its rows and nothing else. What the disk below keeps
of blocks that were given back is not ours to reach.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from control_plane.errors import Failed, Unavailable

_SHARED: Final = "pooled*.db"
_REFERENCE: Final = ".reference.db"
_PRIMARY_CODE: Final = 0xFF


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """A file and how many bytes it had, with its log, before and after; whether the log is cut."""

    path: Path
    bytes_before: int
    bytes_after: int
    is_clean: bool


def shared_files(root: Path) -> tuple[Path, ...]:
    """The files under a root of tenants' databases that hold the rows of several tenants."""
    found = sorted(root.glob(_SHARED))
    return tuple(path for path in found if not path.name.endswith(_REFERENCE))


def scrub(path: Path, wait_ms: int) -> Scrubbed:
    """Write the file anew with nothing but its rows, and cut its log to nothing.

    Writers wait meanwhile. While a reader holds the log it is not cut, and the file is not clean:
    then it is for doing again. Raises Unavailable (`database_busy`), Failed (`disk_full`: it takes
    as much room again as the file).
    """
    before = _size(path)
    with _named(), closing(_opened(path, wait_ms)) as connection:
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("VACUUM")
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return Scrubbed(path, before, _size(path), not busy)


def _opened(path: Path, wait_ms: int) -> sqlite3.Connection:
    # It must not make an empty database where there is none.
    uri = f"file:{quote(str(path.absolute()))}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=wait_ms / 1_000, isolation_level=None)


def _size(path: Path) -> int:
    every = (path, path.with_name(f"{path.name}-wal"))
    return sum(one.stat().st_size for one in every if one.exists())


@contextmanager
def _named() -> Generator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE == sqlite3.SQLITE_FULL:
            raise Failed("There is no room to write the file anew.", code="disk_full") from error
        raise Unavailable("The tenant's database is busy.", code="database_busy") from error
