"""The commands `catalog …`: what is wrong with a catalog's files, what they would change, and applying them. Not the looking."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.context import Context
from server.cli.show import failed, note, plain, table

if TYPE_CHECKING:
    from control_plane.domain.outcome import Outcome
    from control_plane.domain.plans import PlanCatalog
    from server.catalog_applying import Progress, Working
    from server.catalog_changes import CatalogChanges
    from server.catalog_check import Checked

app = typer.Typer(
    help="The catalog: check its files, see what they would change, apply them.",
    no_args_is_help=True,
)

Folder = Annotated[Path | None, typer.Argument(help="The catalog's folder; else the workspace's.")]


@app.callback()
def catalog() -> None:
    """The catalog: check its files, see what they would change, apply them."""


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
    applied = _applied_plans(context)
    checked = look(where, lambda: engine_program(context.settings), applied)
    _show_check(checked, as_json=as_json)
    if checked.mistakes:
        raise typer.Exit(1)


def _applied_plans(context: Context) -> PlanCatalog | None:
    """The plans in force; None outside of a workspace, where a folder can be checked too."""
    from server.catalog import load_applied
    from server.workspace import WorkspaceError

    try:
        workspace = context.workspace
    except WorkspaceError:
        return None
    with context.store("face") as store, store.read() as connection:
        return load_applied(connection, workspace.catalogs).plans


@app.command()
def plan(
    ctx: typer.Context,
    folder: Folder = None,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as JSON.")] = False,
) -> None:
    """Tell what applying a catalog's files would change: tables, rights, approvals."""
    from control_plane.handlers.catalog_in_force import digest_before
    from server.catalog_changes import plan_changes
    from server.private_engine import engine_program

    context = Context.of(ctx)
    workspace = context.workspace
    where = folder or workspace.catalog
    with context.store("face") as store:
        found = plan_changes(workspace, where, lambda: engine_program(context.settings), store)
        with store.read() as connection:
            before = digest_before(connection)
    if before is not None:
        note(
            "Databases still serve the catalog before the one applied: apply that one again first."
        )
    if found.checked is not None:
        _show_check(found.checked, as_json=as_json)
        raise typer.Exit(1)
    assert found.changes is not None, "what has no mistake is compared"
    _show_plan(found.changes, as_json=as_json)


@app.command()
def apply(
    ctx: typer.Context,
    folder: Folder = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A human's token; else PAYBILL_TOKEN.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Have it planned by the worker; change nothing.")
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="End when the run is begun.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The outcome as JSON.")] = False,
) -> None:
    """Put a catalog's files in force, as a run that a human approves; and follow it."""
    from server import catalog_applying as applying
    from server.private_engine import engine_program

    context = Context.of(ctx)
    where = folder or context.workspace.catalog
    with context.store("face") as store:
        working = applying.keep_working(
            context.workspace, where, lambda: engine_program(context.settings), store
        )
    if working.checked is not None and working.checked.mistakes:
        _show_check(working.checked, as_json=as_json)
        raise typer.Exit(1)
    if working.nothing:
        outcome = applying.nothing_to_do(working)
    else:
        _show_notes(working.checked)
        outcome = _run(context, working, token_file, dry_run=dry_run, wait=not no_wait)
    _show_outcome(outcome, as_json=as_json)
    begun = no_wait and outcome.outcome in applying.UNDER_WAY
    if not begun and outcome.outcome not in ("done", "planned"):
        raise typer.Exit(1)


def _run(
    context: Context, working: Working, token_file: Path | None, *, dry_run: bool, wait: bool
) -> Outcome:
    """Ask for it, and follow the run for as long as it takes."""
    from server import catalog_applying as applying

    workspace, settings = context.workspace, context.settings
    with applying.opened_front(workspace, settings, token_file) as (front, store):
        with store.read() as connection:
            key = applying.key_of(connection, working)
        outcome = applying.ask(front, working.digest, key, dry_run=dry_run)
        if not wait or outcome.run_id is None or outcome.outcome not in applying.UNDER_WAY:
            return outcome
        note(f"Run {outcome.run_id}")
        try:
            run = applying.follow(
                store, outcome.run_id, _tell, applying.pausing(workspace, settings)
            )
        except KeyboardInterrupt:
            follow = "run_get follows it" if dry_run else "the same command follows it"
            note(f"Run {outcome.run_id} goes on: {follow}.")
            raise typer.Exit(130) from None
        if applying.half_applied(store, working.digest):
            note("The catalog is in force; the same command finishes what is left.")
        return applying.outcome_of(run)


def _tell(progress: Progress) -> None:
    note(f"  {progress.state.replace('_', ' ')} {progress.step}".rstrip())
    if progress.state == "awaiting_approval":
        note(f"  Approve it with: paybill approvals approve {progress.approval_id}")


def _show_outcome(outcome: Outcome, *, as_json: bool) -> None:
    from server.catalog_applying import planned_catalog
    from server.rendering import catalog_lines

    result = outcome.result or {}
    if as_json:
        typer.echo(json.dumps(outcome.answer(), indent=2))
    elif outcome.outcome == "done":
        typer.echo(plain(outcome.message or f"Applied: {result.get('catalog')}"))
    elif outcome.outcome == "planned":
        for line in catalog_lines(planned_catalog(result)):
            typer.echo(plain(line))
        note("Dry run: nothing was changed.")
    elif outcome.outcome == "running":
        note(f"Run {outcome.run_id} is under way; the same command follows it.")
    elif outcome.outcome == "awaiting_approval":
        note(f"Approve it with: paybill approvals approve {outcome.approval_id}")
    else:
        run = f" (run {outcome.run_id})" if outcome.run_id else ""
        failed(f"{outcome.code or outcome.outcome}: {outcome.message}{run}")


def _show_check(checked: Checked, *, as_json: bool) -> None:
    from server.catalog_report import DECLARED, declared_rows, plain_check, told

    if as_json:
        typer.echo(json.dumps(plain_check(checked), indent=2))
        return
    for mistake in checked.mistakes:
        typer.echo(plain(told(mistake)))
    _show_notes(checked)
    if checked.mistakes:
        note(f"{len(checked.mistakes)} mistakes; nothing of this can be applied.")
        return
    offers = {one.name for one in checked.plans}
    title = f"{len(checked.collections)} collections, {len(offers)} plans: no mistake"
    table(title, DECLARED, declared_rows(checked))


def _show_notes(checked: Checked | None) -> None:
    from server.catalog_report import told

    for one in () if checked is None else checked.notes:
        note(f"Note: {told(one)}")


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
    _part("Coupons", report.COUPONS, report.coupon_rows(found))
    _part("Tax", report.TAX, report.tax_rows(found))
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
