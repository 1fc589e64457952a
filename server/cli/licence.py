"""The commands `licence issue`, `licence verify` and `licence key`. Not the licence itself, and not a subscription."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.context import Context
from server.cli.show import note, plain

if TYPE_CHECKING:
    from control_plane.billing.licence import Licence

_NOT_EARLIER = "Write to this new file, not to stdout."
_PUBLIC_MODE = 0o644

app = typer.Typer(
    help="Licences: files that a tenant's own software verifies offline.", no_args_is_help=True
)


@app.command()
def issue(
    ctx: typer.Context,
    tenant: Annotated[str, typer.Argument(help="The tenant's id.")],
    days: Annotated[
        int | None,
        typer.Option(help="For how long at most; else as long as is paid for, with a grace."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help=_NOT_EARLIER)] = None,
) -> None:
    """Sign what a tenant's subscription entitles to now; a change of it is a new licence."""
    from control_plane.audit.recorder import LeafRecorder
    from server import keys, licensing
    from server.clock import SystemClock
    from server.ids import RandomIds

    context, clock, ids = Context.of(ctx), SystemClock(), RandomIds()
    recorder = LeafRecorder(keys.load_public(context.workspace.keys).seal_bytes, clock, ids)
    with context.store() as store, store.write(tenant) as connection:
        text, made = licensing.issue(
            connection,
            context.workspace,
            recorder,
            tenant,
            licence_id=f"lic_{ids.new()}",
            now=clock.now(),
            days=days,
        )
        # Within the transaction: a licence that reached nobody is not recorded.
        _hand_over(text, out)
    note(f"licence {made.id}: {_said(made)}")


@app.command()
def verify(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="What `licence issue` wrote.")],
    tenant: Annotated[str, typer.Option(help="Whose it must be.")],
    key: Annotated[
        Path | None,
        typer.Option(help="What `licence key` wrote; else the workspace's own key."),
    ] = None,
) -> None:
    """See whether a licence holds now; with --key it needs no workspace."""
    from control_plane.billing import licence
    from server import keys, licensing
    from server.clock import SystemClock

    if key is None:
        public = keys.load_public(Context.of(ctx).workspace.keys).licence_bytes
        believed = licensing.believed(public)
    else:
        believed = dict(licensing.read_public_keys(key))
    held = licence.verify(_read(file), believed, SystemClock().now(), tenant=tenant)
    typer.echo(plain(f"{held.tenant}: {_said(held)}"))
    for feature, value in sorted(held.entitlements.items()):
        typer.echo(plain(f"{feature}: {_word(value)}"))


@app.command()
def key(
    ctx: typer.Context,
    out: Annotated[Path | None, typer.Option(help=_NOT_EARLIER)] = None,
) -> None:
    """Print the public key that licences are verified with."""
    from server import keys, licensing

    public = keys.load_public(Context.of(ctx).workspace.keys).licence_bytes
    _hand_over(licensing.public_pem(public), out)


def _said(one: Licence) -> str:
    end = one.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"plan {one.plan}, tier {one.tier}, {one.seats} seats, until {end}"


def _word(value: bool | int | str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _read(file: Path) -> str:
    from control_plane.billing.licence import TEXT_CHARS_MAX
    from control_plane.errors import BadInput, PaybillError
    from server.private_files import read_plain_file

    try:
        content, _ = read_plain_file(file, bytes_max=TEXT_CHARS_MAX)
        return content.decode("ascii", "replace")
    except (OSError, PaybillError):
        raise BadInput("file", "must be a licence's file that can be read") from None


def _hand_over(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
        return
    from control_plane.errors import BadInput
    from server.private_files import write_new_file

    try:
        # No secret: whoever has a licence has no more than what it says.
        write_new_file(out, text.encode("ascii"), mode=_PUBLIC_MODE)
    except OSError as error:
        raise BadInput("--out", f"must be a new file ({error.strerror})") from None
