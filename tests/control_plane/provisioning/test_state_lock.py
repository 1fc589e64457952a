"""Whose lock a failed command tells of: read from what Terraform really says. It breaks none here."""

from __future__ import annotations

import fcntl
import os
import pwd
import socket
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import Failed
from control_plane.provisioning import binary
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.reason import Reason, classify
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.stacks import StackRequest
from control_plane.provisioning.state_lock import StateLock, lock_in

OURS: Final = f"{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}"
LOCK_ID: Final = "0f3b0d5c-8d0b-2a4e-5f57-6c1f0d6c3a11"
# The provider's request has an ID of its own, and it comes first.
S3: Final = """\
╷
│ Error: Error acquiring the state lock
│
│ Error message: operation error S3: PutObject, https response error
│ StatusCode: 412, RequestID: 7b1d6f2c-0d52-4a07-9a5c-3f5f7d9f1c22, HostID: ,
│ api error PreconditionFailed: At least one of the pre-conditions you
│ specified did not hold
│ Lock Info:
│   ID:        {id}
│   Path:      states/paybill/0a1b2c3d/acme/aws-silo/terraform.tfstate
│   Operation: OperationTypeApply
│   Who:       {who}
│   Version:   1.11.4
│   Created:   2026-11-22 07:00:00.123456789 +0000 UTC
│   Info:
│
│
│ Terraform acquires a state lock to protect the state from being written
│ by multiple users at the same time. Please resolve the issue above and try
│ again. For most commands, you can disable locking with the "-lock=false"
│ flag, but this is not recommended.
╵
"""
REQUEST: Final = StackRequest(
    tenant="acme", run_id="run-1", cloud="local", isolation="silo", plan="pro", region="eu"
)


def told(tmp_path: Path, text: str) -> StateLock | None:
    path = tmp_path / "1.err"
    path.write_text(text, encoding="utf-8")
    return lock_in(path)


def test_the_locks_own_id_is_read_and_not_the_requests(tmp_path: Path) -> None:
    lock = told(tmp_path, S3.format(id=LOCK_ID, who=OURS))
    assert lock == StateLock(LOCK_ID, OURS)
    assert StateLock(LOCK_ID, OURS).is_ours


def test_a_lock_in_a_log_of_json_lines_is_read_too(tmp_path: Path) -> None:
    text = S3.format(id=LOCK_ID, who=OURS).replace("\n", "\\n")
    assert told(tmp_path, f'{{"@level":"error","@message":"{text}"}}\n') == StateLock(LOCK_ID, OURS)


@pytest.mark.parametrize(
    "who",
    [
        f"{OURS}.example",
        f"not-{OURS}",
        f"root@not-{socket.gethostname()}",
        "@",
        f"{OURS.partition('@')[0]}@",
    ],
)
def test_a_lock_of_another_machine_or_user_is_not_ours(tmp_path: Path, who: str) -> None:
    lock = told(tmp_path, S3.format(id=LOCK_ID, who=who))
    assert lock is None or not lock.is_ours


def test_who_we_are_is_no_matter_of_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody")
    lock = told(tmp_path, S3.format(id=LOCK_ID, who=OURS))
    assert lock is not None
    assert lock.is_ours


def test_a_user_without_a_name_is_nobody_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless(_number: int) -> pwd.struct_passwd:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nameless)
    assert not StateLock(LOCK_ID, OURS).is_ours
    assert StateLock(LOCK_ID, f"@{socket.gethostname()}").is_ours


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Error: Error acquiring the state lock\n\nLock Info:\n",
        f"ID: {LOCK_ID}\nWho: {OURS}\n",
        S3.format(id="-force", who=OURS),
        S3.format(id="--help-me-please", who=OURS),
        S3.format(id="x; rm -rf /", who=OURS),
        S3.format(id="", who=OURS),
    ],
)
def test_what_is_no_lock_is_none(tmp_path: Path, text: str) -> None:
    assert told(tmp_path, text) is None


# What a backend says stands in the way of nothing: an ID that could be an option is none.
@given(st.text(max_size=40), st.text(max_size=20))
def test_an_id_is_never_an_option_or_a_path(
    tmp_path_factory: pytest.TempPathFactory, name: str, who: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    text = S3.format(id=name, who=who).encode("utf-8", "replace").decode()
    lock = told(folder, text)
    assert lock is None or set(lock.id) <= set("0123456789abcdef-")
    assert lock is None or not lock.id.startswith("-")


def provisioner_of(tmp_path: Path) -> TerraformProvisioner:
    terraform = binary.find(None, os.environ["PATH"])
    return TerraformProvisioner(
        terraform, RunnerSettings(lock_timeout_s=0), tmp_path / "stacks", b"k" * 32
    )


@pytest.mark.long
def test_a_state_that_another_process_holds_is_waited_for_and_never_broken_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    provisioner = provisioner_of(tmp_path)
    provisioner.apply(REQUEST, provisioner.observe(REQUEST).artifact)
    state = tmp_path / "stacks" / "acme" / "silo" / "terraform.tfstate"

    def classified(*paths: Path) -> Reason:
        seen.extend(path.read_text() for path in paths)
        return classify(*paths)

    monkeypatch.setattr("control_plane.provisioning.operation.classify", classified)
    with state.open("rb+") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        with pytest.raises(Failed) as failed:
            provisioner.observe(REQUEST)
    assert (failed.value.code, failed.value.retryable) == ("state_locked", True)
    assert "Error acquiring the state lock" in "".join(seen)
    provisioner.observe(REQUEST)


def test_the_words_of_a_real_lock_read_as_the_recorded_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "stacks" / "acme" / "silo" / "terraform.tfstate"
    info = state.with_name(".terraform.tfstate.lock.info")
    provisioner = provisioner_of(tmp_path)
    provisioner.apply(REQUEST, provisioner.observe(REQUEST).artifact)
    info.write_text(
        f'{{"ID":"{LOCK_ID}","Operation":"OperationTypeApply","Info":"","Who":"{OURS}",'
        '"Version":"1.11.4","Created":"2026-11-22T07:00:00Z","Path":"terraform.tfstate"}'
    )
    found: list[StateLock | None] = []

    def read(*paths: Path) -> StateLock | None:
        found.append(lock_in(*paths))
        return found[-1]

    monkeypatch.setattr("control_plane.provisioning.operation.lock_in", read)
    with state.open("rb+") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        with pytest.raises(Failed):
            provisioner.observe(REQUEST)
    # It was ours by its words, but whoever holds it lives: it could not be broken.
    assert found == [StateLock(LOCK_ID, OURS)]
