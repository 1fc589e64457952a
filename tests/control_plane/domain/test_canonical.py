"""Canonical JSON: the same bytes as RFC 8785, whatever way they are made."""

from __future__ import annotations

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.canonical import canonical, plain

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.text(st.characters(max_codepoint=0x9F))
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=20
)


@given(VALUES)
def test_the_bytes_are_those_of_rfc_8785(value: object) -> None:
    assert canonical(value) == rfc8785.dumps(plain(value))


def test_names_beyond_the_basic_plane_are_ordered_by_their_utf_16_units() -> None:
    assert canonical({"\ufb33": 1, "\U0001f600": 2}).decode() == '{"\U0001f600":2,"\ufb33":1}'


def test_a_number_with_a_fraction_has_no_canonical_form() -> None:
    with pytest.raises(TypeError, match="float"):
        canonical({"quantity": 1.5})


def test_half_a_surrogate_pair_has_no_canonical_form() -> None:
    with pytest.raises(ValueError, match="UTF-8"):
        canonical("\ud800")
