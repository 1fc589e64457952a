"""The machine's own check: a contradictory table is refused when it is built."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.domain.machine import Machine, Transient, Transition

LAMP: dict[str, Any] = {
    "name": "lamp",
    "initial": "off",
    "states": ("off", "warming", "on", "broken"),
    "stable": frozenset({"off", "on"}),
    "transient": {"warming": Transient(5, ("succeed",))},
    "terminal": frozenset({"broken"}),
    "transitions": (
        Transition("off", "press", "warming"),
        Transition("warming", "succeed", "on", guard="bulb_in"),
        Transition("warming", "fail", "off"),
        Transition("warming", "cancel", "off"),
        Transition(frozenset({"on", "off"}), "drop", "broken", irreversible=True),
    ),
}


def lamp(extra: tuple[Transition, ...] = (), without: str = "", **changes: Any) -> Machine:
    kept = tuple(a for a in LAMP["transitions"] if a.event != without)
    parts: dict[str, Any] = {**LAMP, "transitions": kept + extra, **changes}
    return Machine(**parts)


def test_a_sound_table_answers_what_comes_next() -> None:
    machine = lamp()
    assert machine.next("off", "press") == "warming"
    assert machine.legal("warming") == ("cancel", "fail", "succeed")
    assert machine.transition("warming", "succeed").guard == "bulb_in"


def test_the_picture_is_the_same_text_every_time() -> None:
    assert (
        lamp().mermaid()
        == lamp().mermaid()
        == (
            "stateDiagram-v2\n"
            "    [*] --> off\n"
            "    off --> warming: press\n"
            "    warming --> on: succeed [bulb_in]\n"
            "    warming --> off: fail\n"
            "    warming --> off: cancel\n"
            "    off --> broken: drop (irreversible)\n"
            "    on --> broken: drop (irreversible)\n"
            "    broken --> [*]\n"
        )
    )


def test_a_machine_cannot_be_changed() -> None:
    machine = lamp()
    with pytest.raises(AttributeError):
        machine.name = "torch"  # type: ignore[misc]
    with pytest.raises(TypeError):
        machine.transient["on"] = Transient(5, ("succeed",))  # type: ignore[index]


@pytest.mark.parametrize(
    ("fault", "changes"),
    [
        ("elsewhere is not a state", {"extra": (Transition("off", "go", "elsewhere"),)}),
        ("elsewhere is not a state", {"extra": (Transition("elsewhere", "go", "off"),)}),
        ("elsewhere is not a state", {"initial": "elsewhere"}),
        ("a state is listed twice", {"states": ("off", "off", "warming", "on", "broken")}),
        ("share out the states exactly once", {"stable": frozenset({"off"})}),
        ("share out the states exactly once", {"stable": frozenset({"off", "on", "broken"})}),
        ("off, press stands twice", {"extra": (Transition("off", "press", "on"),)}),
        ("broken is terminal and has an exit", {"extra": (Transition("broken", "fix", "off"),)}),
        ("reaches no terminal state", {"without": "drop"}),
        ("off cannot be reached", {"initial": "on"}),
        ("warming has no exit on fail", {"without": "fail"}),
        ("warming has no exit on cancel", {"without": "cancel"}),
        (
            "warming has no exit on wait",
            {
                "transient": {"warming": Transient(5, ("wait",))},
                "extra": (Transition("warming", "wait", "warming"),),
            },
        ),
        ("needs a deadline", {"transient": {"warming": Transient(0, ("succeed",))}}),
        ("an exit for done", {"transient": {"warming": Transient(5, ())}}),
        (
            "cancel exactly until something irreversible begins",
            {"transient": {"warming": Transient(5, ("succeed",), cancel="")}},
        ),
        (
            "cancel exactly until something irreversible begins",
            {
                "without": "press",
                "extra": (Transition("off", "slam", "warming", irreversible=True),),
            },
        ),
    ],
)
def test_a_table_with_a_fault_is_refused_when_it_is_built(
    fault: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="lamp machine") as caught:
        lamp(**changes)
    assert fault in str(caught.value)
