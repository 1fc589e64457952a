"""`paybill keys` and `paybill databases scrub`: keys shown, rotated, wrapped anew; archives told; shared files scrubbed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from control_plane.databases.sqlite import SqliteDatabases
from control_plane.domain.tenant import Tenant
from control_plane.store import rows, tables
from server import keys
from server.backup_wiring import Backing, wire_backups
from server.cli.app import app
from server.clock import SystemClock
from server.ids import RandomIds
from tests.support.age_keys import new_identity
from tests.support.house import House, build_house
from tests.support.sealing import TABLES, facts, put_before

Do = Callable[..., Result]


@pytest.fixture
def house(tmp_path: Path, cerbos_binary: Path) -> House:
    made = build_house(tmp_path / "house", cerbos_binary)
    given = {"id": "acme", "display_name": "Acme", "isolation": "pooled"}
    more = {"state": "active", "plan": "team", "region": "local"}
    tenant = Tenant.model_validate({**given, **more})
    with made.store() as store, store.write() as connection:
        rows.put(connection, tables.tenant, tenant)
    return made


@pytest.fixture
def do(house: House) -> Do:
    """Run the program over the house; with `keys_file`, under that setting."""

    def run(*words: str, keys_file: Path | None = None) -> Result:
        environment = {"PAYBILL_HOME": os.fspath(house.settings.home)}
        if keys_file is not None:
            environment["PAYBILL_KEYS_FILE"] = os.fspath(keys_file)
        command = ["--workspace", os.fspath(house.workspace.root), *words]
        return CliRunner().invoke(app, command, env=environment)

    return run


def backed(house: House, deed: Callable[[Backing], object]) -> None:
    with house.store() as store:
        held = keys.load(house.workspace.keys)
        deed(wire_backups(house.workspace, house.settings, held, store, SystemClock(), RandomIds()))


def test_a_tenants_key_is_rotated_and_shown_and_never_told(do: Do) -> None:
    assert "there is none" in do("keys", "list").output
    assert do("keys", "rotate", "--tenant", "acme").output == "acme: version 1\n"
    assert do("keys", "rotate", "--tenant", "acme").output == "acme: version 2\n"
    shown = do("keys", "list", "--tenant", "acme").output.splitlines()
    assert [line.split()[:2] for line in shown] == [["acme", "1"], ["acme", "2"]]
    assert all(line.split()[3].startswith("file:") for line in shown)
    assert do("keys", "list", "--tenant", "globex").output.splitlines() == [
        "there is none: a tenant's first backup makes one"
    ]


def test_no_key_is_made_for_a_tenant_that_is_not(do: Do) -> None:
    ran = do("keys", "rotate", "--tenant", "nobody")
    assert (ran.exit_code, "no such tenant" in ran.output) == (1, True)
    assert "there is none" in do("keys", "list").output


def test_all_keys_are_wrapped_under_another_one(do: Do, tmp_path: Path) -> None:
    do("keys", "rotate", "--tenant", "acme")
    identity = tmp_path / "backups.age"
    identity.write_text(f"{new_identity()}\n")
    settings = tmp_path / "keys.yaml"
    settings.write_text(f"current: {{kind: age, identity: {identity}}}\n")
    for path in (identity, settings):
        path.chmod(0o600)
    ran = do("keys", "rewrap", keys_file=settings)
    assert ran.output.startswith("1 wrapped anew under age:age1")
    assert do("keys", "rewrap", keys_file=settings).output.startswith("0 wrapped anew")
    assert "age:age1" in do("keys", "list").output
    # By the workspace's key alone nothing of it is to be had any more.
    ran = do("keys", "rewrap")
    assert (ran.exit_code, "not configured" in ran.output) == (1, True)


def test_archives_are_told_by_their_manifests(do: Do, house: House) -> None:
    backed(house, lambda backing: backing.archives.put(facts(), lambda _target: TABLES))
    put_before(house.workspace.backups, b"before", "b0")
    told = do("keys", "archives")
    assert told.exit_code == 0, told.output
    first, second = told.output.splitlines()
    assert first == "acme b0 manifest_missing"
    assert second.startswith("acme b1 2030-01-01T09:00:00.000000Z canonical until 2030-02-01")
    manifest = house.workspace.backups / "acme" / "b1.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"canonical", b"sqlite"))
    told = do("keys", "archives")
    assert (told.exit_code, "acme b1 manifest_forged" in told.output) == (1, True)


def test_shared_files_are_scrubbed(do: Do, house: House) -> None:
    assert "no file that tenants share" in do("databases", "scrub").output
    databases = SqliteDatabases(house.workspace.data, 2_000)
    databases.create("acme", "pooled", [], 1)
    ran = do("databases", "scrub", "--wait-ms", "500")
    assert ran.exit_code == 0, ran.output
    assert ran.output.startswith("pooled.db: ")
    assert ran.output.endswith("bytes, clean\n")
    with databases.reading("acme", "pooled") as connection:
        connection.exec_driver_sql("SELECT * FROM paybill_fence").fetchall()
        ran = do("databases", "scrub", "--wait-ms", "100")
    assert (ran.exit_code, "do it again" in ran.output) == (1, True)
