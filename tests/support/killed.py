"""A process that runs given code and is killed at the moment that it says. Not what is looked at afterwards."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

_CHECKOUT: Final = Path(__file__).parents[2]
_DEADLINE_S: Final = 20


def kill_when_ready(code: str, *arguments: str) -> None:
    """Run the code, kill it (SIGKILL) once it has said that it is ready, and wait for its end."""
    child = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, cwd=_CHECKOUT
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(_DEADLINE_S)
        if child.stdout is not None:
            child.stdout.close()
