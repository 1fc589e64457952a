"""Cases turn where a policy may turn, are bounded, and are told in words. Not what an engine decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from server.policy_cases import (
    ACTOR,
    ACTOR_KIND,
    CASES_MAX,
    ID,
    PRINCIPAL,
    Case,
    callers,
    cases,
    described,
    fitting,
)

FLAG: dict[str, Any] = {"type": "boolean"}
TEXT: dict[str, Any] = {"type": "string"}
COUNT: dict[str, Any] = {"type": ["integer", "null"]}


def values(found: list[Case], name: str) -> list[object]:
    return list(dict.fromkeys(one[name] for one in found))


def test_few_values_are_combined_with_each_other() -> None:
    found = cases({"a": FLAG, "b": FLAG, "c": {"enum": ["x", "y"]}}, (), {})
    assert len(found) == 8
    assert len({tuple(one.items()) for one in found}) == 8


def test_values_stand_where_a_condition_may_turn() -> None:
    texts = ["R.attr.amount <= 10000 && R.attr.owner == P.id", 'R.attr.status in ["a", "b"]']
    found = cases({"amount": COUNT, "owner": TEXT, "status": TEXT}, texts, {})
    assert {None, 0, 9999, 10000, 10001} <= set(values(found, "amount"))
    assert PRINCIPAL in values(found, "owner")
    assert {"a", "b"} < set(values(found, "status"))


def test_the_usual_case_comes_first() -> None:
    properties: dict[str, Any] = {"member": FLAG, "cordoned": FLAG, "access_mode": TEXT}
    known = {"access_mode": ("none", "full")}
    assert cases(properties, (), known)[0] == {
        "access_mode": "full",
        "cordoned": False,
        "member": True,
    }


def test_many_values_are_bounded_and_each_has_its_case() -> None:
    names = [f"f{number}" for number in range(12)]
    found = cases({name: {"enum": ["x", "y", "z"]} for name in names}, (), {})
    assert len(found) <= CASES_MAX
    assert all(set(values(found, name)) == {"x", "y", "z"} for name in names)


def test_whoever_a_condition_names_is_among_the_callers() -> None:
    human, agent = callers(())
    assert (human[ACTOR_KIND], agent[ACTOR_KIND]) == ("human", "agent")
    texts = ['P.attr.actor == "finance-bot"', 'P.id in ["ann"]', 'R.attr.status == "open"']
    found = callers(texts)
    assert found[:2] == [human, agent]
    assert [(one[ID], one[ACTOR]) for one in found[2:]] == [(PRINCIPAL, "finance-bot"), ("ann", "")]


def every() -> list[Case]:
    return [
        {"member": member, "state": state, "count": count}
        for member in (True, False)
        for state in ("active", "suspended", "closed")
        for count in (None, 1)
    ]


TOLD: dict[str, Callable[[Case], bool]] = {
    "always": lambda one: True,
    "member, state active": lambda one: one["member"] is True and one["state"] == "active",
    "not member": lambda one: not one["member"],
    "state active or suspended": lambda one: one["state"] != "closed",
    "count missing": lambda one: one["count"] is None,
    "unless member, state active or suspended": lambda one: (
        not one["member"] or one["state"] == "closed"
    ),
    "in some cases": lambda one: one["member"] is (one["count"] == 1),
}


@pytest.mark.parametrize("words", TOLD)
def test_the_changed_cases_are_told_by_what_they_have_in_common(words: str) -> None:
    changed = [one for one in every() if TOLD[words](one)]
    assert described(changed, every()) == words


def test_a_value_of_another_type_is_replaced_by_one_that_the_schema_takes() -> None:
    assert fitting("x", TEXT) == "x"
    assert fitting(None, COUNT) is None
    assert isinstance(fitting(None, TEXT), str)
    assert fitting("x", COUNT) == 0
