"""The command `tenant protection`: what only a human lifts from a tenant. Not a tool, and not offboarding."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from server.cli.context import Context
from server.cli.show import plain

app = typer.Typer(help="Tenants: what protects them.", no_args_is_help=True)


class Switch(StrEnum):
    """On or off."""

    ON = "on"
    OFF = "off"


@app.callback()
def tenants() -> None:
    """Tenants: what protects them."""


@app.command()
def protection(
    ctx: typer.Context,
    tenant: Annotated[str, typer.Argument(help="The tenant's id.")],
    deletion_protection: Annotated[
        Switch | None, typer.Option(help="Whether offboarding it is refused: on or off.")
    ] = None,
    legal_hold: Annotated[
        Switch | None, typer.Option(help="Whether its data must be kept: on or off.")
    ] = None,
) -> None:
    """Lay deletion protection or a legal hold on a tenant, or lift it."""
    from control_plane.audit.recorder import LeafRecorder
    from server import keys
    from server.clock import SystemClock
    from server.ids import RandomIds
    from server.protection import protect

    context = Context.of(ctx)
    public = keys.load_public(context.workspace.keys)
    recorder = LeafRecorder(public.seal_bytes, SystemClock(), RandomIds())
    with context.store() as store, store.write(tenant) as connection:
        stands = protect(
            connection,
            recorder,
            tenant,
            deletion_protection=_on(deletion_protection),
            legal_hold=_on(legal_hold),
        )
    protected, held = _word(stands.deletion_protection), _word(stands.legal_hold)
    typer.echo(plain(f"{stands.id}: deletion protection {protected}, legal hold {held}"))


def _on(switch: Switch | None) -> bool | None:
    return None if switch is None else switch is Switch.ON


def _word(value: bool) -> Switch:
    return Switch.ON if value else Switch.OFF
