"""`tax.yaml` as a part of the catalog: applied with it, checked with it, and compared. Not what it says of rates."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.errors import BadInput
from server import catalog
from server.catalog_changes import tax_change
from server.catalog_mistakes import PLANS, TAX, read_declared
from tests.control_plane.billing.test_tax_file import TEXT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sample catalog."""
    catalog.write_sample(tmp_path / "catalog")
    return tmp_path / "catalog"


def test_a_catalog_taxes_only_with_the_file_and_by_the_kept_copy(folder: Path) -> None:
    bare = catalog.load(folder)
    assert bare.tax is None
    (folder / "tax.yaml").write_text(TEXT)
    kept = catalog.keep_copy(folder.parent / "kept", catalog.read_files(folder))
    assert kept.digest != bare.digest
    assert kept.tax is not None
    assert kept.tax.engine.rules.startswith("table:2:")
    (folder / "tax.yaml").write_text(TEXT.replace("percent: 19", "percent: 20"))
    again = catalog.load_kept(folder.parent / "kept", kept.digest)
    assert again.tax is not None
    assert again.tax.engine.rules == kept.tax.engine.rules


def test_a_mistake_in_the_file_keeps_the_catalog_from_being_applied(folder: Path) -> None:
    (folder / "tax.yaml").write_text(TEXT.replace("unknown: DE", "unknown: FR"))
    with pytest.raises(BadInput, match=r"tax\.yaml"):
        catalog.load(folder)


def test_a_check_tells_every_mistake_with_its_line_and_what_was_meant(folder: Path) -> None:
    plans = (folder / PLANS).read_bytes()
    assert read_declared({PLANS: plans, TAX: TEXT.encode()}).mistakes == ()
    wrong = TEXT.replace("country: CA", "cuntry: CA").replace("percent: 16", "percent: 160")
    found = read_declared({PLANS: plans, TAX: wrong.encode()}).mistakes
    assert [(one.file, one.line, one.part) for one in found] == [
        (TAX, 11, "table.countries.0.rates.0.percent"),
        (TAX, 13, "table.countries.1.country"),
        (TAX, 13, "table.countries.1.cuntry"),
    ]
    assert found[2].rule == "is not known; did you mean country?"


def test_a_plan_says_from_which_rules_to_which_others(folder: Path) -> None:
    bare = catalog.load(folder)
    (folder / "tax.yaml").write_text(TEXT)
    taxed = catalog.load(folder)
    assert tax_change(taxed.tax, taxed.tax) is None
    found = tax_change(bare.tax, taxed.tax)
    assert found is not None
    assert found.before == "none"
    assert taxed.tax is not None
    assert found.after == taxed.tax.told
    # Where the seller is taxed counts too.
    (folder / "tax.yaml").write_text(TEXT.replace("seller: {country: DE", "seller: {country: CA"))
    assert tax_change(taxed.tax, catalog.load(folder).tax) is not None
