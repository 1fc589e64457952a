"""Which keys wrap is the worker's user's to say: by a private file, and by no workspace. Not the keys themselves."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from control_plane.errors import BadInput, PaybillError
from server import keys
from server.backup_wiring import wire_backups, wire_ring
from server.clock import SystemClock
from server.ids import RandomIds
from server.settings import Settings
from tests.support.age_keys import new_identity
from tests.support.house import House, build_house


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> House:
    return build_house(tmp_path_factory.mktemp("keyed"), cerbos_binary)


def told(house: House, path: Path | None) -> Settings:
    return house.settings.model_copy(update={"keys_file": path})


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_without_a_file_the_workspaces_own_key_wraps(house: House) -> None:
    ring = wire_ring(told(house, None), keys.load(house.workspace.keys))
    assert ring.reference.startswith("file:")


def test_an_identity_of_age_wraps_and_what_was_wrapped_before_opens(
    house: House, tmp_path: Path
) -> None:
    held = keys.load(house.workspace.keys)
    identity = private(tmp_path / "backups.age", f"{new_identity()}\n")
    file = private(tmp_path / "keys.yaml", f"current: {{kind: age, identity: {identity}}}\n")
    with house.store() as store:
        parts = (held, store, SystemClock(), RandomIds())
        before = wire_backups(house.workspace, told(house, None), *parts)
        first = before.keys.current("acme")
        after = wire_backups(house.workspace, told(house, file), *parts)
        assert after.keys.current("acme") == first
        assert after.keys.rewrap() == 1
        assert after.keys.wraps.startswith("age:age1")
        assert after.keys.current("acme") == first
        with pytest.raises(PaybillError) as caught:
            before.keys.current("acme")
    assert caught.value.code == "kek_unknown"


def test_a_program_wraps(house: House, tmp_path: Path) -> None:
    program = private(tmp_path / "kms.py", "import sys\nsys.exit(4)\n")
    text = f"current: {{kind: command, argv: [{sys.executable}, {program}], reference: kms/1}}\n"
    settings = told(house, private(tmp_path / "keys.yaml", text))
    ring = wire_ring(settings, keys.load(house.workspace.keys))
    assert ring.reference == "command:kms/1"
    with pytest.raises(PaybillError) as caught:
        ring.wrap(bytes(32), b"acme")
    assert caught.value.code == "kek_unavailable"


@pytest.mark.parametrize(
    ("mode", "text"), [(0o644, "current: {kind: file}\n"), (0o600, "current: {kind: other}\n")]
)
def test_a_file_that_others_may_read_or_that_does_not_read_is_refused(
    house: House, tmp_path: Path, mode: int, text: str
) -> None:
    path = private(tmp_path / "keys.yaml", text)
    path.chmod(mode)
    with pytest.raises(BadInput):
        wire_ring(told(house, path), keys.load(house.workspace.keys))


@pytest.mark.parametrize("mode", [0o644, None])
def test_an_identity_that_others_may_read_or_that_is_not_there_is_refused(
    house: House, tmp_path: Path, mode: int | None
) -> None:
    identity = tmp_path / "backups.age"
    if mode is not None:
        private(identity, f"{new_identity()}\n").chmod(mode)
    text = f"current: {{kind: age, identity: {os.fspath(identity)}}}\n"
    with pytest.raises(BadInput, match="identity"):
        wire_ring(
            told(house, private(tmp_path / "keys.yaml", text)), keys.load(house.workspace.keys)
        )
