"""`paybill server`: declared on a real Postgres server whole or not at all, seen by who runs already, forgotten when empty."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from control_plane.domain.home import Home
from control_plane.errors import Failed, Unavailable
from control_plane.store import rows
from control_plane.store.database_tables import database
from server.cli.app import app
from server.tenant_servers import declared, open_servers
from tests.support.house import House, build_house
from tests.support.postgres import Postgres, raze


@pytest.fixture
def house(tmp_path: Path, cerbos_binary: Path, postgres: Postgres) -> Iterator[House]:
    """A workspace on SQLite; what it has made on the server is gone at the end."""
    made = build_house(tmp_path / "house", cerbos_binary)
    yield made
    raze(postgres, made.workspace.id)


@pytest.fixture
def owner_file(tmp_path: Path, postgres: Postgres) -> Path:
    """The file of a login that may make roles and databases."""
    path = tmp_path / "owner.url"
    path.write_text(postgres.owner.render_as_string(hide_password=False) + "\n")
    path.chmod(0o600)
    return path


def asked(house: House, *words: str | Path) -> Result:
    """What one command says."""
    told = {**house.environment, "COLUMNS": "240"}
    return CliRunner().invoke(app, ["server", *map(str, words)], env=told)


def listed(house: House) -> dict[str, int]:
    """How many databases stand on each server."""
    told = json.loads(asked(house, "list", "--json").stdout)
    return {one["name"]: one["databases"] for one in told}


@pytest.mark.long
def test_a_server_is_added_and_seen_by_who_runs_already(house: House, owner_file: Path) -> None:
    with closing(open_servers(house.workspace, 2_000, "worker")) as servers:
        assert list(servers.names) == ["main"]
        with pytest.raises(Unavailable, match="not known"):
            servers.at(Home("pooled", "eu2"))
        done = asked(house, "add", "eu2", "--postgres-file", owner_file)
        assert done.exit_code == 0, done.output
        assert list(servers.names) == ["main", "eu2"]
        engine = servers.at(Home("pooled", "eu2"))
        engine.create("acme", "pooled", (), 1)
        assert engine.exists("acme", "pooled")
        engine.drop("acme", "pooled", 2)
    assert set(listed(house)) == {"main", "eu2"}


def test_the_logins_are_the_workers_own_and_the_owners_is_not_kept(
    house: House, owner_file: Path, postgres: Postgres
) -> None:
    assert asked(house, "add", "eu2", "--postgres-file", owner_file).exit_code == 0
    folder = house.workspace.servers / "eu2"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = sorted(folder.iterdir())
    assert [one.name for one in files] == ["postgres-data.json", "postgres-worker.json"]
    assert {stat.S_IMODE(one.stat().st_mode) for one in files} == {0o600}
    assert all(f"//{postgres.owner.username}" not in one.read_text() for one in files)


def test_a_face_is_let_into_no_more_than_tenants_rows(house: House, owner_file: Path) -> None:
    assert asked(house, "add", "eu2", "--postgres-file", owner_file).exit_code == 0
    with closing(open_servers(house.workspace, 2_000, "face")) as servers:
        with pytest.raises(Failed) as refused:
            servers.at(Home("pooled", "eu2")).create("acme", "pooled", (), 1)
        assert refused.value.code == "not_the_worker"


@pytest.mark.parametrize("name", ["main", "eu2", "Eu3", "-a", "a" * 40, ""])
def test_a_name_that_is_taken_or_none_is_refused(house: House, owner_file: Path, name: str) -> None:
    assert asked(house, "add", "eu2", "--postgres-file", owner_file).exit_code == 0
    again = asked(house, "add", "--postgres-file", owner_file, "--", name)
    assert again.exit_code == 1
    assert "name" in again.stderr
    assert declared(house.workspace) == ("eu2",)


def test_the_same_server_is_not_added_twice(house: House, owner_file: Path) -> None:
    assert asked(house, "add", "eu2", "--postgres-file", owner_file).exit_code == 0
    again = asked(house, "add", "eu3", "--postgres-file", owner_file)
    assert again.exit_code == 1
    assert "stand on that server already" in again.stderr
    assert declared(house.workspace) == ("eu2",)


def test_a_server_goes_once_nothing_stands_there(
    house: House, owner_file: Path, postgres: Postgres
) -> None:
    assert asked(house, "add", "eu2", "--postgres-file", owner_file).exit_code == 0
    with house.store() as store, store.write() as connection:
        connection.execute(
            database.insert().values(
                id="d1",
                tenant="acme",
                server="eu2",
                isolation="silo",
                slot=0,
                purpose="former",
                state="available",
                run_id="r1",
                made_at="",
                changed_at="",
                version=1,
            )
        )
    kept = asked(house, "remove", "eu2", "--postgres-file", owner_file)
    assert kept.exit_code == 1
    assert "stand there" in kept.stderr
    with house.store() as store, store.write() as connection:
        rows.change(connection, database, database.c.id == "d1", state="deleted")
    assert asked(house, "remove", "eu2", "--postgres-file", owner_file).exit_code == 0
    assert set(listed(house)) == {"main"}
    assert not (house.workspace.servers / "eu2").exists()
