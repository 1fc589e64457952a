"""One workspace a store for all of these tests: each uses a tenant of its own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.workspace import StoreKind
from tests.support.postgres import Postgres, running_postgres
from tests.unwind.cases import Case
from tests.unwind.fleet import FILES, Fleet
from tests.unwind.money import Blow
from tests.unwind.site import Site, make_site
from tests.unwind.stock import RUNNING, Place, Stock
from tests.unwind.travellers import Travellers


@pytest.fixture(scope="session")
def sqlite_site(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Iterator[Site]:
    """A workspace that keeps everything in files."""
    with make_site(tmp_path_factory.mktemp("unwind"), cerbos_binary, "sqlite", None) as site:
        yield site


@pytest.fixture(scope="session")
def postgres_site(
    tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path, postgres: Postgres
) -> Iterator[Site]:
    """A workspace whose rows, jobs and tenants lie on a server."""
    with make_site(tmp_path_factory.mktemp("unwind"), cerbos_binary, "postgres", postgres) as site:
        yield site


@pytest.fixture(scope="session")
def sqlite_stock(sqlite_site: Site, request: pytest.FixtureRequest) -> Stock:
    """The tenants that the session's cases over files start from."""
    return Stock(sqlite_site, _wanted(request.session.items, "sqlite"))


@pytest.fixture(scope="session")
def postgres_stock(postgres_site: Site, request: pytest.FixtureRequest) -> Stock:
    """The same on the server."""
    return Stock(postgres_site, _wanted(request.session.items, "postgres"))


@pytest.fixture(scope="session")
def sqlite_travellers(sqlite_site: Site) -> Travellers:
    """The tenants of the session's errands over files."""
    return Travellers(sqlite_site)


@pytest.fixture(scope="session")
def postgres_travellers(postgres_site: Site) -> Travellers:
    """The same on the server."""
    return Travellers(postgres_site)


@pytest.fixture(scope="session")
def sqlite_fleet(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Iterator[Fleet]:
    """A workspace of its own, over files, for changes of all its tenants."""
    folder = tmp_path_factory.mktemp("fleet")
    with make_site(folder, cerbos_binary, "sqlite", None, FILES) as site:
        yield Fleet(site)
        site.assert_log_intact()


@pytest.fixture(scope="session")
def postgres_fleet(
    tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path, postgres: Postgres
) -> Iterator[Fleet]:
    """The same on the server."""
    folder = tmp_path_factory.mktemp("fleet")
    with make_site(folder, cerbos_binary, "postgres", postgres, FILES) as site:
        yield Fleet(site)
        site.assert_log_intact()


@pytest.fixture(scope="session")
def other_postgres() -> Iterator[Postgres]:
    """A server beside the workspaces' own."""
    with running_postgres() as server:
        yield server


def _wanted(items: list[pytest.Item], store: StoreKind) -> Counter[Place]:
    # Only of a parametrised test is it known what it is called with.
    calls = [getattr(item, "callspec", None) for item in items]
    cases = [call.params.get("case") for call in calls if call is not None]
    ours = [case for case in cases if isinstance(case, Case) and case.store == store]
    found: Counter[Place] = Counter((case.kind, case.model) for case in ours)
    blows = [call.params.get("blow") for call in calls if call is not None]
    found[RUNNING] += sum(isinstance(blow, Blow) and blow.store == store for blow in blows)
    # Each of the processes gets about an equal part.
    share = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return Counter({place: -(-count // share) for place, count in found.items()})
