"""The commands `approvers enrol`, `list` and `revoke`. Keys are made and signed elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

from server.cli.context import Context
from server.cli.passphrase import read_passphrase
from server.cli.show import note, table

app = typer.Typer(help="Approvers' keys: enrol, list, revoke.", no_args_is_help=True)

_BY = typer.Option("--by", help="Sign as this approver in force; else with the root key.")
_SIGNER_FD = typer.Option(help="Read the signing key's passphrase from this descriptor.")


@app.command()
def enrol(
    ctx: typer.Context,
    principal: Annotated[str, typer.Option(help="The human, as in their token.")],
    by: Annotated[str | None, _BY] = None,
    passphrase_fd: Annotated[
        int | None, typer.Option(help="Read the new key's passphrase from this descriptor.")
    ] = None,
    signer_passphrase_fd: Annotated[int | None, _SIGNER_FD] = None,
) -> None:
    """Make an approver's key under their passphrase, signed by the root key or an approver."""
    from server.approver_wiring import open_enrolling, signing_key

    context = Context.of(ctx)
    with open_enrolling(context.workspace, context.settings) as approving:
        signing = signing_key(
            context.workspace,
            approving,
            by,
            read_passphrase(signer_passphrase_fd, "the signing key", new=False),
        )
        secret = read_passphrase(passphrase_fd, f"the new key of {principal}", new=True)
        approver = approving.enrol(principal, secret, signing)
    note(f"approver {approver.key_id}: {approver.principal}, enrolled by {approver.enrolled_by}")


@app.command(name="list")
def list_approvers(ctx: typer.Context) -> None:
    """Show every approver's key."""
    from server.approver_wiring import open_enrolling  # `--help` must be fast

    context = Context.of(ctx)
    with open_enrolling(context.workspace, context.settings) as approving:
        found = approving.approvers()
    table(
        "Approvers",
        ("key", "principal", "enrolled", "by", "revoked"),
        [
            (one.key_id, one.principal, one.enrolled_at, one.enrolled_by, one.revoked_at or "")
            for one in found
        ],
    )


@app.command()
def revoke(
    ctx: typer.Context,
    key_id: str,
    by: Annotated[str | None, _BY] = None,
    signer_passphrase_fd: Annotated[int | None, _SIGNER_FD] = None,
) -> None:
    """End an approver's key: what it approved and nobody used yet no longer holds."""
    from server.approver_wiring import open_enrolling, signing_key

    context = Context.of(ctx)
    with open_enrolling(context.workspace, context.settings) as approving:
        secret = read_passphrase(signer_passphrase_fd, "the signing key", new=False)
        approving.revoke(key_id, signing_key(context.workspace, approving, by, secret))
    note(f"approver {key_id} is revoked")
