"""Schemas that others publish, out of installed packages: read as data, never imported. Not the pulling of them."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL


def shipped(package: str, path: str) -> Path:
    """A file that an installed package ships; the package itself is not imported."""
    try:
        file = Path(str(distribution(package).locate_file(path)))
    except PackageNotFoundError:
        pytest.skip(f"the package {package} is not installed")
    assert file.is_file()
    return file


def chinook() -> Path:
    """The Chinook sample, a shop for music, as a SQLite file with its rows."""
    return shipped("db.py", "db/data/chinook.sqlite")


def job_queue() -> str:
    """The DDL of procrastinate, a queue of jobs in Postgres with enums of its own."""
    return shipped("procrastinate", "procrastinate/sql/schema.sql").read_text()


def run_statements(url: URL, statements: Sequence[str]) -> str:
    """Run statements in a database; its address, password included."""
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())
    return url.render_as_string(hide_password=False)


def as_postgres(file: Path) -> list[str]:
    """The sample's own statements in the other dialect: foreign keys last, two types renamed."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        standing = [(name, _renamed(sql)) for name, sql in found]
    tables: list[str] = []
    keys: list[str] = []
    indexes: list[str] = []
    for name, sql in standing:
        if not sql.startswith("CREATE TABLE"):
            indexes.append(sql)
            continue
        links = re.findall(r"FOREIGN KEY[^,]*?ON UPDATE NO ACTION", sql)
        keys += [f'ALTER TABLE "{name}" ADD {link}' for link in links]
        tables.append(re.sub(r",\s*FOREIGN KEY[^,]*?ON UPDATE NO ACTION", "", sql))
    return [*tables, *keys, *indexes]


def _renamed(statement: str) -> str:
    quoted = re.sub(r"\[(\w+)\]", r'"\1"', statement)
    return quoted.replace("NVARCHAR", "VARCHAR").replace("DATETIME", "TIMESTAMP")
