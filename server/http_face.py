"""The streamable HTTP face: puts wall, protocol and front together on one socket. Decides nothing."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
import ssl
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

import anyio
import uvicorn
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings

from control_plane.engine.failpoints import Failpoints
from control_plane.errors import BadInput
from server import keys
from server.clock import SystemClock
from server.connection_waits import ConnectionWaits
from server.dpop import DpopProofs
from server.ending import Ending
from server.face_process import paybill_version, start_worker, threads_max, warm_up
from server.hook_door import HookDoor, hook_secrets
from server.http_answers import metadata
from server.http_app import ENVELOPE_DEPTH, HttpApp, Inside, Wall
from server.http_auth import Bearers
from server.http_options import MCP_PATH, HttpOptions, bound_names
from server.http_protocol import KEEP_ALIVE_S, BoundedProtocol, sweep_connections
from server.http_visits import Shares, VisitCaller, VisitHop
from server.ids import RandomIds
from server.integration import Integration
from server.issuers import read_issuers
from server.mcp_face import McpFace
from server.outside_tokens import IssuedOutside
from server.presence import open_face
from server.settings import Settings
from server.stripe_secrets import stripe_webhook_secrets
from server.tokens import Identify
from server.wiring import Face, wire_face
from server.worker_keeper import WorkerKeeper
from server.workspace import Workspace

_BACKLOG: Final = 128
_THREADS_S: Final = 2.0
_LOG = logging.getLogger("paybill.http")


def serve_http(
    workspace: Workspace, settings: Settings, options: HttpOptions, failpoints: Failpoints
) -> None:
    """Serve until SIGTERM or SIGINT. A run that was begun goes on in the worker."""
    ending = Ending()
    _quiet_libraries()
    with (
        _listening(options) as listener,
        open_face(workspace.state / "faces", RandomIds().new()),
    ):
        start_worker(workspace, settings)
        caller = VisitCaller(SystemClock())
        face = wire_face(workspace, settings, lambda _: caller, failpoints)
        try:
            warm_up(face.warm)
            server = HttpFace(face, workspace, settings, options, caller)
            anyio.run(server.serve, listener, ending, backend_options={"use_uvloop": True})
        finally:
            face.close()
    _end_stuck_calls()


def _end_stuck_calls() -> None:
    # A call past its deadline has been answered already, and any boundary stands a kill: it must
    # not keep a process alive that was told to end.
    end_s = time.monotonic() + _THREADS_S
    others = [one for one in threading.enumerate() if one is not threading.main_thread()]
    for one in others:
        if not one.daemon:
            one.join(max(0.0, end_s - time.monotonic()))
    if any(one.is_alive() and not one.daemon for one in others):
        _LOG.warning("a call did not end by itself")
        logging.shutdown()
        os._exit(0)


def _quiet_libraries() -> None:
    # What they log may hold values of a request: the wall has a line of its own for each refusal.
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
    for name in ("uvicorn", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def _listening(options: HttpOptions) -> Generator[socket.socket]:
    family = socket.AF_INET6 if ":" in options.bind.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((options.bind.address, options.bind.port))
            made.listen(_BACKLOG)
        except OSError as error:
            raise BadInput("--http", f"cannot be bound: {error.strerror}") from None
        made.setblocking(False)
        yield made


class _Server(uvicorn.Server):
    """The server without its own handling of signals: those end our loop."""

    def end(self) -> None:
        """Take no more calls; asked again, do not wait for those that are under way either."""
        self.force_exit = self.should_exit
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@dataclass(frozen=True)
class _Protocol:
    """The parts that answer requests: the application, and what must run beside it."""

    app: HttpApp
    manager: StreamableHTTPSessionManager
    outside: IssuedOutside | None


class HttpFace:
    """One store, gate and set of machines for all requests; each request has its own caller."""

    def __init__(
        self,
        face: Face,
        workspace: Workspace,
        settings: Settings,
        options: HttpOptions,
        caller: VisitCaller,
    ) -> None:
        self._face = face
        self._workspace = workspace
        self._settings = settings
        self._options = options
        self._caller = caller

    async def serve(self, listening_socket: socket.socket, ending: Ending) -> None:
        """Serve until the process is told to end; calls under way have their own deadline left."""
        port = int(listening_socket.getsockname()[1])
        protocol = self._protocol(port)
        server = _Server(self._config(protocol.app))
        async with anyio.create_task_group() as tasks, _running(protocol):
            tasks.start_soon(ending.each, server.end)
            tasks.start_soon(sweep_connections, server.server_state)
            tasks.start_soon(WorkerKeeper(self._workspace, self._settings).keep)
            self._announce(port)
            await server.serve(sockets=[listening_socket])
            tasks.cancel_scope.cancel()

    def _config(self, app: HttpApp) -> uvicorn.Config:
        tls = self._options.tls
        config = uvicorn.Config(
            app,
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=self._options.connections_max + 1,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=math.ceil(self._settings.limits.call_deadline_s),
            ssl_certfile=None if tls is None else tls.certificate,
            ssl_keyfile=None if tls is None else tls.key,
        )
        try:
            config.load()
        except (OSError, ssl.SSLError):
            raise BadInput("--tls-cert", "and --tls-key must be a chain and its key, PEM") from None
        return config

    def _protocol(self, port: int) -> _Protocol:
        options, limits = self._options, self._settings.limits
        names = bound_names(options.scheme, port)
        hosts = options.hosts or names
        origins = options.origins or tuple(
            f"{options.scheme}://{name}" for name in names if options.bind.loopback
        )
        front = self._face.front_for(self._caller)
        served = McpFace(front, VisitHop(), paybill_version()).server
        manager = StreamableHTTPSessionManager(
            served,
            json_response=True,
            stateless=True,
            # The wall has looked already; these lists are never left out all the same.
            security_settings=TransportSecuritySettings(
                allowed_hosts=list(hosts), allowed_origins=list(origins)
            ),
            max_request_body_size=limits.body_bytes_max,
        )
        outside = self._outside()
        wall = Wall(
            frozenset(name.encode() for name in hosts),
            frozenset(name.encode() for name in origins),
            limits.body_bytes_max,
            limits.nesting_max + ENVELOPE_DEPTH,
        )
        app = HttpApp(
            wall,
            Bearers(self._own(), outside, DpopProofs(options.audience), SystemClock()),
            Shares(threads_max(limits), limits.call_deadline_s),
            audience=options.audience,
            metadata=metadata(options.audience, outside.urls if outside else ()),
            inside=Inside(
                manager.handle_request,
                Integration(
                    front,
                    RandomIds(),
                    limits.calls_in_flight_max,
                    ConnectionWaits(self._face.store),
                ),
                self._hooks(),
            ),
            caller=self._caller,
        )
        return _Protocol(app, manager, outside)

    def _hooks(self) -> HookDoor:
        return HookDoor(
            self._face.store,
            keys.load_public(self._workspace.keys).seal_bytes,
            hook_secrets(stripe_webhook_secrets(self._settings)),
            SystemClock().now,
            self._settings.limits.body_bytes_max,
        )

    def _own(self) -> Identify:
        public = keys.load_public(self._workspace.keys).issuer_bytes
        return Identify(self._face.store, public, self._workspace.id, self._options.audience)

    def _outside(self) -> IssuedOutside | None:
        file = self._options.issuers
        if file is None:
            return None
        issuers = read_issuers(file).issuer
        return IssuedOutside(issuers, self._options.audience, self._face.store, SystemClock())

    def _announce(self, port: int) -> None:
        address = self._options.bind.address
        host = f"[{address}]" if ":" in address else address
        url = f"{self._options.scheme}://{host}:{port}{MCP_PATH}"
        _LOG.info("listening on %s", url)
        file = self._options.address_file
        if file is not None:
            draft = file.with_name(f".{file.name}.new")
            draft.write_text(f"{url}\n")
            draft.replace(file)


@asynccontextmanager
async def _running(protocol: _Protocol) -> AsyncGenerator[None]:
    outside = protocol.outside
    async with protocol.manager.run(), anyio.create_task_group() as tasks:
        if outside is not None:
            tasks.start_soon(outside.warm)
        try:
            yield
        finally:
            if outside is not None:
                outside.close()
            tasks.cancel_scope.cancel()
