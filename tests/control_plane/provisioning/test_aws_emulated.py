"""The AWS modules under Terraform's real provider, against an emulator. Not against AWS.

The emulator takes what AWS takes in form; it charges nothing, waits for nothing and forbids nothing.
Each of Terraform's commands loads a provider of 700 MB: hence one after another, and of the three
models one by default.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from control_plane.domain.isolation import Isolation
from control_plane.provisioning import binary, stacks
from control_plane.provisioning.accounts import Clouds
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.site import Sites
from control_plane.provisioning.stacks import StackRequest
from tests.support.emulated_aws import (
    CREDENTIALS,
    REGION,
    EmulatedAws,
    emulated_aws,
    real_provider,
)

SHARED: Final = {
    "bucket": "shared-bucket",
    "database_host": "database.internal.example",
    "database_port": "5432",
    "database_name": "pooled",
    "kms_key_arn": f"arn:aws:kms:{REGION}:123456789012:key/00000000-0000-0000-0000-000000000001",
    "network_id": "vpc-00000000000000001",
}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedAws]:
    real_provider()
    with emulated_aws(tmp_path_factory.mktemp("moto") / "moto.log") as running:
        yield running


@pytest.fixture
def sites(aws: EmulatedAws, tmp_path: Path) -> Sites:
    clouds = Clouds(mirror=real_provider(), accounts={"aws": aws.account(SHARED)})
    return Sites(tmp_path / "stacks", clouds, fetch_credentials=lambda _credentials: CREDENTIALS)


@pytest.fixture
def provisioner(sites: Sites) -> TerraformProvisioner:
    terraform = binary.find(None, os.environ["PATH"])
    return TerraformProvisioner(terraform, RunnerSettings(), sites.root, b"k" * 32, sites=sites)


def request_for(isolation: Isolation) -> StackRequest:
    return StackRequest(
        tenant=f"acme-{isolation}",  # what one test leaves behind is not in another's way
        run_id="run-1",
        cloud="aws",
        isolation=isolation,
        plan="pro",
        region=REGION,
        workspace="0a1b2c3d",
    )


def name_of(request: StackRequest) -> str:
    return f"pb-{request.workspace}-{request.tenant}"


def widen_the_role(aws: EmulatedAws, name: str) -> str:
    """Let the tenant's role read everything; the address of what was changed."""
    anything = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [anything]})
    aws.iam("PutRolePolicy", RoleName=name, PolicyName="tenant", PolicyDocument=document)
    return "aws_iam_role_policy.tenant"


def suspend_versions(aws: EmulatedAws, name: str) -> str:
    """Let the bucket forget what is overwritten; the address of what was changed."""
    aws.s3(
        f"/{name}?versioning",
        '<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        "<Status>Suspended</Status></VersioningConfiguration>",
    )
    return "aws_s3_bucket_versioning.tenant"


@pytest.mark.long
@pytest.mark.parametrize(
    ("isolation", "plant"),
    [
        pytest.param("bridge", suspend_versions, id="bridge", marks=pytest.mark.sweep),
        pytest.param("pooled", widen_the_role, id="pooled"),
        pytest.param("silo", suspend_versions, id="silo", marks=pytest.mark.sweep),
    ],
)
def test_a_stack_is_made_found_clean_found_changed_and_removed(
    aws: EmulatedAws,
    sites: Sites,
    provisioner: TerraformProvisioner,
    isolation: Isolation,
    plant: Callable[[EmulatedAws, str], str],
) -> None:
    request = request_for(isolation)
    outputs = provisioner.apply(request, provisioner.observe(request).artifact).outputs
    assert outputs["identity"] == f"arn:aws:iam::123456789012:role/{name_of(request)}"
    assert outputs["labels"] == stacks.labels(request)
    assert provisioner.settle(request) == "present"
    assert_password_is_only_in_the_secret(aws, sites, provisioner, request)
    changed = plant(aws, name_of(request))
    drifted = provisioner.observe(request)
    assert changes_of(drifted.projection) == [(changed, ["update"])]
    provisioner.destroy(request)
    state = sites.site(request).state
    assert state is not None
    assert json.loads(state.read_text("utf-8"))["resources"] == []


def changes_of(projection: Any) -> list[tuple[str, list[str]]]:
    """What a plan would do, by address."""
    return [(one["address"], one["change"]["actions"]) for one in projection["resource_changes"]]


def assert_password_is_only_in_the_secret(
    aws: EmulatedAws, sites: Sites, provisioner: TerraformProvisioner, request: StackRequest
) -> None:
    state = sites.site(request).state
    assert state is not None
    password = provisioner._password(request)
    assert password not in state.read_text("utf-8")
    if request.isolation != "pooled":
        assert json.loads(aws.secret(f"{name_of(request)}/database"))["password"] == password
