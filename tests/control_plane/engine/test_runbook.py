"""What a run's leaves vouch for: what their transaction changed, and nothing else. Not the run's machine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from sqlalchemy import select, update

from control_plane.audit.guarded import apply_guards, broken_chains, differences, latest_guards
from control_plane.audit.recorder import LeafRecorder, guarded_rows
from control_plane.domain.run_record import Run
from control_plane.domain.tenant import Tenant
from control_plane.engine.runbook import Runbook
from control_plane.handlers.handler import Ports
from control_plane.secrets.box import new_keypair
from control_plane.store import rows, tables
from control_plane.store.log import StoredLog
from control_plane.store.schema import METADATA
from control_plane.store.sqlite import SqliteStore

NOW = datetime(2026, 1, 2, tzinfo=UTC)
AT = "2026-01-02T00:00:00.000000Z"


class Clock:
    def now(self) -> datetime:
        return NOW


class Ids:
    count = 0

    def seed(self) -> str:
        return "00000000-0000-4000-8000-000000000000"

    def new(self) -> str:
        self.count += 1
        return f"{self.count:032x}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """A store with one pending run that has never held its tenant."""
    made = SqliteStore(tmp_path / "store.db")
    run = Run(
        id="r" * 32,
        call_id="c" * 32,
        principal="alice",
        actor="bot",
        grant_id="g" * 32,
        tenant="acme",
        kind="onboard",
        tool="tenant_onboard",
        command={},
        state="pending",
        as_of=AT,
        seed="s",
        dry_run=False,
        created_at=AT,
        updated_at=AT,
    )
    with made.write() as connection:
        METADATA.create_all(connection)
        rows.put(connection, tables.run, run)
        connection.execute(tables.fence.insert().values(tenant="acme", epoch=0, run_id=None))
    yield made
    made.close()


@pytest.fixture
def book(store: SqliteStore) -> Runbook:
    recorder = LeafRecorder(new_keypair()[1], Clock(), Ids())
    ports = cast(Ports, SimpleNamespace(store=store, clock=Clock(), recorder=recorder))
    made = Runbook(ports, "r" * 32)
    made.take()
    return made


def vouched(store: SqliteStore) -> list[set[tuple[str, str]]]:
    """What each leaf vouches for, oldest first."""
    found = StoredLog(store).newest(100)
    return [{(guard.table, guard.key) for guard in one.leaf.guards} for one in reversed(found)]


def found(store: SqliteStore) -> list[tuple[str, str]]:
    leaves = [one.leaf for one in reversed(StoredLog(store).newest(100))]
    with store.read() as connection:
        now = guarded_rows(connection)
    return [row for row, _ in differences(latest_guards(leaves), [], now)]


def broken(store: SqliteStore) -> list[tuple[str, str]]:
    """The rows that some leaf found otherwise than the leaf before it left them."""
    state: dict[tuple[str, str], str | None] = {}
    rows_found: list[tuple[str, str]] = []
    for one in reversed(StoredLog(store).newest(100)):
        rows_found += broken_chains(state, one.leaf)
        apply_guards(state, one.leaf)
    return rows_found


def register(book: Runbook) -> None:
    tenant = Tenant.model_validate(
        {
            "id": "acme",
            "display_name": "Acme",
            "state": "provisioning",
            "isolation": "pooled",
            "plan": "free",
            "region": "local",
        }
    )
    with book.writing() as connection:
        rows.put(connection, tables.tenant, tenant)
        book.leaf(connection, "step.succeeded", book.read())


def test_a_leaf_vouches_for_what_its_transaction_changed(store: SqliteStore, book: Runbook) -> None:
    book.advance("plan")
    register(book)
    assert vouched(store) == [set(), {("tenant", "acme")}]
    assert found(store) == []


def test_only_the_first_leaf_after_a_change_vouches_for_it(
    store: SqliteStore, book: Runbook
) -> None:
    register(book)
    with book.writing() as connection:
        connection.execute(update(tables.tenant).values(state="active"))
        book.leaf(connection, "step.succeeded", book.read())
        book.move(connection, "plan")
    assert vouched(store)[1:] == [{("tenant", "acme")}, set()]
    assert found(store) == []


def test_later_work_on_a_tenant_does_not_make_an_alteration_from_outside_true(
    store: SqliteStore, book: Runbook
) -> None:
    register(book)
    with store.write() as connection:
        connection.execute(update(tables.tenant).values(plan="business"))
    book.advance("plan")
    assert vouched(store)[-1] == set()
    assert found(store) == [("tenant", "acme")]


def test_a_change_on_top_of_an_alteration_tells_that_it_found_another_row(
    store: SqliteStore, book: Runbook
) -> None:
    register(book)
    with book.writing() as connection:
        connection.execute(update(tables.tenant).values(state="active"))
        book.leaf(connection, "step.succeeded", book.read())
    assert broken(store) == []
    with store.write() as connection:
        connection.execute(update(tables.tenant).values(plan="business"))
    with book.writing() as connection:
        connection.execute(update(tables.tenant).values(state="suspended"))
        book.leaf(connection, "step.succeeded", book.read())
    assert broken(store) == [("tenant", "acme")]


def test_a_change_without_a_leaf_is_found(store: SqliteStore, book: Runbook) -> None:
    register(book)
    with book.writing() as connection:
        connection.execute(update(tables.tenant).values(cordoned=True))
    book.advance("plan")
    assert found(store) == [("tenant", "acme")]


def test_a_change_that_is_rolled_back_leaves_no_leaf(store: SqliteStore, book: Runbook) -> None:
    def interrupted() -> None:
        with book.writing() as connection:
            book.move(connection, "plan")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        interrupted()
    assert vouched(store) == []
    with store.read() as connection:
        assert connection.execute(select(tables.run.c.state)).scalar_one() == "pending"
