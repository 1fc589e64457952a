"""The machines as Mermaid pictures for the docs. Draws what is compiled; changes nothing."""

from __future__ import annotations

from graphs.machines import change_machine, lifecycle_machine, query_machine
from graphs.run_steps import RunSteps
from graphs.steps import Steps

_ABOUT = {
    "query": "A command that changes nothing: one node, because a refusal is an exception.",
    "change": "A command carried out within one request. A repeated call ends after `decide`, "
    "a dry run after `plan`; `ask` makes a run of what policy wants an approval for.",
    "lifecycle": "A command that the worker executes. A face enters by `propose`, the worker by "
    "`settle`: with every decision the same steps are walked again.",
}


def pictures() -> str:
    """The page `docs/machines/graphs.md`."""
    # Compiling binds methods and calls none: no port is needed for a drawing.
    steps = object.__new__(Steps)
    steps.runs = object.__new__(RunSteps)
    machines = {
        "query": query_machine(steps),
        "change": change_machine(steps),
        "lifecycle": lifecycle_machine(steps),
    }
    page = ["# The machines of a call", "", "Drawn from the compiled LangGraph machines."]
    for name, machine in machines.items():
        drawn = machine.compiled().get_graph().draw_mermaid().strip()
        page += ["", f"## {name}", "", _ABOUT[name], "", "```mermaid", drawn, "```"]
    return "\n".join(page) + "\n"
