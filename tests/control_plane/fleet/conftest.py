"""Both engines with a tenant in each isolation model, for migrations to be applied to."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from control_plane.data.collection import SAMPLES, Collection, load_collection
from control_plane.databases.port import DatabaseEngine
from control_plane.databases.sqlite import SqliteDatabases
from control_plane.domain.isolation import ISOLATIONS, Isolation
from tests.support.postgres import Postgres
from tests.support.tenants import tenant_server, workspace

Opened = Callable[[], DatabaseEngine]


@pytest.fixture(scope="session")
def people() -> Collection:
    return load_collection(SAMPLES / "contacts.yaml")


@contextmanager
def _sqlite(folder: Path) -> Generator[DatabaseEngine]:
    databases = SqliteDatabases(folder, 2_000)
    try:
        yield databases
    finally:
        databases.close()


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseEngine]:
    """An engine as a worker has it."""
    if request.param == "sqlite":
        with _sqlite(tmp_path / "data") as databases:
            yield databases
        return
    server: Postgres = request.getfixturevalue("postgres")
    with tenant_server(server) as logins, workspace(logins) as fresh, fresh.engine() as databases:
        yield databases


@pytest.fixture(params=ISOLATIONS)
def model(request: pytest.FixtureRequest) -> Isolation:
    chosen: Isolation = request.param
    return chosen
