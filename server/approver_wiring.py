"""Puts together what the approver's commands need: ports, gate, the human who calls. Holds no rule."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from control_plane.domain.caller import Caller
from control_plane.errors import Refused
from control_plane.secrets import signer
from control_plane.secrets.key_file import load_seed
from graphs.approvals import Approvals
from graphs.gatekeeper import Gatekeeper
from server import keys
from server.approving import Approving
from server.gate_link import LinkedGate
from server.opening import open_store
from server.settings import Settings
from server.token_source import TokenSource
from server.tokens import Identify
from server.wiring import face_ports
from server.worker_link import ensure_worker
from server.workspace import Workspace


@contextmanager
def open_approving(
    workspace: Workspace, settings: Settings, token_file: Path | None
) -> Generator[tuple[Approving, Caller]]:
    """The service and its caller; a worker is started when there is none, for its policy engine."""
    state = ensure_worker(workspace, settings)
    store = open_store(workspace)
    gate = LinkedGate(settings.limits.gate_deadline_s)
    gate.link(state.bundle, state.socket)
    try:
        ports = face_ports(workspace, settings, store)
        verifier = Identify(store, keys.load_public(workspace.keys).issuer_bytes, workspace.id)
        caller = TokenSource(verifier, ports.clock, settings, token_file).caller()
        yield Approving(workspace, ports, Approvals(ports, Gatekeeper(gate))), caller
    finally:
        gate.close()
        store.close()


@contextmanager
def open_enrolling(workspace: Workspace, settings: Settings) -> Generator[Approving]:
    """The service for keys alone: a signature is the right here, no token and no policy engine."""
    store = open_store(workspace)
    gate = LinkedGate(settings.limits.gate_deadline_s)
    try:
        ports = face_ports(workspace, settings, store)
        yield Approving(workspace, ports, Approvals(ports, Gatekeeper(gate)))
    finally:
        gate.close()
        store.close()


def signing_key(
    workspace: Workspace, approving: Approving, by: str | None, passphrase: bytes
) -> tuple[str, bytes]:
    """The id and seed of the key that signs: the root key, or the approver named ``by``."""
    if by is None:
        seed = keys.load_root(workspace.keys, passphrase)
        return signer.key_id(signer.public_bytes(seed)), seed
    found = [one for one in approving.approvers() if by in (one.principal, one.key_id)]
    live = [one for one in found if one.revoked_at is None]
    if not live:
        raise Refused("There is no such approver in force.", code="not_enrolled")
    seed = load_seed(approving.key_path(live[0].principal), passphrase)
    return signer.key_id(signer.public_bytes(seed)), seed
