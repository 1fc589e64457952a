"""The command `collections pull`: from a database's schema to files. Not the reading or the mapping."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.context import Context
from server.cli.show import note, plain, table

if TYPE_CHECKING:
    from control_plane.data.pulling.draft import Pulled

app = typer.Typer(help="Collections: pull them from a database's schema.", no_args_is_help=True)

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


@app.callback()
def collections() -> None:
    """Collections: pull them from a database's schema."""


# Extra arguments come to the command, so that no usage error can repeat an address.
@app.command(context_settings={"allow_extra_args": True})
def pull(
    ctx: typer.Context,
    url_env: Annotated[
        str | None,
        typer.Option(help="The environment variable that holds the address; else asked for."),
    ] = None,
    schema: Annotated[
        str | None, typer.Option(help="The schema to read on Postgres; else the login's own.")
    ] = None,
    into: Annotated[
        Path | None, typer.Option(help="The folder to write to; else the catalog's collections.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="A table to pull. May be given again; else all.")
    ] = None,
    tenant_key: Annotated[
        str | None, typer.Option(help="The column that holds the tenant; else one is proposed.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files that are there already.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
) -> None:
    """Read a database's schema and write a declaration for each table."""
    from control_plane.data.pulling.declaring import declare
    from control_plane.data.pulling.reading import read_schema
    from control_plane.data.pulling.writing import write_declarations
    from control_plane.errors import BadInput

    if ctx.args:
        raise BadInput("arguments", "are not taken: the address comes by --url-env or is asked for")
    folder = into or Context.of(ctx).workspace.catalog / "collections"
    found = read_schema(_address(url_env), schema=schema, only=only or ())
    pulled = declare(found, tenant_key=tenant_key)
    written = write_declarations(pulled.collections, folder, force=force)
    _report(pulled, as_json=as_json)
    note(f"{len(written)} declarations are in {folder}; read them before they are applied.")


def _address(url_env: str | None) -> str:
    from control_plane.errors import BadInput
    from server.settings import process_environment

    if url_env is not None:
        if _VARIABLE.fullmatch(url_env) is None:
            raise BadInput("--url-env", "must be the name of a variable, not what it holds")
        address = process_environment().get(url_env)
        if not address:
            raise BadInput("--url-env", "must name a variable that is set, and none of our own")
        return address
    if not sys.stdin.isatty():
        raise BadInput("--url-env", "is needed: there is no terminal to ask at")
    asked: str = typer.prompt("Address of the database", hide_input=True, err=True)
    return asked


def _report(pulled: Pulled, *, as_json: bool) -> None:
    from control_plane.data.pulling.report import plain_report, report_rows

    if as_json:
        typer.echo(json.dumps(plain_report(pulled), indent=2))
        return
    for draft in (*pulled.collections, *pulled.undeclared):
        title = f"{draft.table} -> {draft.name}" if draft.fields else f"{draft.table}: no field"
        table(plain(title), ("part", "outcome", "field", "what to know"), report_rows(draft))
    tenant = pulled.tenant_key
    if tenant is not None:
        said = "given" if tenant.given else "proposed"
        note(
            f"Tenant key, {said}: {tenant.column} "
            f"({tenant.tables_count} of {tenant.tables_total} tables)"
        )
    for name, why in pulled.left_out:
        note(f"Left out: {name} ({why})")
