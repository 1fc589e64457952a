"""A run whose apply is struck at any of its steps, and the worker that takes it up: one stable tenant, and nothing left over. No cloud."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from control_plane.domain.tenant import TENANT as TENANTS
from control_plane.handlers.run_waits import FIRST_WAIT
from control_plane.provisioning import binary
from control_plane.provisioning.port import Applied
from control_plane.provisioning.progress import Told, untold
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings, never
from control_plane.provisioning.stacks import StackRequest
from policies.gate import Gate
from server.catalog import policy_sources
from tests.approvals.conftest import engine
from tests.support.apply_faults import STEPS, Crashed, Fault, Struck, blow, struck_module
from tests.support.approval_template import make_template, make_world
from tests.support.approval_world import TENANT, Template, World
from tests.support.slices import sliced

FAULTS: Final[tuple[Fault, ...]] = ("kill", "crash", "interrupt", "freeze", "fail")
EACH: Final = [(fault, step) for fault in FAULTS for step in STEPS]


class Blown(TerraformProvisioner):
    """The real one; what befalls its next apply is told by `blow`."""

    blow: Callable[[], bool] = staticmethod(never)

    def apply(
        self,
        request: StackRequest,
        artifact: bytes,
        *,
        should_stop: Callable[[], bool] = never,
        tell: Told = untold,
    ) -> Applied:
        """As the other, under the blow."""
        befalls, self.blow = self.blow, never
        return super().apply(
            request, artifact, should_stop=lambda: befalls() or should_stop(), tell=tell
        )


@dataclass(frozen=True)
class Scene:
    """A workspace without a tenant, whose stacks can be struck."""

    world: World
    provisioner: Blown
    struck: Struck

    @property
    def state(self) -> Path:
        """The state of the tenant's stack."""
        return self.struck.disk / "stacks" / TENANT / "pooled" / "terraform.tfstate"

    def struck_run(self, fault: Fault, step: str) -> str:
        """A run that makes the tenant and is struck; as far as its worker brings it."""
        run_id = self.world.propose(isolation="pooled")
        self.struck.arm(step, fault)
        self.provisioner.blow = blow(self.struck, fault)
        with suppress(Crashed):
            self.world.work(run_id)
        assert not list(self.struck.folder.glob("armed.*")), "the step was not reached"
        return run_id


@pytest.fixture(scope="module")
def gate(cerbos_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("bundles")
    with engine(cerbos_binary, list(policy_sources(None)), folder) as made:
        yield made


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return make_template(tmp_path_factory.mktemp("template"), "two_people")


@pytest.fixture
def scene(tmp_path: Path, template: Template, gate: Gate) -> Iterator[Scene]:
    struck = struck_module(tmp_path, tmp_path)
    provisioner = Blown(
        binary.find(None, os.environ["PATH"]),
        RunnerSettings(grace_s=1.0, lock_timeout_s=1),
        tmp_path / "stacks",
        b"k" * 32,
        admitted_modules=frozenset({struck.admitted}),
        module_overrides={("local", "pooled"): struck.module},
    )
    made = make_world(template, tmp_path / "world", gate)
    yield Scene(made.with_ports(replace(made.ports, provisioner=provisioner)), provisioner, struck)
    made.close()


@pytest.mark.parametrize("case", sliced(EACH, every=8), ids="-".join)
def test_a_run_whose_apply_is_struck_is_taken_back_and_the_next_one_makes_the_tenant(
    scene: Scene, case: tuple[Fault, str]
) -> None:
    fault, step = case
    run_id = scene.struck_run(fault, step)
    scene.struck.mend()
    run = scene.world.work(run_id) if fault == "crash" else scene.world.run(run_id)
    assert run.state == "compensated", run
    tenant = scene.world.tenant()
    assert tenant is not None
    assert tenant.state == "provision_failed"
    assert tenant.state in TENANTS.stable
    assert_state(scene, "absent", frozenset())
    assert scene.world.work(scene.world.propose(isolation="pooled")).state == "applied"
    assert_state(scene, "present", frozenset(STEPS))


def assert_state(scene: Scene, settled: str, stands: frozenset[str]) -> None:
    tenant = scene.world.tenant()
    assert tenant is not None
    request = StackRequest(
        tenant=TENANT,
        run_id="look",
        cloud="local",
        isolation="pooled",
        plan=tenant.plan,
        region=tenant.region,
        size=scene.world.ports.catalog.plans.offer(tenant.plan).size,
        workspace=scene.world.ports.workspace,
    )
    assert scene.provisioner.settle(request) == settled
    assert (scene.struck.stands(), scene.struck.twice()) == (stands, [])
    assert not list((scene.struck.disk / "stacks").glob("*/.operations/*"))


@pytest.mark.parametrize("step", sliced(STEPS, every=3))
def test_a_run_whose_state_was_cut_off_does_nothing_until_somebody_has_put_it_right(
    scene: Scene, step: str
) -> None:
    run_id = scene.struck_run("short", step)
    stood = scene.struck.stands()
    run = scene.world.work(run_id)
    assert (run.state, run.reason) == ("unknown", "state_unreadable")
    assert scene.struck.stands() == stood
    scene.world.clock.advance(FIRST_WAIT)
    # Put right from a copy; here of before the apply, and what it had made was removed by hand.
    scene.struck.folder.joinpath("cloud.log").unlink()
    scene.state.with_name("terraform.tfstate.backup").replace(scene.state)
    assert scene.world.work(run_id).state == "compensated"
    assert_state(scene, "absent", frozenset())
