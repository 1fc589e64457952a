"""The commands `webhooks …`: endpoints, their secrets, and what did not arrive. Each act itself stands in `server/hook_desk.py`."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from server.cli.context import Context
from server.cli.show import note, plain, table

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic import SecretStr
    from sqlalchemy import Connection

    from control_plane.billing.letters import Letter
    from control_plane.billing.webhook_endpoints import Endpoint
    from control_plane.ports import Store
    from server.hook_desk import HookDesk

_PAUSE_S: Final = 0.1
_SHOWN_MAX: Final = 1_000

_ENDPOINT = typer.Argument(help="The endpoint's id, as `webhooks list` shows it.")
_OUT = typer.Option(help="Write the secret to this new file (0600), not to stdout.")

app = typer.Typer(
    help="Webhooks that go out: endpoints, secrets, dead letters.", no_args_is_help=True
)


# endpoints -------------------------------------------------------------------------------------


@app.command()
def add(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(help="Where messages go: https, and a public address.")],
    tenant: Annotated[str, typer.Option(help="The tenant that it is told of; or '*', of all.")],
    kinds: Annotated[
        str, typer.Option(help="Which kinds, with commas between: invoice.paid, invoice.*, or *.")
    ] = "*",
    out: Annotated[Path | None, _OUT] = None,
) -> None:
    """Register an endpoint and print its secret, this once."""
    wanted = tuple(dict.fromkeys(one.strip() for one in kinds.split(",")))
    with _acting(ctx) as (desk, connection):
        made, secret = desk.add(connection, url, tenant, wanted)
        # Within the transaction: an endpoint whose secret reached nobody is not kept.
        _hand_over(secret, out)
    note(f"endpoint {made.id}: {_of(made)}, {' '.join(made.kinds)}")


@app.command(name="list")
def list_endpoints(ctx: typer.Context) -> None:
    """Show every endpoint that was not removed."""
    from control_plane.billing import letters, webhook_endpoints
    from server.clock import SystemClock

    now = SystemClock().now()
    with Context.of(ctx).store() as store, store.read() as connection:
        found = webhook_endpoints.standing(connection)
        dead = letters.dead_counts(connection)
    table(
        "Webhook endpoints",
        ("id", "tenant", "url", "kinds", "state", "dead letters"),
        [
            (
                one.id,
                one.tenant or "*",
                one.url,
                " ".join(one.kinds),
                _state(one, now),
                str(dead.get(one.id, 0)),
            )
            for one in found
        ],
    )


@app.command()
def show(
    ctx: typer.Context,
    endpoint: Annotated[str, _ENDPOINT],
    limit: Annotated[
        int, typer.Option(min=1, max=_SHOWN_MAX, help="How many of the newest messages.")
    ] = 20,
) -> None:
    """Show an endpoint, and what became of its newest messages. Never its secret."""
    from control_plane.billing import letters
    from server.clock import SystemClock

    context = Context.of(ctx)
    with context.store() as store, store.read() as connection:
        found = _desk(context).standing(connection, endpoint)
        newest = letters.newest(connection, endpoint, limit)
    for name, value in (
        ("id", found.id),
        ("tenant", _of(found)),
        ("url", found.url),
        ("kinds", " ".join(found.kinds)),
        ("state", _state(found, SystemClock().now())),
        ("registered", _second(found.created_at)),
    ):
        typer.echo(plain(f"{name}: {value}"))
    _letters("Newest messages", newest)


@app.command()
def disable(ctx: typer.Context, endpoint: Annotated[str, _ENDPOINT]) -> None:
    """Send nothing there until it is enabled; what waits becomes dead letters."""
    with _acting(ctx) as (desk, connection):
        made = desk.disable(connection, endpoint)
    note(f"endpoint {made.id} is disabled")


@app.command()
def enable(ctx: typer.Context, endpoint: Annotated[str, _ENDPOINT]) -> None:
    """Send there again; dead letters wait to be replayed."""
    with _acting(ctx) as (desk, connection):
        made = desk.enable(connection, endpoint)
    note(f"endpoint {made.id} is enabled")


@app.command()
def remove(ctx: typer.Context, endpoint: Annotated[str, _ENDPOINT]) -> None:
    """End an endpoint for good; what waits for it is not sent any more."""
    with _acting(ctx) as (desk, connection):
        made = desk.remove(connection, endpoint)
    note(f"endpoint {made.id} is removed")


@app.command()
def rotate(
    ctx: typer.Context,
    endpoint: Annotated[str, _ENDPOINT],
    now: Annotated[
        bool, typer.Option("--now", help="After a leak: the secret before signs nothing more.")
    ] = False,
    out: Annotated[Path | None, _OUT] = None,
) -> None:
    """Make a new secret and print it, this once; the one before signs for 24 h longer."""
    with _acting(ctx) as (desk, connection):
        made, secret = desk.rotate(connection, endpoint, at_once=now)
        # Within the transaction: a secret that reached nobody takes no other's place.
        _hand_over(secret, out)
    until = made.former_until
    told = "not any more" if until is None else f"until {_second(until)}"
    note(f"endpoint {made.id}: the secret before signs {told}")


@app.command(name="test")
def send_test(
    ctx: typer.Context,
    endpoint: Annotated[str, _ENDPOINT],
    wait_s: Annotated[
        float, typer.Option(min=0, max=300, help="How long to wait for the answer; 0 not at all.")
    ] = 30.0,
) -> None:
    """Have the worker send a message of the kind webhook.test, and tell what came of it."""
    with _acting(ctx) as (desk, connection):
        delivery = desk.test(connection, endpoint)
    context = Context.of(ctx)
    if not wait_s:
        note(f"message {delivery} waits for the worker")
        return
    from server.worker_link import ensure_worker

    ensure_worker(context.workspace, context.settings)
    with context.store() as store:
        found = _attempted(store, delivery, wait_s)
    typer.echo(plain(f"{delivery}: {_told(found)}"))
    if found is None or found.delivery.state != "delivered":
        raise typer.Exit(1)


# what did not arrive ---------------------------------------------------------------------------


@app.command()
def dead(
    ctx: typer.Context,
    endpoint: Annotated[
        str | None, typer.Option(help="Of this endpoint alone; else of all.")
    ] = None,
    provider: Annotated[
        str | None, typer.Option(help="Events that came from this provider, in place of ours.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=_SHOWN_MAX, help="How many at most.")] = 100,
) -> None:
    """Show dead letters, the oldest first: messages that no attempt brought to their endpoint."""
    from control_plane.billing import inbox, letters
    from control_plane.errors import BadInput

    context = Context.of(ctx)
    if provider is None:
        with context.store() as store, store.read() as connection:
            if endpoint is not None:
                _desk(context).standing(connection, endpoint)
            found = letters.dead(connection, endpoint, count=limit)
        _letters("Dead letters", found)
        return
    if endpoint is not None:
        raise BadInput("--provider", "stands without --endpoint")
    with context.store() as store, store.read() as connection:
        events = inbox.dead(connection, provider, limit)
    table(
        f"Dead events of {provider}",
        ("id", "reason", "since", "replay"),
        [
            (one.id, one.reason or "", f"{one.since[:19]}Z", "yes" if one.kept else "forgotten")
            for one in events
        ],
    )


@app.command()
def replay(
    ctx: typer.Context,
    letter: Annotated[
        str | None, typer.Argument(help="One dead letter's id, as `webhooks dead` shows it.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="The dead letters of this endpoint; with --since.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Of what happened then or later, as 2026-03-01T00:00:00Z."),
    ] = None,
    provider: Annotated[
        str | None, typer.Option(help="The id is that of this provider's dead event.")
    ] = None,
) -> None:
    """Try dead letters again, from the first attempt on and under the same id."""
    from control_plane.errors import BadInput

    if letter is not None and endpoint is None and since is None:
        with _acting(ctx) as (desk, connection):
            if provider is None:
                desk.replay(connection, letter)
            else:
                desk.replay_event(connection, provider, letter)
        note(f"{letter} is tried again")
        return
    if letter is not None or endpoint is None or since is None or provider is not None:
        raise BadInput("replay", "needs an id, or --endpoint and --since")
    at = _instant(since)
    with _acting(ctx) as (desk, connection):
        count = desk.replay_since(connection, endpoint, at)
    note(f"{count} dead letters of {endpoint} are tried again")


# shown and asked -------------------------------------------------------------------------------


def _desk(context: Context) -> HookDesk:
    from control_plane.audit.recorder import LeafRecorder
    from server import keys
    from server.clock import SystemClock
    from server.hook_desk import HookDesk
    from server.ids import RandomIds

    public = keys.load_public(context.workspace.keys).seal_bytes
    clock, ids = SystemClock(), RandomIds()
    return HookDesk(public, LeafRecorder(public, clock, ids), clock, ids)


@contextmanager
def _acting(ctx: typer.Context) -> Generator[tuple[HookDesk, Connection]]:
    from control_plane.billing.hook_rounds import SCOPE

    context = Context.of(ctx)
    desk = _desk(context)
    with context.store() as store, store.write(SCOPE) as connection:
        yield desk, connection


def _hand_over(secret: SecretStr, out: Path | None) -> None:
    if out is None:
        typer.echo(secret.get_secret_value())
        return
    from control_plane.errors import BadInput
    from server.private_files import write_new_file

    try:
        write_new_file(out, secret.get_secret_value().encode() + b"\n")
    except OSError as error:
        raise BadInput("--out", f"must be a new file ({error.strerror})") from None


def _attempted(store: Store, delivery_id: str, wait_s: float) -> Letter | None:
    """The letter once an attempt of it has ended; as it stands when the time is over."""
    from control_plane.billing import letters

    end_s = time.monotonic() + wait_s
    while True:
        with store.read() as connection:
            found = letters.find(connection, delivery_id)
        if found is None or _ended(found) or time.monotonic() >= end_s:
            return found
        time.sleep(_PAUSE_S)


def _ended(letter: Letter) -> bool:
    standing = letter.delivery
    return standing.state != "sending" and (standing.attempts > 0 or standing.state != "pending")


def _told(letter: Letter | None) -> str:
    if letter is None or not _ended(letter):
        return "no attempt has ended yet; see `webhooks show`"
    standing = letter.delivery
    said = letter.fault or ("no answer" if standing.last_status is None else "")
    answer = said or f"answered {standing.last_status}"
    if standing.next_attempt_at is not None:
        return f"{answer}; tried again at {_second(standing.next_attempt_at)}"
    return f"{standing.state}, {answer}"


def _letters(title: str, found: list[Letter]) -> None:
    table(
        title,
        ("id", "kind", "tenant", "made", "state", "attempts", "answer", "endpoint"),
        [
            (
                one.delivery.id,
                one.kind,
                one.delivery.tenant,
                _second(one.delivery.created_at),
                one.delivery.cause or one.delivery.state,
                str(one.delivery.attempts),
                one.fault or str(one.delivery.last_status or ""),
                one.delivery.endpoint,
            )
            for one in found
        ],
    )


def _of(endpoint: Endpoint) -> str:
    return f"tenant {endpoint.tenant}" if endpoint.tenant else "every tenant"


def _state(endpoint: Endpoint, now: datetime) -> str:
    if endpoint.disabled_at is not None:
        return "disabled: it answered 410" if endpoint.disabled_cause == "gone" else "disabled"
    until = endpoint.former_until
    if until is not None and now < until:
        return f"enabled; two secrets until {_second(until)}"
    return "enabled"


def _second(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _instant(text: str) -> datetime:
    from datetime import datetime

    from control_plane.errors import BadInput

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise BadInput("--since", "must be an instant with its zone, as 2026-03-01T00:00:00Z")
    return found
