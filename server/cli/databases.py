"""The command `databases scrub`: what is left of removed rows taken out of shared files. Not their removal."""

from __future__ import annotations

from typing import Annotated

import typer

from server.cli.context import Context
from server.cli.show import note, plain

app = typer.Typer(help="Files of tenants' databases.", no_args_is_help=True)


@app.callback()
def databases() -> None:
    """Files of tenants' databases."""


@app.command()
def scrub(
    ctx: typer.Context,
    wait_ms: Annotated[
        int, typer.Option(min=100, max=600_000, help="How long to wait for those who write.")
    ] = 30_000,
) -> None:
    """Take what is left of removed rows out of the files that pooled tenants share on SQLite."""
    from control_plane.databases.sqlite_scrub import scrub as scrubbed
    from control_plane.databases.sqlite_scrub import shared_files

    found = shared_files(Context.of(ctx).workspace.data)
    if not found:
        note(
            "there is no file that tenants share: on Postgres the server does it, see the reference"
        )
        return
    held = False
    for path in found:
        one = scrubbed(path, wait_ms)
        held = held or not one.is_clean
        state = "clean" if one.is_clean else "a reader holds its log: do it again"
        typer.echo(plain(f"{path.name}: {one.bytes_before} to {one.bytes_after} bytes, {state}"))
    if held:
        raise typer.Exit(1)
