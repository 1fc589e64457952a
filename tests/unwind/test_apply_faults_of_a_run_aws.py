"""A run on an emulated AWS whose Terraform is killed in the middle of its apply: reconciled by state, labels and import, then ended one way. Not AWS.

Each command of Terraform's real provider loads 700 MB: one case always runs, the others under `-m sweep`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from control_plane.domain.run_record import Run
from control_plane.domain.tenant import TENANT as TENANTS
from control_plane.provisioning import binary
from control_plane.provisioning.accounts import Clouds
from control_plane.provisioning.port import Applied, Standing
from control_plane.provisioning.progress import Told, untold
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings, never
from control_plane.provisioning.site import Sites
from control_plane.provisioning.stacks import StackRequest
from policies.gate import Gate
from server.catalog import policy_sources
from tests.approvals.conftest import engine
from tests.support.approval_template import make_template, make_world
from tests.support.approval_world import REQUESTER, TENANT, Template, World
from tests.support.aws_account import Tagged, account_behind, lock_path, object_at, standing
from tests.support.emulated_aws import (
    CREDENTIALS,
    REGION,
    EmulatedAws,
    emulated_aws,
    real_provider,
)
from tests.support.faulty_proxy import Fault, FaultyProxy, faulty_proxy
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import Bench
from tests.unwind.test_apply_faults_aws import ADDRESSES, EVERYTHING

# At the end of its apply Terraform gives the lock back: the second request about it.
GIVING_BACK: Final = Fault("lock", 2, "hang")
_TAKEN_UP_MAX: Final = 3


class Killed(TerraformProvisioner):
    """The real one; its next apply is killed at a fault of the door. Keeps what each look found."""

    door: FaultyProxy
    pids: list[int]
    fault: Fault | None = None

    def apply(
        self,
        request: StackRequest,
        artifact: bytes,
        *,
        should_stop: Callable[[], bool] = never,
        tell: Told = untold,
    ) -> Applied:
        """As the other, under the fault."""
        fault, self.fault = self.fault, None
        if fault is None:
            return super().apply(request, artifact, should_stop=should_stop, tell=tell)

        def killed() -> bool:
            if fault.struck.is_set():
                os.kill(self.pids[-1], signal.SIGKILL)
            return should_stop()

        with self.door.armed(fault):
            return super().apply(request, artifact, should_stop=killed, tell=tell)


@dataclass(frozen=True)
class Scene:
    """A workspace whose plan lets tenants live in the emulated account."""

    world: World
    aws: EmulatedAws
    provisioner: Killed
    seen: list[tuple[str, Standing]]
    """Each look at a stack: the state of the run at that time, and what was found."""

    def run(self, fault: Fault | None) -> Run:
        """A run that makes the tenant, as it rests at last."""
        self.provisioner.fault = fault
        asked = Bench(self.world).ask(
            "tenant_onboard",
            REQUESTER,
            tenant=TENANT,
            display_name="A tenant",
            plan="team",
            isolation="pooled",
            cloud="aws",
            region=REGION,
            idempotency_key=fresh_key(),
        )
        run = self.world.work(str(asked["run_id"]))
        if run.state == "awaiting_approval":
            self.world.answer(run)
            run = self.world.work(run.id)
        for _ in range(_TAKEN_UP_MAX):
            # As the worker's clock does, where a look came to nothing.
            if run.state in {"unknown", "reconciling"}:
                run = self.world.work(run.id)
        assert fault is None or fault.struck.is_set(), run
        return run

    def request(self) -> StackRequest:
        """The tenant's stack."""
        return StackRequest(
            tenant=TENANT,
            run_id="look",
            cloud="aws",
            isolation="pooled",
            plan="team",
            region=REGION,
            workspace=self.world.ports.workspace,
        )

    def assert_left(self, state: str, stands: frozenset[str]) -> None:
        """The tenant rests in a state; what stands is whole or nothing, and nobody holds its state."""
        tenant = self.world.tenant()
        assert tenant is not None
        assert tenant.state == state
        assert state in TENANTS.stable
        assert standing(self.aws, self.request()) == stands
        assert object_at(self.aws, lock_path(self.request())) is None
        assert not list(self.provisioner._root.glob("*/.operations/*"))


@pytest.fixture
def account(tmp_path: Path) -> Iterator[tuple[EmulatedAws, FaultyProxy]]:
    real_provider()
    with emulated_aws(tmp_path / "moto.log") as aws, faulty_proxy(aws.url) as door:
        yield aws, door


@pytest.fixture(scope="module")
def gate(cerbos_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("bundles")
    with engine(cerbos_binary, list(policy_sources(None)), folder) as made:
        yield made


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return make_template(tmp_path_factory.mktemp("template"), "two_people")


@pytest.fixture
def scene(
    account: tuple[EmulatedAws, FaultyProxy],
    template: Template,
    gate: Gate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    aws, door = account
    world = with_aws(make_world(template, tmp_path / "world", gate))
    provisioner = provisioner_of(aws, door, tmp_path / "stacks")
    made = world.with_ports(replace(world.ports, provisioner=provisioner))
    scene = Scene(made, aws, provisioner, [])
    look = provisioner.look

    def noted(request: StackRequest, **more: Any) -> Standing:
        found = look(request, **more)
        scene.seen.append((made.run(request.run_id).state, found))
        return found

    monkeypatch.setattr(provisioner, "look", noted)
    yield scene
    made.close()


def with_aws(world: World) -> World:
    """The same with a plan that may stand in the account's region, too."""
    catalog: Any = world.ports.catalog
    plans = catalog.plans
    offers = [
        one.model_copy(
            update={"clouds": ("aws", "local"), "regions": tuple(sorted({*one.regions, REGION}))}
        )
        for one in plans.plans
    ]
    return world.with_catalog(
        replace(catalog, plans=plans.model_copy(update={"plans": tuple(offers)}))
    )


def provisioner_of(aws: EmulatedAws, door: FaultyProxy, root: Path) -> Killed:
    clouds = Clouds(mirror=real_provider(), accounts={"aws": account_behind(aws, door.url)})
    sites = Sites(
        root,
        clouds,
        adapt=lambda _cloud, _account, _credentials: Tagged(aws),
        fetch_credentials=lambda _credentials: CREDENTIALS,
    )
    pids: list[int] = []
    settings = RunnerSettings(lock_timeout_s=1, grace_s=20.0, on_started=pids.append)
    terraform = binary.find(None, os.environ["PATH"])
    made = Killed(terraform, settings, root, b"k" * 32, sites=sites)
    made.door, made.pids = door, pids
    return made


@pytest.mark.sweep
def test_a_run_whose_terraform_is_killed_at_the_end_of_its_apply_goes_on(scene: Scene) -> None:
    run = scene.run(replace(GIVING_BACK))
    assert run.state == "applied", run
    state, found = scene.seen[0]
    assert (state, found.settled, found.resources) == ("reconciling", "present", ADDRESSES)
    scene.assert_left("active", EVERYTHING)


@pytest.mark.sweep
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_run_whose_terraform_is_killed_behind_a_change_takes_back_what_it_finds_by_its_labels(
    scene: Scene, nth: int
) -> None:
    run = scene.run(Fault("cloud", nth, "lost"))
    assert run.state == "compensated", run
    # Of what the cloud was told to make, the state knew nothing any more.
    state, found = scene.seen[0]
    assert (state, found.settled) == ("reconciling", "differs")
    assert 1 <= len(found.resources) <= nth
    scene.assert_left("provision_failed", frozenset())
    again = scene.run(None)
    assert again.state == "applied", again
    scene.assert_left("active", EVERYTHING)
