"""The command `sample load`: puts the help desk's rows into a tenant. Not how they are made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.context import Context
from server.cli.show import plain

if TYPE_CHECKING:
    from control_plane.domain.caller import Caller
    from control_plane.ports import Store

app = typer.Typer(help="The help desk sample: rows to look at.", no_args_is_help=True)


@app.callback()
def sample() -> None:
    """The help desk sample: rows to look at."""


@app.command()
def load(
    ctx: typer.Context,
    tenant: Annotated[str, typer.Option(help="The tenant's id.")],
    token_file: Annotated[
        Path | None, typer.Option(help="A file that holds a token with the role platform_admin.")
    ] = None,
    rows_max: Annotated[
        int, typer.Option(min=1, max=100, help="How many rows of each collection, at most.")
    ] = 100,
) -> None:
    """Create the help desk's rows in a tenant, one call each."""
    from control_plane.engine.failpoints import Failpoints
    from server.clock import SystemClock
    from server.face_process import verifier
    from server.ids import RandomIds
    from server.presence import open_face
    from server.sample import load_sample
    from server.token_source import TokenSource
    from server.wiring import wire_face
    from server.worker_link import ensure_worker

    context = Context.of(ctx)
    workspace = context.workspace
    # The general tools name the collection, whatever agents are shown.
    settings = context.settings.model_copy(update={"collection_tools": "generic"})

    def identify(store: Store) -> Callable[[], Caller]:
        source = TokenSource(verifier(workspace, store), SystemClock(), settings, token_file)
        return source.caller

    with open_face(workspace.state / "faces", RandomIds().new()):
        ensure_worker(workspace, settings)
        face = wire_face(workspace, settings, identify, Failpoints())
        try:
            counted = load_sample(face.front, tenant, rows_max)
        finally:
            face.close()
    told = ", ".join(f"{count} {name}" for name, count in counted.items())
    typer.echo(plain(f"{tenant}: {told}"))
