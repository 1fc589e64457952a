"""The three machines, as LangGraph state graphs compiled once. What a node does stands in steps.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from graphs.passage import Passage, Settling
from graphs.steps import Steps

RECURSION_MAX = 25


class State(TypedDict):
    """One channel: each more would cost on every node."""

    passage: Passage | Settling


Compiled = CompiledStateGraph[State, None, State, State]
Node = Callable[[State], State]


def _node(step: Callable[[Passage], None]) -> Node:
    def run(state: State) -> State:
        step(_call(state))
        return state

    return run


def _settling_node(step: Callable[[Settling], None]) -> Node:
    def run(state: State) -> State:
        step(_settling(state))
        return state

    return run


def _call(state: State) -> Passage:
    passage = state["passage"]
    assert isinstance(passage, Passage), "a face's entry takes a call"
    return passage


def _settling(state: State) -> Settling:
    passage = state["passage"]
    assert isinstance(passage, Settling), "the worker's entry takes a run"
    return passage


def _finished(next_node: str) -> Callable[[State], str]:
    def choose(state: State) -> str:
        return END if _call(state).outcome is not None else next_node

    return choose


def _graph() -> StateGraph[State, None, State, State]:
    return StateGraph(State)


def _add(graph: StateGraph[State, None, State, State], name: str, node: Any) -> None:
    graph.add_node(name, node)  # pyright: ignore[reportUnknownMemberType] - a loose signature


def _compiled(graph: StateGraph[State, None, State, State]) -> Compiled:
    return graph.compile()  # pyright: ignore[reportUnknownMemberType] - a loose signature


def query_machine(steps: Steps) -> Compiled:
    """load → decide → filter → read → mask → record, all in one node: a refusal is an exception."""
    graph = _graph()
    _add(graph, "query", _node(steps.query))
    graph.add_edge(START, "query")
    graph.add_edge("query", END)
    return _compiled(graph)


def change_machine(steps: Steps) -> Compiled:
    """decide → plan → act; a repeated call ends after decide, a dry run after plan."""
    graph = _graph()
    _add(graph, "decide", _node(steps.load_change))
    _add(graph, "plan", _node(steps.plan_change))
    _add(graph, "act", _node(steps.act_change))
    graph.add_edge(START, "decide")
    graph.add_conditional_edges("decide", _finished("plan"), ["plan", END])
    graph.add_conditional_edges("plan", _finished("act"), ["act", END])
    graph.add_edge("act", END)
    return _compiled(graph)


def lifecycle_machine(steps: Steps) -> Compiled:
    """Two entries: ``propose`` from a face, ``settle`` from the worker."""
    graph = _graph()
    _add(graph, "propose", _node(steps.load_lifecycle))
    _add(graph, "commit_run", _node(steps.commit_run))
    _add(graph, "settle", _settling_node(steps.settle_run))
    _add(graph, "release", _settling_node(steps.release))
    _add(graph, "park", _settling_node(steps.park))
    graph.add_conditional_edges(START, _entry, ["propose", "settle"])
    graph.add_conditional_edges("propose", _finished("commit_run"), ["commit_run", END])
    graph.add_edge("commit_run", END)
    graph.add_conditional_edges("settle", _settled, ["release", "park"])
    graph.add_edge("release", END)
    graph.add_edge("park", END)
    return _compiled(graph)


def _entry(state: State) -> str:
    return "settle" if isinstance(state["passage"], Settling) else "propose"


def _settled(state: State) -> str:
    return "release" if _settling(state).finished().allowed else "park"
