"""The commands `freeze on`, `off` and `status`: a human's hand on what begins. Not the runs, and no decision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.context import Context
from server.cli.show import failed, plain, table

if TYPE_CHECKING:
    from control_plane.domain.outcome import Outcome

app = typer.Typer(
    help="Freeze: keep runs from beginning, and let them again.", no_args_is_help=True
)

_TOKEN = typer.Option("--token-file", help="A human's token; else PAYBILL_TOKEN.")
_TENANT = typer.Option(help="Only runs about this tenant.")
_CLOUD = typer.Option(help="Only runs about tenants in this cloud.")
_REASON = typer.Option(help="Why; it is recorded, and told to who asks.")
_JSON = typer.Option("--json", help="All of it as JSON.")


@app.callback()
def freezes() -> None:
    """Freeze: keep runs from beginning, and let them again."""


@app.command()
def on(
    ctx: typer.Context,
    reason: Annotated[str, _REASON],
    tenant: Annotated[str | None, _TENANT] = None,
    cloud: Annotated[str | None, _CLOUD] = None,
    token_file: Annotated[Path | None, _TOKEN] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Keep runs from beginning: of the workspace, of one tenant, or in one cloud."""
    _change(Context.of(ctx), True, reason, tenant, cloud, token_file, as_json)


@app.command()
def off(
    ctx: typer.Context,
    reason: Annotated[str, _REASON],
    tenant: Annotated[str | None, _TENANT] = None,
    cloud: Annotated[str | None, _CLOUD] = None,
    token_file: Annotated[Path | None, _TOKEN] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Let them begin again, and those that wait go on."""
    _change(Context.of(ctx), False, reason, tenant, cloud, token_file, as_json)


@app.command()
def status(ctx: typer.Context, as_json: Annotated[bool, _JSON] = False) -> None:
    """Show the freezes in force, and how many runs wait for each of them to be lifted."""
    from server.freeze_status import frozen_now

    with Context.of(ctx).store("face") as store, store.read() as connection:
        found = frozen_now(connection)
    if as_json:
        typer.echo(json.dumps([one.told() for one in found], indent=2))
        return
    columns = ("scope", "of", "at", "by", "reason", "waiting")
    told = [one.told() for one in found]
    table("Freezes", columns, [[str(one[name]) for name in columns] for one in told])


def _change(
    context: Context,
    wanted: bool,
    reason: str,
    tenant: str | None,
    cloud: str | None,
    token_file: Path | None,
    as_json: bool,
) -> None:
    from server.freezing import change, opened_front  # `--help` must be fast

    with opened_front(context.workspace, context.settings, token_file) as front:
        outcome = change(front, on=wanted, reason=reason, tenant=tenant, cloud=cloud)
    _show(outcome, as_json=as_json)
    if outcome.outcome != "done":
        raise typer.Exit(1)


def _show(outcome: Outcome, *, as_json: bool) -> None:
    done = outcome.result or {}
    if as_json:
        typer.echo(json.dumps(outcome.answer(), indent=2))
    elif outcome.outcome == "done":
        whose = f"{done.get('scope')} {done.get('of')}".rstrip()
        said = "frozen" if done.get("frozen") else "not frozen"
        typer.echo(plain(f"{whose}: {said}"))
    else:
        failed(f"{outcome.code or outcome.outcome}: {outcome.message}")
