"""What stands of a resource afterwards: known, unset or unknown. Not whether it is good."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.provisioning.planned import UNKNOWN, UNSET, configured, kind_of, planned
from tests.control_plane.provisioning.judged import one

_NAMES = st.sampled_from(["a", "b", "c"])
_SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
_TREES: st.SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=8,
)
_PATHS = st.lists(_NAMES, min_size=1, max_size=3).map(".".join)
REFERENCE = {"references": ["x.y"]}


@pytest.mark.parametrize(
    ("actions", "kind"),
    [
        (("create",), "create"),
        (("update",), "update"),
        (("delete",), "delete"),
        (("delete", "create"), "replace"),
        (("create", "delete"), "replace"),
        (("forget",), "delete"),
        (("no-op",), ""),
        (("read",), ""),
    ],
)
def test_terraforms_actions_come_to_one_kind(actions: tuple[str, ...], kind: str) -> None:
    assert kind_of(actions) == kind


@given(st.dictionaries(_NAMES, _TREES, max_size=3), _PATHS)
def test_there_is_always_a_value_and_what_is_known_is_never_called_unknown(
    after: dict[str, Any], path: str
) -> None:
    values = one("x", after).after.values(path)
    assert values
    assert UNKNOWN not in values


@given(st.dictionaries(_NAMES, _TREES, max_size=3), st.dictionaries(_NAMES, _TREES), _PATHS)
def test_no_marks_of_terraforms_break_the_reading(
    after: dict[str, Any], marks: dict[str, Any], path: str
) -> None:
    found = one("x", after, unknown=marks).after
    assert found.values(path)
    assert found.references(path) == ()


def test_what_nobody_gives_is_unset_and_what_is_given_unknown() -> None:
    found = one("x", {}, unknown={"a": True, "b": True}, given={"b": REFERENCE}).after
    assert found.values("a") == [UNSET]
    assert found.values("b") == [UNKNOWN]
    assert found.values("c") == [UNSET]
    assert found.references("b") == ("x.y",)


def test_each_block_and_each_element_counts_for_itself() -> None:
    after: dict[str, Any] = {"rule": [{"range": ["a", None]}, {"range": []}, {"name": "n"}]}
    unknown: dict[str, Any] = {"rule": [{"range": [False, True]}, {}, {"range": True}]}
    given: dict[str, Any] = {"rule": [{"range": REFERENCE}, {"range": REFERENCE}, {"name": {}}]}
    found = one("x", after, unknown=unknown, given=given).after
    assert found.values("rule.range") == ["a", UNKNOWN, UNSET, UNKNOWN]


def test_a_block_that_is_wholly_unknown_was_given_unless_providers_make_such_a_block() -> None:
    made = one("x", {}, unknown={"ingress": True, "rule": True}, given={}).after
    assert [block.values("source") for block in made.blocks("ingress")] == [[UNSET]]
    assert [block.values("source") for block in made.blocks("rule")] == [[UNKNOWN]]


def test_what_an_object_given_as_a_whole_holds_is_given() -> None:
    found = one("x", {"o": {}}, unknown={"o": {"m": True}}, given={"o": REFERENCE}).after
    assert found.values("o.m") == [UNKNOWN]


def test_an_instance_of_a_nested_module_finds_its_configuration() -> None:
    address = 'module.m["a.b[0]"].module.n[1].x_y.z["k\\"]"]'
    inner: dict[str, Any] = {
        "resources": [{"address": "x_y.z", "mode": "managed", "expressions": {}}]
    }
    nested: dict[str, Any] = {"module_calls": {"n": {"module": inner}}}
    change: dict[str, Any] = {
        "address": address,
        "mode": "managed",
        "type": "x_y",
        "name": "z",
        "provider_name": "p",
        "change": {"actions": ["create"], "after": {}, "after_unknown": {"a": True}},
    }
    plan: dict[str, Any] = {
        "resource_changes": [change, change | {"mode": "data"}],
        "configuration": {"root_module": {"module_calls": {"m": {"module": nested}}}},
    }
    assert [place for place, _one in configured(plan)] == ["module.m.module.n.x_y.z"]
    (found,) = planned(plan)
    assert found.after.values("a") == [UNSET]
