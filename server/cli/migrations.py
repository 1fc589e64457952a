"""The commands `migrations …`: check the team's migrations, list them, make them of Alembic's. Not the checking."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from server.cli.context import Context
from server.cli.show import failed, note, plain, table

app = typer.Typer(
    help="Migrations: the team's own changes of tenants' databases.", no_args_is_help=True
)

Folder = Annotated[Path | None, typer.Argument(help="The catalog's folder; else the workspace's.")]
AsJson = Annotated[bool, typer.Option("--json", help="All of it as JSON.")]


@app.callback()
def migrations() -> None:
    """Migrations: the team's own changes of tenants' databases."""


@app.command()
def check(ctx: typer.Context, folder: Folder = None, as_json: AsJson = False) -> None:
    """Tell every mistake of the migrations, by file, line and rule."""
    from control_plane.data.collection import load_collections
    from control_plane.fleet.checker import check as look
    from server.catalog import migration_texts

    where = folder or Context.of(ctx).workspace.catalog
    declared = {one.name for one in load_collections(where / "collections")}
    found, findings = look(migration_texts(where), declared)
    if as_json:
        told = [
            {"file": one.file, "line": one.line, "rule": one.rule, "message": one.message}
            for one in findings
        ]
        typer.echo(json.dumps({"migrations": len(found), "findings": told}, indent=2))
    for one in () if as_json else findings:
        typer.echo(plain(one.told()))
    if findings:
        note(f"{len(findings)} mistakes; nothing of this can be applied.")
        raise typer.Exit(1)
    note(f"{len(found)} migrations: no mistake.")


@app.command(name="list")
def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the applied catalog's migrations, and how many databases have each."""
    from control_plane.fleet.campaigns import in_force, standing_members
    from server.catalog import load_applied

    context = Context.of(ctx)
    with context.store("face") as store, store.read() as connection:
        found = load_applied(connection, context.workspace.catalogs).migrations
        last = in_force(connection)
        have = {one.number: len(standing_members(connection, one.number)) for one in found}
    if as_json:
        told = [
            {
                "number": one.number,
                "name": one.name,
                "phase": one.header.phase,
                "digest": one.digest,
                "in_force": one.number <= last,
                "databases": have[one.number],
            }
            for one in found
        ]
        typer.echo(json.dumps(told, indent=2))
        return
    rows = [
        (one.name, one.header.phase, "yes" if one.number <= last else "no", str(have[one.number]))
        for one in found
    ]
    table("Migrations", ("name", "phase", "in force", "databases"), rows)


@app.command(name="import")
def import_(
    ctx: typer.Context,
    alembic: Annotated[Path, typer.Option(help="The folder of Alembic's scripts.")],
    folder: Folder = None,
) -> None:
    """Render Alembic revisions, offline and in a process of their own, as migration files.

    This runs the revisions' Python. Read what is written before it is applied.
    """
    from server.alembic_import import import_alembic

    where = (folder or Context.of(ctx).workspace.catalog) / "migrations"
    told = import_alembic(alembic, where)
    for one in told:
        if one.file:
            typer.echo(plain(f"{one.revision} -> {one.file}"))
        else:
            failed(f"{one.revision} cannot be rendered: {one.error}")
    note(f"In {where}: say which are contracts, then run `paybill migrations check`.")
    if any(one.error for one in told):
        raise typer.Exit(1)
