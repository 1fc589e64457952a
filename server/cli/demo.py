"""The command `demo`: shows the real thing in a throw-away workspace. Not the demo itself."""

from __future__ import annotations

from typing import Annotated

import typer

from server.cli.context import Context
from server.cli.show import failed, note


def demo(
    ctx: typer.Context,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the workspace in place, to go on in it.")
    ] = False,
) -> None:
    """Watch agents, approvals, refusals and a killed worker, for real, in a throw-away workspace."""
    import asyncio  # `--help` must be fast

    import anyio
    from rich.console import Console

    from server.demo.narrator import Narrator
    from server.demo.show import perform

    settings = Context.of(ctx).settings
    console = Console(highlight=False)
    try:
        ledger = anyio.run(lambda: perform(settings, Narrator(console), keep=keep))
    except (KeyboardInterrupt, asyncio.CancelledError):
        note("stopped; every process of the demo has ended")
        raise typer.Exit(130) from None
    for line in ledger.missed:
        failed(line)
    if ledger.missed:
        raise typer.Exit(1)
