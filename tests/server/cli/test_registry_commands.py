"""`paybill registry rebuild`: what is shown where the store is lost, and that nothing is registered unless it is asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from control_plane.databases.sqlite import SqliteDatabases
from control_plane.provisioning.clouds import choose
from server.cli.app import app
from server.cli.registry import INCOMPLETE
from tests.support.house import House, build_house
from tests.support.labelled_clouds import LabelledClouds, accounts_file, resource

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


@pytest.mark.long
def test_what_stands_is_registered_where_that_is_asked_for_and_once(house: House, do: Do) -> None:
    assert do("--write").exit_code == 2
    written = do("--write", "--plan", "team", "--yes", "--json")
    assert written.exit_code == 0, written.output
    (told,) = json.loads(written.output)["registered"]
    assert told == {
        "tenant": "acme",
        "state": "suspended",
        "cloud": "local",
        "region": "local",
        "databases": 1,
        "backups": 0,
    }
    assert house.workspace.store_db.exists()
    again = do("--write", "--plan", "team", "--yes")
    assert (again.exit_code, "tenants in the store" in again.output) == (1, True)


def test_who_does_not_agree_has_nothing_registered(house: House, do: Do) -> None:
    refused = do("--write", "--plan", "team")
    assert refused.exit_code == 1
    assert not house.workspace.store_db.exists()


@pytest.fixture
def clouds(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabelledClouds:
    """Two accounts; in the first stands acme's stack, and one of a tenant of whom nothing else tells."""
    ours = house.workspace.id[:8]
    held = [resource("b-1", "acme", workspace=ours), resource("b-2", "globex", workspace=ours)]
    made = LabelledClouds({"111111111111": held})
    monkeypatch.setattr(choose, "adapter_for", made.adapt)
    monkeypatch.setenv("PAYBILL_CLOUDS_FILE", os.fspath(accounts_file(tmp_path)))
    return made


@pytest.mark.long
def test_whom_labels_alone_name_is_told_and_registered_where_the_stack_stands(
    clouds: LabelledClouds, do: Do
) -> None:
    shown = do()
    assert (shown.exit_code, "globex" in shown.output) == (0, True), shown.output
    written = do("--write", "--plan", "team", "--yes", "--json")
    assert written.exit_code == 0, written.output
    found = json.loads(written.output)
    assert [(one["tenant"], one["known_by"]) for one in found["tenants"]] == [
        ("acme", ["databases", "labels"]),
        ("globex", ["labels"]),
    ]
    told = [(one["tenant"], one["state"], one["cloud"]) for one in found["registered"]]
    assert told == [("acme", "suspended", "aws"), ("globex", "suspended", "aws")]
    assert (found["complete"], found["clouds_that_do_not_answer"]) == (True, [])


@pytest.mark.long
def test_a_cloud_that_does_not_answer_is_named_and_the_exit_code_says_so(
    clouds: LabelledClouds, do: Do
) -> None:
    clouds.silent.add("our-project")
    shown = do()
    assert shown.exit_code == INCOMPLETE
    assert "gcp, account our-project, does not answer: cloud_unavailable" in shown.output
    assert "globex" in shown.output
    told = json.loads(do("--json").stdout)
    assert told["clouds_that_do_not_answer"] == [
        {"cloud": "gcp", "account": "our-project", "code": "cloud_unavailable"}
    ]
    written = do("--write", "--plan", "team", "--yes", "--json")
    assert written.exit_code == INCOMPLETE
    assert len(json.loads(written.stdout)["registered"]) == 2


def test_without_credentials_no_cloud_is_asked_and_each_is_named(
    clouds: LabelledClouds, do: Do, tmp_path: Path
) -> None:
    (tmp_path / "credentials.json").unlink()
    shown = do("--json")
    codes = [one["code"] for one in json.loads(shown.stdout)["clouds_that_do_not_answer"]]
    assert (shown.exit_code, codes) == (INCOMPLETE, ["credentials_missing"] * 2)
    assert clouds.asked == []
