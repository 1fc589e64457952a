"""A closed state machine: states, table, what is legal. Not storage, and it checks no guard.

A guard is a name here; whoever fires the event has checked it. A machine that is contradictory or
can get stuck is refused when it is built, so that no process starts with one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from control_plane.errors import BadInput, Refused


class IllegalTransition(Refused):
    """The event is not legal in this state; `legal` lists those that are."""

    code = "illegal_transition"

    def __init__(self, machine: str, state: str, event: str, legal: tuple[str, ...]) -> None:
        choice = ", ".join(legal) or "none (the state is terminal)"
        message = f"{machine} is {state}: {event} is not legal; legal events: {choice}"
        super().__init__(message, rule=f"{machine}_machine", fact="state")
        self.machine = machine
        self.state = state
        self.event = event
        self.legal = legal


@dataclass(frozen=True, slots=True)
class Transition:
    """One arrow, or several with one label: from any of `source`, on `event`, to `target`.

    `guard` names the conditions that the firing party has checked. `irreversible` says that from
    here on the work cannot be called off.
    """

    source: frozenset[str] | str
    event: str
    target: str
    guard: str = ""
    irreversible: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        """The source states, sorted."""
        return (self.source,) if isinstance(self.source, str) else tuple(sorted(self.source))


@dataclass(frozen=True, slots=True)
class Transient:
    """What watches over a state in which work goes on: its deadline, heartbeat and exits (events).

    `lapse` is fired by the watch when `deadline_s` has passed or the heartbeat has stopped.
    `cancel` is empty exactly where every way in is irreversible.
    """

    deadline_s: int
    done: tuple[str, ...]
    failure: str = "fail"
    lapse: str = "fail"
    cancel: str = "cancel"
    heartbeat: bool = True


@dataclass(frozen=True, slots=True)
class Machine:
    """A closed table of transitions.

    `states` is the disjoint union of `stable` (may rest for ever), `transient` (work goes on) and
    `terminal` (no exits). Raises ValueError when built with names that do not agree, two targets
    for one (state, event), a terminal state with an exit, or a state that can get stuck.
    """

    name: str
    initial: str
    states: tuple[str, ...]
    stable: frozenset[str]
    transient: Mapping[str, Transient]
    terminal: frozenset[str]
    transitions: tuple[Transition, ...]
    _table: Mapping[str, Mapping[str, Transition]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Freeze the table, then check it."""
        object.__setattr__(self, "transient", MappingProxyType(dict(self.transient)))
        for fault in self._name_faults():
            raise ValueError(f"{self.name} machine: {fault}")
        object.__setattr__(self, "_table", self._tabulate())
        for fault in self._table_faults():
            raise ValueError(f"{self.name} machine: {fault}")

    @property
    def active(self) -> frozenset[str]:
        """The states that are not terminal."""
        return frozenset(self.states) - self.terminal

    @property
    def events(self) -> tuple[str, ...]:
        """Every event, sorted."""
        return tuple(sorted({arrow.event for arrow in self.transitions}))

    def legal(self, state: str) -> tuple[str, ...]:
        """The events that are legal in `state`, sorted. BadInput for a state we do not know."""
        return tuple(sorted(self._row(state)))

    def transition(self, state: str, event: str) -> Transition:
        """The arrow that `event` takes from `state`, with its guard; else IllegalTransition."""
        row = self._row(state)
        if event not in row:
            # An unknown event may be a caller's text: it is not repeated to anyone.
            shown = event if event in self.events else "this event"
            raise IllegalTransition(self.name, state, shown, self.legal(state))
        return row[event]

    def next(self, state: str, event: str) -> str:
        """The state after `event`; IllegalTransition (a Refused) lists what would be legal."""
        return self.transition(state, event).target

    def mermaid(self) -> str:
        """A Mermaid state diagram in the order of the table; the same text every time."""
        lines = ["stateDiagram-v2", f"    [*] --> {self.initial}"]
        for arrow in self.transitions:
            lines += [f"    {s} --> {arrow.target}: {_label(arrow)}" for s in arrow.sources]
        lines += [f"    {state} --> [*]" for state in self.states if state in self.terminal]
        return "\n".join(lines) + "\n"

    def _row(self, state: str) -> Mapping[str, Transition]:
        if state not in self._table:
            raise BadInput("state", f"must be a state of the {self.name} machine")
        return self._table[state]

    def _tabulate(self) -> Mapping[str, Mapping[str, Transition]]:
        table: dict[str, dict[str, Transition]] = {state: {} for state in self.states}
        for arrow in self.transitions:
            for source in arrow.sources:
                if arrow.event in table[source]:
                    raise ValueError(f"{self.name} machine: {source}, {arrow.event} stands twice")
                table[source][arrow.event] = arrow
        return MappingProxyType({key: MappingProxyType(row) for key, row in table.items()})

    def _name_faults(self) -> Iterator[str]:
        parts = [*self.stable, *self.transient, *self.terminal]
        if len(set(self.states)) != len(self.states):
            yield "a state is listed twice"
        if sorted(parts) != sorted(self.states):
            yield "stable, transient and terminal must share out the states exactly once"
        used = {self.initial, *(arrow.target for arrow in self.transitions)}
        used.update(source for arrow in self.transitions for source in arrow.sources)
        for stranger in sorted(used - set(self.states)):
            yield f"{stranger} is not a state"

    def _table_faults(self) -> Iterator[str]:
        for state in self.states:
            exits = {arrow.target for arrow in self._table[state].values()}
            if state in self.terminal and exits:
                yield f"{state} is terminal and has an exit"
            if state not in self.terminal and not self._reach(state) & self.terminal:
                yield f"{state} reaches no terminal state"
        for state in sorted(set(self.states) - self._reach(self.initial) - {self.initial}):
            yield f"{state} cannot be reached"
        for state, watch in self.transient.items():
            yield from self._watch_faults(state, watch)

    def _watch_faults(self, state: str, watch: Transient) -> Iterator[str]:
        row = self._table[state]
        if watch.deadline_s <= 0 or not watch.done:
            yield f"{state} needs a deadline and an exit for done"
        for event in (*watch.done, watch.failure, watch.lapse, *filter(None, [watch.cancel])):
            if event not in row or row[event].target == state:
                yield f"{state} has no exit on {event}"
        ways_in = [arrow for arrow in self.transitions if arrow.target == state]
        sealed = all(arrow.irreversible for arrow in ways_in)
        if sealed == bool(watch.cancel):
            yield f"{state} must have a cancel exactly until something irreversible begins"

    def _reach(self, state: str) -> frozenset[str]:
        seen: set[str] = set()
        front = [state]
        while front:  # bounded: a state enters `seen` once
            targets = {arrow.target for arrow in self._table[front.pop()].values()} - seen
            seen |= targets
            front += sorted(targets)
        return frozenset(seen)


def _label(arrow: Transition) -> str:
    guard = f" [{arrow.guard}]" if arrow.guard else ""
    return f"{arrow.event}{guard}{' (irreversible)' if arrow.irreversible else ''}"
