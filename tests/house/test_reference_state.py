"""The reference on failpoints and state: every boundary, file and table is in it as it is. Not its prose."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from control_plane.data.tables import PROTOCOL
from control_plane.databases.migrated import MIGRATED
from control_plane.handlers.registry import failpoint_names
from control_plane.store.schema import METADATA
from server.workspace import Workspace
from tests.support.house import House, build_house
from tests.support.pages import Section, code, sections

_STATE_MODE = "0700"

Pages = Mapping[str, Mapping[str, Section]]


@pytest.fixture(scope="session")
def pages(root: Path) -> Pages:
    folder = root / "docs" / "reference"
    return {name: sections((folder / f"{name}.md").read_text()) for name in ("failpoints", "state")}


def test_every_failpoint_is_told(pages: Pages) -> None:
    (table,) = pages["failpoints"]["Boundaries"].tables
    assert [code(one) for one in table.column("boundary")] == list(failpoint_names())
    assert "" not in table.column("where")


def test_every_table_of_store_and_tenant_is_told_in_its_own_words(pages: Pages) -> None:
    (store,) = pages["state"]["The store"].tables
    known = [(f"`{name}`", one.comment) for name, one in sorted(METADATA.tables.items())]
    assert store.cells("table", "what") == known
    (tenant,) = pages["state"]["A tenant's database"].tables
    told = {code(one) for one in tenant.column("table")}
    assert told == {*PROTOCOL.tables, MIGRATED.name}


def test_the_state_of_a_new_workspace_is_as_it_is_told(
    pages: Pages, tmp_path: Path, cerbos_binary: Path
) -> None:
    (table,) = pages["state"]["The state folder"].tables
    state = build_house(tmp_path / "house", cerbos_binary).workspace.state
    told = {code(path).rstrip("/"): mode for path, mode in table.cells("path", "mode")}
    makers = {code(path).rstrip("/"): by for path, by in table.cells("path", "made by")}
    made = {path for path, by in makers.items() if "init" in by.split(", ")}
    standing = {
        path.relative_to(state).as_posix()
        for pattern in ("*", "keys/*")
        for path in state.glob(pattern)
        if not path.name.endswith(("-wal", "-shm"))
    }
    assert standing == made
    assert _mode(state) == _STATE_MODE
    assert {path: _mode(state / path) for path in made} == {path: told[path] for path in made}


def test_the_state_of_a_workspace_at_work_is_as_it_is_told(pages: Pages, shared: House) -> None:
    (table,) = pages["state"]["The state folder"].tables
    state = shared.workspace.state
    told = {
        code(path).rstrip("/"): mode
        for path, mode, by in table.cells("path", "mode", "made by")
        if by in ("init", "worker", "onboarding")
    }
    assert [path for path in told if not (state / path).exists()] == []
    fixed = {path: mode for path, mode in told.items() if mode != "under the umask"}
    assert {path: _mode(state / path) for path in fixed} == fixed
    every = {code(path).rstrip("/") for path in table.column("path")}
    standing = {one.name for one in state.iterdir() if not one.name.endswith(("-wal", "-shm"))}
    assert standing <= every


def test_every_place_of_a_workspaces_state_is_told(
    pages: Pages, tmp_path: Path, cerbos_binary: Path
) -> None:
    workspace = build_house(tmp_path / "house", cerbos_binary).workspace
    properties = [name for name, one in vars(Workspace).items() if isinstance(one, property)]
    places = [getattr(workspace, name) for name in properties]
    known = {one.relative_to(workspace.state).as_posix() for one in places if isinstance(one, Path)}
    (table,) = pages["state"]["The state folder"].tables
    assert len(known) > 1
    assert known <= {code(path).rstrip("/") for path in table.column("path")}


def _mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"
