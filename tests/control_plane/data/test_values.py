"""Values of the kinds that have one spelling, and ids of declared rows."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.data.collection import Collection, load_collections
from control_plane.data.field import Field, Formula
from control_plane.data.models import input_model, output_model, patch_model
from control_plane.data.values import ValueReader, to_json, value_type

CODES = """
name: codes
description: Codes.
reference: true
key: code
fields:
  code: {kind: string}
rows:
  - {code: abc}
  - {code: def}
"""
USERS = """
name: users
description: Who uses a code.
fields:
  code: {kind: reference, collection: codes, nullable: true}
"""


@given(
    st.integers(1, 18).flatmap(
        lambda precision: st.tuples(
            st.just(precision),
            st.integers(0, min(9, precision)),
            st.integers(1 - 10**precision, 10**precision - 1),
        )
    )
)
def test_a_decimal_has_one_spelling(made: tuple[int, int, int]) -> None:
    precision, scale, units = made
    reader = ValueReader(Field(kind="decimal", precision=precision, scale=scale))
    number = Decimal(units).scaleb(-scale)
    text = to_json(reader.read(number))
    assert text == f"{number:.{scale}f}"
    assert reader.read(text) == number
    for other in (f"{text}0" if scale else f"{text}.0", f"0{text}", f" {text}", f"+{text}"):
        with pytest.raises(ValueError, match="must be a decimal in text"):
            reader.read(other)


def test_the_smallest_decimal_is_told_without_an_exponent() -> None:
    reader = ValueReader(Field(kind="decimal", precision=9, scale=9))
    assert to_json(reader.read("0.000000001")) == "0.000000001"
    assert to_json(reader.read(Decimal(0))) == "0.000000000"


def test_a_computed_field_by_itself_has_no_type() -> None:
    formula = Formula(op="sum", fields=("a", "b"))
    with pytest.raises(ValueError, match="read as its result"):
        value_type(Field(kind="computed", formula=formula))


@pytest.fixture
def users(tmp_path: Path) -> Collection:
    (tmp_path / "codes.yaml").write_text(CODES)
    (tmp_path / "users.yaml").write_text(USERS)
    return load_collections(tmp_path)[1]


def test_a_reference_to_declared_rows_names_one_of_them(users: Collection, tmp_path: Path) -> None:
    codes = load_collections(tmp_path)[0]
    declared = [str(row["id"]) for row in codes.reference_rows()]
    stranger = "00000000-0000-4000-8000-000000000001"
    assert users.declared_ids("code") == frozenset(declared)
    for model in (input_model(users), patch_model(users)):
        for one in (*declared, None):
            assert model.model_validate({"code": one}).model_dump() == {"code": one}
        with pytest.raises(ValueError, match="must be the id of a declared row"):
            model.model_validate({"code": stranger})
    # A row that was written before the catalog dropped its code can still be read, and sought.
    assert "code" in output_model(users).model_fields
    field = users.columns["code"]
    assert ValueReader(field, ids=users.declared_ids("code")).read(stranger) == stranger
    with pytest.raises(ValueError, match="must be the id of a declared row"):
        ValueReader(field, stored=True, ids=users.declared_ids("code")).read(stranger)


def test_what_a_collection_was_bound_to_is_kept_in_its_copies(users: Collection) -> None:
    copied = users.model_copy(update={"description": "Others."})
    assert copied.declared_ids("code") == users.declared_ids("code") is not None
    assert copied.digest() != users.digest()
