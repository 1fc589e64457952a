"""Migrations as a part of the catalog: read, checked, kept and part of its digest; and the commands about them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from control_plane.errors import BadInput
from server.catalog import digest_of, keep_copy, load, load_kept, read_files, write_sample
from server.catalog_check import read_working
from server.cli.app import app
from server.private_files import NotPrivate
from tests.support.fleet_files import FILES, header


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "catalog"
    write_sample(made)
    (made / "migrations").mkdir()
    for name, text in FILES.items():
        (made / "migrations" / name).write_bytes(text)
    return made


def test_they_are_part_of_the_catalog_and_of_its_digest(folder: Path, tmp_path: Path) -> None:
    found = load(folder)
    assert [one.number for one in found.migrations] == [1, 2, 3, 4]
    kept = keep_copy(tmp_path / "kept", read_files(folder))
    assert load_kept(tmp_path / "kept", kept.digest).migrations == found.migrations
    (folder / "migrations" / "0001_notes.sql").write_bytes(FILES["0001_notes.sql"] + b"\n")
    assert load(folder).digest != found.digest


def test_what_the_commands_read_is_what_is_kept(folder: Path) -> None:
    files, unread = read_working(folder)
    assert unread == ()
    assert digest_of(files) == load(folder).digest


def test_a_catalog_with_a_mistake_among_them_is_not_kept(folder: Path, tmp_path: Path) -> None:
    wrong = header() + "ALTER TABLE contacts ADD COLUMN a text;\n"
    (folder / "migrations" / "0005_more.sql").write_text(wrong)
    with pytest.raises(BadInput) as caught:
        keep_copy(tmp_path / "kept", read_files(folder))
    assert caught.value.field == "migrations/0005_more.sql"
    told = CliRunner().invoke(app, ["migrations", "check", str(folder)])
    assert told.exit_code == 1
    assert told.stdout == (
        "0005_more.sql:6: collection: contacts is a declared collection: the catalog changes it\n"
    )


def test_the_check_tells_how_many_there_are(folder: Path) -> None:
    told = CliRunner().invoke(app, ["migrations", "check", str(folder), "--json"])
    assert told.exit_code == 0
    assert json.loads(told.stdout) == {"migrations": 4, "findings": []}


def test_a_link_is_no_migration(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.sql").write_bytes(FILES["0001_notes.sql"])
    (folder / "migrations" / "0001_notes.sql").unlink()
    (folder / "migrations" / "0001_notes.sql").symlink_to(tmp_path / "elsewhere.sql")
    with pytest.raises(NotPrivate):
        read_files(folder)
