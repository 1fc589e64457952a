"""A workspace over a catalog of a test's choice, at work: worker, tenants, and its commands. Not a test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from server.clock import SystemClock
from server.ids import RandomIds
from server.initialise import Answers, initialise
from tests.support.forked import Start, start_paybill
from tests.support.house import PASSPHRASE, House
from tests.support.onboarding import ask, follow, onboarding
from tests.support.postgres import Postgres, raze
from tests.support.workers import running_worker

TENANTS: Final[Mapping[str, str]] = {"acme": "pooled", "globex": "bridge"}
"""The tenants of each desk, with their isolation models."""
_COMMAND_S: Final = 120.0
_NUMBERS = itertools.count(1)


@contextmanager
def opened_desk(
    folder: Path, cerbos: Path, server: Postgres | None, write_catalog: Callable[[Path], None]
) -> Generator[House]:
    """A workspace with a worker and both tenants; its rows in files, or on that server.

    `write_catalog` writes what the workspace declares into a folder that is not there yet.
    """
    root, home = folder / "workspace", folder / "home"
    root.mkdir(parents=True)
    write_catalog(root / "catalog")
    owner = None if server is None else server.owner
    answers = Answers("desk", "own_hand", PASSPHRASE, owner)
    house = House(initialise(root, home, answers, SystemClock(), RandomIds()), home, cerbos, folder)
    with ExitStack() as stack:
        if server is not None:
            stack.callback(raze, server, house.workspace.id)
        stack.enter_context(running_worker(house))
        _bring_tenants(house)
        yield house


def _bring_tenants(house: House) -> None:
    with house.face(house.issue("operator", ",".join(TENANTS), actor="founder")) as face:
        for tenant, isolation in TENANTS.items():
            asked = onboarding(tenant, plan="team", isolation=isolation)
            answered: dict[str, Any] = ask(face, "tenant_onboard", **asked)
            assert answered["outcome"] == "running", answered
            follow(face, answered["run_id"], {"applied"})


def run_command(house: House, *arguments: str, **told: str) -> tuple[int, str]:
    """Run `paybill` with these arguments and environment variables: its exit code, and all it said."""
    log = house.folder / f"command-{next(_NUMBERS)}.log"
    environment = {**house.environment, **told}
    process = start_paybill(Start(arguments, environment, house.workspace.root, log))
    return process.wait(_COMMAND_S), log.read_text()
