"""The commands `keys list`, `keys rotate`, `keys rewrap` and `keys archives`: what opens backups. Not a key itself."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.context import Context
from server.cli.show import note, plain

if TYPE_CHECKING:
    from server.backup_wiring import Backing

app = typer.Typer(help="The keys that tenants' backups are sealed under.", no_args_is_help=True)


@app.command(name="list")
def list_keys(
    ctx: typer.Context,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
) -> None:
    """Show every version of tenants' data keys, and what wraps each."""
    with _backing(ctx) as backing:
        found = backing.keys.kept(tenant)
    for one in found:
        state = one.wrapped.kek if one.wrapped is not None else f"shredded {one.shredded_at}"
        typer.echo(plain(f"{one.tenant} {one.version} {one.made_at} {state}"))
    if not found:
        note("there is none: a tenant's first backup makes one")


@app.command()
def rotate(
    ctx: typer.Context,
    tenant: Annotated[str, typer.Option(help="Whose key it is.")],
) -> None:
    """Make a new version of a tenant's data key, for the backups from now on."""
    from control_plane.errors import NotFound
    from control_plane.facts.load import tenant_row

    with _backing(ctx) as backing:
        with Context.of(ctx).store() as store, store.read() as connection:
            if tenant_row(connection, tenant) is None:
                raise NotFound("there is no such tenant", code="tenant_absent")
        made = backing.keys.rotate(tenant)
    typer.echo(plain(f"{made.tenant}: version {made.version}"))


@app.command()
def rewrap(ctx: typer.Context) -> None:
    """Wrap every data key under the present key that wraps; the one before is needed no more."""
    with _backing(ctx) as backing:
        count, under = backing.keys.rewrap(), backing.keys.wraps
    typer.echo(plain(f"{count} wrapped anew under {under}"))


@app.command()
def archives(ctx: typer.Context) -> None:
    """Show the archives that lie there, by their signed manifests: also where the store is lost."""
    with _backing(ctx) as backing:
        found = backing.archives.manifests()
    for one in found:
        told = one.manifest
        said = (
            f"{told.made_at} {told.kind} until {told.restorable_until}"
            if told is not None
            else str(one.code)
        )
        typer.echo(plain(f"{one.tenant} {one.backup_id} {said}"))
    # One of before never had a manifest, and opens all the same.
    if any(one.code not in (None, "manifest_missing") for one in found):
        raise typer.Exit(1)


@contextmanager
def _backing(ctx: typer.Context) -> Generator[Backing]:
    from server import keys as key_files
    from server.backup_wiring import wire_backups
    from server.clock import SystemClock
    from server.ids import RandomIds

    context = Context.of(ctx)
    held = key_files.load(context.workspace.keys)
    with context.store() as store:
        yield wire_backups(
            context.workspace, context.settings, held, store, SystemClock(), RandomIds()
        )
