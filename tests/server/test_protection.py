"""Deletion protection and legal hold: set by a person's own command, each change with its leaf. Not what they stop."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from control_plane.audit.guarded import differences, latest_guards
from control_plane.audit.recorder import LeafRecorder, guarded_rows
from control_plane.domain.tenant import Tenant
from control_plane.errors import BadInput, NotFound
from control_plane.secrets.box import new_keypair
from control_plane.store import rows, tables
from control_plane.store.log import StoredLog
from control_plane.store.schema import METADATA
from control_plane.store.sqlite import SqliteStore
from server.ids import RandomIds
from server.protection import protect

BORN = Tenant(
    id="acme",
    display_name="Acme",
    state="active",
    isolation="pooled",
    plan="free",
    region="local",
)


class Clock:
    def now(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "store.db")
    with made.write() as connection:
        METADATA.create_all(connection)
        rows.put(connection, tables.tenant, BORN)
    yield made
    made.close()


@pytest.fixture
def recorder() -> LeafRecorder:
    return LeafRecorder(new_keypair()[1], Clock(), RandomIds())


def test_what_is_given_is_set_and_nothing_else(store: SqliteStore, recorder: LeafRecorder) -> None:
    with store.write() as connection:
        lifted = protect(connection, recorder, "acme", deletion_protection=False)
    assert lifted == BORN.model_copy(update={"deletion_protection": False, "version": 2})
    with store.write() as connection:
        held = protect(connection, recorder, "acme", deletion_protection=True, legal_hold=True)
    assert held == BORN.model_copy(update={"legal_hold": True, "version": 3})


def test_each_change_has_a_leaf_that_vouches_for_the_row(
    store: SqliteStore, recorder: LeafRecorder
) -> None:
    with store.write() as connection:
        protect(connection, recorder, "acme", legal_hold=True)
    (one,) = StoredLog(store).newest(10)
    assert (one.leaf.kind, one.leaf.tenant) == ("tenant.protection", "acme")
    (guard,) = one.leaf.guards
    assert guard.before is not None
    with store.read() as connection:
        standing = guarded_rows(connection)
    assert list(differences(latest_guards([one.leaf]), [], standing)) == []


def test_what_is_so_already_changes_nothing(store: SqliteStore, recorder: LeafRecorder) -> None:
    with store.write() as connection:
        assert protect(connection, recorder, "acme", deletion_protection=True) == BORN
    assert StoredLog(store).newest(10) == []


def test_a_command_that_names_nothing_or_no_tenant_is_refused(
    store: SqliteStore, recorder: LeafRecorder
) -> None:
    with store.write() as connection:
        with pytest.raises(BadInput):
            protect(connection, recorder, "acme")
        with pytest.raises(NotFound) as absent:
            protect(connection, recorder, "globex", legal_hold=True)
    assert absent.value.code == "tenant_absent"
    assert StoredLog(store).newest(10) == []
