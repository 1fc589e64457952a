"""The command `fleet watch`: how far the campaign over all tenants is. It steers nothing."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import typer

from server.cli.context import Context
from server.cli.show import failed, note, plain

if TYPE_CHECKING:
    from server.fleet_watch import FleetLook

_PAUSE_S: Final = 0.5

app = typer.Typer(help="The fleet: changes of all tenants' databases.", no_args_is_help=True)


@app.callback()
def fleet() -> None:
    """The fleet: changes of all tenants' databases."""


@app.command()
def watch(ctx: typer.Context) -> None:
    """Show how far the newest campaign is until it rests; ending this does not end it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from server.fleet_watch import watch as looks

    context, pause = Context.of(ctx), threading.Event()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
    )
    console, look = Console(stderr=True), None
    with context.store("face") as store, Progress(*columns, console=console) as shown:
        bar = shown.add_task("migrating", total=None, told="")
        for look in looks(store, time.monotonic, lambda: pause.wait(_PAUSE_S)):
            shown.update(
                bar,
                description=plain(look.state),
                completed=look.done,
                total=look.databases,
                told=_told(look),
            )
    assert look is not None, "it is looked at once at least"
    said = f"{look.state}: {look.done} of {look.databases}, {look.failed} failed"
    if look.state in ("done", "paused"):
        note(said)
        return
    failed(said)
    raise typer.Exit(1)


def _told(look: FleetLook) -> str:
    eta = look.eta_s
    left = "" if eta is None else f", {int(eta)} s left"
    wrong = f", {look.failed} failed" if look.failed else ""
    return f"{look.rate:.1f}/s{left}{wrong}"
