"""The commands `token issue`, `token list` and `token revoke`. Not the token or the grant itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.context import Context
from server.cli.show import note, plain, table

if TYPE_CHECKING:
    from control_plane.ports import Recorder
    from server.grants import NewGrant
    from server.keys import PublicKeys
    from server.service_grants import NewServiceGrant
    from server.tokens import Bound

app = typer.Typer(help="Tokens: issue, list, revoke.", no_args_is_help=True)


@app.command()
def issue(  # noqa: PLR0913, PLR0917 - each option of the command is an argument
    ctx: typer.Context,
    tenants: Annotated[str, typer.Option(help="Tenants, with commas between; or '*'.")],
    principal: Annotated[str | None, typer.Option(help="The human, as alice@example.com.")] = None,
    roles: Annotated[
        str | None, typer.Option(help="The human's roles, with commas between.")
    ] = None,
    actor: Annotated[str | None, typer.Option(help="The agent that acts for the human.")] = None,
    ceiling: Annotated[
        str | None, typer.Option(help="The roles that the agent may use at most.")
    ] = None,
    service: Annotated[
        str | None,
        typer.Option(help="A service of your own, in place of a human: for the integration API."),
    ] = None,
    operations: Annotated[
        str | None, typer.Option(help="What the service may do, with commas between.")
    ] = None,
    ttl: Annotated[
        str, typer.Option(help="How long it holds: 30m, 8h, 7d; at most 30d, a service's 90d.")
    ] = "8h",
    out: Annotated[
        Path | None, typer.Option(help="Write the token to this new file (0600), not to stdout.")
    ] = None,
    audience: Annotated[
        str | None, typer.Option(help="The URL of an HTTP server; else it is for stdio and socket.")
    ] = None,
    dpop_thumbprint: Annotated[
        str | None, typer.Option(help="The holder's key, which each request over HTTP must prove.")
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="The grant alone, for a file of outside issuers.")
    ] = False,
) -> None:
    """Make a grant and the token that names it."""
    from server import keys, tokens
    from server.clock import SystemClock
    from server.ids import RandomIds

    context = Context.of(ctx)
    if service is None:
        asked: NewGrant | NewServiceGrant = _of_person(
            principal, roles, tenants, ttl, actor, ceiling, operations
        )
    else:
        _require_no_person(principal, roles, actor, ceiling)
        _require_over_http(audience, grant_alone=no_token)
        asked = _of_service(service, operations, tenants, ttl)
    bound = _bound(audience, dpop_thumbprint)
    workspace = context.workspace
    public = keys.load_public(workspace.keys)
    seed = keys.load_issuer(workspace.keys, public)
    recorder = _recorder(public)
    grant_id, now = RandomIds().new(), SystemClock().now()
    with context.store() as store, store.write() as connection:
        grant, token = tokens.issue(
            connection,
            seed,
            workspace.id,
            asked,
            grant_id=grant_id,
            now=now,
            recorder=recorder,
            bound=bound,
        )
        # Within the transaction: a grant whose token reached nobody is not kept.
        _hand_over(grant.id if no_token else token, out)
    note(f"grant {grant.id}: {grant.principal} by {grant.actor}, until {grant.expires_at}")


@app.command(name="list")
def list_grants(ctx: typer.Context) -> None:
    """Show the newest grants."""
    from control_plane.domain.canonical import instant
    from server import grants
    from server.clock import SystemClock

    now = instant(SystemClock().now())
    with Context.of(ctx).store() as store, store.read() as connection:
        found = grants.newest(connection)
    table(
        "Grants",
        ("id", "principal", "actor", "roles", "tenants", "expires", "state"),
        [
            (
                one.id,
                one.principal,
                f"{one.actor} ({one.actor_kind})",
                " ".join(role for role in one.roles if role in one.ceiling),
                " ".join(one.tenants),
                one.expires_at[:19] + "Z",
                "revoked" if one.revoked_at else "in force" if one.live(now) else "expired",
            )
            for one in found
        ],
    )


@app.command()
def revoke(
    ctx: typer.Context, grant_id: Annotated[str, typer.Argument(help="The grant's id.")]
) -> None:
    """End a grant; its token is refused from the next call on."""
    from server import grants, keys
    from server.clock import SystemClock

    context = Context.of(ctx)
    recorder = _recorder(keys.load_public(context.workspace.keys))
    with context.store() as store, store.write() as connection:
        grant = grants.revoke(connection, grant_id, SystemClock().now(), recorder)
    typer.echo(plain(f"revoked {grant.id}: {grant.principal} by {grant.actor}"))


def _of_person(
    principal: str | None,
    roles: str | None,
    tenants: str,
    ttl: str,
    actor: str | None,
    ceiling: str | None,
    operations: str | None,
) -> NewGrant:
    from control_plane.errors import BadInput
    from server.grants import parse_new_grant

    if principal is None or roles is None:
        raise typer.BadParameter("are needed, or --service", param_hint="--principal and --roles")
    if operations is not None:
        raise BadInput("--operations", "are a service's")
    return parse_new_grant(
        principal=principal, actor=actor, roles=roles, ceiling=ceiling, tenants=tenants, ttl=ttl
    )


def _of_service(service: str, operations: str | None, tenants: str, ttl: str) -> NewServiceGrant:
    from server.service_grants import OPERATIONS, parse_new_service

    if operations is None:
        raise typer.BadParameter(f"is needed: {', '.join(OPERATIONS)}", param_hint="--operations")
    return parse_new_service(service=service, operations=operations, tenants=tenants, ttl=ttl)


def _require_no_person(*given: str | None) -> None:
    from control_plane.errors import BadInput

    names = ("--principal", "--roles", "--actor", "--ceiling")
    for name, value in zip(names, given, strict=True):
        if value is not None:
            raise BadInput(name, "is for a person's or an agent's token, not for a service's")


def _require_over_http(audience: str | None, *, grant_alone: bool) -> None:
    from control_plane.errors import BadInput

    if audience is None and not grant_alone:
        raise BadInput("--audience", "is needed: a service's token holds over HTTP alone")


def _bound(audience: str | None, thumbprint: str | None) -> Bound:
    from control_plane.errors import BadInput
    from server.http_options import require_url
    from server.tokens import THUMBPRINT, Bound

    if thumbprint is not None:
        if audience is None:
            raise BadInput("--dpop-thumbprint", "is for a token with --audience")
        if not re.match(THUMBPRINT, thumbprint):
            raise BadInput("--dpop-thumbprint", "must be a SHA-256 thumbprint by RFC 7638")
    return Bound(None if audience is None else require_url("--audience", audience), thumbprint)


def _recorder(public: PublicKeys) -> Recorder:
    from control_plane.audit.recorder import LeafRecorder
    from server.clock import SystemClock
    from server.ids import RandomIds

    return LeafRecorder(public.seal_bytes, SystemClock(), RandomIds())


def _hand_over(token: str, out: Path | None) -> None:
    if out is None:
        typer.echo(token)
        return
    from control_plane.errors import BadInput
    from server.private_files import write_new_file

    try:
        write_new_file(out, token.encode() + b"\n")
    except OSError as error:
        raise BadInput("--out", f"must be a new file ({error.strerror})") from None
