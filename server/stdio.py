"""The stdio face: one client, one token, one workspace. stdout belongs to the protocol."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
from mcp.server.stdio import stdio_server

from control_plane.domain.caller import Caller
from control_plane.engine.failpoints import Failpoints
from control_plane.ports import Store
from server.clock import SystemClock
from server.face_process import dispatch, paybill_version, start_worker, verifier, warm_up
from server.ids import RandomIds
from server.mcp_face import McpFace
from server.presence import open_face
from server.settings import Settings
from server.token_source import TokenSource
from server.wiring import wire_face
from server.workspace import Workspace


def serve_stdio(
    workspace: Workspace, settings: Settings, token_file: Path | None, failpoints: Failpoints
) -> None:
    """Serve until the client closes the stream. A run that was begun goes on in the worker."""

    def identify(store: Store) -> Callable[[], Caller]:
        source = TokenSource(verifier(workspace, store), SystemClock(), settings, token_file)
        return source.caller

    with open_face(workspace.state / "faces", RandomIds().new()):
        # The worker first: listing needs its policy engine, and both start while we import.
        starting = start_worker(workspace, settings)
        face = wire_face(workspace, settings, identify, failpoints)
        try:
            starting.join(timeout=settings.limits.call_deadline_s)
            served = McpFace(
                face.front, dispatch(settings.limits), paybill_version(), announces=True
            )
            anyio.run(_serve, served, face.warm)
        finally:
            face.close()


async def _serve(face: McpFace, warm: Callable[[], object]) -> None:
    async with stdio_server() as (reading, writing):
        warm_up(warm)
        await face.server.run(reading, writing, face.options())
