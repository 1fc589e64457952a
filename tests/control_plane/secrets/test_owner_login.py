"""A server owner's login is had only from where it was declared to lie, and nothing of it is told."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import pytest

from control_plane.errors import Unavailable
from control_plane.secrets.owner_login import (
    SecretFiles,
    SecretProgram,
    SecretSource,
    SecretVariables,
    parsed,
)

SECRET: Final = '{"username": "owner", "password": "pl4nted", "engine": "postgres"}'
PROGRAM: Final = (
    "import json,sys; asked=json.load(sys.stdin); assert asked['operation']=='get';"
    " print(json.dumps({'username': asked['reference'], 'password': 'pl4nted'}))"
)


def absent(source: SecretSource, reference: str) -> str:
    """How it is told that nothing can be had."""
    with pytest.raises(Unavailable) as told:
        source.get(reference)
    assert told.value.code == "stack_login_missing"
    assert "pl4nted" not in str(told.value)
    assert told.value.__cause__ is None
    return str(told.value)


def test_a_variable_is_read_where_it_is_named_for_it() -> None:
    environment = {"OWNER": SECRET, "OTHER": SECRET, "EMPTY": ""}
    source = SecretVariables(("OWNER", "EMPTY", "UNSET"), environment)
    found = source.get("OWNER")
    assert (found.username, found.password.get_secret_value()) == ("owner", "pl4nted")
    assert "pl4nted" not in repr(found)
    for reference in ("OTHER", "EMPTY", "UNSET"):
        absent(source, reference)


def test_a_file_is_read_in_its_folder_alone(tmp_path: Path) -> None:
    folder = tmp_path / "logins"
    folder.mkdir()
    for path in (folder / "acme.json", tmp_path / "outside.json"):
        path.write_text(SECRET)
        path.chmod(0o600)
    source = SecretFiles(folder)
    assert source.get("acme.json").username == "owner"
    (folder / "link.json").symlink_to(tmp_path / "outside.json")
    os.mkfifo(folder / "fifo", 0o600)
    references = ("../outside.json", f"{tmp_path}/outside.json", "link.json", "fifo", "none", "..")
    for reference in (*references, "", ".hidden", "a/b", "a\0b"):
        absent(source, reference)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_not(tmp_path: Path, mode: int) -> None:
    (tmp_path / "acme.json").write_text(SECRET)
    (tmp_path / "acme.json").chmod(mode)
    absent(SecretFiles(tmp_path), "acme.json")


def test_a_program_is_told_the_reference_and_prints_the_secret() -> None:
    source = SecretProgram((sys.executable, "-c", PROGRAM), os.environ, 10.0)
    assert source.get("vault_acme").username == "vault_acme"


@pytest.mark.parametrize(
    "code", ["print('pl4nted')", "import sys; print('pl4nted'); sys.exit(3)", "print()"]
)
def test_a_program_that_does_not_say_it_is_told_of_without_its_words(code: str) -> None:
    absent(SecretProgram((sys.executable, "-c", code), os.environ, 10.0), "acme")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"pl4nted",
        b"[]",
        b'{"username": "owner"}',
        b'{"username": "owner", "password": ""}',
        b'{"username": "owner", "password": 4}',
        b'{"username": "own er", "password": "pl4nted"}',
        b'{"username": "", "password": "pl4nted"}',
        b"\xff",
        b'{"username": "owner", "password": "' + b"p" * 17_000 + b'"}',
    ],
)
def test_a_text_that_is_no_login_is_told_of_without_its_words(content: bytes) -> None:
    with pytest.raises(Unavailable) as told:
        parsed(content)
    assert told.value.code == "stack_login_missing"
    assert "pl4nted" not in str(told.value)
