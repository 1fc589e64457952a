"""An operation's folders: private, short where a path must be, and gone with the operation. Nothing runs in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.provisioning import workspace

SOCKET_BYTES_MAX = 104 - len("/plugin1234567890")


def left_lying(_home: Path) -> None:
    """What a worker that is killed does not come to."""


def test_sockets_have_a_short_path_however_deep_the_state_lies(tmp_path: Path) -> None:
    deep = tmp_path / ("state" * 20) / ("folder" * 20)
    with workspace.operation(deep, "t" * 40) as folder:
        assert len(str(folder.home)) > SOCKET_BYTES_MAX
        assert len(str(folder.sockets)) <= SOCKET_BYTES_MAX
        assert folder.sockets.stat().st_mode & 0o777 == 0o700


def test_both_folders_are_gone_with_the_operation(tmp_path: Path) -> None:
    with workspace.operation(tmp_path, "acme") as folder:
        (folder.sockets / "plugin1").touch()
    assert not folder.sockets.exists()
    assert not folder.home.exists()


def test_what_a_killed_worker_left_is_swept_with_its_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(workspace, "_remove", left_lying)
        with workspace.operation(tmp_path, "acme") as folder:
            pass
    assert folder.sockets.exists()
    assert workspace.sweep_all(tmp_path) == 1
    assert not folder.sockets.exists()


def test_a_folder_whose_maker_did_not_come_to_its_lock_is_swept(tmp_path: Path) -> None:
    with workspace.operation(tmp_path, "acme") as folder:
        (folder.home.parent / "tmphalf").mkdir()
        assert workspace.sweep(folder.home.parent) == 1
        assert folder.home.exists()
