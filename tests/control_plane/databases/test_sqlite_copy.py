"""The engine's own copy of a tenant's file: one state, whoever writes, and nothing of it left beside."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Table, create_engine

from control_plane.data.archive import summary
from control_plane.data.collection import Collection
from control_plane.data.rows import insert_row
from control_plane.data.undo import Image, keep_images
from control_plane.databases.sqlite import SqliteDatabases
from control_plane.databases.sqlite_copy import opened_copy, write_copy
from control_plane.domain.isolation import Isolation
from control_plane.errors import Refused
from tests.support.postgres import Postgres

NOW: Final = datetime(2024, 1, 1, tzinfo=UTC)
VALUES: Final[dict[str, Any]] = {"full_name": "Ada", "email": "a@b", "status": "lead", "balance": 0}


def add(databases: SqliteDatabases, model: Isolation, table: Table, number: int) -> None:
    row = f"00000000-0000-4000-8000-{number:012d}"
    with databases.transaction("acme", model) as connection:
        insert_row(connection, table, "acme", row, VALUES, now=NOW)
        keep_images(connection, "acme", f"run-{number}", [Image(row, 1, None)], now=NOW)


@pytest.mark.parametrize("model", ["silo", "bridge"])
def test_a_copy_is_of_the_state_that_is_summed_up_whoever_writes_meanwhile(
    tmp_path: Path, people: Collection, people_table: Table, model: Isolation
) -> None:
    databases = SqliteDatabases(tmp_path / "data", 2_000)
    databases.create("acme", model, [people], 1)
    add(databases, model, people_table, 1)
    target, aside = io.BytesIO(), tmp_path / "aside"
    aside.touch()
    with databases.reading("acme", model) as source:
        before = summary(source, [people], "acme")
        add(databases, model, people_table, 2)
        write_copy(source, target, aside)
        assert summary(source, [people], "acme") == before
    aside.write_bytes(b"")
    target.seek(0)
    with opened_copy(target, aside) as copy:
        found = summary(copy, [people], "acme")
    assert found == before
    assert (found.tables["contacts"].rows, found.tables["paybill_undo"].rows) == (1, 1)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["aside", "data"]


@pytest.mark.parametrize("content", [b"", b"not a database" * 1_000])
def test_what_is_no_copy_is_refused(tmp_path: Path, people: Collection, content: bytes) -> None:
    aside = tmp_path / "aside"
    aside.touch()
    with pytest.raises(Refused) as caught, opened_copy(io.BytesIO(content), aside) as copy:
        summary(copy, [people], "acme")
    assert caught.value.code == "archive_unreadable"


def test_a_database_on_another_engine_has_no_such_copy(postgres: Postgres, tmp_path: Path) -> None:
    with postgres.database() as url:
        engine = create_engine(url)
        with engine.connect() as connection, pytest.raises(Refused) as caught:
            write_copy(connection, io.BytesIO(), tmp_path / "aside")
        engine.dispose()
    assert caught.value.code == "archive_kind"
