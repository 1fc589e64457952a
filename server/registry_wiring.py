"""Puts together what rebuilds the registry, over a store that may be a new one. No rule of its own."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Literal

from control_plane.audit.recorder import KEYS_SETTING, LeafRecorder
from control_plane.domain.canonical import Json
from control_plane.ports import Store
from server import catalog as catalogs
from server import keys as key_files
from server.backup_wiring import wire_backups
from server.clock import SystemClock
from server.ids import RandomIds
from server.initialise import write_store
from server.opening import create_store, open_store
from server.provisioning_wiring import look_into, read_clouds
from server.registry_rebuild import Rebuilding, Revived, Terms
from server.registry_survey import Survey, survey
from server.settings import Settings
from server.tenant_servers import open_servers
from server.workspace import Workspace

# What was chosen at `init` is in the lost store: the stricter one of the two.
_RULE: Literal["two_people"] = "two_people"


class Registry:
    """Surveys and writes by the worker's keys and logins; nothing else may see what it must."""

    def __init__(self, workspace: Workspace, settings: Settings, store: Store) -> None:
        keys = key_files.load(workspace.keys)
        clock, ids = SystemClock(), RandomIds()
        self._clock = clock
        self._workspace = workspace
        self._store = store
        self._databases = open_servers(workspace, settings.limits.statement_ms_max, "worker")
        self._archives = wire_backups(workspace, settings, keys, store, clock, ids).archives
        self._recorder = LeafRecorder(keys.public.seal_bytes, clock, ids)
        self._clouds = read_clouds(settings.clouds_file)

    def survey(self) -> Survey:
        """What stands: here, on servers, and in every account of the worker's clouds."""
        looked = look_into(self._workspace, self._clouds)
        return survey(self._databases, self._archives, looked, self._clouds)

    def write(self, found: Survey, plan: str, region: str) -> list[Revived]:
        """Register it. Raises as `Rebuilding.write`."""
        with self._store.read() as connection:
            declared = catalogs.load_applied(connection, self._workspace.catalogs)
        rebuilding = Rebuilding(
            self._store,
            self._recorder,
            self._databases,
            self._archives,
            tuple(declared.collections.values()),
            declared.plans,
            declared.migrations,
        )
        return rebuilding.write(found, Terms(plan, region), self._clock.now())

    def close(self) -> None:
        """Let go of every server."""
        self._databases.close()


def fresh_store(workspace: Workspace) -> Store:
    """A new store in the place of the lost one, with the workspace's own keys and catalog.

    It appears whole: a kill before leaves none.
    """
    public = key_files.load_public(workspace.keys)
    clock, ids = SystemClock(), RandomIds()
    settings: dict[str, Json] = {
        "workspace.id": workspace.id,
        "approval.rule": _RULE,
        KEYS_SETTING: public.model_dump(),
    }
    recorder = LeafRecorder(public.seal_bytes, clock, ids)
    with tempfile.TemporaryDirectory(prefix=".registry-", dir=workspace.state) as scratch:
        draft = Path(scratch)
        write_store(
            create_store(draft / "store.db"),
            workspace.state,
            workspace.catalog,
            settings,
            clock,
            recorder,
        )
        shutil.move(draft / "store.db", workspace.store_db)
    return open_store(workspace)
