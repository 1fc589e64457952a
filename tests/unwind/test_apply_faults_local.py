"""An apply on `local` that is killed, stopped, hung, failed or left without a disk at any of its steps: what stands is known, and goes again. No cloud."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from control_plane.errors import Failed, PaybillError, Unknown
from control_plane.provisioning import binary
from control_plane.provisioning.binary import Terraform
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.stacks import StackRequest
from tests.support.apply_faults import STEPS, Crashed, Fault, Struck, blow, struck_module
from tests.support.slices import sliced

REQUEST: Final = StackRequest(
    tenant="acme", run_id="run-1", cloud="local", isolation="pooled", plan="pro", region="eu"
)
# What Terraform itself still writes down, and what it does not live to write.
TOLD: Final[tuple[Fault, ...]] = ("interrupt", "hang", "fail")
UNTOLD: Final[tuple[Fault, ...]] = ("kill", "crash", "freeze")
CUT_OFF: Final[tuple[Fault, ...]] = ("short", "empty")
EACH: Final = [(fault, step) for fault in (*TOLD, *UNTOLD) for step in STEPS]
DISK_BYTES: Final = 40 * 1024 * 1024


@pytest.fixture(scope="module")
def terraform() -> Terraform:
    return binary.find(None, os.environ["PATH"])


@pytest.fixture
def struck(tmp_path: Path) -> Struck:
    return struck_module(tmp_path, tmp_path)


@pytest.fixture
def provisioner(terraform: Terraform, struck: Struck) -> TerraformProvisioner:
    return provisioner_of(terraform, struck)


def provisioner_of(
    terraform: Terraform, struck: Struck, deadline_s: float = 60.0
) -> TerraformProvisioner:
    return TerraformProvisioner(
        terraform,
        RunnerSettings(deadline_s=deadline_s, grace_s=1.0, lock_timeout_s=1),
        struck.disk / "stacks",
        b"k" * 32,
        admitted_modules=frozenset({struck.admitted}),
        module_overrides={("local", "pooled"): struck.module},
    )


def state_of(struck: Struck) -> Path:
    return struck.disk / "stacks" / "acme" / "pooled" / "terraform.tfstate"


def strike(terraform: Terraform, struck: Struck, fault: Fault, step: str) -> None:
    """Apply the stack, and have it struck; what it raises is what it must."""
    provisioner = provisioner_of(terraform, struck)
    artifact = provisioner.observe(REQUEST).artifact
    struck.arm(step, fault)
    hasty = provisioner_of(terraform, struck, 3.0 if fault == "hang" else 60.0)
    with pytest.raises((Unknown, Crashed)):
        hasty.apply(REQUEST, artifact, should_stop=blow(struck, fault))
    assert struck.is_struck()
    struck.mend()


def assert_known(provisioner: TerraformProvisioner, struck: Struck) -> None:
    """Settling says the truth, which needs the lock, and no effect stands that the state does not know."""
    seen = provisioner.look(REQUEST)
    known = {one.removeprefix("terraform_data.") for one in seen.resources}
    assert struck.stands() <= known
    assert seen.settled == ("differs" if known else "absent")


def assert_nothing_stands(provisioner: TerraformProvisioner, struck: Struck) -> None:
    assert provisioner.settle(REQUEST) == "absent"
    assert (struck.stands(), struck.twice()) == (frozenset(), [])
    assert not list((struck.disk / "stacks").glob("*/.operations/*"))


@pytest.mark.long_but_one
@pytest.mark.parametrize("case", sliced(EACH, every=7), ids="-".join)
def test_an_apply_that_is_struck_at_any_step_is_taken_back_whole(
    terraform: Terraform,
    provisioner: TerraformProvisioner,
    struck: Struck,
    case: tuple[Fault, str],
) -> None:
    fault, step = case
    strike(terraform, struck, fault, step)
    assert struck.stands() == frozenset(STEPS[: STEPS.index(step)])
    assert_known(provisioner, struck)
    provisioner.destroy(REQUEST)
    assert_nothing_stands(provisioner, struck)


@pytest.mark.long_but_one
@pytest.mark.parametrize("case", sliced(EACH, every=10), ids="-".join)
def test_an_apply_that_is_struck_at_any_step_can_be_gone_on_with(
    terraform: Terraform,
    provisioner: TerraformProvisioner,
    struck: Struck,
    case: tuple[Fault, str],
) -> None:
    fault, step = case
    strike(terraform, struck, fault, step)
    provisioner.apply(REQUEST, provisioner.observe(REQUEST).artifact)
    assert provisioner.settle(REQUEST) == "present"
    assert struck.twice() == []
    # A Terraform that was killed may have written down the resource whose program it was running:
    # the program is then not run again. Hence a run never goes on from a part, but takes it back.
    lacking: frozenset[str] = frozenset() if fault in TOLD else frozenset({step})
    assert frozenset(STEPS) - struck.stands() <= lacking


@pytest.mark.long_but_one
@pytest.mark.parametrize("case", sliced(EACH, every=10), ids="-".join)
def test_a_removal_that_is_struck_at_any_step_is_carried_on(
    terraform: Terraform,
    provisioner: TerraformProvisioner,
    struck: Struck,
    case: tuple[Fault, str],
) -> None:
    fault, step = case
    provisioner.apply(REQUEST, provisioner.observe(REQUEST).artifact)
    struck.arm(step, fault, "gone")
    hasty = provisioner_of(terraform, struck, 3.0 if fault == "hang" else 60.0)
    with pytest.raises((Unknown, Crashed)):
        hasty.destroy(REQUEST, should_stop=blow(struck, fault))
    struck.mend()
    assert struck.stands() == frozenset(STEPS[: STEPS.index(step) + 1])
    assert_known(provisioner, struck)
    provisioner.destroy(REQUEST)
    assert_nothing_stands(provisioner, struck)


@pytest.mark.long_but_one
@pytest.mark.parametrize(
    "case", sliced([(one, step) for one in CUT_OFF for step in STEPS], every=4), ids="-".join
)
def test_a_state_that_was_cut_off_is_never_taken_for_none(
    terraform: Terraform,
    provisioner: TerraformProvisioner,
    struck: Struck,
    case: tuple[Fault, str],
) -> None:
    fault, step = case
    artifact = provisioner.observe(REQUEST).artifact
    struck.arm(step, fault)
    with pytest.raises(Unknown) as unknown:
        provisioner.apply(REQUEST, artifact, should_stop=blow(struck, fault))
    assert unknown.value.code == "state_unreadable"
    assert_lost(provisioner, struck, artifact)


def assert_lost(provisioner: TerraformProvisioner, struck: Struck, artifact: bytes) -> None:
    """Whatever is asked, nothing is done, and nothing is said to be absent."""
    stood = struck.stands()
    for ask in (
        lambda: provisioner.look(REQUEST),
        lambda: provisioner.observe(REQUEST),
        lambda: provisioner.apply(REQUEST, artifact),
        lambda: provisioner.destroy(REQUEST),
        lambda: provisioner.outputs(REQUEST),
    ):
        with pytest.raises(Failed) as failed:
            ask()
        assert (failed.value.code, failed.value.retryable) == ("state_unreadable", False)
    assert (struck.stands(), struck.twice()) == (stood, [])


@pytest.mark.long
def test_the_state_of_a_stack_that_stood_is_not_none_when_it_is_emptied(
    provisioner: TerraformProvisioner, struck: Struck
) -> None:
    artifact = provisioner.observe(REQUEST).artifact
    provisioner.apply(REQUEST, artifact)
    was = state_of(struck).read_bytes()
    os.truncate(state_of(struck), 0)
    assert_lost(provisioner, struck, artifact)
    state_of(struck).write_bytes(was)
    assert provisioner.settle(REQUEST) == "present"


def test_a_state_that_another_process_holds_is_left_to_it(
    provisioner: TerraformProvisioner, struck: Struck
) -> None:
    provisioner.apply(REQUEST, provisioner.observe(REQUEST).artifact)
    with held(state_of(struck)):
        for ask in (provisioner.settle, provisioner.destroy):
            with pytest.raises(Failed) as failed:
                ask(REQUEST)
            assert (failed.value.code, failed.value.retryable) == ("state_locked", True)
    assert provisioner.settle(REQUEST) == "present"


@contextmanager
def held(state: Path) -> Generator[None]:
    """Have another process hold the lock on a state, as a Terraform does that lives."""
    code = (
        "import fcntl, sys; file = open(sys.argv[1], 'r+b'); fcntl.lockf(file, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, str(state)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        yield
        child.stdin.close()


# A full disk -----------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Struck]:
    """A stack on a disk of its own, which a step may fill."""
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(disk)]
    try:
        done = subprocess.run(words, capture_output=True, check=False)
    except OSError:
        pytest.skip("no mount: install util-linux")
    if done.returncode != 0:
        pytest.skip("a small disk needs a user who may mount one: run it as root")
    try:
        yield struck_module(tmp_path, disk)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("step", sliced(STEPS, every=3))
def test_a_disk_that_fills_up_under_an_apply_makes_nothing_absent(
    terraform: Terraform, small: Struck, step: str
) -> None:
    provisioner = provisioner_of(terraform, small)
    artifact = provisioner.observe(REQUEST).artifact
    small.arm(step, "full")
    ended = code_of(lambda: provisioner.apply(REQUEST, artifact))
    stood = small.stands()
    small.mend()
    # Where the state was cut off behind a whole block of the disk, what it held before is lost too.
    settled = code_of(lambda: provisioner.settle(REQUEST))
    allowed = {"present"} if ended == "Applied" else {"differs", "state_unreadable"}
    assert settled in allowed, (ended, settled)
    assert (small.stands(), small.twice()) == (stood, [])


def code_of(ask: Callable[[], object]) -> str:
    """The code of the error that comes of it; else what is answered, or its kind."""
    try:
        answer = ask()
    except PaybillError as error:
        return error.code
    return answer if isinstance(answer, str) else type(answer).__name__


def test_an_apply_does_not_begin_where_there_is_no_room_for_its_state(
    terraform: Terraform, small: Struck
) -> None:
    provisioner = provisioner_of(terraform, small)
    artifact = provisioner.observe(REQUEST).artifact
    with small.disk.joinpath("filled").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, DISK_BYTES - 8 * 1024 * 1024)
    with pytest.raises(Failed) as failed:
        provisioner.apply(REQUEST, artifact)
    assert (failed.value.code, failed.value.retryable) == ("disk_full", True)
    small.mend()
    provisioner.apply(REQUEST, artifact)
    assert provisioner.settle(REQUEST) == "present"
