"""A rotation while a tenant's services query its database all the time: none of their calls fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from control_plane.domain.isolation import Isolation
from policies.gate import Gate
from tests.support.approval_template import make_template
from tests.support.approval_world import TENANT, Template
from tests.support.handed_services import Services
from tests.support.handing import ADD, Served, served
from tests.support.postgres import Postgres
from tests.support.tenants import tenant_server, workspace

CALLS_PER_S = 50.0
SESSIONS = 5


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return make_template(tmp_path_factory.mktemp("handing"), "two_people")


@pytest.fixture(params=["pooled", pytest.param("bridge", marks=pytest.mark.sweep)])
def life(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    gate: Gate,
    template: Template,
    postgres: Postgres,
) -> Iterator[Served]:
    model: Isolation = request.param
    with ExitStack() as stack:
        logins = stack.enter_context(tenant_server(postgres))
        server = stack.enter_context(workspace(logins))
        yield from served(template, tmp_path, gate, server, model)


@pytest.mark.parametrize("rotations", [2, pytest.param(20, marks=pytest.mark.sweep)])
def test_no_call_of_a_service_fails_while_its_credential_is_rotated(
    life: Served, rotations: int
) -> None:
    waiting = life.with_overlap(60.0)
    services = Services(life, SESSIONS, CALLS_PER_S)
    began_s = time.monotonic()
    with services.at_work():
        for _ in range(rotations):
            waiting.bench.do("database_rotate_credentials")
    assert services.failures == []
    assert services.calls > rotations * SESSIONS
    # They followed: nothing waited for the overlap to pass.
    assert time.monotonic() - began_s < 30.0 * rotations
    assert life.handed.version == 1 + rotations
    assert life.halves == {life.handed.half: "full"}
    assert life.secrets == [life.handed.secret]


def test_a_suspension_is_felt_by_services_at_once(life: Served) -> None:
    bench, engine = life.bench, life.bench.world.ports.databases.main
    home = bench.tenant.home
    with life.service() as raw:
        began_s = time.monotonic()
        engine.limit_direct(TENANT, home.isolation, "read_only", 2.0)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            raw.execute(ADD, [TENANT, "late", "late"])
        # Generous: it is some milliseconds, and this machine may be busy.
        assert time.monotonic() - began_s < 5.0
