"""Plans of the shipped modules, made by real Terraform over the simulated providers and kept. Not a provisioner.

What is kept of a plan is what its facts are read from, and nothing that differs from run to run.
Run as a program it makes all of them anew: `uv run python -m tests.support.recorded_plans`.
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from unittest import mock

from control_plane.domain.isolation import CLOUDS, ISOLATIONS, Cloud, Isolation, Size
from control_plane.provisioning import binary, provisioner, stacks
from control_plane.provisioning.binary import Terraform
from control_plane.provisioning.plan_facts import plan_facts
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.site import Sites
from tests.control_plane.provisioning.modules.test_lifecycle import (
    SHARED,
    clouds_with,
    request_for,
    unlocked,
)
from tests.support.simulated.schema import schema_path

FOLDER: Final = (
    Path(__file__).resolve().parents[1] / "control_plane" / "provisioning" / "recorded_plans"
)
# What an account must say in words that have a price.
_SHARED: Final = {"vault_type": "DEFAULT"}
_CHANGE: Final = ("actions", "before", "after", "after_unknown")
_RESOURCE: Final = ("address", "mode", "type", "name", "provider_name")
_CONFIGURED: Final = (
    *("address", "mode", "type", "name", "provider_config_key"),
    *("expressions", "provisioners"),
)


def shipped() -> Iterator[tuple[Cloud, Isolation]]:
    """Every module that Paybill ships and a provider is simulated for."""
    for cloud in CLOUDS:
        for isolation in ISOLATIONS:
            module = stacks.MODULES / cloud / isolation
            if module.is_dir() and (cloud == "local" or schema_path(cloud).is_file()):
                yield cloud, isolation


def planned_anew(
    terraform: Terraform, folder: Path, cloud: Cloud, isolation: Isolation, size: Size = "small"
) -> dict[str, Any]:
    """The plan of a module's first stack, as it is kept."""
    request = request_for(cloud, isolation).model_copy(update={"size": size})
    with mock.patch.dict(SHARED, _SHARED):
        clouds = clouds_with(cloud, isolation, folder / "mirror")
    root = folder / "stacks"
    maker = provisioner.TerraformProvisioner(
        terraform,
        RunnerSettings(),
        root,
        b"k" * 32,
        sites=Sites(root, clouds, fetch_credentials=lambda _credentials: {}),
        module_overrides={(cloud, isolation): unlocked(cloud, isolation, folder / "module")},
    )
    with mock.patch.object(provisioner, "plan_facts", side_effect=plan_facts) as seen:
        maker.observe(request)
    return kept_of(seen.call_args.args[0])


def kept_of(plan_json: dict[str, Any]) -> dict[str, Any]:
    """The parts of a plan that facts are read from, in the shape that they have in it."""
    configuration = plan_json["configuration"]
    return {
        "format_version": plan_json["format_version"],
        "variables": plan_json["variables"],
        "resource_changes": [
            {name: one[name] for name in _RESOURCE}
            | {"change": {name: one["change"][name] for name in _CHANGE}}
            for one in plan_json["resource_changes"]
        ],
        "resource_drift": plan_json.get("resource_drift", []),
        "configuration": {
            "provider_config": configuration.get("provider_config", {}),
            "root_module": {
                "resources": [
                    {name: one[name] for name in _CONFIGURED if name in one}
                    for one in configuration["root_module"]["resources"]
                ]
            },
        },
    }


def path_of(cloud: Cloud, isolation: Isolation) -> Path:
    """Where a plan is kept."""
    return FOLDER / f"{cloud}-{isolation}.json.gz"


def recorded(cloud: Cloud, isolation: Isolation) -> dict[str, Any]:
    """A plan as it is kept."""
    plan_json: dict[str, Any] = json.loads(gzip.decompress(path_of(cloud, isolation).read_bytes()))
    return plan_json


def main() -> None:
    """Make every plan anew."""
    terraform = binary.find(None, os.environ["PATH"])
    FOLDER.mkdir(exist_ok=True)
    for cloud, isolation in shipped():
        with tempfile.TemporaryDirectory() as folder:
            plan_json = planned_anew(terraform, Path(folder), cloud, isolation)
        text = json.dumps(plan_json, sort_keys=True)
        path_of(cloud, isolation).write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
