"""The stdio face: one client, one token, one workspace. stdout belongs to the protocol."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import anyio
from mcp.server.stdio import stdio_server

from control_plane.domain.caller import Caller
from control_plane.engine.failpoints import Failpoints
from control_plane.errors import PaybillError
from control_plane.store.sqlite import SqliteStore
from server import keys
from server.clock import SystemClock
from server.dispatch import Dispatch
from server.ids import RandomIds
from server.mcp_face import McpFace
from server.presence import open_face
from server.settings import Settings
from server.token_source import TokenSource
from server.tokens import Identify
from server.wiring import wire_face
from server.worker_link import ensure_worker
from server.workspace import Workspace


def paybill_version() -> str:
    """The version of this installation."""
    try:
        return version("paybill")
    except PackageNotFoundError:
        return "0+unknown"


def serve_stdio(
    workspace: Workspace, settings: Settings, token_file: Path | None, failpoints: Failpoints
) -> None:
    """Serve until the client closes the stream. A run that was begun goes on in the worker."""

    def identify(store: SqliteStore) -> Callable[[], Caller]:
        public = keys.load_public(workspace.keys)
        verifier = Identify(store, public.issuer_bytes, workspace.id)
        return TokenSource(verifier, SystemClock(), settings, token_file).caller

    with open_face(workspace.state / "faces", RandomIds().new()):
        # The worker first: listing needs its policy engine, and both start while we import.
        starting = threading.Thread(target=_start_worker, args=(workspace, settings), daemon=True)
        starting.start()
        face = wire_face(workspace, settings, identify, failpoints)
        try:
            starting.join(timeout=settings.limits.call_deadline_s)
            anyio.run(_serve, McpFace(face.front, _dispatch(settings), paybill_version()), face.warm)
        finally:
            face.close()


def _dispatch(settings: Settings) -> Dispatch:
    limits = settings.limits
    # One thread more than calls in flight: a listing must not wait behind a caller's full share.
    return Dispatch(limits.calls_in_flight_max + 1, limits.call_deadline_s)


def _start_worker(workspace: Workspace, settings: Settings) -> None:
    try:
        ensure_worker(workspace, settings)
    except PaybillError:
        # Without a worker there is no policy engine: every call says so by itself.
        return


async def _serve(face: McpFace, warm: Callable[[], object]) -> None:
    async with stdio_server() as (reading, writing):
        threading.Thread(target=_warm, args=(warm,), daemon=True).start()
        await face.server.run(reading, writing, face.server.create_initialization_options())


def _warm(warm: Callable[[], object]) -> None:
    # The machines take more than a second to import: do it while the client reads the list.
    warm()
    gc.freeze()
