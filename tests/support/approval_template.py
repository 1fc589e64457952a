"""Workspaces to copy worlds from: initialised once, and once with a run that waits. Not a world."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from control_plane.audit.recorder import LeafRecorder
from control_plane.engine.executor import Executor
from control_plane.engine.failpoints import Failpoints
from control_plane.handlers.registry import LIFECYCLES
from control_plane.secrets.key_file import load_seed
from control_plane.store.artifacts import SealedArtifacts
from graphs.approvals import Approvals
from graphs.gatekeeper import Gate, Gatekeeper
from server import keys
from server.approving import Approving
from server.backup_wiring import wire_backups
from server.ids import RandomIds
from server.initialise import Answers, ApprovalRule, initialise
from server.opening import open_store
from server.settings import read_settings
from server.wiring import face_ports, make_runner
from server.workspace import Workspace
from tests.support.approval_world import (
    APPROVER,
    APPROVER_PASSPHRASE,
    REQUESTER,
    ROOT_PASSPHRASE,
    RUNNABLE,
    CountedProvisioner,
    Template,
    TurnedClock,
    World,
    new_grant,
)


def make_template(folder: Path, rule: ApprovalRule) -> Template:
    """Initialise a workspace with one requester's agent and one approver."""
    root = folder / "workspace"
    root.mkdir(parents=True)
    clock = TurnedClock()
    settings = read_settings().model_copy(update={"home": folder / "home"})
    answers = Answers("approvals", rule, ROOT_PASSPHRASE)
    workspace = initialise(root, settings.home, answers, clock, RandomIds())
    store = open_store(workspace)
    try:
        ports = face_ports(workspace, settings, store)
        ports = replace(ports, clock=clock, recorder=_recorder(workspace, clock))
        new_grant(store, ports, REQUESTER, "operator", "bot", clock.now())
        new_grant(store, ports, APPROVER, "approver", None, clock.now())
        root_seed = keys.load_root(workspace.keys, ROOT_PASSPHRASE)
        approving = Approving(workspace, ports, Approvals(ports, Gatekeeper(_NoGate())))
        approving.enrol(APPROVER, APPROVER_PASSPHRASE, (ports.root[0], root_seed))
        approver_seed = load_seed(approving.key_path(APPROVER), APPROVER_PASSPHRASE)
    finally:
        store.close()
    return Template(workspace, settings, root_seed, approver_seed)


def with_parked(template: Template, folder: Path, gate: Gate, *, failed_before: bool) -> Template:
    """The template after a silo tenant was asked for: of a new name, or of one that failed before."""
    world = make_world(template, folder, gate)
    run_id = world.propose()
    if failed_before:
        world.put_tenant(display_name="Came to nothing")
    run = world.work(run_id)
    world.close()
    assert run.state == "awaiting_approval", run
    return replace(template, workspace=world.workspace, run_id=run_id)


def make_world(template: Template, folder: Path, gate: Gate) -> World:
    """Copy the template's state, and put the backend together over it."""
    state = folder / "state"
    shutil.copytree(template.workspace.state, state)
    workspace = replace(template.workspace, state=state)
    store, clock, provisioner = open_store(workspace), TurnedClock(), CountedProvisioner()
    worker_keys = keys.load(workspace.keys)
    backing = wire_backups(workspace, template.settings, worker_keys, store, clock, RandomIds())
    ports = replace(
        face_ports(workspace, template.settings, store),
        clock=clock,
        recorder=_recorder(workspace, clock),
        provisioner=provisioner,
        artifacts=SealedArtifacts(store, worker_keys.public.seal_bytes, worker_keys.seal_private),
        archives=backing.archives,
        data_keys=backing.keys,
    )
    keeper = Gatekeeper(gate)
    runner = make_runner(ports, keeper, RUNNABLE)
    return World(
        workspace=workspace,
        settings=template.settings,
        template=template,
        store=store,
        clock=clock,
        provisioner=provisioner,
        ports=ports,
        keeper=keeper,
        runner=runner,
        executor=Executor(ports, LIFECYCLES, runner, Failpoints()),
    )


class _NoGate:
    """Enrolment asks no policy."""

    version = ""

    def check(self, principal: object, resources: object) -> Any:
        """Never asked."""
        raise AssertionError("enrolment asks no policy")

    def plan(self, principal: object, kind: str, attr: object, actions: object) -> Any:
        """Never asked."""
        raise AssertionError("enrolment asks no policy")


def _recorder(workspace: Workspace, clock: TurnedClock) -> LeafRecorder:
    return LeafRecorder(keys.load_public(workspace.keys).seal_bytes, clock, RandomIds())
