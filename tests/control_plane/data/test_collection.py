"""Declarations of collections: what is read, and which rule a wrong one breaks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from control_plane.data.collection import SAMPLES, Collection, load_collection, load_collections
from control_plane.data.rows import delete_row, insert_row, update_row
from control_plane.data.tables import collection_table, reference_digest, schema_digest
from control_plane.errors import BadInput, Refused

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


REFERENCE = """
name: notes
description: Short notes.
reference: true
key: title
fields:
  title: {kind: string, max_length: 10, pattern: '[a-z]+'}
  weight: {kind: integer, nullable: true}
rows:
  - {title: abc, weight: 1}
  - {title: def}
"""


def test_reference_rows_are_typed_and_have_an_id_of_their_key(tmp_path: Path) -> None:
    notes = load(tmp_path, REFERENCE)
    first, second = notes.reference_rows()
    assert {name: first[name] for name in ("title", "weight")} == {"title": "abc", "weight": 1}
    assert second["weight"] is None
    assert set(notes.columns) == {"id", "title", "weight"}
    turned = load(tmp_path, REFERENCE.replace("weight: 1}", "weight: 2}").replace("def", "dea"))
    assert turned.reference_rows()[0]["id"] == first["id"] != second["id"]
    assert turned.reference_rows()[1]["id"] != second["id"]
    assert turned.digest() != notes.digest()
    assert reference_digest([turned]) != reference_digest([notes])
    assert schema_digest([notes]) == schema_digest([])
    assert reference_digest([]) is None


def test_the_sample_currencies_are_a_valid_reference_collection() -> None:
    currencies = load_collection(SAMPLES / "currencies.yaml")
    assert currencies.reference
    codes = [row["code"] for row in currencies.reference_rows()]
    assert codes == sorted(set(codes), key=str)


def test_a_reference_collection_has_a_bounded_number_of_rows(tmp_path: Path) -> None:
    head = REFERENCE[: REFERENCE.index("rows:")].replace(", pattern: '[a-z]+'", "")
    rows = [f"  - {{title: t{number}}}" for number in range(1_001)]
    assert len(load(tmp_path, "\n".join([head, "rows:", *rows[:-1]])).rows) == 1_000
    with pytest.raises(BadInput, match="rows"):
        load(tmp_path, "\n".join([head, "rows:", *rows]))


def test_reference_rows_are_refused_before_any_statement(tmp_path: Path) -> None:
    table = collection_table(load(tmp_path, REFERENCE))
    with create_engine("sqlite://").connect() as connection:
        deeds: list[Callable[[], object]] = [
            lambda: insert_row(connection, table, "acme", "x", {}, now=datetime.now(UTC)),
            lambda: update_row(connection, table, "acme", "x", {}, version=1),
            lambda: delete_row(connection, table, "acme", "x", version=1),
        ]
        for deed in deeds:
            with pytest.raises(Refused) as caught:
                deed()
            assert caught.value.code == "reference_read_only"
