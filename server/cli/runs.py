"""The command `run watch`: a run's steps and resources while the worker is at it. It steers nothing."""

from __future__ import annotations

import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final

import typer

from server.cli.context import Context
from server.cli.show import failed, note, plain

if TYPE_CHECKING:
    from rich.console import Group

    from server.run_watch import Look

_PAUSE_S: Final = 0.5
_SIGNS: Final = MappingProxyType(
    {"started": "…", "working": "…", "done": "✓", "failed": "✗", "succeeded": "✓", "undone": "↶"}
)

app = typer.Typer(help="Runs: what the worker is doing.", no_args_is_help=True)


@app.callback()
def runs() -> None:
    """Runs: what the worker is doing."""


@app.command()
def watch(
    ctx: typer.Context,
    run_id: Annotated[str, typer.Argument(help="The run's id, as a call answered it.")],
) -> None:
    """Show a run's steps and resources until it rests; ending this does not end the run."""
    from rich.console import Console
    from rich.live import Live

    from server.run_watch import watch as looks

    context, pause = Context.of(ctx), threading.Event()
    console = Console()
    with context.store() as store, Live(console=console, auto_refresh=False) as live:
        look = None
        for look in looks(store, run_id, lambda: pause.wait(_PAUSE_S)):
            live.update(_shown(look), refresh=console.is_terminal or look.rests)
    assert look is not None, "a run is looked at once at least"
    said = f"{look.run.state} {look.run.reason}".strip()
    if look.run.state in ("applied", "awaiting_approval", "discarded"):
        note(f"run {run_id}: {said}")
        return
    failed(f"run {run_id}: {said}; {look.run.detail}".rstrip("; "))
    raise typer.Exit(1)


def _shown(look: Look) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    run = look.run
    head = Text(plain(f"{run.kind} of {run.tenant or 'the workspace'}: {run.state}"), style="bold")
    shown = Table(box=None, show_header=False, pad_edge=False)
    for step in look.steps:
        shown.add_row(_SIGNS.get(step.state, " "), Text(plain(step.name)), Text(plain(step.state)))
    for one in look.resources:
        doing = f"{one.doing} {one.stage}" + (f" {one.elapsed_s} s" if one.elapsed_s else "")
        address = Text(plain(f"  {one.address}"))
        shown.add_row(_SIGNS.get(one.stage, " "), address, Text(plain(doing)))
    return Group(head, shown)
