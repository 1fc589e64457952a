"""The parts that Paybill needs here, each looked at: version, where from, state. Mends nothing and shows nothing."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

from control_plane.errors import PaybillError
from control_plane.provisioning import binary as terraform
from policies.binary import find_binary
from policies.errors import GateError
from server import catalog, keys
from server.opening import open_store
from server.payment_wiring import provider_names
from server.presence import held
from server.provisioning_wiring import read_clouds
from server.settings import Settings, process_environment
from server.worker_state import read_state
from server.workspace import Workspace, find, locate, state_folder

Posture = Literal["alone", "apart"]
PROMISES: Final[dict[Posture, str]] = {
    "alone": (
        "alone: store, keys and worker belong to the user that runs this. Against an agent that also "
        "has a shell as this user Paybill promises detection, by who keeps the public keys and a "
        "checkpoint elsewhere; it does not promise prevention."
    ),
    "apart": (
        "apart: the state belongs to another user, and this one has a token and nothing else. "
        "Paybill promises prevention: what the policy does not allow cannot be done from here."
    ),
}


@dataclass(frozen=True, slots=True)
class Part:
    """One part; `missing` is set when it is needed and does not stand."""

    name: str
    version: str
    source: str
    state: str
    missing: bool = False


def look(start: Path, explicit: Path | None, settings: Settings) -> tuple[Part, ...]:
    """Every part in a fixed order; nothing is fetched, started or written but the store's tables."""
    found = [_paybill(), Part("python", platform.python_version(), sys.executable, "ok")]
    try:
        workspace = find(start, settings.home, explicit)
    except (PaybillError, OSError) as error:
        found.append(_absent("workspace", error))
    else:
        found += [
            Part("workspace", workspace.id[:12], str(workspace.root), "ok"),
            _checked("keys", str(workspace.keys), lambda: _keys(workspace)),
            _checked("store", _place(workspace), lambda: _store(workspace)),
            _checked("catalog", str(workspace.catalogs), lambda: _catalog(workspace)),
            _worker(workspace),
            _payments(workspace, settings),
            _clouds(settings),
        ]
    return (*found, _policy_engine(settings), _terraform(settings))


def posture(start: Path, explicit: Path | None, settings: Settings) -> Posture:
    """Whether the workspace's state belongs to another user; where none is found, `alone`."""
    try:
        owner = state_folder(locate(start, explicit), settings.home).stat().st_uid
    except PermissionError:
        return "apart"
    except (PaybillError, OSError):
        return "alone"
    return "alone" if owner == os.geteuid() else "apart"


def _paybill() -> Part:
    folder = str(Path(__file__).resolve().parent.parent)
    try:
        return Part("paybill", version("paybill"), folder, "ok")
    except PackageNotFoundError:
        return Part("paybill", "", folder, "not installed as a package")


def _checked(name: str, source: str, check: Callable[[], str]) -> Part:
    try:
        return Part(name, check(), source, "ok")
    except (PaybillError, OSError) as error:
        return _absent(name, error, source)


def _keys(workspace: Workspace) -> str:
    public = keys.load(workspace.keys).public
    return f"audit {public.audit[:12]}"


def _place(workspace: Workspace) -> str:
    return "PostgreSQL" if workspace.store == "postgres" else str(workspace.store_db)


def _store(workspace: Workspace) -> str:
    open_store(workspace).close()
    return ""


def _catalog(workspace: Workspace) -> str:
    store = open_store(workspace)
    try:
        with store.read() as connection:
            return catalog.load_applied(connection, workspace.catalogs).digest[:12]
    finally:
        store.close()


def _worker(workspace: Workspace) -> Part:
    running = held(workspace.worker_lock)
    state = "running" if running else "not running (starts when it is needed)"
    return Part("worker", "", str(workspace.worker_json), state)


def _payments(workspace: Workspace, settings: Settings) -> Part:
    """Through whom money is collected, as the worker that runs says; else as one of these settings would."""
    state = read_state(workspace.worker_json) if held(workspace.worker_lock) else None
    here = provider_names(settings)
    if state is None:
        return Part("payments", "", "these settings", _named(here))
    missing = sorted({*here} - {*state.payments})
    lacks = f"; not {', '.join(missing)}: the worker was started without" if missing else ""
    return Part("payments", "", "the running worker", _named(state.payments) + lacks)


def _clouds(settings: Settings) -> Part:
    """The accounts that a worker of these settings may use; no credential is fetched."""
    source = str(settings.clouds_file or "these settings")
    try:
        found = read_clouds(settings.clouds_file)
    except PaybillError as error:
        return _absent("clouds", error, source)
    clouds = {*found.accounts, *(one.cloud for one in found.dedicated)}
    return Part("clouds", "", source, ", ".join(["local", *sorted(clouds)]))


def _named(providers: tuple[str, ...]) -> str:
    return ", ".join(providers) or "none: nothing is collected by itself"


def _policy_engine(settings: Settings) -> Part:
    try:
        found = find_binary(
            setting=settings.cerbos_bin,
            environment=process_environment(),
            cache_dir=settings.cache,
            may_fetch=False,
        )
    except GateError as error:
        return _absent("policy engine", error)
    return Part("policy engine", found.version, f"{found.path} ({found.source})", "ok")


def _terraform(settings: Settings) -> Part:
    try:
        found = terraform.find(settings.terraform_bin, settings.path)
    except PaybillError as error:
        return _absent("terraform", error)
    return Part("terraform", found.version, f"{found.argv[-1]} ({found.source})", "ok")


def _absent(name: str, error: Exception, source: str = "") -> Part:
    return Part(name, "", source, str(error), missing=True)
