"""The command `doctor`: shows the parts, the posture and what is missing. Looks at nothing itself."""

from __future__ import annotations

from pathlib import Path

import typer

from server.cli.context import Context
from server.cli.show import failed, note, table


def doctor(ctx: typer.Context) -> None:
    """Show every part, where it comes from and what is missing."""
    from server.parts import PROMISES, look, posture

    context = Context.of(ctx)
    start, explicit, settings = Path.cwd(), context.explicit, context.settings
    found = look(start, explicit, settings)
    table(
        "Parts",
        ("part", "version", "where from", "state"),
        [
            (one.name, one.version, one.source, "missing" if one.missing else one.state)
            for one in found
        ],
    )
    note(PROMISES[posture(start, explicit, settings)])
    missing = [one for one in found if one.missing]
    for one in missing:
        failed(f"{one.name}: {one.state}")
    if missing:
        raise typer.Exit(1)
