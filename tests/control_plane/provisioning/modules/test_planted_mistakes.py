"""Modules with one mistake each: real Terraform names exactly it. Not what a cloud would say of them.

Each mistake is looked for twice: by `terraform validate`, which must tell of this one and no other,
and through the provisioner, which must not plan and say no more than a class.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from control_plane.domain import isolation as domain
from control_plane.domain.isolation import ISOLATIONS, Cloud
from control_plane.errors import Failed
from control_plane.provisioning import binary, stacks
from control_plane.provisioning.binary import Terraform
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.site import Sites
from control_plane.provisioning.state_backend import state_path
from tests.control_plane.provisioning.modules.test_lifecycle import (
    clouds_with,
    request_for,
    unlocked,
)
from tests.support.planted import MISTAKES, Planted, plant
from tests.support.simulated.mirror import cli_config, make_mirror
from tests.support.simulated.schema import read_schema, schema_path

CLOUDS: Final[list[Cloud]] = [cloud for cloud in domain.CLOUDS if cloud != "local"]
# All mistakes of one cloud always run; of the others only in the sweep.
ALWAYS: Final[Cloud] = "azure"


class Desk(NamedTuple):
    """A cloud's simulated provider, and a folder where its silo module is initialised."""

    cloud: Cloud
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
        for cloud in CLOUDS
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
    folder = unlocked(cloud, "silo", home / "module")
    desk = Desk(cloud, folder, environment, terraform)
    done = run(desk, "init", "-input=false", "-no-color")
    assert done.returncode == 0, done.stderr
    assert desk.said() == []  # nothing is wrong before something is planted
    return desk


def provisioner_of(desk: Desk, home: Path, folder: Path) -> TerraformProvisioner:
    """A provisioner that makes `folder` of whatever is asked for."""
    root = home / "stacks"
    clouds = clouds_with(desk.cloud, "silo", home / "mirror")
    overrides: dict[tuple[str, str], Path] = {(desk.cloud, one): folder for one in ISOLATIONS}
    return TerraformProvisioner(
        desk.terraform,
        RunnerSettings(),
        root,
        b"k" * 32,
        sites=Sites(root, clouds, fetch_credentials=lambda _credentials: {}),
        module_overrides=overrides,
    )


def planted_in(folder: Path, mistake: str, cloud: Cloud) -> Planted:
    planted = plant(mistake, folder, read_schema(schema_path(cloud)))
    assert planted is not None
    (folder / planted.file).write_text(planted.after, encoding="utf-8")
    return planted


@pytest.mark.long_but_one
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


@pytest.mark.long
@pytest.mark.parametrize(("cloud", "mistake"), cases("Unsupported argument"))
def test_nothing_is_planned_of_a_module_with_a_mistake(
    desk_of: Callable[[Cloud], Desk], tmp_path: Path, cloud: Cloud, mistake: str
) -> None:
    folder = unlocked(cloud, "silo", tmp_path / "module")
    planted = planted_in(folder, mistake, cloud)
    provisioner = provisioner_of(desk_of(cloud), tmp_path, folder)
    with pytest.raises(Failed) as failed:
        provisioner.observe(request_for(cloud, "silo"))
    assert failed.value.code == "bad_module"
    assert not failed.value.retryable
    assert planted.words not in str(failed.value)
    assert not state_path(tmp_path / "stacks", request_for(cloud, "silo")).exists()


@pytest.mark.parametrize(
    "cloud", [pytest.param(c, marks=[] if c == ALWAYS else pytest.mark.sweep) for c in CLOUDS]
)
def test_a_value_that_a_module_does_not_admit_is_named_as_such(
    desk_of: Callable[[Cloud], Desk], tmp_path: Path, cloud: Cloud
) -> None:
    folder = unlocked(cloud, "silo", tmp_path / "module")
    provisioner = provisioner_of(desk_of(cloud), tmp_path, folder)
    with pytest.raises(Failed) as failed:
        provisioner.observe(request_for(cloud, "bridge"))
    assert (failed.value.code, failed.value.retryable) == ("invalid_variable", False)


def test_there_is_a_place_for_nearly_every_mistake_in_every_cloud() -> None:
    places = [case.values for case in cases(*MISTAKES)]
    for cloud in CLOUDS:
        found = {mistake for where, mistake in places if where == cloud}
        # Oracle's and IBM's resources have no write-only argument, and IBM's labels are a list.
        assert set(MISTAKES) - found <= {
            "Invalid use of ephemeral value",
            "Reference to undeclared input variable",
        }
    assert {mistake for where, mistake in places if where == ALWAYS} == set(MISTAKES)
