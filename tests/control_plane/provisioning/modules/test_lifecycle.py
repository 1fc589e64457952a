"""Each shipped module's life under real Terraform, over a simulated provider. Not what a cloud does.

The provider knows what its schema declares and nothing else: names, types, what is required, what
is kept. So this finds a module that no provider would take, not one that a cloud would refuse.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any, Final, cast

import pytest

from control_plane.domain.isolation import CLOUDS, ISOLATIONS, Cloud, Isolation
from control_plane.errors import Unknown
from control_plane.provisioning import artifact, binary, stacks
from control_plane.provisioning.accounts import CloudAccount, Clouds, FromEnvironment
from control_plane.provisioning.binary import Terraform
from control_plane.provisioning.module import LOCK_FILE
from control_plane.provisioning.port import ObservedPlan
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.site import Sites
from control_plane.provisioning.stacks import StackRequest
from tests.support.simulated.mirror import WORLD, make_mirror
from tests.support.simulated.schema import read_schema, schema_path

REGIONS: Final[dict[Cloud, str]] = {
    "local": "eu",
    "aws": "eu-central-1",
    "azure": "westeurope",
    "gcp": "europe-west3",
    "oci": "eu-frankfurt-1",
    "ibm": "eu-de",
}
# What a shared thing is called where "sim-<key>" would break a module's own rule for it.
SHARED: Final[dict[str, str]] = {"database_port": "5432", "worker_cidr": "203.0.113.0/28"}
OUTPUTS: Final = {"database", "storage", "key", "identity", "network", "labels"}
_SHARED_KEY: Final = re.compile(r'var\.shared(?:\.|\[")(\w+)')


def request_for(cloud: Cloud, isolation: Isolation) -> StackRequest:
    return StackRequest(
        tenant="acme",
        run_id="run-1",
        cloud=cloud,
        isolation=isolation,
        plan="pro",
        region=REGIONS[cloud],
        workspace="0a1b2c3d",
    )


def cases() -> list[Any]:
    """Every module that stands; of each cloud one always runs, another one from cloud to cloud."""
    return [
        pytest.param(
            cloud,
            isolation,
            marks=[] if (place + number) % len(ISOLATIONS) == 0 else pytest.mark.sweep,
            id=f"{cloud}-{isolation}",
        )
        for place, cloud in enumerate(CLOUDS)
        if cloud == "local" or schema_path(cloud).is_file()
        for number, isolation in enumerate(ISOLATIONS)
        if (stacks.MODULES / cloud / isolation / "main.tf").is_file()
    ]


def shared_of(module: Path) -> dict[str, str]:
    """A value for everything that a module asks to be there already."""
    keys = {
        key for one in module.glob("*.tf") for key in _SHARED_KEY.findall(one.read_text("utf-8"))
    }
    return {key: SHARED.get(key, f"sim-{key}") for key in sorted(keys)}


def clouds_with(cloud: Cloud, isolation: Isolation, mirror: Path) -> Clouds:
    """An account of a cloud; its settings override the module's own provider block."""
    if cloud == "local":
        return Clouds()
    make_mirror(mirror, [cloud])
    settings = read_schema(schema_path(cloud)).provider_block["attributes"]
    texts = sorted(
        name for name, one in settings.items() if one["type"] == "string" and one.get("optional")
    )
    account = CloudAccount(
        account="simulated",
        regions=(REGIONS[cloud],),
        credentials=FromEnvironment(kind="environment", names=("UNUSED",)),
        provider=dict.fromkeys(texts[:1], "simulated"),
        shared={REGIONS[cloud]: shared_of(stacks.MODULES / cloud / isolation)},
    )
    return Clouds(mirror=mirror, accounts={cloud: account})


def unlocked(cloud: Cloud, isolation: Isolation, folder: Path) -> Path:
    """A module without its lock file, which names the real provider's package alone."""
    shipped = stacks.MODULES / cloud / isolation
    return Path(shutil.copytree(shipped, folder, ignore=shutil.ignore_patterns(LOCK_FILE)))


@pytest.fixture(scope="module")
def terraform() -> Terraform:
    return binary.find(None, os.environ["PATH"])


def provisioner_for(
    terraform: Terraform, request: StackRequest, folder: Path
) -> tuple[TerraformProvisioner, Path]:
    """A provisioner over the simulated provider, and where the stack's state lies."""
    root = folder / "stacks"
    place: tuple[Cloud, Isolation] = (request.cloud, request.isolation)
    clouds = clouds_with(*place, folder / "mirror")
    sites = Sites(root, clouds, fetch_credentials=lambda _credentials: {})
    provisioner = TerraformProvisioner(
        terraform,
        RunnerSettings(),
        root,
        b"k" * 32,
        sites=sites,
        module_overrides={place: unlocked(*place, folder / "module")},
    )
    state = sites.site(request).state
    assert state is not None
    return provisioner, state


@pytest.mark.long_but_one
@pytest.mark.parametrize(("cloud", "isolation"), cases())
def test_a_stack_lives_from_its_first_plan_to_an_empty_state(
    terraform: Terraform, tmp_path: Path, cloud: Cloud, isolation: Isolation
) -> None:
    request = request_for(cloud, isolation)
    provisioner, state = provisioner_for(terraform, request, tmp_path)
    password = provisioner._password(request)
    observed = provisioner.observe(request)
    assert observed.facts.creates >= 1
    found = observed.facts
    assert found.public_ingress == found.unencrypted == found.untagged == ()
    assert found.iam_wildcards == found.iam_unread == ()
    assert set(found.regions) <= {request.region}
    assert observed.facts.updates == observed.facts.replaces == observed.facts.deletes == 0
    outputs = provisioner.apply(request, observed.artifact).outputs
    assert provisioner.settle(request) == "present"
    kept = [state.read_text("utf-8"), *texts_of(observed.artifact)]
    assert not [one for one in kept if password in one]
    assert_contract(request, json.loads(json.dumps(outputs)))
    provisioner.destroy(request)
    assert json.loads(state.read_text("utf-8"))["resources"] == []


@pytest.mark.long
def test_what_failed_halfway_is_made_whole_and_what_changed_behind_it_is_found(
    terraform: Terraform, tmp_path: Path
) -> None:
    request = request_for("aws", "pooled")
    provisioner, _state = provisioner_for(terraform, request, tmp_path)
    world = tmp_path / "mirror" / WORLD
    world.write_text(json.dumps([{"type": "aws_iam_role_policy", "fails": "create"}]))
    with pytest.raises(Unknown) as partial:
        provisioner.apply(request, provisioner.observe(request).artifact)
    assert partial.value.code == "partial_apply"
    world.unlink()
    rest = provisioner.observe(request)
    assert "aws_iam_role_policy.tenant" in changes_of(rest)
    assert "aws_iam_role.tenant" not in changes_of(rest)
    provisioner.apply(request, rest.artifact)
    widened = {"type": "aws_iam_role_policy", "attributes": {"policy": "{}"}}
    world.write_text(json.dumps([widened]))
    assert changes_of(provisioner.observe(request)) == ["aws_iam_role_policy.tenant"]


@pytest.mark.long
def test_a_name_that_aws_would_not_take_becomes_another_for_each_tenant(
    terraform: Terraform, tmp_path: Path
) -> None:
    names = set[str]()
    for number, tenant in enumerate(("a--b", "a---b")):
        request = request_for("aws", "silo").model_copy(update={"tenant": tenant})
        provisioner, _state = provisioner_for(terraform, request, tmp_path / str(number))
        changes: Any = provisioner.observe(request).projection["resource_changes"]
        (database,) = [one for one in changes if one["type"] == "aws_db_instance"]
        names.add(database["change"]["after"]["identifier"])
    assert len(names) == 2
    assert all(re.fullmatch(r"[a-z]([a-z0-9]|-(?!-)){0,61}[a-z0-9]", one) for one in names)


def changes_of(observed: ObservedPlan) -> list[str]:
    """The addresses that a plan would touch."""
    changes = cast("list[dict[str, str]]", observed.projection["resource_changes"])
    return [one["address"] for one in changes]


def texts_of(packed: bytes) -> list[str]:
    """Whatever a saved plan holds, unpacked."""
    with zipfile.ZipFile(io.BytesIO(artifact.unpack(packed).plan)) as plan:
        return [plan.read(name).decode("utf-8", "replace") for name in plan.namelist()]


def assert_contract(request: StackRequest, outputs: dict[str, Any]) -> None:
    """The outputs that every module has; on `local` there is a database and no more."""
    assert outputs["database"]["model"] == request.isolation
    if request.cloud == "local":
        return
    assert set(outputs) == OUTPUTS
    assert set(outputs["database"]) == {"engine", "model", "name", "host", "port", "secret"}
    assert set(outputs["storage"]) == {"kind", "name", "prefix"}
    assert outputs["labels"] == stacks.labels(request)
    named = [outputs["identity"], outputs["storage"]["name"], outputs["database"]["name"]]
    if request.isolation == "silo":
        named += [outputs["key"], outputs["network"], outputs["database"]["host"]]
    assert all(isinstance(one, str) and one for one in named), outputs
