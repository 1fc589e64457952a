"""Makes a workspace: `paybill.toml`, catalog, keys and store, whole or not at all. Not the questions before it.

The state folder appears by one rename, and last. A kill before it leaves no state, and a further
init takes over what stands in the workspace's folder. A kill after it leaves nothing to do.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from filelock import FileLock, Timeout
from sqlalchemy import URL, Connection, insert

from control_plane.audit.guarded import KEY_TABLE
from control_plane.audit.recorder import KEYS_SETTING, LeafRecorder
from control_plane.domain.canonical import Json, instant
from control_plane.errors import Unavailable
from control_plane.ports import Clock, Ids, Recorder, Store
from control_plane.store import tables
from server import catalog, keys, seller
from server.opening import create_store
from server.postgres_init import discard_draft, make_store
from server.private_files import make_private_folder, sync_folder, write_new_file
from server.workspace import (
    FILE_NAME,
    MARKER_NAME,
    StoreKind,
    Workspace,
    WorkspaceError,
    marker_bytes,
    open_at,
    read_marker,
    read_workspace_file,
    state_folder,
    workspace_file_bytes,
)

ApprovalRule = Literal["two_people", "own_hand"]
_LOCK_NAME: Final = ".init.lock"
_LOCK_TIMEOUT_S: Final = 10.0
_FOLDERS: Final = ("data", "backups", "terraform", "bundles")


@dataclass(frozen=True, slots=True)
class Answers:
    """What `init` asks. `name` holds for a new `paybill.toml` only, `sample` for a new catalog."""

    name: str
    approval_rule: ApprovalRule
    passphrase: bytes = field(repr=False)
    postgres: URL | None = field(default=None, repr=False)
    """An owner's login on a Postgres server that shall hold the rows; else they lie in files."""
    sample: catalog.Sample = "contacts"
    """What a new catalog is made of."""


def initialise(root: Path, home: Path, answers: Answers, clock: Clock, ids: Ids) -> Workspace:
    """Make the workspace of a folder.

    A `paybill.toml` or catalog that stands is taken as it is. Raises WorkspaceError
    (`workspace_initialised`, `workspace_state`), BadInput, KeysError, NotPrivate, Unavailable.
    """
    root = root.resolve()
    keys.require_strong(answers.passphrase)
    make_private_folder(home)
    with _alone(home):
        refuse_second(root, home)
        state = state_folder(root, home)
        _clear_drafts(state, answers.postgres)
        _write_workspace_file(root, ids.new(), answers.name)
        file = read_workspace_file(root)
        _write_catalog(root / file.catalog.path, answers.sample)
        seller.write_sample(root / file.catalog.path, file.workspace.name)
        _check_policies(root / file.catalog.path)
        mark = secrets.token_hex(8)
        draft = state.with_name(f"{_draft_prefix(state)}{mark}")
        kind: StoreKind = "sqlite" if answers.postgres is None else "postgres"
        try:
            draft.mkdir(mode=0o700)
            public = _write_folders(draft, answers.passphrase)
            settings: dict[str, Json] = {
                "workspace.id": file.workspace.id,
                "approval.rule": answers.approval_rule,
                KEYS_SETTING: public.model_dump(),
            }
            recorder = LeafRecorder(public.seal_bytes, clock, ids)
            if answers.postgres is None:
                store = create_store(draft / "store.db")
            else:
                store = make_store(draft, answers.postgres, file.workspace.id, mark)
            write_store(store, draft, root / file.catalog.path, settings, clock, recorder)
            write_new_file(draft / MARKER_NAME, marker_bytes(file.workspace.id, root, kind))
            sync_folder(draft)
            draft.rename(state)
            sync_folder(home)
        finally:
            if draft.exists():
                discard_draft(draft, answers.postgres)
    return open_at(root, home)


def refuse_second(root: Path, home: Path) -> None:
    """Raise WorkspaceError when this user has a state for that folder already."""
    state = state_folder(root, home)
    marker = read_marker(state, home)
    if marker is None:
        if state.exists():
            raise WorkspaceError(
                f"{state} stands but is no workspace's state; move it away", code="workspace_state"
            )
        return
    if not (root / FILE_NAME).is_file():
        raise WorkspaceError(
            f"{FILE_NAME} is gone, but its state stands: restore the file, "
            f"or move {state} away and lose keys and data",
            code="workspace_state",
        )
    if read_workspace_file(root).workspace.id != marker.id:
        raise WorkspaceError(
            f"the state of another workspace stands for this folder: move {state} away first",
            code="workspace_state",
        )
    raise WorkspaceError(
        f"the workspace at {root} is initialised already", code="workspace_initialised"
    )


def _check_policies(folder: Path) -> None:
    # A worker refuses to start on a bundle that breaks a rule: better told now than then.
    with tempfile.TemporaryDirectory(prefix="paybill-policies-") as scratch:
        catalog.load(folder).bundle(Path(scratch) / "bundles")


def _write_workspace_file(root: Path, workspace_id: str, name: str) -> None:
    if (root / FILE_NAME).is_file():
        return
    content = workspace_file_bytes(workspace_id, name)
    draft = root / f".{FILE_NAME}.{secrets.token_hex(8)}"
    try:
        write_new_file(draft, content, mode=0o644)
        draft.rename(root / FILE_NAME)
        sync_folder(root)
    finally:
        draft.unlink(missing_ok=True)


def _write_catalog(folder: Path, sample: catalog.Sample) -> None:
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")
    try:
        catalog.write_sample(draft, sample)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_folders(draft: Path, passphrase: bytes) -> keys.PublicKeys:
    for name in _FOLDERS:
        (draft / name).mkdir(mode=0o700)
    return keys.create(draft / "keys", passphrase).public


def write_store(
    store: Store,
    draft: Path,
    declared: Path,
    settings: dict[str, Json],
    clock: Clock,
    recorder: Recorder,
) -> None:
    """Seed a store with settings and catalog, with their leaves, and close it."""
    try:
        with store.write() as connection:
            _write_settings(connection, settings, clock.now(), recorder)
            catalog.apply(connection, draft / "catalogs", declared, clock.now(), recorder)
    finally:
        store.close()


def _write_settings(
    connection: Connection, settings: dict[str, Json], now: datetime, recorder: Recorder
) -> None:
    for name, value in settings.items():
        connection.execute(
            insert(tables.setting).values(name=name, value=value, updated_at=instant(now))
        )
    # The log's first leaf names the public keys: whoever replaces one must replace this leaf too.
    guards = (
        *((tables.setting.name, name) for name in settings),
        *((KEY_TABLE, name) for name in keys.PublicKeys.model_fields),
    )
    recorder.record(connection, "workspace.initialised", "", settings, guards)


@contextmanager
def _alone(home: Path) -> Generator[None]:
    try:
        with FileLock(home / _LOCK_NAME, timeout=_LOCK_TIMEOUT_S, mode=0o600):
            yield
    except Timeout:
        raise Unavailable("another init is running", code="init_running") from None


def _clear_drafts(state: Path, owner: URL | None) -> None:
    # Only what a killed init of this same folder left: we hold the lock, so nobody builds there.
    with os.scandir(state.parent) as entries:
        left = [entry.path for entry in entries if entry.name.startswith(_draft_prefix(state))]
    for path in left:
        discard_draft(Path(path), owner)


def _draft_prefix(state: Path) -> str:
    return f".new-{state.name}-"
