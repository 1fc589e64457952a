"""Every engine of tenants' databases, under every isolation model. Not a contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.databases.port import DatabaseEngine
from control_plane.databases.sqlite import SqliteDatabases
from control_plane.domain.isolation import ISOLATIONS, Isolation
from tests.support.postgres import Postgres
from tests.support.tenants import TenantServer, tenant_server, workspace


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Iterator[TenantServer]:
    """A server for tenants' databases."""
    with tenant_server(postgres) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseEngine]:
    """One engine after the other, with nothing in it."""
    if request.param == "sqlite":
        yield SqliteDatabases(tmp_path / "data", busy_timeout_ms=2_000)
        return
    with workspace(request.getfixturevalue("server")) as fresh, fresh.engine() as engine:
        yield engine


@pytest.fixture(params=ISOLATIONS)
def model(request: pytest.FixtureRequest) -> Isolation:
    """One isolation model after the other."""
    chosen: Isolation = request.param
    return chosen
