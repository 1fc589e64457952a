"""Starts the workspace's worker when nobody holds its lock, and waits until it is ready. Not the worker."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from control_plane.errors import Unavailable
from server.presence import held
from server.settings import Settings
from server.worker_state import WorkerState, read_state
from server.workspace import Workspace

_PAUSE_S = 0.05
START_DEADLINE_S = 60.0

# What a worker is told that a face starts. Where a secret is, and never the secret: what a server
# holds, an agent may get out of it.
_HANDED: Final = (
    "cerbos_bin",
    "clouds_file",
    "collection_tools",
    "drift_repairs",
    "handover_file",
    "handover_overlap_s",
    "keys_file",
    "manual_payments",
    "pg_bin",
    "sandbox_payments",
    "stack_databases_file",
    "stripe_api_base",
    "stripe_key_file",
    "stripe_webhook_secrets_file",
    "terraform_bin",
)


def worker_runs(workspace: Workspace) -> bool:
    """Whether some process holds the worker's lock."""
    return held(workspace.worker_lock)


def ensure_worker(
    workspace: Workspace,
    settings: Settings,
    *,
    deadline_s: float = START_DEADLINE_S,
    arguments: Sequence[str] = (),
) -> WorkerState:
    """The running worker's state; one is started, detached, when there is none.

    Unavailable when it is not ready in time; its log says why.
    """
    child: subprocess.Popen[bytes] | None = None
    if not worker_runs(workspace):
        child = start_worker(workspace, settings, arguments)
    end_s = time.monotonic() + deadline_s
    while time.monotonic() < end_s:
        state = read_state(workspace.worker_json)
        if state is not None and worker_runs(workspace):
            return state
        if child is not None and child.poll() not in (None, 0):
            break
        time.sleep(_PAUSE_S)
    raise Unavailable(
        f"The worker did not start; its log says why: {workspace.worker_log}", code="no_worker"
    )


def start_worker(
    workspace: Workspace, settings: Settings, arguments: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """Start a worker in a session of its own, with a clean environment and its output in its log."""
    command = [sys.executable, "-P", "-m", "paybill", "worker", "--when-idle-exit", *arguments]
    with workspace.worker_log.open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own program, fixed arguments, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=workspace.root,
            env=_environment(workspace, settings),
            start_new_session=True,
        )


def _environment(workspace: Workspace, settings: Settings) -> dict[str, str]:
    environment = {
        "PATH": settings.path,
        "HOME": str(Path.home()),
        "PAYBILL_HOME": str(settings.home),
        "PAYBILL_CACHE": str(settings.cache),
        "PAYBILL_WORKSPACE": str(workspace.root),
    }
    for name, value in settings.limits:
        environment[f"PAYBILL_LIMITS__{name.upper()}"] = str(value)
    for name in _HANDED:
        value = getattr(settings, name)
        if value is not None:
            told = str(value).lower() if isinstance(value, bool) else str(value)
            environment[f"PAYBILL_{name.upper()}"] = told
    return environment
