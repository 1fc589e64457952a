"""An apply on an emulated AWS that is killed, stopped, hung or failed at any of its requests: nothing is lost, left over or made twice. Not AWS.

Terraform's real provider reaches the emulator through a door that breaks down at a chosen request.
Each command of Terraform loads 700 MB: all of it under `-m sweep`. What always runs of a killed apply on
AWS is a whole run, in test_apply_faults_of_a_run_aws.py.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

import pytest

from control_plane.errors import Failed, PaybillError, Unknown
from control_plane.provisioning import binary
from control_plane.provisioning.accounts import Clouds
from control_plane.provisioning.port import Standing
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.site import Sites
from control_plane.provisioning.stacks import StackRequest
from tests.support.aws_account import Tagged, account_behind, lock_path, object_at, standing
from tests.support.emulated_aws import (
    CREDENTIALS,
    REGION,
    EmulatedAws,
    emulated_aws,
    real_provider,
)
from tests.support.faulty_proxy import Fault, FaultyProxy, How, Kind, faulty_proxy

T = TypeVar("T")
TRIES: Final = 4
CHANGES: Final = 3
"""How many requests of an apply of the pooled stack change the cloud."""
EVERYTHING: Final = frozenset({"role", "policy", "parameter"})
ADDRESSES: Final = (
    "aws_iam_role.tenant",
    "aws_iam_role_policy.tenant",
    "aws_ssm_parameter.place",
)


@dataclass(frozen=True)
class Blow:
    """What happens at which request. `stop`: what is done to Terraform once the door broke down."""

    kind: Kind
    nth: int
    how: How
    stop: str = ""

    def __str__(self) -> str:
        """The case's name in a test's id."""
        return "-".join(one for one in (self.kind, str(self.nth), self.how, self.stop) if one)


EVERY_BLOW: Final = (
    *(Blow("cloud", nth, "lost", "kill") for nth in range(1, CHANGES + 1)),
    *(Blow("cloud", nth, "lost", "interrupt") for nth in range(1, CHANGES + 1)),
    *(Blow("cloud", nth, "hang", "interrupt") for nth in range(1, CHANGES + 1)),
    *(Blow("cloud", nth, "error") for nth in range(1, CHANGES + 1)),
    *(Blow("cloud", nth, "lost") for nth in range(1, CHANGES + 1)),
    *(Blow("state", 1, how) for how in ("error", "lost", "once")),
    Blow("state", 1, "hang", "kill"),
    *(Blow("lock", nth, how) for nth in (1, 2) for how in ("error", "lost")),
)
ALWAYS: Final = EVERY_BLOW[0]


def patiently(act: Callable[[], T]) -> T:
    """As a run's worker does: what only went unanswered, or was cut short by that, is asked again.

    A busy emulator drops an answer now and then. `act` begins with a look at what stands.
    """
    for _ in range(TRIES - 1):
        try:
            return act()
        except PaybillError as error:
            if error.code not in {"network", "partial_apply"}:
                raise
    return act()


@dataclass
class Account:
    """The account, its door, and a provisioner that works through it."""

    aws: EmulatedAws
    door: FaultyProxy
    provisioner: TerraformProvisioner
    pids: list[int]

    def struck(self, request: StackRequest, blow: Blow) -> PaybillError | None:
        """Apply the stack under the blow; the error with which it ends."""
        artifact = patiently(lambda: self.provisioner.observe(request)).artifact
        with self.door.armed(Fault(blow.kind, blow.nth, blow.how)) as fault:
            try:
                self.provisioner.apply(request, artifact, should_stop=self._stopping(blow, fault))
            except PaybillError as error:
                return error
            finally:
                assert fault.struck.is_set(), "the apply made fewer requests"
        return None

    def carry_out(self, request: StackRequest, *, destroy: bool = False) -> None:
        """Plan what is still to do, and apply exactly that."""
        planned = self.provisioner.observe(request, destroy=destroy)
        self.provisioner.apply(request, planned.artifact)

    def _stopping(self, blow: Blow, fault: Fault) -> Callable[[], bool]:
        def should_stop() -> bool:
            if fault.struck.is_set() and blow.stop == "kill":
                os.kill(self.pids[-1], signal.SIGKILL)
            return fault.struck.is_set() and blow.stop == "interrupt"

        return should_stop

    def assert_known(self, request: StackRequest, seen: Standing) -> None:
        """What stands is what the state knows, and nobody holds the state."""
        assert object_at(self.aws, lock_path(request)) is None, "the state is still locked"
        known = {one.split(".")[0] for one in seen.resources}
        stands = standing(self.aws, request)
        # A role's policy bears no labels: it goes with its role, and is written again over itself.
        words = {"role": "aws_iam_role", "parameter": "aws_ssm_parameter"}
        assert {words[one] for one in stands - {"policy"}} == known - {"aws_iam_role_policy"}
        whole = seen.resources == ADDRESSES
        allowed = {"present", "differs"} if whole else {"differs"} if known else {"absent"}
        assert seen.settled in allowed


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    mirror = real_provider()
    folder = tmp_path_factory.mktemp("faults")
    pids: list[int] = []
    with emulated_aws(folder / "moto.log") as aws, faulty_proxy(aws.url) as door:
        clouds = Clouds(mirror=mirror, accounts={"aws": account_behind(aws, door.url)})
        sites = Sites(
            folder / "stacks",
            clouds,
            adapt=lambda _cloud, _account, _credentials: Tagged(aws),
            fetch_credentials=lambda _credentials: CREDENTIALS,
        )
        settings = RunnerSettings(lock_timeout_s=1, grace_s=20.0, on_started=pids.append)
        terraform = binary.find(None, os.environ["PATH"])
        provisioner = TerraformProvisioner(terraform, settings, sites.root, b"k" * 32, sites=sites)
        yield Account(aws, door, provisioner, pids)


def request_for(tenant: str) -> StackRequest:
    return StackRequest(
        tenant=tenant,
        run_id="run-1",
        cloud="aws",
        isolation="pooled",
        plan="pro",
        region=REGION,
        workspace="0a1b2c3d",
    )


@pytest.mark.sweep
def test_an_apply_killed_behind_its_first_change_is_adopted_and_taken_back(
    account: Account,
) -> None:
    request = request_for("always")
    assert isinstance(account.struck(request, ALWAYS), Unknown)
    assert len(standing(account.aws, request)) == 1
    assert object_at(account.aws, lock_path(request)) is not None, "the killed one left no lock"
    seen = patiently(lambda: account.provisioner.look(request))
    assert (seen.settled, len(seen.resources)) == ("differs", 1)
    account.assert_known(request, seen)
    patiently(lambda: account.carry_out(request, destroy=True))
    assert standing(account.aws, request) == frozenset()


@pytest.mark.sweep
def test_a_lock_that_another_machine_holds_is_not_broken(account: Account) -> None:
    request = request_for("locked")
    held = {"ID": "00000000-0000-0000-0000-000000000001", "Who": "somebody@elsewhere"}
    lock = json.dumps({**held, "Operation": "OperationTypeApply", "Info": "", "Version": "1.11.4"})
    account.aws.s3(lock_path(request), lock)
    with pytest.raises(Failed) as failed:
        patiently(lambda: account.provisioner.settle(request))
    assert (failed.value.code, failed.value.retryable) == ("state_locked", True)
    assert object_at(account.aws, lock_path(request)) == lock


@pytest.mark.sweep
@pytest.mark.parametrize("blow", EVERY_BLOW, ids=str)
@pytest.mark.parametrize("way", ["on", "back"])
def test_an_apply_under_every_blow_loses_nothing_and_leaves_nothing(
    account: Account, blow: Blow, way: str
) -> None:
    request = request_for(f"{way}-{blow!s}")
    error = account.struck(request, blow)
    stood = standing(account.aws, request)
    if isinstance(error, Failed):
        assert not stood, "an apply that changed something says that it did not"
    seen = patiently(lambda: account.provisioner.look(request))
    account.assert_known(request, seen)
    if blow.how == "once":  # the state was written at last: nothing had to be found by its labels
        assert (seen.settled, seen.resources) == ("present", ADDRESSES)
    if way == "on":
        patiently(lambda: account.carry_out(request))
        seen = patiently(lambda: account.provisioner.look(request))
        assert (seen.settled, seen.resources) == ("present", ADDRESSES)
        assert standing(account.aws, request) == EVERYTHING
    patiently(lambda: account.provisioner.destroy(request))
    assert standing(account.aws, request) == frozenset()
    assert patiently(lambda: account.provisioner.settle(request)) == "absent"
    assert object_at(account.aws, lock_path(request)) is None
