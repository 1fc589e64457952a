"""The socket face: many clients of other users, each connection with a token of its own. Decides nothing."""

from __future__ import annotations

import logging
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio
import anyio.to_thread
from anyio.abc import SocketListener, SocketStream

from control_plane.domain.caller import Caller
from control_plane.engine.failpoints import Failpoints
from control_plane.errors import PaybillError
from control_plane.ports import Store
from server.clock import SystemClock
from server.ending import Ending
from server.face_process import (
    paybill_version,
    start_worker,
    threads_max,
    verifier,
    warm_up,
)
from server.ids import RandomIds
from server.lines import Lines, LineTooLong
from server.mcp_face import McpFace
from server.mcp_lines import McpLines
from server.preamble import PREAMBLE_BYTES_MAX, Preamble, parse_preamble
from server.presence import open_face
from server.seats import NoSeat, Seats
from server.settings import Settings
from server.socket_file import SocketFile, listening
from server.tokens import Identify, Unauthenticated
from server.wiring import Face, wire_face
from server.worker_link import worker_runs
from server.workspace import Workspace

CONNECTIONS_MAX: Final = 64
PREAMBLE_S: Final = 5.0
_WRITE_S: Final = 30.0
_LOG = logging.getLogger("paybill.socket")


@dataclass(frozen=True)
class SocketOptions:
    """How to listen, and how long a client may take for its first line."""

    file: SocketFile
    connections_max: int = CONNECTIONS_MAX
    preamble_s: float = PREAMBLE_S


def serve_socket(
    workspace: Workspace, settings: Settings, options: SocketOptions, failpoints: Failpoints
) -> None:
    """Serve until SIGTERM or SIGINT. A run that was begun goes on in the worker."""
    # Before the socket is made: it must go, also when we are ended while we start.
    ending = Ending()
    # The socket before any thread: it is made under an umask, which is the whole process's.
    with (
        listening(options.file) as listener,
        open_face(workspace.state / "faces", RandomIds().new()),
    ):
        start_worker(workspace, settings)
        face = wire_face(workspace, settings, _of_nobody, failpoints)
        try:
            warm_up(face.warm)
            server = SocketFace(face, workspace, settings, options)
            anyio.run(server.serve, listener, ending)
        finally:
            face.close()


def _of_nobody(_: Store) -> Callable[[], Caller]:
    return _nobody


def _nobody() -> Caller:
    # Without a connection there is no token, and so no caller.
    raise Unauthenticated("token_absent")


class SocketFace:
    """Accepts connections; one store, gate and set of machines for all of them."""

    def __init__(
        self, face: Face, workspace: Workspace, settings: Settings, options: SocketOptions
    ) -> None:
        self._face = face
        self._workspace = workspace
        self._settings = settings
        self._options = options
        self._identify: Identify = verifier(workspace, face.store)
        self._clock = SystemClock()
        limits = settings.limits
        self._line_bytes_max = limits.body_bytes_max * 2
        self._seats = Seats(options.connections_max, threads_max(limits), limits.call_deadline_s)

    async def serve(self, listening_socket: socket.socket, ending: Ending) -> None:
        """Serve until the process is told to end."""
        listening_socket.setblocking(False)
        listener = await SocketListener.from_socket(listening_socket)
        async with anyio.create_task_group() as tasks, listener:
            tasks.start_soon(ending.each, tasks.cancel_scope.cancel)
            _LOG.info("listening on %s", self._options.file.path)
            await listener.serve(self._connection, tasks)

    async def _connection(self, stream: SocketStream) -> None:
        async with stream:
            try:
                with self._seats.arrived():
                    await self._greeted(stream)
            except NoSeat:
                _LOG.warning("a connection was closed: there are enough")
            except Exception as error:  # noqa: BLE001 - one connection must not end the others
                # Its text may hold a value: only kind and place.
                frames = traceback.extract_tb(error.__traceback__)
                _LOG.error("a fault: %s at line %s", type(error).__name__, frames[-1].lineno)

    async def _greeted(self, stream: SocketStream) -> None:
        lines = Lines(stream, _WRITE_S)
        preamble = await self._preamble(lines)
        if preamble is None:
            _LOG.warning("a connection was closed: no preamble")
            return

        def caller() -> Caller:
            return self._identify.verify(preamble.token.get_secret_value(), self._clock.now())

        try:
            opened_by = await anyio.to_thread.run_sync(caller)
        except PaybillError as error:
            # Not a byte to who has no token that holds; the reason is for our log alone.
            _LOG.warning("a connection was closed: %s", error.code)
            return
        if not worker_runs(self._workspace):
            start_worker(self._workspace, self._settings)
        with self._seats.taken(opened_by) as threads:
            front = self._face.front_for(caller)
            served = McpFace(front, threads, paybill_version(), announces=True)
            async with McpLines(lines, self._line_bytes_max).streams() as (reading, writing):
                await served.server.run(reading, writing, served.options())

    async def _preamble(self, lines: Lines) -> Preamble | None:
        with anyio.move_on_after(self._options.preamble_s):
            try:
                line = await lines.read(PREAMBLE_BYTES_MAX)
            except LineTooLong:
                return None
            return None if line is None else parse_preamble(line)
        return None
