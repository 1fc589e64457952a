"""The command `registry rebuild`: what is found of tenants where our own store is lost. It deletes nothing, whatever is asked."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from server.cli.context import Context
from server.cli.show import note, plain, table

if TYPE_CHECKING:
    from control_plane.ports import Store
    from server.workspace import Workspace

app = typer.Typer(
    help="The registry of tenants: rebuilt where our own store is lost.", no_args_is_help=True
)

_WRITE = typer.Option("--write", help="Register what was found, in a store without a tenant.")
_PLAN = typer.Option(help="The plan that each is put down under; needed to write.")
_REGION = typer.Option(help="The region likewise.")
_JSON = typer.Option("--json", help="All of it as JSON.")
_YES = typer.Option("--yes", "-y", help="Ask nothing.")
# Beside what the command line itself ends with: something may stand that was not told.
INCOMPLETE = 3


@app.callback()
def registry() -> None:
    """The registry of tenants: rebuilt where our own store is lost."""


@app.command()
def rebuild(
    ctx: typer.Context,
    write: Annotated[bool, _WRITE] = False,
    plan: Annotated[str | None, _PLAN] = None,
    region: Annotated[str, _REGION] = "local",
    yes: Annotated[bool, _YES] = False,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Show which tenants stand, by databases, archives and labels; with --write, register them shut."""
    from server.registry_wiring import Registry

    if write and plan is None:
        raise typer.BadParameter("is needed to write", param_hint="--plan")
    context = Context.of(ctx)
    with (
        _standing(context.workspace) as store,
        closing(Registry(context.workspace, context.settings, store)) as registry,
    ):
        found = registry.survey()
    if not as_json:
        _show(found.told())
    if plan is None or not write:
        _tell(found.told(), as_json, complete=found.complete)
        return
    if not yes:
        typer.confirm("Register these tenants, shut and protected?", abort=True)
    with (
        _written(context.workspace) as store,
        closing(Registry(context.workspace, context.settings, store)) as registry,
    ):
        revived = [one.told() for one in registry.write(found, plan, region)]
    if not as_json:
        columns = ("tenant", "state", "cloud", "region", "databases", "backups")
        table("Registered", columns, [[str(one[name]) for name in columns] for one in revived])
        note("nothing was opened or changed; resume each once you have looked at it")
    _tell({**found.told(), "registered": revived}, as_json, complete=found.complete)


@contextmanager
def _standing(workspace: Workspace) -> Generator[Store]:
    """The workspace's store; where that is gone, an empty one for a while."""
    from server.opening import create_store, open_store

    with tempfile.TemporaryDirectory(prefix="paybill-registry-") as scratch:
        gone = _is_gone(workspace)
        store = create_store(Path(scratch) / "store.db") if gone else open_store(workspace)
        with closing(store):
            yield store


@contextmanager
def _written(workspace: Workspace) -> Generator[Store]:
    """The workspace's store; where that is gone, a new one in its place."""
    from server.opening import open_store
    from server.registry_wiring import fresh_store

    store = fresh_store(workspace) if _is_gone(workspace) else open_store(workspace)
    with closing(store):
        yield store


def _is_gone(workspace: Workspace) -> bool:
    return workspace.store == "sqlite" and not workspace.store_db.exists()


def _show(found: dict[str, Any]) -> None:
    tenants = ("tenant", "known_by", "state", "code")
    table("Tenants", tenants, _cells(found["tenants"], tenants))
    places = ("tenant", "server", "isolation", "slot", "open", "records", "code")
    table("Databases", places, _cells(found["databases"], places))
    archives = ("tenant", "backup", "made_at", "restorable_until", "code")
    table("Archives", archives, _cells(found["archives"], archives))
    stacks = ("tenant", "cloud", "account", "isolation", "regions", "plans", "resources", "code")
    table("Stacks", stacks, _cells(found["stacks"], stacks))
    for one in found["servers_that_do_not_answer"]:
        note(f"{one['server']} does not answer: {one['code']}")
    for one in found["clouds_that_do_not_answer"]:
        note(f"{one['cloud']}, account {one['account']}, does not answer: {one['code']}")
    if not found["complete"]:
        note("this is not all that may stand")


def _cells(rows: list[dict[str, Any]], columns: Sequence[str]) -> list[list[str]]:
    return [[_cell(one[name]) for name in columns] for one in rows]


def _cell(value: object) -> str:
    if isinstance(value, list):
        value = ", ".join(map(str, cast("list[object]", value))) or None
    return "-" if value is None else plain(str(value))


def _tell(found: dict[str, Any], as_json: bool, *, complete: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    if not complete:
        raise typer.Exit(INCOMPLETE)
