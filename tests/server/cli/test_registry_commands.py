"""`paybill registry rebuild`: what is shown where the store is lost, and that nothing is registered unless it is asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from control_plane.databases.sqlite import SqliteDatabases
from server.cli.app import app
from tests.support.house import House, build_house

Do = Callable[..., Result]


@pytest.fixture
def house(tmp_path: Path, cerbos_binary: Path) -> House:
    """A workspace whose store was lost, and in which one tenant's database stands."""
    made = build_house(tmp_path / "house", cerbos_binary)
    databases = SqliteDatabases(made.workspace.data, busy_timeout_ms=1_000)
    databases.create("acme", "silo", [], 7)
    for path in made.workspace.state.glob("store.db*"):
        path.unlink()
    return made


@pytest.fixture
def do(house: House) -> Do:
    """Run the program over it."""

    def run(*words: str) -> Result:
        environment = {"PAYBILL_HOME": os.fspath(house.settings.home), "COLUMNS": "200"}
        command = ["--workspace", os.fspath(house.workspace.root), "registry", "rebuild", *words]
        return CliRunner().invoke(app, command, env=environment)

    return run


def test_what_stands_is_shown_and_nothing_is_made_of_it(house: House, do: Do) -> None:
    shown = do()
    assert shown.exit_code == 0, shown.output
    assert "acme" in shown.output
    (found,) = json.loads(do("--json").output)["databases"]
    assert (found["tenant"], found["isolation"], found["open"], found["epoch"]) == (
        "acme",
        "silo",
        True,
        7,
    )
    assert not house.workspace.store_db.exists()


def test_what_stands_is_registered_where_that_is_asked_for_and_once(house: House, do: Do) -> None:
    assert do("--write").exit_code == 2
    written = do("--write", "--plan", "team", "--yes", "--json")
    assert written.exit_code == 0, written.output
    (told,) = json.loads(written.output)["registered"]
    assert told == {"tenant": "acme", "state": "suspended", "databases": 1, "backups": 0}
    assert house.workspace.store_db.exists()
    again = do("--write", "--plan", "team", "--yes")
    assert (again.exit_code, "tenants in the store" in again.output) == (1, True)


def test_who_does_not_agree_has_nothing_registered(house: House, do: Do) -> None:
    refused = do("--write", "--plan", "team")
    assert refused.exit_code == 1
    assert not house.workspace.store_db.exists()
