"""The command `connect`: what an agent's client starts where the server is another user's. Not the relay itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from control_plane.errors import BadInput


def _not_an_argument(ctx: typer.Context, value: str | None) -> str | None:
    source = ctx.get_parameter_source("token")
    if source is not None and source.name == "COMMANDLINE":
        # Every user of the machine may read another's arguments.
        raise BadInput("--token", "is no argument: use PAYBILL_TOKEN or --token-file")
    return value


def connect(
    socket: Annotated[Path, typer.Argument(help="The socket of `paybill serve --socket`.")],
    token_file: Annotated[
        Path | None,
        typer.Option(
            envvar="PAYBILL_TOKEN_FILE", help="A file that holds the token; else PAYBILL_TOKEN."
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="PAYBILL_TOKEN", hidden=True, callback=_not_an_argument),
    ] = None,
) -> None:
    """Carry MCP between stdio and a server's socket: what an MCP client of another user starts."""
    from server.connect import open_connection, read_token, relay

    held = read_token(token_file) if token_file is not None else token
    if not held:
        raise BadInput("--token-file", "is needed, or PAYBILL_TOKEN")
    relay(open_connection(socket, held))
