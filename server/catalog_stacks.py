"""A workspace's own stacks among the files of its catalog: `stacks/<cloud>/<isolation>/`. Not what is in them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Final

from control_plane.domain.isolation import CLOUDS, ISOLATIONS, Cloud, Isolation
from control_plane.errors import BadInput
from control_plane.provisioning.stack_contract import lacks

STACKS: Final = "stacks"
_FILES_MAX: Final = 50
_FILE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,60}\.tf|\.terraform\.lock\.hcl|README\.md")


def stack_files(catalog: Path) -> list[str]:
    """The files of every own stack, by path with forward slashes. Raises BadInput for any other."""
    root = catalog / STACKS
    if not root.is_dir():
        return []
    if root.is_symlink():
        raise BadInput(STACKS, "must not be reached by a link")
    found: list[str] = []
    for cloud in _folders(root, CLOUDS):
        for isolation in _folders(cloud, ISOLATIONS):
            place = f"{STACKS}/{cloud.name}/{isolation.name}"
            names = _names(isolation, place)
            if wrong := [name for name in names if not _FILE.fullmatch(name)]:
                raise BadInput(f"{place}/{wrong[0]}", "must be a .tf file, the lock or README.md")
            found += [f"{place}/{name}" for name in names]
    return found


def own_stacks(catalog: Path) -> Mapping[tuple[str, str], Path]:
    """The folder of each own stack. Raises BadInput for one that lacks something of the contract."""
    stacks: dict[tuple[str, str], Path] = {}
    for cloud, isolation in stack_folders(catalog):
        folder = catalog / STACKS / cloud / isolation
        if found := lacks(folder, cloud):
            raise BadInput(f"{STACKS}/{cloud}/{isolation}: {found[0].about}", found[0].said)
        stacks[cloud, isolation] = folder
    return stacks


def stack_folders(catalog: Path) -> list[tuple[Cloud, Isolation]]:
    """For which cloud and isolation model the catalog has a stack of its own."""
    return [
        (cloud, isolation)
        for cloud in CLOUDS
        for isolation in ISOLATIONS
        if (catalog / STACKS / cloud / isolation).is_dir()
    ]


def _folders(parent: Path, known: tuple[str, ...]) -> list[Path]:
    names = _names(parent, parent.name)
    if wrong := [name for name in names if name not in known]:
        raise BadInput(f"{parent.name}/{wrong[0]}", f"must be one of {', '.join(known)}")
    folders = [parent / name for name in names]
    if any(one.is_symlink() or not one.is_dir() for one in folders):
        raise BadInput(parent.name, "must hold folders, and no links")
    return folders


def _names(folder: Path, told: str) -> list[str]:
    with os.scandir(folder) as entries:
        found = [entry.name for entry in islice(entries, _FILES_MAX + 1)]
    if len(found) > _FILES_MAX:
        raise BadInput(told, f"must have at most {_FILES_MAX} entries")
    return sorted(found)
