"""Which expressions are literals and lists of them; and that nothing else is taken for one."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.data.pulling.literals import (
    Membership,
    NoLiteral,
    Number,
    default_literal,
    membership,
)

VALUES = ("new", "it's", "in (x)")


@pytest.mark.parametrize(
    "expression",
    [
        "state IN ('new', 'it''s', 'in (x)')",
        "(\"state\" in ('new','it''s','in (x)'))",
        "state = ANY (ARRAY['new'::text, 'it''s'::text, 'in (x)'::text])",
        (
            "(((state)::text = ANY ((ARRAY['new'::character varying, 'it''s'::character varying,"
            " 'in (x)'::character varying(9)])::text[])))"
        ),
        "`state` IN (('new'), ('it''s'), 'in (x)')",
    ],
)
def test_each_form_of_a_list_is_read(expression: str) -> None:
    assert membership(expression) == Membership("state", VALUES)


def test_one_value_and_numbers_are_lists_too() -> None:
    assert membership("(state = 'new'::my_schema.my_type)") == Membership("state", ("new",))
    assert membership("flag IN (0, 1)") == Membership("flag", (Number("0"), Number("1")))


@pytest.mark.parametrize(
    "expression",
    [
        "state IN ('a') OR other = 'b'",
        "state IN ('a') AND NOT gone",
        "state NOT IN ('a')",
        "state <> 'a'",
        "lower(state) IN ('a')",
        "a || b IN ('a')",
        "state IN ('a', other)",
        "state IN ()",
        "state IN (NULL)",
        "state = ALL (ARRAY['a'])",
        "state = ANY ('{a,b}'::text[])",
        "state IN ('a'",
        "price > 0",
        "'a' IN (state)",
        "state::",
        "",
        "(" * 40 + "state IN ('a')" + ")" * 40,
        "state IN ('" + "a" * 20_000 + "')",
    ],
)
def test_what_is_more_than_a_list_is_none(expression: str) -> None:
    with pytest.raises(NoLiteral):
        membership(expression)


@pytest.mark.parametrize(
    ("expression", "literal"),
    [
        ("'active'::character varying", "active"),
        ("'G'::mpaa_rating", "G"),
        ("(('it''s'))", "it's"),
        ("0", Number("0")),
        ("(-1.50)", Number("-1.50")),
        ("'-1'::integer", "-1"),
        ("true", True),
        ("FALSE", False),
        ("NULL::character varying", None),
        ("'{}'::jsonb", "{}"),
    ],
)
def test_a_literal_default_is_read_without_its_cast(expression: str, literal: object) -> None:
    assert default_literal(expression) == literal


@pytest.mark.parametrize(
    "expression",
    [
        "now()",
        "CURRENT_TIMESTAMP",
        "nextval('a_seq'::regclass)",
        "gen_random_uuid()",
        "'a' || 'b'",
        "1 + 1",
        "1e5",
        "E'a'",
        "x'ff'",
        '"a"',
        "",
    ],
)
def test_a_default_that_is_computed_is_no_literal(expression: str) -> None:
    with pytest.raises(NoLiteral):
        default_literal(expression)


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5, unique=True))
def test_any_texts_come_out_of_a_list_as_they_went_in(values: list[str]) -> None:
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    assert membership(f"state IN ({quoted})") == Membership("state", tuple(values))


@given(st.text(alphabet="aA'\"`()[],.=: 1-", max_size=40))
def test_any_text_is_a_literal_or_none_and_never_an_accident(expression: str) -> None:
    found: list[object] = []
    with suppress(NoLiteral):
        found += membership(expression).values
        assert found
    with suppress(NoLiteral):
        found.append(default_literal(expression))
    for value in found:
        if isinstance(value, str):
            # Nothing is read that does not stand there.
            assert value.replace("'", "''") in expression
