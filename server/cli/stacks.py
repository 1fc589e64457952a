"""The commands `stack check` and `stack copy`: a workspace's own stacks, before a catalog is applied. Not a run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from control_plane.domain.isolation import CLOUDS, Cloud, Isolation
from control_plane.errors import BadInput
from server.cli.context import Context
from server.cli.show import failed, note, table

app = typer.Typer(
    help="Stacks: Terraform modules of your own in the place of shipped ones.",
    no_args_is_help=True,
)


@app.callback()
def stack() -> None:
    """Stacks: Terraform modules of your own in the place of shipped ones."""


@app.command()
def check(
    ctx: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Argument(help="A module's folder; else every stack of the workspace's catalog."),
    ] = None,
    cloud: Annotated[
        Cloud | None, typer.Option(help="The cloud of FOLDER; else its parent's name.")
    ] = None,
) -> None:
    """Say what a stack must offer, and what of it each one lacks."""
    from control_plane.provisioning.stack_contract import OUTPUTS, VARIABLES, lacks

    found: list[tuple[Path, Cloud]] = (
        _own(ctx) if folder is None else [(folder, _cloud_of(folder, cloud))]
    )
    columns = ("it must offer", "as")
    offers = [(f"variable {name}", kind) for name, kind in VARIABLES.items()]
    table("Every stack", columns, [*offers, *((f"output {name}", "any value") for name in OUTPUTS)])
    wrong = [(str(path), *lack) for path, where in found for lack in lacks(path, where)]
    if wrong:
        table("What is lacking", ("stack", "about", "rule"), wrong)
        raise typer.Exit(1)
    note(f"{len(found)} checked: each offers what it must" if found else "no stack of your own")


@app.command()
def copy(
    cloud: Annotated[Cloud, typer.Argument(help="The cloud of the shipped stack.")],
    isolation: Annotated[Isolation, typer.Argument(help="Its isolation model.")],
    into: Annotated[Path, typer.Argument(help="A folder that is not there yet.")],
) -> None:
    """Copy a shipped stack, to change it: put it under stacks/CLOUD/ISOLATION of the catalog."""
    from control_plane.provisioning.stacks import MODULES

    if into.exists():
        raise BadInput("INTO", "must not be there yet")
    shutil.copytree(MODULES / cloud / isolation, into, ignore=shutil.ignore_patterns(".terraform"))
    note(f"copied to {into}; check it with: paybill stack check {into} --cloud {cloud}")


def _own(ctx: typer.Context) -> list[tuple[Path, Cloud]]:
    from server.catalog_stacks import STACKS, stack_folders

    catalog = Context.of(ctx).workspace.catalog
    return [(catalog / STACKS / cloud / model, cloud) for cloud, model in stack_folders(catalog)]


def _cloud_of(folder: Path, said: Cloud | None) -> Cloud:
    if not folder.is_dir():
        failed(f"{folder} is not a folder")
        raise typer.Exit(1)
    by_name: dict[str, Cloud] = {str(one): one for one in CLOUDS}
    named = said or by_name.get(folder.resolve().parent.name)
    if named is None:
        raise BadInput("--cloud", "is needed: the folder's parent is not called like a cloud")
    return named
