"""Modules with one mistake each: real Terraform names exactly it. Not what a cloud would say of them.

Each mistake is looked for twice: by `terraform validate`, which must tell of this one and no other,
and through the provisioner, which must not plan and say no more than a class.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from control_plane.domain.isolation import Cloud, Isolation
from control_plane.errors import Failed
from control_plane.provisioning import binary, stacks
from control_plane.provisioning.accounts import CloudAccount, Clouds, FromEnvironment
from control_plane.provisioning.binary import Terraform
from control_plane.provisioning.module import LOCK_FILE
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.site import Sites
from control_plane.provisioning.stacks import StackRequest
from tests.support.planted import MISTAKES, Planted, plant
from tests.support.simulated.mirror import cli_config, make_mirror
from tests.support.simulated.schema import read_schema, schema_path

REGIONS: Final[dict[Cloud, str]] = {
    "aws": "eu-central-1",
    "azure": "westeurope",
    "gcp": "europe-west3",
    "oci": "eu-frankfurt-1",
    "ibm": "eu-de",
}
# All mistakes of one cloud always run; of the others only in the sweep.
ALWAYS: Final[Cloud] = "azure"
SHARED: Final = {"database_port": "5432", "worker_cidr": "203.0.113.0/28"}


class Desk(NamedTuple):
    """A cloud's simulated provider, and a folder where its silo module is initialised."""

    cloud: Cloud
    mirror: Path
    folder: Path
    environment: dict[str, str]
    terraform: Terraform

    def said(self) -> list[dict[str, Any]]:
        """What `terraform validate` finds wrong in the folder."""
        done = run(self, "validate", "-json")
        told: dict[str, Any] = json.loads(done.stdout)
        return [one for one in told["diagnostics"] if one["severity"] == "error"]


def run(desk: Desk, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*desk.terraform.argv, *words],
        cwd=desk.folder,
        env=desk.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def silo(cloud: Cloud) -> Path:
    return stacks.MODULES / cloud / "silo"


def cases(*always: str) -> list[Any]:
    """Each mistake in each cloud whose module has a place for it; outside the sweep only `always`."""
    return [
        pytest.param(
            cloud,
            mistake,
            marks=[] if cloud == ALWAYS and mistake in always else pytest.mark.sweep,
            id=f"{cloud}-{mistake.lower().replace(' ', '-')}",
        )
        for cloud in REGIONS
        for mistake in MISTAKES
        if plant(mistake, silo(cloud), read_schema(schema_path(cloud)))
    ]


@pytest.fixture(scope="module")
def desk_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Cloud], Desk]:
    desks: dict[Cloud, Desk] = {}
    terraform = binary.find(None, os.environ["PATH"])

    def made(cloud: Cloud) -> Desk:
        if cloud not in desks:
            desks[cloud] = set_up(cloud, tmp_path_factory.mktemp(cloud), terraform)
        return desks[cloud]

    return made


def set_up(cloud: Cloud, home: Path, terraform: Terraform) -> Desk:
    mirror = home / "mirror"
    make_mirror(mirror, [cloud])
    (home / "terraform.rc").write_text(cli_config(mirror), encoding="utf-8")
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
        "TF_CLI_CONFIG_FILE": str(home / "terraform.rc"),
    }
    folder = without_lock(silo(cloud), home / "module")
    desk = Desk(cloud, mirror, folder, environment, terraform)
    done = run(desk, "init", "-input=false", "-no-color")
    assert done.returncode == 0, done.stderr
    assert desk.said() == []  # nothing is wrong before something is planted
    return desk


def without_lock(shipped: Path, folder: Path) -> Path:
    """A copy for the simulated provider: the lock names the real one's package alone."""
    return Path(shutil.copytree(shipped, folder, ignore=shutil.ignore_patterns(LOCK_FILE)))


def provisioner_of(
    desk: Desk, root: Path, folder: Path, isolation: Isolation
) -> tuple[TerraformProvisioner, StackRequest]:
    """A provisioner that makes `folder` of what is asked for, and the request."""
    region = REGIONS[desk.cloud]
    keys = {
        key
        for path in folder.glob("*.tf")
        for key in re.findall(r"var\.shared\.(\w+)", path.read_text(encoding="utf-8"))
    }
    account = CloudAccount(
        account="simulated",
        regions=(region,),
        credentials=FromEnvironment(kind="environment", names=("UNUSED",)),
        shared={region: {key: SHARED.get(key, f"sim-{key}") for key in sorted(keys)}},
    )
    clouds = Clouds(mirror=desk.mirror, accounts={desk.cloud: account})
    provisioner = TerraformProvisioner(
        desk.terraform,
        RunnerSettings(),
        root,
        b"k" * 32,
        sites=Sites(root, clouds, fetch_credentials=lambda _credentials: {}),
        module_overrides={(desk.cloud, isolation): folder},
    )
    request = StackRequest(
        tenant="acme",
        run_id="run-1",
        cloud=desk.cloud,
        isolation=isolation,
        plan="pro",
        region=region,
        workspace="0a1b2c3d",
    )
    return provisioner, request


def planted_in(folder: Path, mistake: str, cloud: Cloud) -> Planted:
    planted = plant(mistake, folder, read_schema(schema_path(cloud)))
    assert planted is not None
    (folder / planted.file).write_text(planted.after, encoding="utf-8")
    return planted


@pytest.mark.parametrize(("cloud", "mistake"), cases(*MISTAKES))
def test_a_planted_mistake_is_named_and_no_other(
    desk_of: Callable[[Cloud], Desk], cloud: Cloud, mistake: str
) -> None:
    desk = desk_of(cloud)
    planted = planted_in(desk.folder, mistake, cloud)
    try:
        (said,) = desk.said()
    finally:
        (desk.folder / planted.file).write_text(planted.before, encoding="utf-8")
    heading = re.sub(r"^Insufficient \w+ blocks$", "Insufficient blocks", said["summary"])
    assert heading == mistake
    assert planted.words in " ".join(said["detail"].split())
    assert said["range"]["filename"] == planted.file


@pytest.mark.parametrize(("cloud", "mistake"), cases("Unsupported argument"))
def test_nothing_is_planned_of_a_module_with_a_mistake(
    desk_of: Callable[[Cloud], Desk], tmp_path: Path, cloud: Cloud, mistake: str
) -> None:
    folder = without_lock(silo(cloud), tmp_path / "module")
    planted = planted_in(folder, mistake, cloud)
    provisioner, request = provisioner_of(desk_of(cloud), tmp_path / "stacks", folder, "silo")
    with pytest.raises(Failed) as failed:
        provisioner.observe(request)
    assert failed.value.code in {"bad_module", "terraform_error"}
    assert not failed.value.retryable
    assert planted.words not in str(failed.value)
    assert not list((tmp_path / "stacks").rglob("*.tfstate"))


@pytest.mark.parametrize(
    "cloud", [pytest.param(c, marks=[] if c == ALWAYS else pytest.mark.sweep) for c in REGIONS]
)
def test_a_value_that_a_module_does_not_admit_is_named_as_such(
    desk_of: Callable[[Cloud], Desk], tmp_path: Path, cloud: Cloud
) -> None:
    folder = without_lock(silo(cloud), tmp_path / "module")
    provisioner, request = provisioner_of(desk_of(cloud), tmp_path / "stacks", folder, "bridge")
    with pytest.raises(Failed) as failed:
        provisioner.observe(request)
    assert (failed.value.code, failed.value.retryable) == ("invalid_variable", False)


def test_there_is_a_place_for_nearly_every_mistake_in_every_cloud() -> None:
    places = [case.values for case in cases(*MISTAKES)]
    for cloud in REGIONS:
        found = {mistake for where, mistake in places if where == cloud}
        # Oracle's and IBM's resources have no write-only argument, and IBM's labels are a list.
        assert set(MISTAKES) - found <= {
            "Invalid use of ephemeral value",
            "Reference to undeclared input variable",
        }
    assert {mistake for where, mistake in places if where == ALWAYS} == set(MISTAKES)
