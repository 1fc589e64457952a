"""The commands `catalog …`: what is wrong with a catalog's files, and what applying them would change. Not the looking."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.context import Context
from server.cli.show import note, plain, table

if TYPE_CHECKING:
    from server.catalog_changes import CatalogChanges
    from server.catalog_check import Checked

app = typer.Typer(
    help="The catalog: check its files, and see what applying them would change.",
    no_args_is_help=True,
)

Folder = Annotated[Path | None, typer.Argument(help="The catalog's folder; else the workspace's.")]


@app.callback()
def catalog() -> None:
    """The catalog: check its files, and see what applying them would change."""


@app.command()
def check(
    ctx: typer.Context,
    folder: Folder = None,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as JSON.")] = False,
) -> None:
    """Tell every mistake of a catalog's files, or what they declare."""
    from server.catalog_check import check as look
    from server.private_engine import engine_program

    context = Context.of(ctx)
    where = folder or context.workspace.catalog
    checked = look(where, lambda: engine_program(context.settings))
    _show_check(checked, as_json=as_json)
    if checked.mistakes:
        raise typer.Exit(1)


@app.command()
def plan(
    ctx: typer.Context,
    folder: Folder = None,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as JSON.")] = False,
) -> None:
    """Tell what applying a catalog's files would change: tables, rights, approvals."""
    from server.catalog_changes import plan_changes
    from server.private_engine import engine_program

    context = Context.of(ctx)
    workspace = context.workspace
    where = folder or workspace.catalog
    with context.store("face") as store:
        found = plan_changes(workspace, where, lambda: engine_program(context.settings), store)
    if found.checked is not None:
        _show_check(found.checked, as_json=as_json)
        raise typer.Exit(1)
    assert found.changes is not None, "what has no mistake is compared"
    _show_plan(found.changes, as_json=as_json)


def _show_check(checked: Checked, *, as_json: bool) -> None:
    from server.catalog_report import DECLARED, declared_rows, plain_check, told

    if as_json:
        typer.echo(json.dumps(plain_check(checked), indent=2))
        return
    for mistake in checked.mistakes:
        typer.echo(plain(told(mistake)))
    for one in checked.notes:
        note(f"Note: {told(one)}")
    if checked.mistakes:
        note(f"{len(checked.mistakes)} mistakes; nothing of this can be applied.")
        return
    offers = {one.name for one in checked.plans}
    title = f"{len(checked.collections)} collections, {len(offers)} plans: no mistake"
    table(title, DECLARED, declared_rows(checked))


def _show_plan(found: CatalogChanges, *, as_json: bool) -> None:
    from server import catalog_report as report

    if as_json:
        typer.echo(json.dumps(report.plain_plan(found), indent=2))
        return
    if found.nothing:
        typer.echo("Nothing to do: this catalog is applied.")
        return
    table("Digests", report.DIGESTS, report.digest_rows(found))
    _part("Plans", report.OFFERS, report.offer_rows(found))
    _part("Collections", report.MOVES, report.move_rows(found))
    for line in report.statement_lines(found):
        typer.echo(plain(line))
    _part("Who gains or loses what", report.RIGHTS, report.right_rows(found))
    _part("Runs and approvals that would be void", report.VOIDED, report.voided_rows(found))
    if found.evolution.refused:
        note("No database follows the moves that are refused: this cannot be applied.")


def _part(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    shown = list(rows)
    if shown:
        table(title, columns, shown)
    else:
        typer.echo(f"{title}: nothing changes.")
