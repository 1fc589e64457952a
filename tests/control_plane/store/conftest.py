"""A store of this test's own, migrated. Not a workspace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.store.sqlite import SqliteStore
from tests.support.migrated import migrated_sqlite


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(migrated_sqlite(tmp_path / "store.db"), busy_timeout_ms=300)
    yield store
    store.close()
