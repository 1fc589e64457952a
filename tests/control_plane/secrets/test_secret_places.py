"""Where passwords of services are left: a folder nobody else enters, a program. What is left is never read back."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import BadInput, Unavailable
from control_plane.secrets.secret_command import SecretCommand
from control_plane.secrets.secret_folder import SecretFolder
from control_plane.secrets.secret_place import check_reference, new_secret, reference_of
from control_plane.secrets.secret_settings import CommandPlace, FolderPlace, parse_place

REFERENCE: Final = "acme.a.3"
KEEPER: Final = """
import json, os, pathlib, sys
told = json.load(sys.stdin)
told["seen"] = sorted(os.environ)
told["words"] = sys.argv[1:]
pathlib.Path(sys.argv[1]).write_text(json.dumps(told))
"""


def test_a_password_lies_in_a_file_that_nobody_else_reads(tmp_path: Path) -> None:
    folder = tmp_path / "handover"
    place = SecretFolder(folder)
    for secret in ("first", "second"):
        place.put(REFERENCE, secret)
        assert (folder / REFERENCE).read_text() == secret
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / REFERENCE).stat().st_mode) == 0o600
    assert [one.name for one in folder.iterdir()] == [REFERENCE]
    for _ in range(2):
        place.drop(REFERENCE)
    assert not list(folder.iterdir())


def test_what_was_never_left_is_dropped_all_the_same(tmp_path: Path) -> None:
    SecretFolder(tmp_path / "none").drop(REFERENCE)
    assert not (tmp_path / "none").exists()


def test_a_folder_that_others_may_enter_takes_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(Unavailable) as caught:
        SecretFolder(tmp_path).put(REFERENCE, "kept")
    assert caught.value.code == "secret_place"
    assert not list(tmp_path.iterdir())


def test_a_link_in_the_place_of_a_file_leads_nowhere(tmp_path: Path) -> None:
    folder, aside = tmp_path / "handover", tmp_path / "aside"
    folder.mkdir(mode=0o700)
    aside.write_text("theirs")
    (folder / REFERENCE).symlink_to(aside)
    SecretFolder(folder).put(REFERENCE, "kept")
    assert aside.read_text() == "theirs"
    assert not (folder / REFERENCE).is_symlink()


def test_a_program_is_told_on_its_stdin_alone(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    argv = (sys.executable, "-c", KEEPER, str(seen))
    place = SecretCommand(argv, {"PATH": "/usr/bin", "HOME": "/", "PAYBILL_TOKEN": "t"}, 30.0)
    place.put(REFERENCE, "kept")
    told = json.loads(seen.read_text())
    assert (told["operation"], told["reference"], told["secret"]) == ("put", REFERENCE, "kept")
    assert told["words"] == [str(seen)]
    assert "PAYBILL_TOKEN" not in told["seen"]
    place.drop(REFERENCE)
    told = json.loads(seen.read_text())
    assert (told["operation"], "secret" in told) == ("drop", False)


@pytest.mark.parametrize("does", ["import sys; sys.exit(3)", "print('kept'); raise SystemExit(1)"])
def test_a_program_that_fails_is_told_without_what_it_said(does: str) -> None:
    place = SecretCommand((sys.executable, "-c", does), {}, 30.0)
    with pytest.raises(Unavailable) as caught:
        place.put(REFERENCE, "kept")
    assert caught.value.code == "secret_place"
    assert "kept" not in str(caught.value)
    assert caught.value.__suppress_context__


@given(st.text(max_size=30))
def test_only_a_reference_of_ours_becomes_the_name_of_a_file(text: str) -> None:
    try:
        found = check_reference(text)
    except BadInput:
        return
    tenant, half, version = found.split(".")
    assert reference_of(tenant, half, int(version)) == text
    assert Path(found).name == found


def test_no_two_passwords_are_the_same() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert {len(one) for one in made} == {43}


def test_a_place_is_declared_by_its_kind() -> None:
    folder = parse_place("kind: folder\npath: /run/shop\n", "handover.yaml")
    assert folder == FolderPlace(kind="folder", path=Path("/run/shop"))
    command = parse_place("kind: command\nargv: [/bin/keep]\n", "handover.yaml")
    assert command == CommandPlace(kind="command", argv=("/bin/keep",))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("kind: folder\npath: here\n", "path"),
        ("kind: vault\n", "kind that there is"),
        ("kind: command\nargv: []\n", "argv"),
        ("kind: command\nargv: [/bin/keep]\nsecret: kept\n", "secret"),
    ],
)
def test_a_mistake_is_named_and_its_value_is_not(text: str, named: str) -> None:
    with pytest.raises(BadInput, match=named) as caught:
        parse_place(text, "handover.yaml")
    assert "kept" not in str(caught.value)
