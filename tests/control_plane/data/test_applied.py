"""The write protocol on real databases: at most once, only under the fence, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, Table

from control_plane.data.applied import apply_once, was_applied
from control_plane.data.collection import Collection
from control_plane.data.rows import get_row, insert_row
from control_plane.databases.port import DatabaseEngine
from control_plane.databases.sqlite import SqliteDatabases
from control_plane.domain.isolation import ISOLATIONS, Isolation
from control_plane.errors import Refused
from tests.support.postgres import Postgres
from tests.support.tenants import TenantServer, tenant_server, workspace

pytestmark = pytest.mark.slice_of(3)

NOW = datetime(2024, 1, 1, tzinfo=UTC)
ROW = "00000000-0000-4000-8000-000000000001"


@pytest.fixture(params=ISOLATIONS)
def model(request: pytest.FixtureRequest) -> Isolation:
    chosen: Isolation = request.param
    return chosen


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Iterator[TenantServer]:
    with tenant_server(postgres) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
def databases(
    request: pytest.FixtureRequest, tmp_path: Path, things: Collection, model: Isolation
) -> Iterator[DatabaseEngine]:
    with ExitStack() as stack:
        engine: DatabaseEngine = SqliteDatabases(tmp_path / "data", busy_timeout_ms=2_000)
        if request.param == "postgres":
            fresh = stack.enter_context(workspace(request.getfixturevalue("server")))
            engine = stack.enter_context(fresh.engine())
        engine.create("acme", model, [things], 5)
        yield engine


class Effect:
    """Adds one row, and counts how often it was asked to."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.runs = 0

    def __call__(self, connection: Connection) -> dict[str, int]:
        self.runs += 1
        insert_row(connection, self.table, "acme", ROW, {"code": "a"}, now=NOW)
        return {"rows": 1}


def apply(
    databases: DatabaseEngine, model: Isolation, effect: Effect, epoch: int = 5, digest: str = "d"
) -> bool:
    with databases.transaction("acme", model) as connection:
        return apply_once(connection, "acme", epoch, "call", digest, effect, now=NOW)


def standing(databases: DatabaseEngine, model: Isolation, table: Table) -> tuple[str | None, bool]:
    with databases.reading("acme", model) as connection:
        row = get_row(connection, table, "acme", ROW)
        return was_applied(connection, "acme", "call"), row is not None


@pytest.mark.long_but_one
def test_a_call_is_applied_once(databases: DatabaseEngine, model: Isolation, table: Table) -> None:
    effect = Effect(table)
    assert standing(databases, model, table) == (None, False)
    assert apply(databases, model, effect)
    assert not apply(databases, model, effect)
    assert effect.runs == 1
    assert standing(databases, model, table) == ("d", True)


def test_the_same_call_with_another_digest_is_refused(
    databases: DatabaseEngine, model: Isolation, table: Table
) -> None:
    effect = Effect(table)
    apply(databases, model, effect)
    with pytest.raises(Refused) as caught:
        apply(databases, model, effect, digest="e")
    assert caught.value.code == "applied_differs"
    assert effect.runs == 1
    assert standing(databases, model, table) == ("d", True)


@pytest.mark.parametrize("epoch", [4, 6])
def test_another_epoch_than_the_fences_is_refused(
    databases: DatabaseEngine, model: Isolation, table: Table, epoch: int
) -> None:
    effect = Effect(table)
    with pytest.raises(Refused) as caught:
        apply(databases, model, effect, epoch=epoch)
    assert caught.value.code == "fenced"
    assert effect.runs == 0
    assert standing(databases, model, table) == (None, False)


def test_a_closed_tenant_takes_no_write_until_it_is_opened(
    databases: DatabaseEngine, model: Isolation, table: Table
) -> None:
    effect = Effect(table)
    databases.fence("acme", model, 6, open=False)
    for epoch in (5, 6):
        with pytest.raises(Refused) as caught:
            apply(databases, model, effect, epoch=epoch)
        assert caught.value.code == "fenced"
    databases.fence("acme", model, 7, open=True)
    assert apply(databases, model, effect, epoch=7)


def test_another_tenants_fence_does_not_let_in(
    databases: DatabaseEngine, model: Isolation, table: Table
) -> None:
    with databases.transaction("acme", model) as connection, pytest.raises(Refused):
        apply_once(connection, "other", 5, "call", "d", Effect(table), now=NOW)


def test_a_failed_effect_leaves_no_proof_even_if_the_error_is_caught(
    databases: DatabaseEngine, model: Isolation, table: Table
) -> None:
    def fails(connection: Connection) -> None:
        Effect(table)(connection)
        raise ZeroDivisionError

    with databases.transaction("acme", model) as connection, pytest.raises(ZeroDivisionError):
        apply_once(connection, "acme", 5, "call", "d", fails, now=NOW)
    assert standing(databases, model, table) == (None, False)
    assert apply(databases, model, Effect(table))
