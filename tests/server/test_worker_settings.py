"""What a server was told of stacks' databases, in the worker that it starts: real processes. Not what is made of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import psutil
import pytest
from mcp import Client

from server.presence import held
from server.worker_state import read_state
from tests.conftest import MakeHouse
from tests.support.agents import call

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
NAME = "PAYBILL_STACK_DATABASES_FILE"
DECLARED = "stacks:\n  - cloud: local\n    secret: {kind: folder, path: %s}\n"


def declared(tmp_path: Path, folder: str) -> Path:
    """The file, with the folder in which secrets lie."""
    path = tmp_path / "stacks.yaml"
    path.touch(mode=0o600)
    path.write_text(DECLARED % folder)
    return path


@pytest.mark.sweep
async def test_the_file_that_a_server_was_told_of_is_its_workers_too(
    workspace: MakeHouse, agent: Agent, tmp_path: Path
) -> None:
    path = declared(tmp_path, "/etc/paybill/logins")
    house = workspace().with_environment(**{NAME: str(path)})
    async with agent(house, house.issue("viewer", "acme")) as client:
        assert (await call(client, "whoami"))["outcome"] == "done"
        state = read_state(house.workspace.worker_json)
        assert state is not None
        assert psutil.Process(state.pid).environ()[NAME] == str(path)


async def test_a_mistake_in_it_keeps_the_worker_from_starting_and_its_log_names_field_and_rule(
    workspace: MakeHouse, agent: Agent, tmp_path: Path
) -> None:
    path = declared(tmp_path, "planted/logins")
    house = workspace().with_environment(**{NAME: str(path)})
    async with agent(house, house.issue("viewer", "acme")) as client:
        refused = await call(client, "whoami")
        assert refused["code"] == "policy_engine_unavailable", refused
    assert not held(house.workspace.worker_lock)
    told = house.workspace.worker_log.read_text()
    assert "stacks.yaml: stacks.0.secret.folder.path: " in told
    assert "must be an absolute path" in told
    assert "Traceback" not in told
    assert "planted" not in told
