"""Starts the workspace's worker when nobody holds its lock, and waits until it is ready. Not the worker."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from control_plane.errors import Unavailable
from server.presence import held
from server.settings import Settings
from server.worker_state import WorkerState, read_state
from server.workspace import Workspace

_PAUSE_S = 0.05
START_DEADLINE_S = 60.0


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
    # Where a secret is, and never the secret: what a server holds, an agent may get out of it.
    environment["PAYBILL_SANDBOX_PAYMENTS"] = str(settings.sandbox_payments).lower()
    environment["PAYBILL_MANUAL_PAYMENTS"] = str(settings.manual_payments).lower()
    environment["PAYBILL_STRIPE_API_BASE"] = settings.stripe_api_base
    if settings.stripe_key_file is not None:
        environment["PAYBILL_STRIPE_KEY_FILE"] = str(settings.stripe_key_file)
    if settings.stripe_webhook_secrets_file is not None:
        named = str(settings.stripe_webhook_secrets_file)
        environment["PAYBILL_STRIPE_WEBHOOK_SECRETS_FILE"] = named
    if settings.cerbos_bin is not None:
        environment["PAYBILL_CERBOS_BIN"] = str(settings.cerbos_bin)
    if settings.terraform_bin is not None:
        environment["PAYBILL_TERRAFORM_BIN"] = str(settings.terraform_bin)
    if settings.clouds_file is not None:
        environment["PAYBILL_CLOUDS_FILE"] = str(settings.clouds_file)
    return environment
