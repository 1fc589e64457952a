"""`paybill init` and the commands after it, from outside. Not the rules of each part."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from control_plane.audit.recorder import guarded_rows
from control_plane.ports import Store
from server import initialise, keys
from server.cli.app import app
from server.clock import SystemClock
from server.grants import newest
from server.ids import RandomIds
from server.initialise import Answers
from server.opening import open_store
from server.private_files import NotPrivate
from server.tokens import Identify
from server.workspace import Workspace, WorkspaceError, find, state_folder

PASSPHRASE = b"correct horse battery"
ANSWERS = Answers("demo", "own_hand", PASSPHRASE)
CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path.resolve() / "my shop"
    folder.mkdir()
    monkeypatch.setenv("PAYBILL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PAYBILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def passphrase_fd(passphrase: bytes = PASSPHRASE) -> str:
    reading, writing = os.pipe()
    os.write(writing, passphrase + b"\n")
    os.close(writing)
    return str(reading)


def run(*arguments: str) -> tuple[int, str, str]:
    if "--passphrase-fd" in arguments:
        descriptor = int(arguments[arguments.index("--passphrase-fd") + 1])
        try:
            done = CliRunner().invoke(app, list(arguments))
        finally:
            os.close(descriptor)
    else:
        done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


def made(root: Path, home: Path) -> Workspace:
    return initialise.initialise(root, home, ANSWERS, SystemClock(), RandomIds())


def opened(workspace: Workspace) -> Store:
    return open_store(workspace)


def test_init_makes_a_workspace_that_opens(root: Path, home: Path) -> None:
    code, out, _ = run("init", "--yes", "--passphrase-fd", passphrase_fd())
    assert code == 0
    workspace = find(root, home)
    assert workspace.id in out
    assert workspace.name == "my shop"
    assert keys.load_root(workspace.keys, PASSPHRASE)
    for path in (workspace.state, *workspace.state.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path
    store = opened(workspace)
    with store.read() as connection:
        rows = guarded_rows(connection)
    store.close()
    assert {name for table, name in rows if table == "setting"} == {
        "approval.rule",
        "catalog.before",
        "catalog.digest",
        "keys.public",
        "workspace.id",
    }


def test_a_second_init_is_a_clear_error_and_changes_nothing(root: Path, home: Path) -> None:
    workspace = made(root, home)
    before = (workspace.keys / keys.PUBLIC_NAME).read_bytes()
    code, _, error = run("init", "--yes", "--passphrase-fd", passphrase_fd())
    assert (code, error.count("\n")) == (1, 1)
    assert "initialised already" in error
    assert (workspace.keys / keys.PUBLIC_NAME).read_bytes() == before


@pytest.mark.slice_of(3)
@pytest.mark.parametrize(
    "place",
    ["_write_workspace_file", "_write_catalog", "_write_folders", "create_store", "marker_bytes"],
)
def test_an_init_that_is_cut_off_is_completed_by_the_next(
    root: Path, home: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    class CutError(Exception):
        pass

    def cut(*_: object, **__: object) -> None:
        raise CutError

    def leave(*_: object, **__: object) -> None:
        pass

    with monkeypatch.context() as patched:
        patched.setattr(initialise, place, cut)
        # A killed process clears nothing behind itself.
        patched.setattr(shutil, "rmtree", leave)
        with pytest.raises(CutError):
            made(root, home)
    with pytest.raises(WorkspaceError):
        find(root, home)
    workspace = made(root, home)
    assert find(root, home) == workspace
    left = {path.name for path in home.iterdir()} - {".init.lock"}
    assert left == {workspace.state.name}


def test_a_catalog_and_a_workspace_file_that_stand_are_kept(root: Path, home: Path) -> None:
    first = made(root, home)
    (root / "catalog" / "collections" / "contacts.yaml").unlink()
    seller = root / "catalog" / "seller.yaml"
    assert "name:" in seller.read_text()
    seller.write_text("seller: {name: Mine, address: []}\n")
    second = initialise.initialise(root, home / "other", ANSWERS, SystemClock(), RandomIds())
    assert second.id == first.id
    assert not (root / "catalog" / "collections" / "contacts.yaml").exists()
    assert seller.read_text() == "seller: {name: Mine, address: []}\n"


def test_a_state_whose_workspace_file_is_gone_is_not_written_over(root: Path, home: Path) -> None:
    made(root, home)
    (root / "paybill.toml").unlink()
    with pytest.raises(WorkspaceError, match="restore the file"):
        made(root, home)
    assert state_folder(root, home).is_dir()


def test_a_home_that_others_may_write_is_refused(root: Path, home: Path) -> None:
    home.mkdir()
    home.chmod(0o777)
    with pytest.raises(NotPrivate):
        made(root, home)
    assert not (root / "paybill.toml").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("init", "--yes"), "--passphrase-fd"),
        (("init",), "--approval-rule"),
        (("init", "--yes", "--passphrase-fd", "1"), "--passphrase-fd"),
        (("init", "nowhere"), "folder"),
        (("token", "list"), "paybill init"),
    ],
)
def test_what_is_missing_is_named_in_one_line(
    root: Path, arguments: tuple[str, ...], named: str
) -> None:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 1
    assert named in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (root / "paybill.toml").exists()


def test_a_weak_passphrase_makes_nothing(root: Path) -> None:
    code, _, error = run("init", "--yes", "--passphrase-fd", passphrase_fd(b"short"))
    assert code == 1
    assert "12 characters" in error
    assert not (root / "paybill.toml").exists()


def test_wrong_usage_is_2(root: Path) -> None:
    assert CliRunner().invoke(app, ["init", "--nonsense"]).exit_code == 2
    assert CliRunner().invoke(app, ["token", "issue"]).exit_code == 2
    assert list(root.iterdir()) == []


def test_a_token_is_issued_listed_and_revoked(root: Path, home: Path) -> None:
    workspace = made(root, home)
    code, token, error = run(
        "token", "issue", "--principal", "alice", "--actor", "claude", "--roles", "operator",
        "--tenants", "acme",
    )  # fmt: skip
    assert code == 0, error
    store = opened(workspace)
    public = keys.load_public(workspace.keys).issuer_bytes
    caller = Identify(store, public, workspace.id).verify(token.strip(), SystemClock().now())
    assert (caller.principal, caller.actor) == ("alice", "claude")
    assert caller.grant_id in run("token", "list")[1]
    assert run("token", "revoke", caller.grant_id)[0] == 0
    with store.read() as connection:
        assert newest(connection)[0].revoked_at is not None
    store.close()
    assert "revoked" in run("token", "list")[1]


def test_a_token_that_cannot_be_handed_over_leaves_no_grant(root: Path, home: Path) -> None:
    workspace = made(root, home)
    (root / "t").write_text("here before")
    code, _, error = run(
        "token", "issue", "--principal", "a", "--roles", "viewer", "--tenants", "acme",
        "--out", "t",
    )  # fmt: skip
    assert (code, "--out" in error) == (1, True)
    store = opened(workspace)
    with store.read() as connection:
        assert newest(connection) == []
    store.close()


def test_the_doctor_names_parts_posture_and_what_is_missing(
    root: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYBILL_CERBOS_BIN", str(tmp_path / "no-engine"))
    monkeypatch.setenv("PAYBILL_TERRAFORM_BIN", str(tmp_path / "no-terraform"))
    made(root, home)
    code, out, error = run("doctor")
    assert code == 1
    for part in ("paybill", "python", "workspace", "keys", "store", "catalog", "worker"):
        assert re.search(rf"{part}.*(ok|running)", out), part
    assert "alone: " in error
    assert re.search("paybill: policy engine: ", error)
    assert re.search("paybill: terraform: ", error)


def test_init_runs_as_a_program_of_its_own(root: Path, home: Path) -> None:
    command = [sys.executable, "-m", "paybill", "-w", str(root)]
    done = subprocess.run(
        [*command, "init", "--yes", "--passphrase-fd", "0"],
        input=PASSPHRASE,
        capture_output=True,
        cwd=CHECKOUT,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert find(root, home).id in done.stdout.decode()
    assert PASSPHRASE not in done.stdout + done.stderr
