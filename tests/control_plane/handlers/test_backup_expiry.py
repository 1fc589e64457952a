"""Backups whose time is over, and what is left of a tenant then: nothing that opens. Not how they are made."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from control_plane.domain.canonical import instant, plain
from control_plane.errors import Refused, Unavailable
from control_plane.handlers.backup_expiry import expire
from control_plane.handlers.forgetting import forget
from control_plane.handlers.offboard import RETENTION_DAYS
from control_plane.ports import Archives
from control_plane.store import tables
from control_plane.store.database_tables import data_key
from tests.support.approval_world import TENANT
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import Bench
from tests.support.offboarding import (
    approved,
    archives,
    backups,
    found,
    lift,
    offboard,
    tamper,
    unvouched,
)
from tests.support.onboarding import contact

OVER = timedelta(days=RETENTION_DAYS)
CANARY = "canary-9c2d-planted"


def plant(bench: Bench) -> None:
    """A record whose every bound text is the canary's."""
    asked = {"tenant": TENANT, "collection": "contacts", "idempotency_key": fresh_key()}
    values = contact(full_name=CANARY, notes=CANARY)
    assert bench.ask("record_create", "sue", values=values, **asked)["outcome"] == "done"


def kept(bench: Bench) -> Archives:
    made = bench.world.ports.archives
    assert made is not None
    return made


def code_of_opening(bench: Bench, backup_id: str, digest: str) -> str:
    try:
        with kept(bench).open(TENANT, backup_id, digest) as source:
            source.read()
    except Refused as error:
        return error.code
    return ""


def holding(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(path.name for path in files if CANARY.encode() in path.read_bytes())


def leaves(bench: Bench) -> list[str]:
    table = tables.audit_leaf
    with bench.world.store.read() as connection:
        return list(connection.execute(select(table.c.kind).order_by(table.c.written)).scalars())


def tombstones(bench: Bench) -> list[bool]:
    with bench.world.store.read() as connection:
        rows = connection.execute(select(data_key).where(data_key.c.tenant == TENANT)).all()
    return [row.wrapped is None and row.shredded_at is not None for row in rows]


@pytest.fixture
def gone(bench: Bench) -> Bench:
    """A tenant with a planted record that was offboarded."""
    plant(bench)
    offboard(bench)
    return bench


def test_a_manifest_beside_the_archive_says_what_the_row_says(gone: Bench) -> None:
    (row,) = backups(gone)
    (told,) = kept(gone).manifests()
    manifest = told.manifest
    assert manifest is not None
    assert (manifest.tenant, manifest.backup_id) == (TENANT, row.id)
    assert (manifest.archive_digest, manifest.archive_bytes) == (row.digest, row.bytes)
    assert plain(manifest.tables) == row.contents["tables"]
    assert (manifest.kind, manifest.engine) == ("canonical", "sqlite")
    assert manifest.catalog_digest == gone.world.ports.catalog.digest
    assert (manifest.made_at, manifest.restorable_until) == (row.made_at, row.keep_until)
    assert (row.kind, row.key_version, manifest.key_version) == ("canonical", 1, 1)


@pytest.mark.long
def test_as_long_as_it_can_be_restored_nothing_goes(gone: Bench) -> None:
    gone.world.clock.advance(OVER - timedelta(minutes=1))
    forget(gone.world.ports)
    assert archives(gone) == [one.id for one in backups(gone)]
    assert tombstones(gone) == [False]
    gone.do("tenant_restore")
    assert [one["full_name"] for one in found(gone)] == [CANARY]


@pytest.mark.long
def test_after_that_no_archive_of_it_opens_wherever_a_copy_lies(
    gone: Bench, tmp_path: Path
) -> None:
    world = gone.world
    (row,) = backups(gone)
    shutil.copytree(world.workspace.backups, tmp_path / "elsewhere")
    world.clock.advance(OVER)
    assert forget(world.ports) == 1
    assert archives(gone) == []
    assert tombstones(gone) == [True]
    assert backups(gone)[0].removed_at == instant(world.clock.now())
    assert code_of_opening(gone, row.id, row.digest) == "archive_missing"
    # Somebody brings back a copy that was kept elsewhere: it is whole, and opens no more.
    shutil.copytree(tmp_path / "elsewhere", world.workspace.backups, dirs_exist_ok=True)
    assert [one.code for one in kept(gone).manifests()] == [None]
    assert code_of_opening(gone, row.id, row.digest) == "key_shredded"
    assert [one for one in leaves(gone) if one.startswith(("data_key", "backup"))] == [
        "data_key.made",
        "backup.made",
        "backup.verified",
        "backup.removed",
        "data_key.shredded",
    ]
    assert unvouched(gone) == []
    assert forget(world.ports) == 0


def test_after_that_a_planted_word_stands_in_no_archive_copy_or_key(
    gone: Bench, tmp_path: Path
) -> None:
    world = gone.world
    state = world.workspace.state
    wrapped = _wrapped(gone)
    shutil.copytree(world.workspace.backups, tmp_path / "elsewhere")
    world.clock.advance(OVER)
    forget(world.ports)
    assert list(world.workspace.data_keys.iterdir()) == []
    assert holding(tmp_path / "elsewhere") == []
    assert [name for name in holding(state) if not name.startswith("pooled.db")] == []
    for path in (one for one in state.rglob("*") if one.is_file()):
        content = path.read_bytes()
        assert all(one not in content and one.hex().encode() not in content for one in wrapped)


def _wrapped(bench: Bench) -> list[bytes]:
    with bench.world.store.read() as connection:
        return list(connection.execute(select(data_key.c.wrapped)).scalars())


def test_a_legal_hold_keeps_archive_and_key(gone: Bench) -> None:
    world = gone.world
    world.alter(tables.tenant, tables.tenant.c.id == TENANT, legal_hold=True)
    world.clock.advance(10 * OVER)
    assert (expire(world.ports), forget(world.ports)) == (0, 0)
    assert archives(gone) == [one.id for one in backups(gone)]
    assert tombstones(gone) == [False]
    world.alter(tables.tenant, tables.tenant.c.id == TENANT, legal_hold=False)
    assert forget(world.ports) == 1
    assert tombstones(gone) == [True]


def test_a_key_that_must_still_open_something_is_not_shredded(gone: Bench) -> None:
    world = gone.world
    later = instant(world.clock.now() + 2 * OVER)
    world.alter(tables.backup, tables.backup.c.tenant == TENANT, keep_until=later)
    world.clock.advance(OVER)
    forget(world.ports)
    assert archives(gone) != []
    assert tombstones(gone) == [False]
    world.clock.advance(OVER)
    forget(world.ports)
    assert (archives(gone), tombstones(gone)) == ([], [True])


@pytest.mark.long
def test_of_a_tenant_in_service_an_old_backup_goes_and_the_key_stays(gone: Bench) -> None:
    gone.do("tenant_restore")
    gone.world.clock.advance(OVER)
    forget(gone.world.ports)
    assert archives(gone) == []
    assert tombstones(gone) == [False]
    for person in ("alice", "sue", "pam", "bob"):
        gone.world.alter_grant(person, expires_at="2999-01-01T00:00:00.000000Z")
    offboard(gone)
    assert len(archives(gone)) == 1


@pytest.mark.long
def test_no_backup_goes_while_a_run_is_at_work_on_its_tenant(gone: Bench) -> None:
    run_id = gone.propose("tenant_restore")
    gone.work_until_killed(run_id, "restore.database.recorded")
    gone.world.clock.advance(OVER)
    assert expire(gone.world.ports) == 0
    assert len(archives(gone)) == 1


def test_a_removal_that_was_cut_off_is_finished_by_the_next(gone: Bench) -> None:
    (row,) = backups(gone)
    gone.world.clock.advance(OVER)
    kept(gone).drop(TENANT, row.id)
    assert backups(gone)[0].removed_at is None
    assert expire(gone.world.ports) == 1
    assert backups(gone)[0].removed_at is not None
    assert expire(gone.world.ports) == 0


def test_a_backup_that_cannot_be_removed_keeps_nobody_else(
    gone: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_tenant: str, _backup: str) -> None:
        raise Unavailable(code="archive_unavailable")

    gone.world.clock.advance(OVER)
    with monkeypatch.context() as patch:
        patch.setattr(kept(gone), "drop", refuse)
        assert expire(gone.world.ports) == 0
        forget(gone.world.ports)
    # Its key must open it still.
    assert (len(archives(gone)), tombstones(gone)) == (1, [False])
    forget(gone.world.ports)
    assert (archives(gone), tombstones(gone)) == ([], [True])


@pytest.mark.long
def test_a_face_removes_nothing(gone: Bench) -> None:
    gone.world.clock.advance(OVER)
    face = replace(gone.world.ports, archives=None, data_keys=None)
    assert expire(face) == 0
    forget(face)
    assert (len(archives(gone)), tombstones(gone)) == (1, [False])


@pytest.mark.long
def test_a_backup_that_a_later_run_takes_over_says_how_long_it_is_kept_now(bench: Bench) -> None:
    lift(bench)
    run_id = approved(bench)
    bench.work_until_killed(run_id, "offboard.drop_database.done")
    bench.world.clock.advance(timedelta(hours=1))
    assert bench.work(run_id, "offboard.destroy.before").state != "applied"
    (before,) = backups(bench)
    bench.world.clock.advance(timedelta(hours=1))
    run = bench.work(approved(bench))
    assert run.state == "applied", run
    (after,) = backups(bench)
    (told,) = kept(bench).manifests()
    assert after.keep_until > before.keep_until
    assert told.manifest is not None
    assert told.manifest.restorable_until == after.keep_until


def test_where_the_store_is_lost_an_archive_is_found_and_opened_by_what_lies_there(
    gone: Bench,
) -> None:
    with gone.world.store.write() as connection:
        for table in (data_key, tables.backup, tables.tenant):
            connection.execute(delete(table))
    (told,) = kept(gone).manifests()
    manifest: Any = told.manifest
    with kept(gone).open(manifest.tenant, manifest.backup_id, manifest.archive_digest) as source:
        assert CANARY.encode() in source.read()


def test_a_tampered_archive_is_told_from_a_cut_one(gone: Bench) -> None:
    (row,) = backups(gone)
    tamper(gone, row)
    assert code_of_opening(gone, row.id, row.digest) == "archive_altered"
    path = gone.world.workspace.backups / TENANT / f"{row.id}.archive"
    path.write_bytes(path.read_bytes()[:-1])
    assert code_of_opening(gone, row.id, row.digest) == "archive_truncated"
