"""Setting a freeze and lifting it, as the holder of a token asks for it. Not what it keeps from beginning, and no terminal.

It is a call like an agent's, decided and recorded; but by the login that owns the store, since no face
may write what decisions depend on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from control_plane.domain.caller import Caller
from control_plane.domain.canonical import Json
from control_plane.domain.outcome import Outcome
from control_plane.engine.failpoints import Failpoints
from control_plane.errors import BadInput
from control_plane.ports import Store
from graphs.errors import Unlisted
from server.clock import SystemClock
from server.face_process import verifier
from server.front import Answer, Front
from server.ids import RandomIds
from server.presence import open_face
from server.settings import Settings
from server.token_source import TokenSource
from server.wiring import wire_face
from server.worker_link import ensure_worker
from server.workspace import Workspace
from tools.operator_tools import OPERATOR_TOOLS

TOOL: Final = "run_freeze"


@contextmanager
def opened_front(
    workspace: Workspace, settings: Settings, token_file: Path | None
) -> Generator[Front]:
    """A front over this tool alone, for a human's token; a worker is started when there is none."""

    def identify(store: Store) -> Callable[[], Caller]:
        source = TokenSource(verifier(workspace, store), SystemClock(), settings, token_file)
        return source.caller

    only = {TOOL: OPERATOR_TOOLS[TOOL]}
    with open_face(workspace.state / "faces", RandomIds().new()):
        ensure_worker(workspace, settings)
        face = wire_face(workspace, settings, identify, Failpoints(), tools=only, login="worker")
        try:
            yield face.front
        finally:
            face.close()


def change(
    front: Front, *, on: bool, reason: str, tenant: str | None, cloud: str | None
) -> Outcome:
    """Set a freeze or lift it; each time it is a call of its own. BadInput for tenant and cloud."""
    if tenant is not None and cloud is not None:
        raise BadInput("options", "must name a tenant or a cloud, not both")
    arguments: Mapping[str, Json] = {
        "on": on,
        "tenant": tenant,
        "cloud": cloud,
        "reason": reason,
        "idempotency_key": f"freeze-{RandomIds().new()}",
    }
    try:
        answer = front.call(TOOL, arguments)
    except Unlisted:
        told = "This token may not freeze runs, or let them go on."
        return Outcome(outcome="refused", message=told, code="tool_not_listed")
    return _outcome(answer)


def _outcome(answer: Answer) -> Outcome:
    if answer.outcome is None:
        return Outcome(outcome="refused", message=answer.bad_input or "", code="bad_input")
    return answer.outcome
