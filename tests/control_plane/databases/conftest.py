"""Tenants' databases on a real Postgres server, and the collection that they hold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Table

from control_plane.data.collection import SAMPLES, Collection, load_collection
from control_plane.data.tables import collection_table
from control_plane.databases.postgres import PostgresDatabases
from control_plane.domain.isolation import ISOLATIONS, Isolation
from tests.support.postgres import Postgres
from tests.support.tenants import TenantServer, tenant_server, workspace


@pytest.fixture(scope="session")
def tenant_logins(postgres: Postgres) -> Iterator[TenantServer]:
    """The logins of an owner and a face."""
    with tenant_server(postgres) as made:
        yield made


@pytest.fixture
def server(tenant_logins: TenantServer) -> Iterator[TenantServer]:
    """A prefix under which nothing stands yet."""
    with workspace(tenant_logins) as fresh:
        yield fresh


@pytest.fixture
def on_postgres(server: TenantServer) -> Iterator[PostgresDatabases]:
    """The engine as a worker has it."""
    with server.engine() as databases:
        yield databases


@pytest.fixture(params=ISOLATIONS)
def any_model(request: pytest.FixtureRequest) -> Isolation:
    chosen: Isolation = request.param
    return chosen


@pytest.fixture(scope="session")
def people() -> Collection:
    return load_collection(SAMPLES / "contacts.yaml")


@pytest.fixture(scope="session")
def people_table(people: Collection) -> Table:
    return collection_table(people)
