"""Alembic's revisions as migration files: rendered in a process of its own, and what cannot be is named."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from control_plane.errors import BadInput, Failed
from control_plane.fleet.checker import check
from server.alembic_import import import_alembic
from server.alembic_rendering import render
from server.catalog import migration_texts

REVISION = '''"""{words}"""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "{name}", {before}


def upgrade():
    {upgrade}
'''
TABLE = """op.create_table(
        "note",
        sa.Column("tenant_id", sa.String(40), nullable=False),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("body", sa.Text()),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )"""
COLUMN = 'op.add_column("note", sa.Column("rank", sa.Integer()))'


def revise(folder: Path, name: str, before: str | None, words: str, upgrade: str) -> None:
    (folder / "versions").mkdir(parents=True, exist_ok=True)
    text = REVISION.format(words=words, name=name, before=repr(before), upgrade=upgrade)
    (folder / "versions" / f"{name}.py").write_text(text)


@pytest.fixture
def alembic(tmp_path: Path) -> Path:
    folder = tmp_path / "alembic"
    revise(folder, "a1", None, "Notes, at last", TABLE)
    revise(folder, "b2", "a1", "Rank", COLUMN)
    return folder


def test_each_revision_becomes_a_file_that_the_check_reads(alembic: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    catalog.mkdir()
    told = import_alembic(alembic, catalog / "migrations")
    assert [one.error for one in told] == [""] * len(told)
    found, findings = check(migration_texts(catalog), set())
    assert findings == []
    assert [one.name for one in found] == ["0001_notes_at_last", "0002_rank"]
    assert not any(one.is_contract for one in found)


@pytest.mark.long
def test_they_go_behind_those_that_are_there(alembic: Path, tmp_path: Path) -> None:
    into = tmp_path / "migrations"
    import_alembic(alembic, into)
    before = {path.name: path.read_text() for path in into.iterdir()}
    import_alembic(alembic, into)
    after = {path.name: path.read_text() for path in into.iterdir()}
    assert before.items() <= after.items()
    assert {name[:4] for name in after} == {"0001", "0002", "0003", "0004"}


@pytest.mark.long
def test_what_an_engine_cannot_be_told_offline_is_named_by_its_kind(
    alembic: Path, tmp_path: Path
) -> None:
    revise(alembic, "c3", "b2", "Odd", 'raise RuntimeError("secret")')
    told = import_alembic(alembic, tmp_path / "migrations")
    assert [(one.revision, one.error) for one in told if one.error] == [
        ("c3", "postgres: RuntimeError, sqlite: RuntimeError")
    ]


def test_the_teams_python_runs_in_no_process_of_ours(
    alembic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "ran"
    revise(
        alembic,
        "c3",
        "b2",
        "Marks",
        f'import os; open({str(mark)!r}, "a").write(str(os.getpid()) + " ")',
    )
    import_alembic(alembic, tmp_path / "migrations")
    assert mark.read_text().split()
    assert str(os.getpid()) not in mark.read_text().split()
    # Reading a catalog that holds such a folder runs nothing of it.
    mark.unlink()
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "migrations").symlink_to(alembic)
    assert migration_texts(tmp_path / "catalog") == {}
    assert not mark.exists()


def test_a_folder_that_is_none_of_alembics_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        import_alembic(tmp_path, tmp_path / "migrations")


@pytest.mark.long
def test_a_child_that_dies_or_hangs_is_told_by_its_code(
    alembic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revise(alembic, "d4", "absent", "Loose", COLUMN)
    with pytest.raises(Failed) as caught:
        import_alembic(alembic, tmp_path / "migrations")
    assert caught.value.code == "alembic_unreadable"

    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("python", 1)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(Failed):
        import_alembic(alembic, tmp_path / "migrations")


def test_a_rendering_is_the_same_each_time(alembic: Path) -> None:
    assert render(alembic, "sqlite") == render(alembic, "sqlite")
    assert [one["revision"] for one in render(alembic, "postgres")] == ["a1", "b2"]
