"""Files of declarations: valid, all or none, and never over another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from control_plane.data.collection import load_collection
from control_plane.data.pulling.draft import CollectionDraft, FieldDraft, Remarks
from control_plane.data.pulling.writing import declaration_text, write_declarations
from control_plane.errors import BadInput, Failed


def draft(name: str, **options: Any) -> CollectionDraft:
    field = FieldDraft("a", "a", {"kind": "string", **options})
    return CollectionDraft(name, name, f"Rows of {name}.", (field,), (), Remarks())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read_as_it_was_declared(tmp_path: Path) -> None:
    folder = tmp_path / "collections"
    awkward = draft("x", description="no: 'yes' # 1.5 — null", default="010", group="pii")
    (path,) = write_declarations([awkward], folder)
    read = load_collection(path)
    assert read.fields["a"] == awkward.fields[0].field()
    assert "    group: pii  # proposed\n" in path.read_text()
    assert (names(tmp_path), names(folder)) == (["collections"], ["x.yaml"])


def test_a_table_name_cannot_break_out_of_the_comment() -> None:
    text = declaration_text(CollectionDraft("a\nb: c", "x", "X.", (), (), Remarks()))
    assert text.startswith("# Pulled from the table a b: c. ")


def test_a_file_that_stands_is_refused_by_name_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("mine")
    with pytest.raises(BadInput) as refused:
        write_declarations([draft("a"), draft("b")], tmp_path)
    assert refused.value.field == "b.yaml"
    assert names(tmp_path) == ["b.yaml"]


def test_force_replaces_the_files_of_the_same_names_alone(tmp_path: Path) -> None:
    folder = tmp_path / "collections"
    folder.mkdir()
    for name in ("a.yaml", "other.yaml"):
        (folder / name).write_text("mine")
    write_declarations([draft("a")], folder, force=True)
    assert load_collection(folder / "a.yaml").name == "a"
    assert (folder / "other.yaml").read_text() == "mine"
    assert names(tmp_path) == ["collections"]


@pytest.mark.parametrize(
    "wrong",
    [
        draft("b", max_length=0),
        draft("b", kind="reference", collection="not_there"),
    ],
)
def test_one_declaration_that_no_catalog_takes_keeps_all_from_being_written(
    tmp_path: Path, wrong: CollectionDraft
) -> None:
    folder = tmp_path / "collections"
    with pytest.raises(BadInput, match=r"b\.yaml"):
        write_declarations([draft("a"), wrong], folder)
    assert names(tmp_path) == []


@pytest.mark.parametrize("stands", [True, False])
def test_a_write_that_fails_halfway_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stands: bool
) -> None:
    folder = tmp_path / "collections"
    if stands:
        folder.mkdir()
        (folder / "a.yaml").write_text("mine")
    opened = Path.open

    def full(path: Path, mode: str = "r", **more: Any) -> Any:
        if mode == "xb" and path.name == "b.yaml":
            raise OSError(28, "No space left on device")
        return opened(path, mode, **more)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(Failed) as failed:
        write_declarations([draft("a"), draft("b")], folder, force=True)
    assert failed.value.code == "not_written"
    monkeypatch.undo()
    assert names(tmp_path) == (["collections"] if stands else [])
    if stands:
        assert (names(folder), (folder / "a.yaml").read_text()) == (["a.yaml"], "mine")


def test_a_folder_without_a_parent_and_one_too_many_are_refused(tmp_path: Path) -> None:
    for folder in (tmp_path / "a" / "b", tmp_path / "file"):
        (tmp_path / "file").write_text("")
        with pytest.raises(BadInput):
            write_declarations([draft("a")], folder)
    folder = tmp_path / "full"
    folder.mkdir()
    for place in range(256):
        (folder / f"c{place}.yaml").write_text("")
    with pytest.raises(BadInput, match="256"):
        write_declarations([draft("a")], folder)
