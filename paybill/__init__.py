"""The front door: puts the rooms on the path and starts the program. Nothing else lives here."""

from __future__ import annotations

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
ROOMS = _HERE if (_HERE / "server").is_dir() else _HERE.parent


def main() -> None:
    """Run the program."""
    sys.path.insert(0, str(ROOMS))
    from server.cli import main as run

    run()
