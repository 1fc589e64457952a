"""Declarations of collections: what is read, and which rule a wrong one breaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.data.collection import SAMPLES, Collection, load_collection, load_collections
from control_plane.data.tables import schema_digest
from control_plane.errors import BadInput

GOOD = """
name: notes
description: Short notes.
fields:
  title: {kind: string, max_length: 10}
"""


def load(folder: Path, text: str, name: str = "notes") -> Collection:
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return load_collection(path)


def test_the_sample_contacts_are_a_valid_collection() -> None:
    contacts = load_collection(SAMPLES / "contacts.yaml")
    assert contacts.name == "contacts"
    assert contacts.fields["email"].group == "pii"
    assert contacts.fields["balance"].currency == "EUR"
    assert contacts.fields["status"].values == ("lead", "customer", "former")
    assert contacts.fields["notes"].nullable
    assert contacts.limits.page_rows_max == 100


def test_a_missing_folder_holds_no_collections(tmp_path: Path) -> None:
    assert load_collections(tmp_path / "none") == ()


@pytest.mark.parametrize(
    ("old", "new", "field", "rule"),
    [
        ("kind: string", "kind: varchar", "fields.title.kind", "Input should be"),
        ("max_length: 10", "max_length: '10'", "fields.title.max_length", "integer"),
        ("max_length: 10", "max_length: 1001", "fields.title", "at most 1000"),
        ("max_length: 10", "length: 10", "fields.title.length", "not permitted"),
        ("max_length: 10", "values: [a]", "fields.title", "values does not belong"),
        ("max_length: 10", "pattern: '('", "fields.title.pattern", "regular expression"),
        ("max_length: 10", "pattern: 'a)|(b'", "fields.title.pattern", "regular expression"),
        ("kind: string, max_length: 10", "kind: enum", "fields.title", "needs values"),
        ("kind: string, max_length: 10", "kind: money", "fields.title", "needs currency"),
        ("kind: string, max_length: 10", "kind: enum, values: [a, a]", "values", "repeat"),
        ("kind: string, max_length: 10", "kind: enum, values: []", "values", "1 to 64"),
        ("title:", "Title:", "fields.Title", "pattern"),
        ("title:", "tenant_id:", "fields", "must not declare"),
        ("name: notes", "name: paybill_notes", "name", "must not start with"),
        ("name: notes", "name: other", "name", "file's name"),
        ("description: Short notes.", "limits: {page_rows_max: 0}", "description", "required"),
        ("fields:\n  title: {kind: string, max_length: 10}", "fields: {}", "fields", "at least 1"),
    ],
)
def test_a_broken_rule_is_named_with_file_and_field(
    tmp_path: Path, old: str, new: str, field: str, rule: str
) -> None:
    assert old in GOOD
    with pytest.raises(BadInput) as caught:
        load(tmp_path, GOOD.replace(old, new))
    assert caught.value.field.startswith("notes.yaml")
    assert field in caught.value.field
    assert rule in caught.value.rule


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.yaml"
    path.write_bytes(b"name: \xff")
    with pytest.raises(BadInput, match="must be UTF-8"):
        load_collection(path)


def test_the_value_that_breaks_a_rule_is_not_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        load(tmp_path, GOOD.replace("max_length: 10", "max_length: hunter2"))
    assert "hunter2" not in str(caught.value)


def test_any_change_of_the_declaration_changes_its_digest(tmp_path: Path) -> None:
    first = load(tmp_path, GOOD).digest()
    assert load(tmp_path, GOOD).digest() == first
    assert load(tmp_path, GOOD.replace("Short", "Long")).digest() != first


def test_only_what_shapes_the_tables_changes_the_schema_digest(tmp_path: Path) -> None:
    first = schema_digest([load(tmp_path, GOOD)])
    described = GOOD.replace("Short", "Long").replace("kind: string", "group: pii, kind: string")
    assert schema_digest([load(tmp_path, described)]) == first
    wider = GOOD.replace("max_length: 10", "max_length: 11")
    assert schema_digest([load(tmp_path, wider)]) != first
