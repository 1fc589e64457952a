"""The three machines, each declared once: for LangGraph, and for the walk of a read. What a node does stands in steps.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypedDict

from graphs.passage import Passage, Settling
from graphs.steps import Steps

if TYPE_CHECKING:
    from langgraph.graph import StateGraph
    from langgraph.graph.state import CompiledStateGraph

RECURSION_MAX: Final = 25
# LangGraph's own names for both ends: it is imported where it compiles, since that takes a second.
START: Final = "__start__"
END: Final = "__end__"


class State(TypedDict):
    """One channel: each more would cost on every node."""

    passage: Passage | Settling


Compiled: TypeAlias = "CompiledStateGraph[State, None, State, State]"
Node = Callable[[State], State]


@dataclass(frozen=True)
class Way:
    """Where a node leads: to one of ``ends``, chosen by what the passage has become."""

    choose: Callable[[State], str]
    ends: tuple[str, ...]


@dataclass(frozen=True)
class Machine:
    """Nodes, and the way on from the start and from each. Both runners go by this table alone."""

    nodes: Mapping[str, Node]
    ways: Mapping[str, Way]

    def compiled(self) -> Compiled:
        """The same as a LangGraph state graph, without a checkpointer: it keeps nothing."""
        from langgraph.graph import StateGraph

        graph: StateGraph[State, None, State, State] = StateGraph(State)
        for name, node in self.nodes.items():
            _add(graph, name, node)
        for name, way in self.ways.items():
            if len(way.ends) == 1:
                graph.add_edge(name, way.ends[0])
            else:
                graph.add_conditional_edges(name, way.choose, list(way.ends))
        return graph.compile()  # pyright: ignore[reportUnknownMemberType] - a loose signature

    def walk(self, state: State) -> None:
        """Go from node to node without LangGraph, which costs half a millisecond each time.

        A property test holds the two together: the same nodes in the same order on every path.
        """
        at = self.ways[START].choose(state)
        for _ in range(RECURSION_MAX):
            if at == END:
                return
            self.nodes[at](state)
            at = self.ways[at].choose(state)
        raise AssertionError("a machine without an end")


def _add(graph: StateGraph[State, None, State, State], name: str, node: Any) -> None:
    graph.add_node(name, node)  # pyright: ignore[reportUnknownMemberType] - a loose signature


def query_machine(steps: Steps) -> Machine:
    """load → decide → filter → read → mask → record, all in one node: a refusal is an exception."""
    return Machine(
        nodes={"query": _node(steps.query)},
        ways={START: _to("query"), "query": _to(END)},
    )


def change_machine(steps: Steps) -> Machine:
    """decide → plan → act; a repeated call ends after decide, a dry run after plan.

    What policy wants an approval for is not done here: it becomes a run, which asks for it.
    """
    return Machine(
        nodes={
            "decide": _node(steps.load_change),
            "plan": _node(steps.plan_change),
            "act": _node(steps.act_change),
            "ask": _node(steps.ask_first),
        },
        ways={
            START: _to("decide"),
            "decide": _unless_finished("plan"),
            "plan": Way(_planned, ("act", "ask", END)),
            "act": _to(END),
            "ask": _to(END),
        },
    )


def lifecycle_machine(steps: Steps) -> Machine:
    """Two entries: ``propose`` from a face, ``settle`` from the worker."""
    return Machine(
        nodes={
            "propose": _node(steps.load_lifecycle),
            "commit_run": _node(steps.commit_run),
            "settle": _settling_node(steps.runs.settle_run),
            "release": _settling_node(steps.runs.release),
            "park": _settling_node(steps.runs.park),
        },
        ways={
            START: Way(_entry, ("propose", "settle")),
            "propose": _unless_finished("commit_run"),
            "commit_run": _to(END),
            "settle": Way(_settled, ("release", "park")),
            "release": _to(END),
            "park": _to(END),
        },
    )


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


def _to(name: str) -> Way:
    return Way(lambda _: name, (name,))


def _unless_finished(next_node: str) -> Way:
    def choose(state: State) -> str:
        return END if _call(state).outcome is not None else next_node

    return Way(choose, (next_node, END))


def _planned(state: State) -> str:
    passage = _call(state)
    if passage.outcome is not None:
        return END
    return "ask" if passage.must_ask else "act"


def _entry(state: State) -> str:
    return "settle" if isinstance(state["passage"], Settling) else "propose"


def _settled(state: State) -> str:
    return "release" if _settling(state).finished().allowed else "park"
