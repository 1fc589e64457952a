"""Where the engine's executable comes from: setting, PATH, cache, package. Does not run the engine.

Nothing is read from the process environment: the caller hands it in.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from filelock import FileLock, Timeout

from policies.errors import BinaryNotFound
from policies.package import FETCHED_VERSION, PackageError, fetch_executable

_VERSION_MIN = (0, 55)
_VERSION_BELOW = (0, 56)
_RANGE = ">=0.55,<0.56"
_VERSION_TIMEOUT_S = 20.0
_LOCK_TIMEOUT_S = 600.0
_PATH_ENTRIES_MAX = 200

Source: TypeAlias = Literal["setting", "path", "cache", "fetched"]
Progress: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PassedOver:
    """An executable that was seen and not taken, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Binary:
    """The executable to run, with its provenance."""

    path: Path
    version: str
    source: Source
    passed_over: tuple[PassedOver, ...] = ()


def _silent(_: str) -> None:
    """Drop a progress line."""


def find_binary(
    *,
    setting: Path | None,
    environment: Mapping[str, str],
    cache_dir: Path,
    on_progress: Progress = _silent,
    may_fetch: bool = True,
) -> Binary:
    """Find a supported engine; as a last resort fetch it into `cache_dir` (about 32 MB).

    `setting` is the value of PAYBILL_CERBOS_BIN and has no alternative when given.
    `environment` gives PATH, and to npm its proxy and configuration variables.
    Raises `BinaryNotFound`, which names the ways to get one.
    """
    if setting is not None:
        return _from_setting(setting)
    passed_over: list[PassedOver] = []
    for candidate in _on_path(environment.get("PATH", "")):
        version = version_of(candidate)
        if _supported(version):
            return Binary(candidate, version, "path", tuple(passed_over))
        passed_over.append(PassedOver(candidate, _unsupported(version)))
    found = _from_cache(cache_dir, environment, on_progress if may_fetch else None)
    return replace(found, passed_over=tuple(passed_over))


def version_of(executable: Path) -> str:
    """Ask an executable for its version; empty when it does not give one."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            [executable, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VERSION_TIMEOUT_S,
            env={},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.match(rb"v?(\d+\.\d+\.\d+)\b", done.stdout)
    return found.group(1).decode() if found and done.returncode == 0 else ""


def _from_setting(setting: Path) -> Binary:
    version = version_of(setting)
    if not _supported(version):
        raise BinaryNotFound(f"PAYBILL_CERBOS_BIN names {setting}: {_unsupported(version)}")
    return Binary(setting, version, "setting")


def _from_cache(
    cache_dir: Path, environment: Mapping[str, str], on_progress: Progress | None
) -> Binary:
    name = _platform()
    target = cache_dir / f"cerbos-{FETCHED_VERSION}-{name}"
    if version_of(target) == FETCHED_VERSION:
        return Binary(target, FETCHED_VERSION, "cache")
    if on_progress is None:
        raise BinaryNotFound(_ways("it is not in the cache"))
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(cache_dir / ".lock", timeout=_LOCK_TIMEOUT_S):
            if version_of(target) == FETCHED_VERSION:  # another process was faster
                return Binary(target, FETCHED_VERSION, "cache")
            _fill(target, name, environment, on_progress)
    except (OSError, Timeout, PackageError) as error:
        raise BinaryNotFound(_ways(str(error))) from error
    return Binary(target, FETCHED_VERSION, "fetched")


def _fill(target: Path, name: str, environment: Mapping[str, str], on_progress: Progress) -> None:
    staging = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
    try:
        fresh = fetch_executable(name, staging, environment, on_progress)
        if version_of(fresh) != FETCHED_VERSION:
            raise PackageError("what was fetched does not run as the version it should be")
        fresh.replace(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _on_path(search_path: str) -> Iterator[Path]:
    # A relative entry would let the current folder, perhaps a foreign repository, run code.
    folders = [Path(entry) for entry in search_path.split(":") if Path(entry).is_absolute()]
    for folder in dict.fromkeys(folders[:_PATH_ENTRIES_MAX]):
        found = shutil.which("cerbos", path=str(folder))
        if found is not None:
            yield Path(found)


def _supported(version: str) -> bool:
    parts = tuple(int(part) for part in version.split(".")[:2]) if version else ()
    return _VERSION_MIN <= parts < _VERSION_BELOW


def _unsupported(version: str) -> str:
    return f"its version is {version or 'unknown'}, supported is {_RANGE}"


def _platform() -> str:
    system = {"linux": "linux", "darwin": "darwin"}.get(sys.platform)
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
    processor = machine.get(platform.machine().lower())
    if system is None or processor is None:
        raise BinaryNotFound(_ways("there is no build for this platform"))
    return f"{system}-{processor}"


def _ways(cause: str) -> str:
    return (
        f"there is no Cerbos policy engine ({_RANGE}): {cause}. Any one of these helps: "
        "(1) set PAYBILL_CERBOS_BIN to an executable; "
        "(2) put `cerbos` on PATH; "
        f"(3) install Node.js or uv and go online once: `npm pack @cerbos/cerbos-<platform>"
        f"@{FETCHED_VERSION}` is then done for you; "
        f"(4) `brew tap cerbos/tap && brew install cerbos`, the image ghcr.io/cerbos/cerbos:"
        f"{FETCHED_VERSION}, or the release download of Cerbos {FETCHED_VERSION}"
    )
