"""Another user of this machine: children that have given root's rights up before they do anything. Not a test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

UID: Final = 65534
needs_root = pytest.mark.skipif(
    os.geteuid() != 0,
    reason="needs root to become a second user; run it as root, as in a container",
)

# The interpreter may lie where only root may look: it starts as root, and all is imported before
# the rights are given up for good.
_DROPPED = """
import encodings.ascii, errno, os, socket, sys
import paybill
given, sys.argv = sys.argv, ["paybill", "connect", "/nowhere/at/all"]
os.environ["PAYBILL_TOKEN"] = "none"
try:
    paybill.main()
except SystemExit:
    sys.argv = given
del os.environ["PAYBILL_TOKEN"]
os.setgroups([])
os.setresgid({uid}, {uid}, {uid})
os.setresuid({uid}, {uid}, {uid})
assert os.geteuid() == os.getuid() == {uid}
"""
_PROBES: Final = {
    "read": "os.close(os.open(path, os.O_RDONLY))",
    "write": "os.close(os.open(path, os.O_WRONLY))",
    "list": "os.listdir(path)",
    "create": "os.close(os.open(os.path.join(path, 'x'), os.O_WRONLY | os.O_CREAT | os.O_EXCL))",
    "remove": "os.unlink(path)",
    "connect": "socket.socket(socket.AF_UNIX).connect(path)",
    "signal": "os.kill(int(path), 0)",
}


def command(code: str, *arguments: str) -> list[str]:
    """How to start this code as the outsider."""
    return [sys.executable, "-P", "-c", _DROPPED.format(uid=UID) + code, *arguments]


def connect_command(socket: Path, token_file: Path) -> list[str]:
    """How the outsider starts `paybill connect`."""
    return command(
        "sys.argv[0] = 'paybill'\npaybill.main()",
        "connect",
        str(socket),
        "--token-file",
        str(token_file),
    )


def attempt(things: Sequence[tuple[str, str]]) -> list[str]:
    """What the outsider meets at each (probe, path): `done`, or the name of the error."""
    code = "\n".join(
        line
        for probe, path in things
        for line in (
            f"path = {path!r}",
            f"try:\n    {_PROBES[probe]}\n    said = 'done'",
            "except OSError as error:\n    said = errno.errorcode[error.errno]",
            "sys.stdout.write(said + '\\n')",
        )
    )
    ran = subprocess.run(
        command(code), capture_output=True, text=True, cwd="/", env={}, timeout=60, check=True
    )
    return ran.stdout.split()
