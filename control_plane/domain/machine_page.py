"""The documentation page of a machine: picture and tables as Markdown. Not the machine itself."""

from __future__ import annotations

from control_plane.domain.machine import Machine


def machine_page(machine: Machine) -> str:
    """A Markdown page for one machine; the same text every time, and it ends with a newline."""
    title = f"# The {machine.name} machine"
    ends = f"Terminal: {_names(machine, machine.terminal)}."
    rests = f"Stable: {_names(machine, machine.stable)}."
    parts = [title, f"{rests}\n{ends}", f"```mermaid\n{machine.mermaid()}```"]
    if machine.transient:
        parts.append(_watch_table(machine))
    return "\n\n".join(parts) + "\n"


def _names(machine: Machine, members: frozenset[str]) -> str:
    return ", ".join(f"`{state}`" for state in machine.states if state in members)


def _watch_table(machine: Machine) -> str:
    lines = [
        "| transient state | deadline (s) | heartbeat | done | failure | lapse | cancel |",
        "|---|---|---|---|---|---|---|",
    ]
    for state in machine.states:
        watch = machine.transient.get(state)
        if watch is None:
            continue
        beat = "yes" if watch.heartbeat else "no"
        cells = (state, watch.deadline_s, beat, " / ".join(watch.done), watch.failure, watch.lapse)
        lines.append(f"| {' | '.join(map(str, cells))} | {watch.cancel or '-'} |")
    return "\n".join(lines)
