"""Leaves that several transactions write at once on Postgres: their keys, their order. Not a leaf's words."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select, update

from control_plane.audit.note import verifier_key_of
from control_plane.audit.recorder import GUARDED, LeafRecorder, guard, guarded_rows
from control_plane.audit.sequencer import Sequencer
from control_plane.audit.verify import verify
from control_plane.domain.tenant import Tenant
from control_plane.errors import PaybillError
from control_plane.secrets.box import new_keypair
from control_plane.store import rows, tables
from control_plane.store.log import StoredLog
from control_plane.store.postgres import PostgresStore
from server.clock import SystemClock
from server.ids import RandomIds
from tests.support.migrated import migrated_postgres
from tests.support.postgres import Postgres

_, PUBLIC = new_keypair()
SEED = bytes(range(32))
ORIGIN = "paybill.example/audit"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
DEADLINE_S = 60
TENANTS = ("acme", "globex", "initech")


@pytest.fixture
def store(postgres: Postgres) -> Iterator[PostgresStore]:
    with (
        migrated_postgres(postgres) as url,
        closing(PostgresStore(url, schema="public", lock_ms_max=20_000)) as made,
    ):
        with made.write() as connection:
            for name in TENANTS:
                connection.execute(tables.fence.insert().values(tenant=name, epoch=0))
        yield made


@pytest.fixture
def recorder() -> LeafRecorder:
    return LeafRecorder(PUBLIC, SystemClock(), RandomIds())


def together(works: list[threading.Thread]) -> None:
    for work in works:
        work.start()
    for work in works:
        work.join(DEADLINE_S)
        assert not work.is_alive()


def test_readers_that_need_a_tenants_first_key_at_once_take_the_same(
    store: PostgresStore, recorder: LeafRecorder
) -> None:
    begun, failed = threading.Barrier(4, timeout=DEADLINE_S), list[BaseException]()

    def read() -> None:
        try:
            with store.append() as connection:
                connection.execute(select(func.now()))
                begun.wait()
                recorder.record(connection, "read", "acme", {})
        except (PaybillError, threading.BrokenBarrierError) as error:
            failed.append(error)

    together([threading.Thread(target=read) for _ in range(4)])
    assert failed == []
    with store.read() as connection:
        count = select(func.count())
        assert connection.execute(count.select_from(tables.tenant_key)).scalar_one() == 1
        assert connection.execute(count.select_from(tables.audit_leaf)).scalar_one() == 4


def test_leaves_that_vouch_for_one_row_are_sequenced_as_they_were_committed(
    store: PostgresStore, recorder: LeafRecorder
) -> None:
    """Three tenants changed from two threads each, while a sequencer takes what it finds."""
    table, done = tables.tenant, threading.Event()
    failed: list[BaseException] = []

    def change(name: str) -> None:
        for _ in range(8):
            with store.write(name) as connection:
                found = guard(connection, "tenant", name)
                stands = connection.execute(select(table.c.id).where(table.c.id == name)).first()
                if stands is None:
                    rows.put(connection, table, tenant(name))
                connection.execute(
                    update(table).where(table.c.id == name).values(version=table.c.version + 1)
                )
                guards = (("tenant", name),)
                recorder.record(connection, "tenant.changed", name, {}, guards, (found,))

    def watched(work: object, *given: str) -> None:
        try:
            work(*given)  # type: ignore[operator]
        except Exception as error:  # noqa: BLE001 - shown by the test's own thread
            failed.append(error)

    def sequence() -> None:
        sequencer = Sequencer(StoredLog(store), SEED, ORIGIN, lambda: NOW)
        while not done.is_set():
            sequencer.step()
        while sequencer.step():
            pass

    sequencing = threading.Thread(target=watched, args=(sequence,))
    sequencing.start()
    together(
        [
            threading.Thread(target=watched, args=(change, name))
            for name in TENANTS
            for _ in range(2)
        ]
    )
    done.set()
    sequencing.join(DEADLINE_S)
    assert failed == []
    with store.read() as connection:
        standing = guarded_rows(connection)
    assert {key for name, key in standing if name == "tenant"} == set(TENANTS)
    assert set(GUARDED) >= {name for name, _ in standing}
    key = verifier_key_of(ORIGIN, SEED).text()
    report = verify(StoredLog(store), key, rows=standing)
    assert report.intact, report
    assert report.size == len(TENANTS) * 16


def tenant(name: str) -> Tenant:
    return Tenant(
        id=name,
        display_name="A tenant",
        state="active",
        isolation="pooled",
        plan="free",
        region="local",
    )
