"""What a run tells while it is at work: kept in order, bounded, and never in an apply's way. Not who reads it."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Connection, select

from control_plane.domain.run_record import Run
from control_plane.engine import telling
from control_plane.engine.telling import EVENTS_MAX, Telling
from control_plane.errors import Unavailable, Unknown
from control_plane.ports import Store
from control_plane.provisioning.progress import Progress
from control_plane.store.infrastructure_tables import run_event
from control_plane.store.sqlite import SqliteStore
from tests.support.migrated import migrated_sqlite

NOW: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STARTED: Final = Progress(address="t.x", doing="create", stage="started", elapsed_s=0)
DONE: Final = Progress(address="t.x", doing="create", stage="done", elapsed_s=3)


class Clock:
    """Stands still."""

    def now(self) -> datetime:
        """The instant it shows."""
        return NOW


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(migrated_sqlite(tmp_path / "store.db"), busy_timeout_ms=50)
    yield made
    made.close()


def telling_of(store: Store, run_id: str = "run-1", tenant: str = "acme") -> Telling:
    return Telling(store, Clock(), Run.model_construct(id=run_id, tenant=tenant))


def kept(store: Store, run_id: str = "run-1") -> list[dict[str, Any]]:
    mine = select(run_event).where(run_event.c.run_id == run_id).order_by(run_event.c.position)
    with store.read() as connection:
        return [dict(row) for row in connection.execute(mine).mappings()]


def test_each_event_is_kept_at_once_and_in_its_order(store: SqliteStore) -> None:
    told = telling_of(store)
    told(STARTED)
    assert len(kept(store)) == 1
    told(DONE)
    first, second = kept(store)
    assert first == {
        "run_id": "run-1",
        "position": 1,
        "at": "2026-01-02T03:04:05.000000Z",
        **STARTED.model_dump(),
    }
    assert (second["position"], second["stage"], second["elapsed_s"]) == (2, "done", 3)


def test_each_run_counts_for_itself_and_goes_on_where_a_killed_worker_ended(
    store: SqliteStore,
) -> None:
    for run_id in ("run-1", "run-2", "run-1"):
        telling_of(store, run_id)(STARTED)
    assert [one["position"] for one in kept(store)] == [1, 2]
    assert [one["position"] for one in kept(store, "run-2")] == [1]


def test_a_run_about_no_tenant_tells_too(store: SqliteStore) -> None:
    telling_of(store, tenant="")(STARTED)
    assert len(kept(store)) == 1


def test_a_run_tells_no_more_than_so_much(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert EVENTS_MAX == 5_000
    monkeypatch.setattr(telling, "EVENTS_MAX", 3)
    told = telling_of(store)
    for _time in range(5):
        told(STARTED)
    assert [one["position"] for one in kept(store)] == [1, 2, 3]
    telling_of(store, "run-2")(STARTED)
    assert len(kept(store, "run-2")) == 1


def test_a_store_that_is_held_by_another_breaks_no_apply_off(
    store: SqliteStore, tmp_path: Path
) -> None:
    told = telling_of(store)
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        told(STARTED)
    assert kept(store) == []
    told(DONE)
    assert [one["stage"] for one in kept(store)] == ["done"]


class Failing:
    """A store whose every transaction ends in this error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    @contextmanager
    def write(self, scope: str | None = None) -> Generator[Connection]:
        """No transaction comes to be."""
        raise self._error
        yield


@pytest.mark.parametrize("error", [Unavailable("gone"), Unknown("gone", code="commit_unknown")])
def test_a_store_that_does_not_answer_breaks_no_apply_off(error: Exception) -> None:
    failing: Any = Failing(error)
    telling_of(failing)(STARTED)


def test_a_fault_of_our_own_is_not_hidden() -> None:
    failing: Any = Failing(KeyError("ours"))
    with pytest.raises(KeyError):
        telling_of(failing)(STARTED)
