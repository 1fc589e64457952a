"""The commands `serve`, `worker` and `failpoints`. What a face or worker does is elsewhere."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from control_plane.errors import BadInput
from server.cli.context import Context
from server.cli.http_arguments import (
    AddressFile,
    AllowedHosts,
    AllowedOrigins,
    Audience,
    BehindProxy,
    Http,
    HttpArguments,
    Issuers,
    TlsCert,
    TlsKey,
)
from server.cli.show import plain

if TYPE_CHECKING:
    from control_plane.engine.failpoints import Failpoints

_FAILPOINTS = typer.Option(
    "--failpoints", help="Arm a fault, for tests: <boundary>:<nth>:<kill|raise|hang>."
)


def serve(  # noqa: PLR0913, PLR0917 - each option of the command is an argument
    ctx: typer.Context,
    token_file: Annotated[
        Path | None, typer.Option(help="A file that holds the token; read again when it changes.")
    ] = None,
    socket: Annotated[
        Path | None, typer.Option(help="Listen on this Unix socket, for clients of other users.")
    ] = None,
    socket_mode: Annotated[str, typer.Option(help="Who may connect, as octal bits.")] = "0600",
    socket_group: Annotated[
        str | None, typer.Option(help="The group that owns the socket; else this user's own.")
    ] = None,
    connections_max: Annotated[
        int, typer.Option(min=1, max=1024, help="How many connections are served at once.")
    ] = 64,
    http: Http = None,
    audience: Audience = None,
    allowed_host: AllowedHosts = None,
    allowed_origin: AllowedOrigins = None,
    issuers: Issuers = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    behind_proxy: BehindProxy = False,
    address_file: AddressFile = None,
    failpoints: Annotated[list[str] | None, _FAILPOINTS] = None,
) -> None:
    """Serve MCP over stdio, which an MCP client starts; on a socket, for `paybill connect`; or over HTTP."""
    from control_plane.engine.failpoints import Failpoints, parse_failpoints

    _log_to_stderr()
    context = Context.of(ctx)
    armed = Failpoints(parse_failpoints(failpoints or [], _names()))
    asked = HttpArguments(
        http=http,
        audience=audience,
        allowed_hosts=allowed_host,
        allowed_origins=allowed_origin,
        issuers=issuers,
        tls_cert=tls_cert,
        tls_key=tls_key,
        behind_proxy=behind_proxy,
        address_file=address_file,
    )
    if http is not None:
        _serve_http(context, asked, token_file, socket, connections_max, armed)
        return
    asked.require_none()
    if socket is None:
        from server.stdio import serve_stdio

        serve_stdio(context.workspace, context.settings, token_file, armed)
        return
    if token_file is not None:
        raise BadInput("--token-file", "is not for --socket: each client brings its own token")
    from server.socket_face import SocketOptions, serve_socket
    from server.socket_file import SocketFile, parse_mode

    file = SocketFile(socket.absolute(), parse_mode(socket_mode), socket_group)
    serve_socket(context.workspace, context.settings, SocketOptions(file, connections_max), armed)


def _serve_http(
    context: Context,
    asked: HttpArguments,
    token_file: Path | None,
    socket: Path | None,
    connections_max: int,
    armed: Failpoints,
) -> None:
    if socket is not None:
        raise BadInput("--socket", "is not for --http: start one server for each")
    if token_file is not None:
        raise BadInput("--token-file", "is not for --http: each client brings its own token")
    options = asked.options(context.settings.issuers_file, connections_max)
    from server.http_face import serve_http

    serve_http(context.workspace, context.settings, options, armed)


def worker(
    ctx: typer.Context,
    when_idle_exit: Annotated[
        bool,
        typer.Option(
            "--when-idle-exit",
            help="End when there was nothing to do for as long as --idle-s says.",
        ),
    ] = False,
    idle_s: Annotated[float, typer.Option(min=1, help="How long idle is, in seconds.")] = 600.0,
    checkpoint_file: Annotated[
        Path | None, typer.Option(help="Write each signed checkpoint to this file, too.")
    ] = None,
    failpoints: Annotated[list[str] | None, _FAILPOINTS] = None,
    unsupervised: Annotated[
        bool, typer.Option("--unsupervised", hidden=True, help="Leave a dead policy engine dead.")
    ] = False,
    modules: Annotated[
        Path | None, typer.Option(hidden=True, help="Stacks to use in place of the shipped ones.")
    ] = None,
    admit_module: Annotated[
        list[str] | None, typer.Option(hidden=True, help="A module digest that may run programs.")
    ] = None,
) -> None:
    """Run the workspace's worker: it executes runs and keeps the audit log."""
    from control_plane.engine.failpoints import Failpoints, parse_failpoints
    from server.worker import Worker, WorkerOptions

    _log_to_stderr()
    context = Context.of(ctx)
    options = WorkerOptions(
        exit_when_idle=when_idle_exit,
        idle_s=idle_s,
        failpoints=Failpoints(parse_failpoints(failpoints or [], _names())),
        supervise=not unsupervised,
        modules=modules,
        admitted_modules=frozenset(admit_module or ()),
        checkpoint_file=checkpoint_file,
    )
    raise typer.Exit(Worker(context.workspace, context.settings, options).run())


def list_failpoints() -> None:
    """Show every boundary at which a fault can be armed."""
    for name in _names():
        typer.echo(plain(name))


def _names() -> tuple[str, ...]:
    from control_plane.handlers.registry import failpoint_names

    return failpoint_names()


def _log_to_stderr() -> None:
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s"
    )
