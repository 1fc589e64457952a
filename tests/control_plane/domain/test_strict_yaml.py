"""Strict YAML: what a file looks like is what it means."""

from __future__ import annotations

import pytest

from control_plane.domain.strict_yaml import DEPTH_MAX, TEXT_CHARS_MAX, parse_yaml
from control_plane.errors import BadInput


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("null", None),
        ("a:", {"a": None}),
        ("[true, false, 0, -7, 42]", [True, False, 0, -7, 42]),
        ("[no, yes, On, True, NULL, ~]", ["no", "yes", "On", "True", "NULL", "~"]),
        ("[010, 0x1f, 1_000, 1:30, +1]", ["010", "0x1f", "1_000", "1:30", "+1"]),
        ("[1.5, .inf, 1e3, -0]", ["1.5", ".inf", "1e3", "-0"]),
        ("[2026-05-01, '7', \"true\"]", ["2026-05-01", "7", "true"]),
        ("a: |\n  12\n", {"a": "12\n"}),
        ("{'1': x}", {"1": "x"}),
    ],
)
def test_a_plain_value_is_what_it_looks_like(text: str, value: object) -> None:
    assert parse_yaml(text, "f.yaml") == value


@pytest.mark.parametrize(
    ("text", "field", "rule"),
    [
        ("a: 1\nb: &x 2\nc: *x", "f.yaml, line 3, column 4", "aliases"),
        ("a: !!python/name:os.system x", "f.yaml, line 1, column 4", "tags"),
        ("a: !!int '1'", "f.yaml, line 1, column 4", "tags"),
        ("a: 1\na: 2", "f.yaml, line 2, column 1", "only once"),
        ("1: a", "f.yaml, line 1, column 1", "a key must be text"),
        ("true: a", "f.yaml, line 1, column 1", "a key must be text"),
        ("? [a]\n: b", "f.yaml, line 1, column 3", "a key must be text"),
        ('a: "\\uD800"', "f.yaml, line 1, column 4", "valid Unicode"),
        ('"\\uDFFF": 1', "f.yaml, line 1, column 1", "valid Unicode"),
        ("a: [", "f.yaml, line 1, column 5", "valid YAML"),
        ("a\n---\nb", "f.yaml, line 2, column 1", "valid YAML"),
        ("\x00", "f.yaml", "valid YAML"),
        ("[" * 5_000, f"f.yaml, line 1, column {DEPTH_MAX + 1}", "levels deep"),
        ("x" * (TEXT_CHARS_MAX + 1), "f.yaml", "at most"),
    ],
)
def test_anything_else_is_bad_input_with_its_place(text: str, field: str, rule: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_yaml(text, "f.yaml")
    assert caught.value.field == field
    assert rule in caught.value.rule


def test_an_anchor_alone_is_harmless() -> None:
    assert parse_yaml("a: &x 1", "f.yaml") == {"a": 1}
