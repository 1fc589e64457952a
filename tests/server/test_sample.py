"""The help desk sample as it is shipped: a whole catalog, and rows that fit it. Not its way through the tools."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import pytest
from typer.testing import CliRunner

from control_plane.data.collection import SAMPLES, Collection
from control_plane.data.models import input_model
from server import catalog
from server.cli.app import app
from server.sample import COLLECTIONS, Row, sample_rows

BYTES_MAX = 150_000
PASSPHRASE = b"correct horse battery\n"


@pytest.fixture
def declared(tmp_path: Path) -> catalog.Catalog:
    catalog.write_sample(tmp_path / "catalog", "helpdesk")
    return catalog.load(tmp_path / "catalog")


def test_it_is_a_valid_catalog_with_policies_that_make_a_bundle(
    declared: catalog.Catalog, tmp_path: Path
) -> None:
    assert set(declared.collections) == set(COLLECTIONS)
    assert set(declared.row_rules) == {"customers", "invoices", "tickets"}
    assert declared.bundle(tmp_path / "bundles").digest


def test_every_row_fits_its_declaration(declared: catalog.Catalog) -> None:
    numbers = {name: {str(one["number"]) for one in sample_rows(name)} for name in COLLECTIONS}
    for name in COLLECTIONS:
        collection = declared.collections[name]
        for row in sample_rows(name):
            input_model(collection).model_validate(_with_ids(collection, row, numbers))


def test_what_is_unique_is_shipped_once(declared: catalog.Catalog) -> None:
    for name in COLLECTIONS:
        unique = [key for key, one in declared.collections[name].fields.items() if one.unique]
        assert "number" in unique
        for field in unique:
            values = Counter(str(one[field]) for one in sample_rows(name))
            assert max(values.values()) == 1, (name, field)


def test_each_invoice_is_the_sum_of_its_lines() -> None:
    sums: Counter[object] = Counter()
    for line in sample_rows("orders"):
        sums[line["invoice"]] += int(str(line["quantity"])) * int(str(line["unit_price"]))
    assert {one["number"]: one["total"] for one in sample_rows("invoices")} == dict(sums)


def test_the_rows_are_small_and_tell_where_they_come_from() -> None:
    files = list((SAMPLES / "helpdesk" / "rows").iterdir())
    assert sorted(one.stem for one in files) == sorted(COLLECTIONS)
    assert sum(one.stat().st_size for one in files) <= BYTES_MAX
    notice = (SAMPLES / "helpdesk" / "NOTICE.md").read_text()
    assert "Chinook" in notice
    assert "public domain" in notice


def test_init_lays_it_down_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYBILL_HOME", str(tmp_path / "home"))
    root = tmp_path / "desk"
    root.mkdir()
    reading, writing = os.pipe()
    os.write(writing, PASSPHRASE)
    os.close(writing)
    try:
        words = ["init", str(root), "--yes", "--sample", "helpdesk", "--passphrase-fd"]
        done = CliRunner().invoke(app, [*words, str(reading)])
    finally:
        os.close(reading)
    assert done.exit_code == 0, done.stderr
    assert set(catalog.load(root / "catalog").collections) == set(COLLECTIONS)


def _with_ids(collection: Collection, row: Row, numbers: Mapping[str, set[str]]) -> Row:
    made = dict(row)
    for name, field in collection.fields.items():
        if field.collection is not None and name in row:
            assert str(row[name]) in numbers[field.collection]
            made[name] = str(uuid5(NAMESPACE_URL, f"{field.collection}/{row[name]}"))
    return made
