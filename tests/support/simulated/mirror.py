"""A mirror of simulated providers, as Terraform's own configuration finds it. Not the provider."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.support.simulated.schema import read_schema, schema_path

WORLD: Final = "world.json"
_CHECKOUT: Final = Path(__file__).resolve().parents[3]
_ARCHITECTURES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def os_arch() -> str:
    """This platform in Terraform's words: `linux_amd64`."""
    machine = platform.machine().lower()
    return f"{platform.system().lower()}_{_ARCHITECTURES.get(machine, machine)}"


def make_mirror(folder: Path, clouds: Iterable[str]) -> str:
    """Make a mirror of these clouds' providers in `folder`; the text of Terraform's configuration.

    What a test writes to `folder / WORLD` happens to their resources: see world.py.
    """
    for cloud in clouds:
        schema = read_schema(schema_path(cloud))
        package = folder / schema.provider / schema.version / os_arch()
        package.mkdir(parents=True)
        program = package / f"terraform-provider-{schema.name}_v{schema.version}"
        program.write_text(_wrapper(schema_path(cloud), folder / WORLD), encoding="utf-8")
        program.chmod(0o755)
    return cli_config(folder)


def cli_config(mirror: Path) -> str:
    """Terraform's configuration that installs providers from one folder and from nowhere else."""
    return (
        "disable_checkpoint = true\n"
        "provider_installation {\n"
        f"  filesystem_mirror {{\n    path = {json.dumps(str(mirror))}\n  }}\n"
        '  direct {\n    exclude = ["*/*/*"]\n  }\n'
        "}\n"
    )


def _wrapper(schema_file: Path, world_file: Path) -> str:
    # Terraform starts it with an environment made from nothing, and through a link in its cache.
    words = [sys.executable, "-P", "-m", "tests.support.simulated.serve"]
    line = shlex.join([*words, str(schema_file), str(world_file)])
    return f"#!/bin/sh\nPYTHONPATH={shlex.quote(str(_CHECKOUT))} exec {line}\n"
