"""What a face process does besides its transport: starts the worker, warms the machines. Not a transport."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from control_plane.errors import PaybillError
from control_plane.ports import Store
from server import keys
from server.dispatch import Dispatch
from server.settings import Limits, Settings
from server.tokens import Identify
from server.worker_link import ensure_worker
from server.workspace import Workspace

_QUIET_S = 2.0
_LOG = logging.getLogger("paybill.face")


def paybill_version() -> str:
    """The version of this installation."""
    try:
        return version("paybill")
    except PackageNotFoundError:
        return "0+unknown"


def verifier(workspace: Workspace, store: Store) -> Identify:
    """What makes callers of tokens: it holds the public half of the issuer's key."""
    return Identify(store, keys.load_public(workspace.keys).issuer_bytes, workspace.id)


def threads_max(limits: Limits) -> int:
    """How many threads one caller's calls may take."""
    # One thread more than calls in flight: a listing must not wait behind a caller's full share.
    return limits.calls_in_flight_max + 1


def dispatch(limits: Limits) -> Dispatch:
    """The threads of one caller."""
    return Dispatch(threads_max(limits), limits.call_deadline_s)


def start_worker(workspace: Workspace, settings: Settings) -> threading.Thread:
    """See to it that a worker runs; the thread ends when it is ready, or will not be."""
    if settings.stripe_key is not None:
        _LOG.warning(
            "PAYBILL_STRIPE_KEY is not for a server, and is not passed on to the worker that it "
            "starts: name PAYBILL_STRIPE_KEY_FILE, or start `paybill worker` with it"
        )
    if settings.stripe_webhook_secrets is not None:
        _LOG.warning(
            "PAYBILL_STRIPE_WEBHOOK_SECRETS is not passed on to the worker that a server starts: "
            "name PAYBILL_STRIPE_WEBHOOK_SECRETS_FILE, or start `paybill worker` with them"
        )
    thread = threading.Thread(target=_ensure, args=(workspace, settings), daemon=True)
    thread.start()
    return thread


def warm_up(warm: Callable[[], object]) -> None:
    """Import and compile the machines beside what is being served."""
    threading.Thread(target=_warm, args=(warm,), daemon=True).start()


def _ensure(workspace: Workspace, settings: Settings) -> None:
    try:
        ensure_worker(workspace, settings)
    except PaybillError:
        # Without a worker there is no policy engine: every call says so by itself.
        return


def _warm(warm: Callable[[], object]) -> None:
    # Once the client has what it asks for first: importing the machines takes the interpreter's lock.
    time.sleep(_QUIET_S)
    warm()
    gc.freeze()
