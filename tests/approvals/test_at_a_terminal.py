"""An approver at a terminal, over a real worker: reads the plan, types its digits and the passphrase. No rule of its own."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pexpect
import pytest

from control_plane.facts.load import approval_row
from tests.conftest import MakeHouse
from tests.support.house import PASSPHRASE, House, Token
from tests.support.onboarding import follow, park
from tests.support.waiting import until
from tests.support.workers import RunningWorker

SECRET = "a passphrase of the approver"
ANSWER_S = 60
WIDTH = 200


@contextmanager
def terminal(house: House, *arguments: str) -> Generator[pexpect.spawn[str]]:
    """One command of ours as a child at a terminal of its own; ended with the block."""
    child: pexpect.spawn[str] = pexpect.spawn(
        sys.executable,
        ["-P", "-m", "paybill", *arguments],
        cwd=str(house.workspace.root),
        env=house.environment,
        timeout=ANSWER_S,
        encoding="utf-8",
        dimensions=(60, WIDTH),
    )
    try:
        yield child
    finally:
        child.close(force=True)


def ended(child: pexpect.spawn[str]) -> tuple[int | None, str]:
    """What is left to read, and the exit code."""
    child.expect(pexpect.EOF)
    said = child.before or ""
    child.wait()
    return child.exitstatus, said


def enrol(house: House) -> None:
    """Make the approver's key at a terminal: the root's passphrase once, the new one twice."""
    with terminal(house, "approvers", "enrol", "--principal", "alice") as child:
        child.expect("Passphrase for the signing key")
        child.sendline(PASSPHRASE.decode())
        child.expect("Passphrase for the new key of alice")
        child.sendline(SECRET)
        child.expect("(?i)repeat")
        child.sendline(SECRET)
        code, said = ended(child)
    assert code == 0, said
    assert "approver " in said


def answer(
    house: House, human: Token, approval_id: str, digits: str, secret: str
) -> tuple[int | None, str]:
    """`approvals approve` with what is typed at its two prompts; the code and all that was seen."""
    named = ("approvals", "approve", approval_id, "--token-file", str(human.file))
    with terminal(house, *named) as child:
        child.expect("Digest: ")
        shown = child.before or ""
        child.sendline(digits)
        child.expect("Passphrase for your approver key: ")
        child.sendline(secret)
        code, said = ended(child)
    return code, shown + said


@pytest.mark.long
def test_an_approver_reads_and_signs_at_a_terminal(
    workspace: MakeHouse, worker: Callable[..., RunningWorker]
) -> None:
    house = workspace("own_hand")
    agent = house.issue("operator", "acme")
    human = house.issue("viewer", "acme", actor=None)
    enrol(house)
    worker(house)
    with house.face(agent) as face:
        run = park(face, "acme")
        approval_id = str(run["approval_id"])

        with terminal(
            house, "approvals", "show", approval_id, "--token-file", str(human.file)
        ) as child:
            code, shown = ended(child)
        assert code == 0, shown
        assert (
            shown.index("Cannot be undone:") < shown.index("infrastructure:") < shown.index("rows:")
        )
        found = re.search(r"Digest ([0-9a-f]{64})", shown)
        assert found is not None, shown
        assert found[1] == run["plan_digest"]
        digits = found[1][:8]

        code, said = answer(house, human, approval_id, "00000000", SECRET)
        assert code not in (0, None), said
        assert state(house, approval_id) == "pending"

        code, said = answer(house, human, approval_id, digits, SECRET)
        assert code == 0, said
        assert f"approval {approval_id} is approved" in said
        assert SECRET not in said, "a passphrase is never echoed"
        until(lambda: state(house, approval_id) == "consumed", "the approval is used")
        follow(face, str(run["run_id"]), {"applied"})


def state(house: House, approval_id: str) -> str:
    """The approval's state."""
    with house.store() as store, store.read() as connection:
        found = approval_row(connection, approval_id)
    assert found is not None
    return found.state
