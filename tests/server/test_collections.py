"""`paybill collections pull`, from outside: files, report, refusals; and that no address is told."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from sqlalchemy import URL
from typer.testing import CliRunner, Result

from control_plane.data.collection import load_collections
from server.cli.app import app
from tests.support.postgres import Postgres

SECRET = "hunter2-not-to-be-told"
PROMPT_S = 60
DDL = """
CREATE TABLE Shop (Id INTEGER PRIMARY KEY, Name VARCHAR(40) NOT NULL);
CREATE TABLE Buyer (
    Id INTEGER PRIMARY KEY, ShopId INTEGER NOT NULL REFERENCES Shop (Id),
    Email VARCHAR(254) NOT NULL, Weight REAL
);
CREATE TABLE Deal (
    Id INTEGER PRIMARY KEY, ShopId INTEGER NOT NULL REFERENCES Shop (Id),
    BuyerId INTEGER REFERENCES Buyer (Id)
);
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / f"{SECRET}.db"
    connection = sqlite3.connect(file)
    connection.executescript(DDL)
    connection.close()
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "collections"


@pytest.fixture
def database(postgres: Postgres) -> Iterator[URL]:
    with postgres.database() as url:
        yield url


def pull(file: Path, *options: str, variable: str = "SOURCE_URL") -> Result:
    told = {variable: f"sqlite:///{file}", "COLUMNS": "200"}
    return CliRunner().invoke(app, ["collections", "pull", *options], env=told)


def test_files_are_written_and_the_report_tells_each_column(file: Path, folder: Path) -> None:
    ran = pull(file, "--url-env", "SOURCE_URL", "--into", str(folder))
    assert ran.exit_code == 0, ran.stderr
    assert [one.name for one in load_collections(folder)] == ["buyer", "deal", "shop"]
    assert "Buyer -> buyer" in ran.stdout
    assert "reference to buyer nullable" in ran.stdout
    assert "group pii" in ran.stdout
    assert "a float has no exact value" in ran.stdout
    assert "Tenant key, proposed: ShopId (2 of 2 tables)" in ran.stderr
    assert SECRET not in ran.output


def test_the_report_is_json_for_a_program(file: Path, folder: Path) -> None:
    ran = pull(file, "--url-env", "SOURCE_URL", "--into", str(folder), "--json")
    report = json.loads(ran.stdout)
    assert report["tenant_key"] == {
        "column": "ShopId",
        "table": "Shop",
        "tables_count": 2,
        "tables_total": 2,
        "given": False,
    }
    buyer = report["tables"][0]
    assert buyer["mapped"] == [{"column": "Email", "field": "email", "kind": "string"}]
    assert {"part": "Email", "text": "group pii"} in buyer["proposed"]
    assert [one["part"] for one in buyer["not_mapped"]] == ["Weight"]
    assert SECRET not in ran.output


def test_named_tables_and_a_given_tenant_key_are_obeyed(file: Path, folder: Path) -> None:
    options = ("--only", "Buyer", "--only", "Shop", "--tenant-key", "Id")
    ran = pull(file, "--url-env", "SOURCE_URL", "--into", str(folder), *options)
    assert ran.exit_code == 0, ran.stderr
    assert [one.name for one in load_collections(folder)] == ["buyer", "shop"]
    assert "Tenant key, given: Id" in ran.stderr


def test_nothing_is_written_over_but_by_force(file: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "deal.yaml").write_text("mine")
    options = ("--url-env", "SOURCE_URL", "--into", str(folder))
    refused = pull(file, *options)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == "paybill: deal.yaml: is there already; use --force to replace it\n"
    assert [path.name for path in folder.iterdir()] == ["deal.yaml"]
    assert pull(file, *options, "--force").exit_code == 0
    assert len(load_collections(folder)) == 3


@pytest.mark.long
def test_postgres_is_pulled_by_its_schema(database: URL, folder: Path) -> None:
    import psycopg

    plain = database.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as connection:
        connection.execute(b"CREATE SCHEMA s; SET search_path TO s;" + DDL.encode())
    ran = CliRunner().invoke(
        app,
        ["collections", "pull", "--url-env", "PG_URL", "--schema", "s", "--into", str(folder)],
        env={"PG_URL": database.render_as_string(hide_password=False)},
    )
    assert ran.exit_code == 0, ran.stderr
    assert [one.name for one in load_collections(folder)] == ["buyer", "deal", "shop"]


@pytest.mark.parametrize(
    "arguments",
    [
        (f"sqlite:////tmp/{SECRET}.db",),
        ("--url-env", f"sqlite:////tmp/{SECRET}.db"),
        (f"--url=postgresql://u:{SECRET}@h/d",),
        ("--url-env", "NOT_SET_AT_ALL"),
        ("--url-env", "PAYBILL_SOURCE_URL"),
        (),
    ],
)
def test_an_address_that_comes_another_way_is_refused_and_never_repeated(
    file: Path, folder: Path, arguments: tuple[str, ...]
) -> None:
    ran = pull(file, "--into", str(folder), *arguments, variable="PAYBILL_SOURCE_URL")
    assert ran.exit_code in {1, 2}
    assert SECRET not in ran.output
    assert not folder.exists()


def test_what_the_database_says_against_us_is_one_line_without_the_address(folder: Path) -> None:
    ran = CliRunner().invoke(
        app,
        ["collections", "pull", "--url-env", "PG_URL", "--into", str(folder)],
        env={"PG_URL": f"postgresql://{SECRET}:{SECRET}@127.0.0.1:1/{SECRET}"},
    )
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr.startswith("paybill: The database does not answer")
    assert SECRET not in ran.stderr


@pytest.mark.long
def test_the_address_is_asked_for_at_a_terminal_and_not_shown(file: Path, folder: Path) -> None:
    program = "from server.cli.app import app; app()"
    spawn: Any = pexpect.spawn
    child = spawn(
        sys.executable,
        ["-c", program, "collections", "pull", "--into", str(folder)],
        cwd=str(Path(__file__).resolve().parents[2]),
        env={**os.environ, "COLUMNS": "200"},
        timeout=PROMPT_S,
        encoding="utf-8",
    )
    child.expect("Address of the database: ")
    child.sendline(f"sqlite:///{file}")
    said = child.read()
    child.close()
    assert child.exitstatus == 0, said
    assert SECRET not in said
    assert len(load_collections(folder)) == 3
