"""A tenant's own SQLite file as it stands, by the engine's online backup: written, and read back. Not a pooled file.

The copy is of one state, whoever writes meanwhile: it is made through the connection whose snapshot
is summed up. The reference rows are the catalog's and lie in another file: they are not in it.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import DatabaseError

from control_plane.errors import Refused

_PAGES_PER_STEP: Final = 4_096
_BLOCK_BYTES: Final = 2**20


def write_copy(source: Connection, target: IO[bytes], aside: Path) -> None:
    """Copy what `source`, a connection to a tenant's own file, sees; `aside` is an empty file.

    Raises Refused (`archive_kind`) where it is no connection to SQLite.
    """
    driver = source.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        raise Refused("Only a database on SQLite is copied as a file.", code="archive_kind")
    copy = sqlite3.connect(aside, isolation_level=None)
    try:
        # It is nobody's yet: nothing need outlive a power cut, and no other file stands beside it.
        copy.execute("PRAGMA journal_mode=OFF")
        copy.execute("PRAGMA synchronous=OFF")
        driver.backup(copy, pages=_PAGES_PER_STEP, name="main")
    finally:
        copy.close()
    with aside.open("rb") as file:
        shutil.copyfileobj(file, target, _BLOCK_BYTES)


@contextmanager
def opened_copy(source: IO[bytes], aside: Path) -> Generator[Connection]:
    """A connection that reads the copy in `source`; `aside` is an empty file, and holds it meanwhile.

    Raises Refused (`archive_unreadable`) where it is none.
    """
    with aside.open("wb") as file:
        shutil.copyfileobj(source, file, _BLOCK_BYTES)
    # Nobody writes it: SQLite need neither lock it nor look for a log beside it.
    uri = f"file:{quote(str(aside.absolute()))}?mode=ro&immutable=1"
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(uri, uri=True, isolation_level=None),
        poolclass=NullPool,
        hide_parameters=True,
    )
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA trusted_schema=OFF")
            yield connection
    except DatabaseError:
        raise Refused("The archive cannot be read.", code="archive_unreadable") from None
    finally:
        engine.dispose()
