"""The program that stands in for AWS, in the environment that has moto. Not imported by any test.

    python moto_child.py

It listens on 127.0.0.1, says its port, and ends when its standard input does.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def main() -> None:
    """Serve until whoever started this closes the input, or is gone."""
    moto: Any = importlib.import_module("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    sys.stdout.write(f"{server.get_host_and_port()[1]}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
