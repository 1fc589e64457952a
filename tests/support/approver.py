"""An approver of a real workspace: enrolled by the root key, answering as their own command does. Not a world."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from control_plane.domain.caller import Caller, Grant
from control_plane.store import rows, tables
from graphs.approvals import Approvals
from graphs.gatekeeper import Gatekeeper
from server import keys
from server.approving import Approving, Question
from server.gate_link import LinkedGate
from server.wiring import face_ports
from server.worker_state import read_state
from tests.support.house import PASSPHRASE, House, Token

APPROVER_PASSPHRASE = b"an approver passphrase for tests"
_GATE_DEADLINE_S = 5.0


@contextmanager
def service(house: House) -> Generator[Approving]:
    """The approver's service over a workspace whose worker is running."""
    workspace = house.workspace
    gate, state = LinkedGate(_GATE_DEADLINE_S), read_state(workspace.worker_json)
    if state is not None:
        gate.link(state.bundle, state.socket)
    with house.store() as store:
        ports = face_ports(workspace, house.settings, store)
        yield Approving(workspace, ports, Approvals(ports, Gatekeeper(gate)))
    gate.close()


def enrol(house: House, principal: str) -> None:
    """Make a person an approver, by the root key."""
    with service(house) as approving, house.store() as store:
        root = face_ports(house.workspace, house.settings, store).root
        secret = keys.load_root(house.workspace.keys, PASSPHRASE)
        approving.enrol(principal, APPROVER_PASSPHRASE, (root[0], secret))


def approve(house: House, human: Token, approval_id: str) -> Question:
    """Look at the plan, and sign it; what was looked at."""
    with house.store() as store, store.read() as connection:
        grant = rows.first(connection, tables.grant, Grant, tables.grant.c.id == human.grant_id)
    assert grant is not None
    caller = Caller.of(grant)
    with service(house) as approving:
        question = approving.show(caller, approval_id)
        confirm = question.approval.plan_digest[:8]
        approving.answer(
            caller, approval_id, "approve", confirm=confirm, passphrase=APPROVER_PASSPHRASE
        )
    return question
