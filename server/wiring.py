"""The one file that names adapters: puts ports, gate, machines and engine together. Holds no rule."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from control_plane.audit.notes import LeafNotes
from control_plane.audit.recorder import LeafRecorder
from control_plane.audit.sequencer import Sequencer
from control_plane.domain.caller import Caller
from control_plane.engine.failpoints import Failpoints
from control_plane.engine.intents import IntentSweep
from control_plane.handlers import handler
from control_plane.handlers.catalog_in_force import applied_digest
from control_plane.handlers.handler import Ports
from control_plane.handlers.registry import CHANGES, LIFECYCLES, QUERIES
from control_plane.ports import DatabaseServers, JobEngine, Store
from control_plane.provisioning.stacks import Overrides
from control_plane.secrets.signer import key_id
from control_plane.store.artifacts import SealedArtifacts
from control_plane.store.log import StoredLog
from graphs.gatekeeper import Gatekeeper
from server import keys as key_files
from server.catalog import Catalog, load_applied, load_kept
from server.clock import SystemClock
from server.engine_room import EngineRoom
from server.front import Front
from server.gate_link import LinkedGate
from server.generations import Generation, Generations
from server.handover_wiring import wire_secrets, wire_terms
from server.ids import RandomIds
from server.in_flight import InFlight
from server.login_files import read_login
from server.opening import open_store
from server.payment_wiring import wire_payments
from server.proving import prove_once
from server.provisioning_wiring import wire_provisioner
from server.settings import Settings
from server.stack_wiring import wire_stack_servers
from server.switchboard import Switchboard, Works
from server.tenant_servers import open_servers
from server.workspace import Workspace
from tools.house_tools import HOUSE_TOOLS
from tools.operator_tools import OPERATOR_TOOLS
from tools.spec import ToolSpec
from tools.toolbox import toolbox

if TYPE_CHECKING:
    from control_plane.store.claim import WorkerClaim
    from control_plane.store.logins import Login
    from graphs.runner import Runner

_RUNS_AT_ONCE_MAX = 4
_POLL_S = 0.2


@dataclass(frozen=True)
class Face:
    """What a face process holds: the front, the store it reads, what it answers by."""

    front: Front
    store: Store
    generations: Generations
    databases: DatabaseServers
    warm: Callable[[], object]
    front_for: Callable[[Callable[[], Caller]], Front]
    """Another front over the same store, gates and machines, for another caller."""

    def close(self) -> None:
        """Let go of everything."""
        self.generations.close()
        self.databases.close()
        self.store.close()


@dataclass(frozen=True)
class Backend:
    """What the worker holds whatever the catalog: the engine at work, the sequencer of leaves, the ports."""

    engine: JobEngine
    sequencer: Sequencer
    log: StoredLog
    artifacts: SealedArtifacts
    ports: Ports


def face_ports(
    workspace: Workspace,
    settings: Settings,
    store: Store,
    login: Login = "face",
    catalog: Catalog | None = None,
) -> Ports:
    """The ports of a face: no key but its own, no provisioner, no artifacts.

    Without a ``catalog``, of the one in force.
    """
    face_keys = key_files.load_face(workspace.keys)
    clock, ids = SystemClock(), RandomIds()
    if catalog is None:
        with store.read() as connection:
            catalog = load_applied(connection, workspace.catalogs)
    limits = settings.limits
    recorder = LeafRecorder(face_keys.public.seal_bytes, clock, ids)
    return Ports(
        store=store,
        clock=clock,
        ids=ids,
        recorder=recorder,
        notes=LeafNotes(recorder, store),
        catalog=catalog,
        databases=open_servers(workspace, limits.statement_ms_max, login, store),
        cursor_key=face_keys.cursor_key,
        hmac_key=face_keys.hmac_key,
        workspace=workspace.id[:8],
        root=(key_id(face_keys.public.root_bytes), face_keys.public.root_bytes),
        handover=wire_terms(settings),
        limits=handler.Limits(
            rows_max=limits.rows_max,
            statement_ms_max=limits.statement_ms_max,
            pending_approvals_max=limits.pending_approvals_max,
        ),
    )


def wire_face(
    workspace: Workspace,
    settings: Settings,
    identify: Callable[[Store], Callable[[], Caller]],
    failpoints: Failpoints,
    tools: Mapping[str, ToolSpec] | None = None,
    login: Login = "face",
) -> Face:
    """A face over one workspace. The machines are imported when the first call needs them.

    It offers ``tools``, else those of the catalog in force, and reaches the store by ``login``: what
    an operator's hand writes there, no face may.
    """
    store = open_store(workspace, login)
    generations = _generations(workspace, settings, store, tools)
    in_flight = InFlight(settings.limits.calls_in_flight_max)

    def front_for(caller: Callable[[], Caller]) -> Front:
        return Front(
            present=generations,
            identify=caller,
            limits=settings.limits,
            failpoints=failpoints,
            in_flight=in_flight,
        )

    return Face(
        front_for(identify(store)),
        store,
        generations,
        generations.current().ports.databases,
        warm=lambda: generations.current().runner().warm(),
        front_for=front_for,
    )


def _generations(
    workspace: Workspace, settings: Settings, store: Store, tools: Mapping[str, ToolSpec] | None
) -> Generations:
    made: list[Ports] = []

    def make(digest: str, gate: LinkedGate) -> Generation:
        catalog = load_kept(workspace.catalogs, digest)
        # Connections, keys and clock are the process's; only what is declared changes.
        if not made:
            made.append(face_ports(workspace, settings, store, catalog=catalog))
        ports, keeper = replace(made[0], catalog=catalog), Gatekeeper(gate)
        offered = toolbox(catalog.collections, settings.collection_tools)
        runner = _lazily(lambda: make_runner(ports, keeper, offered))
        return Generation(ports, offered if tools is None else tools, keeper, runner)

    def applied() -> str:
        with store.read() as connection:
            return load_applied(connection, workspace.catalogs).digest

    return Generations(workspace.worker_json, settings.limits.gate_deadline_s, make, applied)


def wire_worker(
    workspace: Workspace,
    settings: Settings,
    board: Switchboard,
    failpoints: Failpoints,
    admitted_modules: frozenset[str] = frozenset(),
    modules: Path | None = None,
) -> Backend:
    """The privileged backend over one workspace: the only place that loads the worker's keys.

    The board is manned with what carries runs out, for this catalog and each later one.
    """
    from control_plane.engine.dbos_engine import DbosEngine
    from server.backup_wiring import wire_backups

    keys = key_files.load(workspace.keys)
    store = open_store(workspace)
    artifacts = SealedArtifacts(store, keys.public.seal_bytes, keys.seal_private)

    @lru_cache(maxsize=4)
    def declared(digest: str) -> Overrides:
        return load_kept(workspace.catalogs, digest).stacks

    def own_stacks() -> Overrides:
        with store.read() as connection:
            return declared(applied_digest(connection) or "")

    provisioner = wire_provisioner(
        workspace, settings, keys.provisioning_hmac, admitted_modules, modules, own_stacks, store
    )
    backing = wire_backups(workspace, settings, keys, store, SystemClock(), RandomIds())
    ports = replace(
        face_ports(workspace, settings, store, "worker", board.room.catalog),
        provisioner=provisioner,
        artifacts=artifacts,
        archives=backing.archives,
        data_keys=backing.keys,
        catalogs=board,
        payments=wire_payments(workspace, settings),
        secrets=wire_secrets(workspace, settings),
        stack_servers=wire_stack_servers(workspace, settings),
    )
    board.man(lambda room: _works(ports, room, settings, failpoints, keys.seal_private))
    clock, log = SystemClock(), StoredLog(store)
    shared = workspace.store == "postgres"
    engine = DbosEngine(
        read_login(workspace.state, "worker") if shared else workspace.engine_db,
        executor_id=uuid4().hex,
        workers=_RUNS_AT_ONCE_MAX,
        poll_s=_POLL_S,
    )
    engine.launch({"run": board.work})
    return Backend(
        engine=engine,
        sequencer=Sequencer(log, keys.audit_seed, workspace.log_origin, clock.now),
        log=log,
        artifacts=artifacts,
        ports=ports,
    )


def _works(
    ports: Ports,
    room: EngineRoom,
    settings: Settings,
    failpoints: Failpoints,
    workspace_private: bytes,
) -> Works:
    from control_plane.engine.billing_clock import BillingClock
    from control_plane.engine.executor import Executor
    from control_plane.engine.house_clock import HouseClock
    from server.hook_wiring import HookRounds
    from server.house_calls import HouseCalls

    own, catalog = replace(ports, catalog=room.catalog), room.catalog
    prove_once(own, catalog, room.gate)
    offered = toolbox(catalog.collections, settings.collection_tools)
    tools = {**offered, **OPERATOR_TOOLS, **HOUSE_TOOLS}
    keeper = Gatekeeper(room.gate)
    runner = make_runner(own, keeper, tools)
    return Works(
        Executor(own, LIFECYCLES, runner, failpoints),
        IntentSweep(own, CHANGES),
        BillingClock(own, failpoints),
        HouseClock(
            own,
            HouseCalls(own, runner, keeper.bundle, tools),
            failpoints,
            repairs=settings.drift_repairs,
        ),
        HookRounds(own, settings, workspace_private),
    )


def store_claim(workspace: Workspace) -> WorkerClaim | None:
    """What makes a worker the only one on a store that other machines reach; None for a file's."""
    if workspace.store == "sqlite":
        return None
    from control_plane.store.claim import WorkerClaim

    return WorkerClaim(read_login(workspace.state, "worker"))


def make_runner(ports: Ports, keeper: Gatekeeper, tools: Mapping[str, ToolSpec]) -> Runner:
    """Compile the machines; what a run was asked for by is one of ``tools``."""
    from control_plane.plane import Plane
    from graphs.runner import Runner
    from graphs.steps import Steps

    facts = {name: tool.facts for name, tool in tools.items()}
    return Runner(Steps(ports, keeper, Plane(ports), QUERIES, CHANGES, LIFECYCLES, facts))


def _lazily(make: Callable[[], Runner]) -> Callable[[], Runner]:
    lock = threading.Lock()
    made: list[Runner] = []

    def get() -> Runner:
        with lock:
            if not made:
                made.append(make())
            return made[0]

    return get
