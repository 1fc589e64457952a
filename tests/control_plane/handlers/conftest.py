"""A bench for lifecycles: real policy engine, real store, real databases, stacks in memory. Not a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from policies.gate import Gate
from server.catalog import policy_sources
from tests.approvals.conftest import engine
from tests.support.approval_template import make_template
from tests.support.lifecycle_bench import Bench, Onboarded, make_bench, onboarded
from tests.support.offboarding import Resting, rested
from tests.support.postgres import Postgres, running_postgres


@pytest.fixture(scope="session")
def gate(cerbos_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """The gate of the bundle in force."""
    folder = tmp_path_factory.mktemp("bundles")
    with engine(cerbos_binary, list(policy_sources(None)), folder) as made:
        yield made


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory, gate: Gate) -> Onboarded:
    """A workspace whose approvals need another person, with one active tenant."""
    template = make_template(tmp_path_factory.mktemp("two-people"), "two_people")
    return onboarded(template, tmp_path_factory.mktemp("onboarded"), gate)


@pytest.fixture(scope="session")
def resting(tmp_path_factory: pytest.TempPathFactory, gate: Gate, standing: Onboarded) -> Resting:
    """The same workspace after its tenant, which had two records, was offboarded."""
    return rested(standing, tmp_path_factory.mktemp("rested"), gate)


@pytest.fixture
def away(tmp_path: Path, gate: Gate, resting: Resting) -> Iterator[Bench]:
    """A world of this test's own, with one tenant that was offboarded."""
    made = make_bench(resting.onboarded, tmp_path / "world", gate)
    yield made
    made.world.close()


@pytest.fixture
def bench(tmp_path: Path, gate: Gate, standing: Onboarded) -> Iterator[Bench]:
    """A world of this test's own, with one active tenant."""
    made = make_bench(standing, tmp_path / "world", gate)
    yield made
    made.world.close()


@pytest.fixture(scope="module")
def bare_postgres() -> Iterator[Postgres]:
    """A server beside the shared one, where no other test has left a role: those are a whole server's."""
    with running_postgres() as server:
        yield server
