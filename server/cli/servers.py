"""The commands `server add`, `list` and `remove`: where tenants' databases may stand. Not the databases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from server.cli.context import Context
from server.cli.show import plain, table

app = typer.Typer(
    help="Servers: where tenants' databases may stand, beside the workspace's own.",
    no_args_is_help=True,
)

_NAME = typer.Argument(help="The server's name.")
_OWNER = typer.Option(help="A 0600 file with the URL of a login that may make roles and databases.")


@app.callback()
def servers() -> None:
    """Servers: where tenants' databases may stand, beside the workspace's own."""


@app.command()
def add(
    ctx: typer.Context,
    name: Annotated[str, _NAME],
    postgres_file: Annotated[Path, _OWNER],
) -> None:
    """Declare a Postgres server: the workspace gets logins of its own there, and keeps no other."""
    from server.ids import RandomIds
    from server.login_files import read_owner, server_of
    from server.tenant_servers import declare

    context = Context.of(ctx)
    owner = read_owner(postgres_file)
    declare(context.workspace, _name(name), owner, RandomIds().new())
    _leaf(context, "server.added", name, server_of(owner))
    typer.echo(plain(f"Added the server {name}; tenant_move may name it."))


@app.command(name="list")
def listed(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show the servers, and how many databases stand on each."""
    from control_plane.domain.home import MAIN
    from server.tenant_servers import told

    context = Context.of(ctx)
    counts = _standing(context)
    rows = {MAIN: context.workspace.store, **told(context.workspace)}
    if as_json:
        told_of = [
            {"name": name, "at": at, "databases": counts.get(name, 0)} for name, at in rows.items()
        ]
        typer.echo(json.dumps(told_of, indent=2))
        return
    table(
        "Servers",
        ("name", "at", "databases"),
        [[name, at, str(counts.get(name, 0))] for name, at in rows.items()],
    )


@app.command()
def remove(
    ctx: typer.Context,
    name: Annotated[str, _NAME],
    postgres_file: Annotated[Path, _OWNER],
) -> None:
    """Forget a server on which no tenant's database stands any more, with the logins there."""
    from server.login_files import read_owner, server_of
    from server.tenant_servers import undeclare

    context = Context.of(ctx)
    owner = read_owner(postgres_file)
    undeclare(context.workspace, name, owner, _standing(context).get(name, 0))
    _leaf(context, "server.removed", name, server_of(owner))
    typer.echo(plain(f"Removed the server {name}."))


def _name(given: str) -> str:
    from pydantic import TypeAdapter, ValidationError

    from control_plane.domain.home import DeclaredServerName
    from control_plane.errors import BadInput

    try:
        return TypeAdapter(DeclaredServerName).validate_python(given)
    except ValidationError:
        raise BadInput("name", "must be 1 to 39 of a-z, 0-9 and -, from a letter") from None


def _standing(context: Context) -> dict[str, int]:
    from collections import Counter

    from control_plane.handlers.database_rows import homes

    with context.store("face") as store, store.read() as connection:
        return dict(Counter(home.server for _, home in homes(connection)))


def _leaf(context: Context, kind: str, name: str, at: str) -> None:
    from control_plane.audit.recorder import LeafRecorder
    from server import keys
    from server.clock import SystemClock
    from server.ids import RandomIds

    public = keys.load_public(context.workspace.keys)
    recorder = LeafRecorder(public.seal_bytes, SystemClock(), RandomIds())
    with context.store() as store, store.write() as connection:
        recorder.record(connection, kind, "", {"server": name, "at": at})
