"""Texts of others on one line: nothing in them is unseen, breaks a line or turns reading round."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.billing.clean_text import clean


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Team plan", "Team plan"),
        ("  Team \t\r\n plan\x00", "Team plan"),
        ("100\u202e001 EUR", "100001 EUR"),
        ("a\u2066b\u2069c\u200bd\ufeffe\u00adf", "abcdef"),
        ("two\u2028lines", "two lines"),
        ("Zo\u0308e", "Zöe"),
        ("\u200b\u202e", "-"),
        ("", "-"),
        ("שלום <b>", "שלום <b>"),
        ("👩\u200d💻", "👩\u200d💻"),
    ],
)
def test_only_what_can_be_read_stays(text: str, shown: str) -> None:
    assert clean(text) == shown


@given(text=st.text())
def test_a_cleaned_text_is_one_line_and_stays_as_it_is(text: str) -> None:
    shown = clean(text)
    assert shown
    assert len(shown.splitlines()) == 1
    assert not {"Cc", "Cs"} & {unicodedata.category(one) for one in shown}
    assert clean(shown) == shown
