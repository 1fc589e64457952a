"""The front door: puts the rooms on the path and starts the program. Not a room: it holds no logic.

In a checkout the rooms stand beside this folder, in an installed wheel inside it. An application
imports this package only, for `stdio_parameters`; it speaks MCP and never imports a room.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TypedDict

__all__ = ["ROOMS", "StdioParameters", "check_rooms", "main", "stdio_parameters"]

_HERE = Path(__file__).resolve().parent
_ROOM_NAMES = ("server", "tools", "graphs", "policies", "control_plane")

ROOMS = _HERE if (_HERE / "server").is_dir() else _HERE.parent
"""The folder that holds the rooms."""


class StdioParameters(TypedDict):
    """What an MCP client needs to start a face over stdio."""

    command: str
    args: list[str]
    env: dict[str, str]


def main() -> None:
    """Run the `paybill` program. Exits with 2 when a room is not ours, before any of it runs."""
    # First on the path, so that a workspace's own `policies` or `tools` never takes a room's place.
    sys.path.insert(0, str(ROOMS))
    strangers = check_rooms()
    if strangers:
        _refuse(strangers)
    from server.cli import main as run  # the path must be set first

    run()


def check_rooms() -> tuple[str, ...]:
    """Name the rooms that would be, or have been, imported from anywhere but `ROOMS`."""
    return tuple(name for name in _ROOM_NAMES if not _is_ours(name))


def stdio_parameters(
    workspace: Path | str | None = None, *, token_file: Path | str | None = None
) -> StdioParameters:
    """Build what an MCP client passes on to start `paybill serve` with this very interpreter.

    Give the token as a file (0600). Without one the face reads ``PAYBILL_TOKEN`` or
    ``PAYBILL_TOKEN_FILE`` from its environment: put it in the result's ``env``. The workspace is
    the nearest one above the client's folder when none is named.
    """
    # -P: without it the client's folder would stand on the path before everything installed.
    args = ["-P", "-m", "paybill"]
    if workspace is not None:
        args += ["--workspace", str(Path(workspace).absolute())]
    args.append("serve")
    if token_file is not None:
        args += ["--token-file", str(Path(token_file).absolute())]
    return {"command": sys.executable, "args": args, "env": {}}


def _is_ours(name: str) -> bool:
    found = _file_of(name)
    return found is not None and found.resolve() == ROOMS / name / "__init__.py"


def _file_of(name: str) -> Path | None:
    loaded = sys.modules.get(name)
    if loaded is not None:
        return Path(loaded.__file__) if loaded.__file__ else None
    spec = PathFinder.find_spec(name)
    return Path(spec.origin) if spec and spec.origin else None


def _refuse(strangers: Iterable[str]) -> None:
    names = ", ".join(strangers)
    sys.stderr.write(f"paybill: refuses to start: not from its own folder: {names}\n")
    raise SystemExit(2)
