"""A foreign or hostile paybill.toml gets nothing. Not how a workspace is made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from control_plane.errors import BadInput, PaybillError
from server.private_files import FOLDER_MODE, NotPrivate
from server.workspace import (
    FILE_BYTES_MAX,
    FILE_NAME,
    MARKER_NAME,
    Workspace,
    WorkspaceError,
    find,
    marker_bytes,
    read_workspace_file,
    state_folder,
    workspace_file_bytes,
)

ID = "0" * 32
GOOD = f'[workspace]\nid = "{ID}"\nname = "demo"\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path.resolve() / "root"
    folder.mkdir()
    (folder / FILE_NAME).write_bytes(workspace_file_bytes(ID, "demo"))
    return folder


@pytest.fixture
def home(tmp_path: Path, root: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=FOLDER_MODE)
    state = state_folder(root, folder)
    state.mkdir(mode=FOLDER_MODE)
    (state / MARKER_NAME).write_bytes(marker_bytes(ID, root))
    return folder


def test_the_nearest_workspace_above_is_found(root: Path, home: Path) -> None:
    deep = root / "a" / "b"
    deep.mkdir(parents=True)
    found = find(deep, home)
    assert found == Workspace(root, state_folder(root, home), "demo", ID, root / "catalog")


def test_without_a_workspace_above_the_error_says_what_to_run(tmp_path: Path, home: Path) -> None:
    with pytest.raises(WorkspaceError, match="paybill init") as caught:
        find(tmp_path, home)
    assert caught.value.code == "workspace_absent"


def test_an_explicit_folder_is_not_searched_above(root: Path, home: Path) -> None:
    inner = root / "inner"
    inner.mkdir()
    with pytest.raises(WorkspaceError):
        find(root, home, inner)


def test_a_foreign_repository_gets_no_state(tmp_path: Path, root: Path, home: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / FILE_NAME).write_bytes((root / FILE_NAME).read_bytes())
    with pytest.raises(WorkspaceError, match="not initialised on this machine") as caught:
        find(foreign, home)
    assert caught.value.code == "workspace_not_initialised"


def test_a_replaced_id_gets_no_state(root: Path, home: Path) -> None:
    (root / FILE_NAME).write_bytes(workspace_file_bytes("1" * 32, "demo"))
    with pytest.raises(WorkspaceError, match="not initialised"):
        find(root, home)


def test_a_state_of_another_folder_is_not_used(root: Path, home: Path, tmp_path: Path) -> None:
    state = state_folder(root, home)
    (state / MARKER_NAME).write_bytes(marker_bytes(ID, tmp_path))
    with pytest.raises(WorkspaceError, match="not initialised"):
        find(root, home)


HOSTILE = {
    "executable": (GOOD + 'cerbos_bin = "/tmp/x"\n', "workspace.cerbos_bin"),
    "port": (GOOD + "[server]\nport = 1\n", "server"),
    "socket": ('socket = "/tmp/s"\n' + GOOD, "socket"),
    "terraform": (GOOD + '[terraform]\nbin = "x"\n', "terraform"),
    "catalog extra": (GOOD + '[catalog]\nurl = "http://x"\n', "catalog.url"),
    "parent": (GOOD + '[catalog]\npath = "../other"\n', "catalog.path"),
    "hidden parent": (GOOD + '[catalog]\npath = "a/../../b"\n', "catalog.path"),
    "absolute": (GOOD + '[catalog]\npath = "/etc"\n', "catalog.path"),
    "backslash": (GOOD + '[catalog]\npath = "..\\\\x"\n', "catalog.path"),
    "nul": (GOOD + '[catalog]\npath = "a\\u0000b"\n', "catalog.path"),
    "empty path": (GOOD + '[catalog]\npath = ""\n', "catalog.path"),
    "wrong type": (GOOD + "[catalog]\npath = 7\n", "catalog.path"),
    "id": ('[workspace]\nid = "../../x"\nname = "demo"\n', "workspace.id"),
    "id newline": (f'[workspace]\nid = "{ID}\\n"\nname = "demo"\n', "workspace.id"),
    "name": (f'[workspace]\nid = "{ID}"\nname = "\\u001b[31m"\n', "workspace.name"),
    "nothing": ("", "workspace"),
    "no toml": ("[[[", "TOML"),
    "deep": ("a = " + "[" * 5000 + "]" * 5000, "TOML"),
    "two": (GOOD + GOOD, "TOML"),
}


@pytest.mark.parametrize(("text", "named"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_is_refused_by_the_name_of_the_key(
    root: Path, text: str, named: str
) -> None:
    (root / FILE_NAME).write_text(text)
    with pytest.raises(BadInput) as caught:
        read_workspace_file(root)
    assert named in str(caught.value)
    assert "/tmp/" not in str(caught.value)


def test_a_key_cannot_steer_the_terminal(root: Path) -> None:
    (root / FILE_NAME).write_text(GOOD + '"\\u001b[2J\\u202e" = 1\n')
    with pytest.raises(BadInput) as caught:
        read_workspace_file(root)
    assert str(caught.value).isprintable()
    assert str(caught.value).isascii()


def test_bytes_that_are_no_text_are_refused(root: Path) -> None:
    (root / FILE_NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput):
        read_workspace_file(root)


def test_an_oversized_file_is_refused(root: Path) -> None:
    (root / FILE_NAME).write_text(GOOD + "#" * FILE_BYTES_MAX)
    with pytest.raises(NotPrivate, match=str(FILE_BYTES_MAX)):
        read_workspace_file(root)


def test_a_link_or_pipe_in_the_files_place_is_refused(root: Path) -> None:
    (root / FILE_NAME).unlink()
    (root / FILE_NAME).symlink_to("/etc/passwd")
    with pytest.raises(NotPrivate):
        read_workspace_file(root)
    (root / FILE_NAME).unlink()
    os.mkfifo(root / FILE_NAME)
    with pytest.raises(PaybillError):
        read_workspace_file(root)


def test_a_catalog_must_not_lead_out_by_a_link(root: Path, tmp_path: Path) -> None:
    (root / "catalog").symlink_to(tmp_path)
    with pytest.raises(BadInput, match=r"catalog\.path"):
        read_workspace_file(root)


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
@pytest.mark.parametrize("which", ["home", "state", "marker"])
def test_a_state_that_others_may_write_is_refused(
    root: Path, home: Path, which: str, mode: int
) -> None:
    state = state_folder(root, home)
    {"home": home, "state": state, "marker": state / MARKER_NAME}[which].chmod(mode)
    with pytest.raises(NotPrivate, match="open to other users"):
        find(root, home)


def test_a_state_of_another_user_is_refused(
    root: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.geteuid()
    monkeypatch.setattr("server.private_files.os.geteuid", lambda: real + 1)
    with pytest.raises(NotPrivate, match="another user"):
        find(root, home)


def test_a_link_in_the_states_place_is_refused(root: Path, home: Path) -> None:
    state = state_folder(root, home)
    state.rename(home / "elsewhere")
    state.symlink_to(home / "elsewhere")
    with pytest.raises(NotPrivate):
        find(root, home)
