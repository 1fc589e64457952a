"""LangGraph and the walk of a read go the same way: over every machine, whatever its steps do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.graph import END as LANGGRAPH_END
from langgraph.graph import START as LANGGRAPH_START

from control_plane.domain.outcome import Outcome
from control_plane.errors import Refused
from control_plane.ports import Settled
from graphs.machines import (
    END,
    RECURSION_MAX,
    START,
    Machine,
    State,
    change_machine,
    lifecycle_machine,
    query_machine,
)
from graphs.passage import Passage, Settling
from graphs.steps import Steps

MACHINES: dict[str, Callable[[Steps], Machine]] = {
    "query": query_machine,
    "change": change_machine,
    "lifecycle": lifecycle_machine,
}
STEPS = (
    *("query", "load_change", "plan_change", "act_change", "ask_first", "load_lifecycle"),
    *("commit_run", "settle_run", "release", "park"),
)
Deed = str
DEEDS = st.sampled_from(("nothing", "finish", "refuse", "allow", "ask"))


class Doubles:
    """Steps that write down that they were called, and do what they are told."""

    def __init__(self, deeds: dict[str, Deed]) -> None:
        self.visited: list[str] = []
        self.runs = self
        for name in STEPS:
            setattr(self, name, self._step(name, deeds[name]))

    def _step(self, name: str, deed: Deed) -> Callable[[Any], None]:
        def step(passage: Any) -> None:
            self.visited.append(name)
            if deed == "refuse":
                raise Refused(f"{name} refuses")
            if isinstance(passage, Settling):
                plan, evidence = cast("Any", None), cast("Any", None)
                passage.settled = Settled(plan, deed == "allow", "own_hand", evidence)
            elif deed == "finish":
                passage.outcome = Outcome(outcome="done", message=name)
            elif deed == "ask":
                passage.must_ask = True

        return step


def passed(machine: str, deeds: dict[str, Deed], settling: bool, *, walked: bool) -> Any:
    doubles = Doubles(deeds)
    made = MACHINES[machine](cast("Steps", doubles))
    blank = cast("Any", None)
    passage = Settling(blank, blank) if settling else Passage(blank, blank)
    state: State = {"passage": passage}
    refused = ""
    try:
        if walked:
            made.walk(state)
        else:
            cast("Any", made.compiled()).invoke(state, {"recursion_limit": RECURSION_MAX})
    except Refused as error:
        refused = str(error)
    end = passage.settled if isinstance(passage, Settling) else passage.outcome
    return doubles.visited, refused, end


def test_the_ends_are_called_as_langgraph_calls_them() -> None:
    assert (START, END) == (LANGGRAPH_START, LANGGRAPH_END)


@pytest.mark.parametrize("machine", sorted(MACHINES))
@given(deeds=st.fixed_dictionaries(dict.fromkeys(STEPS, DEEDS)), settling=st.booleans())
def test_both_runners_go_the_same_way(machine: str, deeds: dict[str, Deed], settling: bool) -> None:
    entry = settling and machine == "lifecycle"
    assert passed(machine, deeds, entry, walked=True) == passed(machine, deeds, entry, walked=False)


def test_every_node_is_on_some_path() -> None:
    seen: set[str] = set()
    for machine in MACHINES:
        for settling in (False, machine == "lifecycle"):
            for deed in ("nothing", "allow", "ask"):
                deeds = dict.fromkeys(STEPS, deed)
                seen |= set(passed(machine, deeds, settling, walked=True)[0])
    assert seen == set(STEPS)
