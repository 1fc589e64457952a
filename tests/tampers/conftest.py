"""One prepared workspace in which a real worker has worked, brought back to that state for each test."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from control_plane.secrets import signer
from control_plane.store import tables
from server import keys
from server.approver_wiring import open_approving, open_enrolling
from server.auditing import Auditing
from server.wiring import Face
from tests.support.house import PASSPHRASE, House, Token, build_house, fresh_key
from tests.support.onboarding import RUN_DEADLINE_S, ask, park
from tests.support.waiting import until
from tests.support.workers import running_worker

APPROVER_PASSPHRASE = b"a passphrase of one approver"


@dataclass(frozen=True)
class Standing:
    """A workspace, and what its auditor keeps elsewhere: the verifier key and one checkpoint.

    `early` is a copy of the store from before the approval, `pristine` one of the whole state.
    """

    house: House
    key: str
    checkpoint: Path
    early: Path
    pristine: Path


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Standing:
    """A tenant that a worker onboarded by approval, and one given up while it waited for its own."""
    folder = tmp_path_factory.mktemp("tampers")
    house = build_house(folder / "house", cerbos_binary)
    early, pristine = folder / "early.db", folder / "pristine"
    with running_worker(house):
        _work(house, early)
    # The worker has sequenced its last leaves at its end.
    with house.store() as store:
        auditing = Auditing(house.workspace, store)
        key, note = auditing.verifier_key(), auditing.checkpoint()
    checkpoint = folder / "kept-checkpoint"
    checkpoint.write_text(note)
    shutil.copytree(house.workspace.state, pristine)
    return Standing(house, key, checkpoint, early, pristine)


def _work(house: House, early: Path) -> None:
    agent = house.issue("operator", "acme,globex")
    human = house.issue("viewer", "acme,globex", actor=None)
    house.revoke(house.issue("viewer", "acme", actor="another"))
    _enrol(house)
    with house.face(agent) as face:
        approved = park(face, "acme")
        _sequenced(house)
        _copy_store(house, early)
        _approve(house, human, approved["approval_id"])
        _wait(face, approved["run_id"], "applied")
        given_up = park(face, "globex")
        ask(face, "run_cancel", run_id=given_up["run_id"], idempotency_key=fresh_key())
        _wait(face, given_up["run_id"], "canceled")
        # A last leaf that vouches for no row, under a checkpoint of its own.
        _sequenced(house)
        ask(face, "tenant_get", tenant="acme")


def _sequenced(house: House) -> None:
    table = tables.audit_leaf
    waiting = select(table.c.id).where(table.c.position.is_(None)).limit(1)
    with house.store() as store:

        def none_waits() -> bool:
            with store.read() as connection:
                return connection.execute(waiting).first() is None

        until(none_waits, "every leaf is sequenced")


def _wait(face: Face, run_id: str, state: str) -> None:
    def there() -> bool:
        return bool(ask(face, "run_get", run_id=run_id)["result"]["state"] == state)

    until(there, f"the run is {state}", RUN_DEADLINE_S)


def _copy_store(house: House, target: Path) -> None:
    with (
        closing(sqlite3.connect(house.workspace.store_db)) as source,
        closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)


def _enrol(house: House) -> None:
    root = keys.load_root(house.workspace.keys, PASSPHRASE)
    by = (signer.key_id(signer.public_bytes(root)), root)
    with open_enrolling(house.workspace, house.settings) as approving:
        approving.enrol("alice", APPROVER_PASSPHRASE, by)


def _approve(house: House, human: Token, approval_id: str) -> None:
    with open_approving(house.workspace, house.settings, human.file) as (approving, caller):
        question = approving.show(caller, approval_id)
        approving.answer(
            caller,
            approval_id,
            "approve",
            confirm=question.approval.plan_digest[:8],
            passphrase=APPROVER_PASSPHRASE,
        )


@pytest.fixture
def standing(prepared: Standing) -> Standing:
    """The prepared workspace as it was when its worker ended: each test may ruin it."""
    state = prepared.house.workspace.state
    shutil.rmtree(state)
    shutil.copytree(prepared.pristine, state)
    return prepared
