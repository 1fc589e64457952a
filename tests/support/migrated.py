"""Stores that are migrated once in a test process and copied for each test. Not for tests of the migrations."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from sqlalchemy import URL

from control_plane.store.migrate import upgrade, upgrade_postgres
from tests.support.postgres import Postgres

SCHEMA: Final = "public"


def migrated_sqlite(path: Path) -> Path:
    """Put a new store at that path; its path again."""
    path.write_bytes(_sqlite())
    path.chmod(0o600)
    return path


@contextmanager
def migrated_postgres(server: Postgres) -> Generator[URL]:
    """A new store in a database of its own, as its owner's URL; removed at the end."""
    with server.database(template=_postgres(server)) as url:
        yield url


@cache
def _sqlite() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "store.db"
        upgrade(made)
        assert not made.with_name("store.db-wal").exists()
        return made.read_bytes()


@cache
def _postgres(server: Postgres) -> str:
    # It goes with the server, which is this process's own.
    name = server.new_database()
    upgrade_postgres(server.owner.set(database=name), schema=SCHEMA)
    return name
