"""A policy engine for one purpose, over one bundle, ended with it. Not the worker's."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from policies.binary import find_binary
from policies.bundle import Bundle
from policies.gate import Gate
from policies.pdp import Pdp, new_runtime_dir
from server.settings import Settings, process_environment

_READY_S: Final = 20.0
# Nobody waits for a single answer, and whoever asks asks for much at once.
_DEADLINE_S: Final = 10.0


def engine_program(settings: Settings) -> Path:
    """The policy engine's program, fetched where there is none. Raises GateError."""
    found = find_binary(
        setting=settings.cerbos_bin,
        environment=process_environment(),
        cache_dir=settings.cache,
    )
    return found.path


@contextmanager
def private_gate(program: Path, bundle: Bundle) -> Generator[Gate]:
    """A gate before an engine of its own. Raises GateError when it does not start."""
    runtime = new_runtime_dir()
    try:
        pdp = Pdp(program, bundle, runtime)
        pdp.start()
        try:
            pdp.wait_ready(_READY_S)
            gate = Gate(pdp.socket, bundle.version, _DEADLINE_S)
            try:
                yield gate
            finally:
                gate.close()
        finally:
            pdp.stop()
    finally:
        shutil.rmtree(runtime, ignore_errors=True)
