"""The commands `approvals list`, `show`, `approve` and `deny`: a human's own channel. Not the decision itself."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from server.cli.context import Context
from server.cli.passphrase import read_passphrase
from server.cli.show import note, plain, table

if TYPE_CHECKING:
    from control_plane.domain.caller import Caller
    from server.approving import Approving

app = typer.Typer(help="Approvals: list, show, approve, deny.", no_args_is_help=True)

_TOKEN = typer.Option("--token-file", help="The approver's own token; else PAYBILL_TOKEN.")
_FD = typer.Option(help="Read the approver's passphrase from this file descriptor.")
_CONFIRM = typer.Option(help="The digest's first 8 characters; asked for when not given.")


@contextmanager
def opened(context: Context, token_file: Path | None) -> Generator[tuple[Approving, Caller]]:
    """The approving service and the human who calls, with a worker that answers."""
    from server.approver_wiring import open_approving  # `--help` must be fast

    with open_approving(context.workspace, context.settings, token_file) as found:
        yield found


@app.command(name="list")
def list_approvals(ctx: typer.Context, token_file: Annotated[Path | None, _TOKEN] = None) -> None:
    """Show the approvals that you may answer now."""
    with opened(Context.of(ctx), token_file) as (approving, caller):
        questions = approving.pending(caller)
    table(
        "Approvals",
        ("approval", "what", "tenant", "asked by", "expires", "digest"),
        [
            (
                one.approval.id,
                one.run.kind,
                one.approval.tenant,
                one.approval.requester,
                one.approval.expires_at,
                one.approval.plan_digest[:8],
            )
            for one in questions
        ],
    )


@app.command()
def show(
    ctx: typer.Context, approval_id: str, token_file: Annotated[Path | None, _TOKEN] = None
) -> None:
    """Show exactly what would happen."""
    from server.rendering import render  # `--help` must be fast

    with opened(Context.of(ctx), token_file) as (approving, caller):
        for line in render(approving.show(caller, approval_id)):
            typer.echo(plain(line))


@app.command()
def approve(
    ctx: typer.Context,
    approval_id: str,
    token_file: Annotated[Path | None, _TOKEN] = None,
    confirm: Annotated[str | None, _CONFIRM] = None,
    passphrase_fd: Annotated[int | None, _FD] = None,
) -> None:
    """Sign that this plan, and no other, may be carried out."""
    _answer(Context.of(ctx), approval_id, "approve", token_file, confirm, passphrase_fd)


@app.command()
def deny(
    ctx: typer.Context,
    approval_id: str,
    token_file: Annotated[Path | None, _TOKEN] = None,
    confirm: Annotated[str | None, _CONFIRM] = None,
    passphrase_fd: Annotated[int | None, _FD] = None,
) -> None:
    """Sign that this plan may not be carried out."""
    _answer(Context.of(ctx), approval_id, "deny", token_file, confirm, passphrase_fd)


def _answer(
    context: Context,
    approval_id: str,
    answer: Literal["approve", "deny"],
    token_file: Path | None,
    confirm: str | None,
    passphrase_fd: int | None,
) -> None:
    from server.rendering import render  # `--help` must be fast

    with opened(context, token_file) as (approving, caller):
        for line in render(approving.show(caller, approval_id)):
            typer.echo(plain(line))
        typed: str = confirm if confirm is not None else typer.prompt("Digest", err=True)
        passphrase = read_passphrase(passphrase_fd, "your approver key", new=False)
        decided = approving.answer(
            caller, approval_id, answer, confirm=typed, passphrase=passphrase
        )
    note(f"approval {decided.id} is {decided.state}")
