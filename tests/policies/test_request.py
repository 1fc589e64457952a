"""What may be asked at all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.errors import BadFacts
from policies.request import ACTIONS_MAX, Principal, Resource, is_name


@pytest.mark.parametrize("kind", ["", "a:b", "a/b", "a-b", "Tenant", "1a", "_a", "a\n"])
def test_a_kind_that_the_engine_would_confuse_is_refused(kind: str) -> None:
    with pytest.raises(BadFacts) as caught:
        Resource(kind, "x", {}, ("read",))
    assert caught.value.part == "resource.kind"


@pytest.mark.parametrize(
    "actions", [(), ("read", "read"), ("Read",), tuple(f"a{n}" for n in range(ACTIONS_MAX + 1))]
)
def test_actions_are_few_distinct_and_named(actions: tuple[str, ...]) -> None:
    with pytest.raises(BadFacts):
        Resource("tenant", "x", {}, actions)


@pytest.mark.parametrize("role", ["*", "nobody", "", "Admin", "a:b"])
def test_a_reserved_or_odd_role_is_refused(role: str) -> None:
    with pytest.raises(BadFacts):
        Principal("ann", ("viewer", role))


@pytest.mark.parametrize("value", [2**53, float("nan"), float("inf"), b"x", {1: 2}, {"a": {3}}])
def test_a_fact_that_would_change_on_the_way_is_refused(value: Any) -> None:
    with pytest.raises(BadFacts) as caught:
        Resource("tenant", "x", {"fact": value}, ("read",))
    assert caught.value.part.startswith("tenant.fact")


def test_facts_do_not_nest_without_end() -> None:
    value: Any = 1
    for _ in range(100):
        value = [value]
    with pytest.raises(BadFacts):
        Resource("tenant", "x", {"fact": value}, ("read",))


def test_the_facts_cannot_be_changed_after_the_question() -> None:
    facts: dict[str, Any] = {"exists": True}
    asked = Resource("tenant", "x", facts, ("read",))
    facts["exists"] = False
    assert asked.attr == {"exists": True}
    with pytest.raises(TypeError):
        asked.attr["exists"] = False  # type: ignore[index]


def test_an_empty_id_is_refused() -> None:
    with pytest.raises(BadFacts):
        Principal("", ("viewer",))
    with pytest.raises(BadFacts):
        Resource("tenant", "", {}, ("read",))


@given(st.text())
def test_a_name_is_lower_case_ascii(text: str) -> None:
    plain = text.isascii() and text.replace("_", "a").isalnum() and text == text.lower()
    assert is_name(text) is (plain and text[:1].isalpha())
