"""A tenant's schema by pg_dump: of the snapshot that is summed up, no secret shown, and every row read back."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import insert

from control_plane.data.archive import Summary, load_tenant, summary, write_rows
from control_plane.data.archive_parts import parts_of
from control_plane.data.collection import Collection
from control_plane.data.tables import APPLIED, collection_table
from control_plane.data.undo import Image, keep_images
from control_plane.databases.postgres import PostgresDatabases
from control_plane.databases.postgres_dump import dumped_rows, server_major, write_dump
from control_plane.databases.postgres_programs import DumpPrograms, find_programs, running
from control_plane.databases.sqlite import SqliteDatabases
from control_plane.domain.isolation import Isolation
from control_plane.errors import Failed, NotFound, Refused, Unavailable
from tests.support.postgres import installed_postgres

NOW: Final = datetime(2024, 1, 1, 12, 30, 0, 123456, tzinfo=UTC)
INSTALLED: Final = installed_postgres()
ODD: Final = "tab\there\nline\\N \\. back\\slash \r \b\f\v é 𝄞 'quote' \"two\""


@pytest.fixture(scope="module")
def programs() -> DumpPrograms:
    """The newest ones that stand beside the test's own server."""
    folders = os.pathsep.join(str(one) for one in INSTALLED.glob("pginstall*/bin"))
    return find_programs(None, folders, 16)


@pytest.fixture(scope="module")
def things() -> Collection:
    """A collection with a field of every kind."""
    return Collection.model_validate_json(
        """{"name": "things", "description": "One field of every kind.", "fields": {
            "label": {"kind": "string", "max_length": 200, "nullable": true},
            "story": {"kind": "text", "nullable": true},
            "count": {"kind": "integer", "nullable": true},
            "active": {"kind": "boolean", "nullable": true},
            "born": {"kind": "date", "nullable": true},
            "seen": {"kind": "timestamp", "nullable": true},
            "other": {"kind": "uuid", "nullable": true},
            "status": {"kind": "enum", "values": ["lead", "customer"], "nullable": true},
            "balance": {"kind": "money", "currency": "EUR", "nullable": true},
            "price": {"kind": "decimal", "precision": 8, "scale": 2, "nullable": true},
            "details": {"kind": "json", "max_length": 900, "nullable": true},
            "parent": {"kind": "reference", "collection": "things", "nullable": true},
            "tag": {"kind": "computed",
                    "formula": {"op": "concat", "fields": ["label", "status"]}}}}"""
    )


def fill(databases: PostgresDatabases, model: Isolation, things: Collection, count: int) -> None:
    table = collection_table(things)
    with databases.transaction("acme", model) as connection:
        for number in range(count):
            values: dict[str, Any] = {
                "label": ODD if number % 2 else None,
                "story": "" if number % 3 else ODD * 20,
                "count": number - 1,
                "active": bool(number % 2),
                "born": date(1815, 12, 10) if number % 2 else None,
                "seen": NOW if number % 3 else None,
                "other": "00000000-0000-4000-8000-0000000000aa" if number % 2 else None,
                "status": "lead",
                "balance": -number,
                "price": Decimal("-12.50") if number % 2 else None,
                "details": {"odd": [ODD, None, {"deep": 1}]} if number % 2 else None,
            }
            row = f"00000000-0000-4000-8000-{number:012d}"
            own = {"tenant_id": "acme", "id": row, "version": 1}
            times = {one: NOW for one in ("created_at", "updated_at") if one in table.c}
            connection.execute(insert(table).values(**own, **times, **values))
        proof = {"tenant_id": "acme", "call_id": "c1", "digest": "d" * 64, "applied_at": NOW}
        connection.execute(insert(APPLIED).values(proof))
        keep_images(connection, "acme", "run", [Image("r", 1, {"label": ODD})], now=NOW)


def dumped(
    databases: PostgresDatabases, model: Isolation, things: Collection, programs: DumpPrograms
) -> tuple[bytes, Summary]:
    target = io.BytesIO()
    with databases.reading("acme", model) as source:
        assert programs.major >= server_major(source)
        summed = summary(source, [things], "acme")
        write_dump(source, target, programs)
    return target.getvalue(), summed


@pytest.mark.long_but_one
@pytest.mark.parametrize("model", ["silo", "bridge"])
def test_every_value_comes_back_in_another_engine(
    on_postgres: PostgresDatabases,
    things: Collection,
    programs: DumpPrograms,
    tmp_path: Path,
    model: Isolation,
) -> None:
    on_postgres.create("acme", model, [things], 1)
    on_postgres.create("other", model, [things], 1)
    fill(on_postgres, model, things, 7)
    content, summed = dumped(on_postgres, model, things, programs)
    path = tmp_path / "dump"
    path.write_bytes(content)
    lines = io.BytesIO()
    rows = dumped_rows(path, [things], "acme", programs)
    assert write_rows(rows, [things], "acme", lines) == summed
    assert [summed.tables[one].rows for one in parts_of([things])] == [7, 1, 1]
    lines.seek(0)
    elsewhere = SqliteDatabases(tmp_path / "data", 2_000)
    with elsewhere.scratch("acme", "silo", [things]) as trial:
        assert load_tenant(trial, [things], "acme", lines) == summed


def test_a_dump_is_of_the_snapshot_that_is_summed_up(
    on_postgres: PostgresDatabases, things: Collection, programs: DumpPrograms, tmp_path: Path
) -> None:
    on_postgres.create("acme", "silo", [things], 1)
    fill(on_postgres, "silo", things, 3)
    path = tmp_path / "dump"
    with on_postgres.reading("acme", "silo") as source, path.open("wb") as target:
        before = summary(source, [things], "acme")
        with on_postgres.transaction("acme", "silo") as connection:
            connection.execute(collection_table(things).delete())
        write_dump(source, target, programs)
    found = write_rows(
        dumped_rows(path, [things], "acme", programs), [things], "acme", io.BytesIO()
    )
    assert found == before


def test_no_secret_is_on_the_command_line(
    on_postgres: PostgresDatabases, things: Collection, programs: DumpPrograms, tmp_path: Path
) -> None:
    on_postgres.create("acme", "silo", [things], 1)
    spying = tmp_path / "bin"
    spying.mkdir()
    told = tmp_path / "told"
    for name, real in (("pg_dump", programs.dump), ("pg_restore", programs.restore)):
        script = spying / name
        script.write_text(f'#!/bin/sh\necho "$@" >> {told}\nexec {real} "$@"\n')
        script.chmod(0o700)
    content, _ = dumped(on_postgres, "silo", things, find_programs(spying, "", 16))
    (tmp_path / "dump").write_bytes(content)
    with on_postgres.reading("acme", "silo") as source:
        info = source.connection.driver_connection.info  # type: ignore[union-attr]
        entry = source.exec_driver_sql("SELECT current_setting('paybill.entry')").scalar_one()
    said = told.read_text()
    assert "--snapshot=" in said
    assert entry not in said
    assert not info.password or info.password not in said


@pytest.mark.parametrize("content", [b"", b"not a dump at all" * 100, b"PGDMP\x01\x0e\x00 cut off"])
def test_what_is_no_dump_is_refused(
    things: Collection, programs: DumpPrograms, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "dump"
    path.write_bytes(content)
    with pytest.raises(Failed) as caught:
        list(dumped_rows(path, [things], "acme", programs))
    assert caught.value.code == "pg_dump_failed"


GOOD: Final = "COPY silo.paybill_applied (tenant_id, call_id, digest, applied_at) FROM stdin;\n"
ROW: Final = "acme\tc1\td\t2024-01-01 12:30:00.123456+00\n"
PRINTED: Final[dict[str, str]] = {
    "another tenant's row": GOOD + ROW.replace("acme", "other") + "\\.\n",
    "a column less": GOOD + "acme\tc1\td\n\\.\n",
    "no end": GOOD + ROW,
    "no such instant": GOOD + ROW.replace("2024-01-01", "2024-02-30") + "\\.\n",
    "no column of ours": GOOD.replace("digest", "odd") + ROW + "\\.\n",
    "null where none may be": GOOD + ROW.replace("\td\t", "\t\\N\t") + "\\.\n",
}


@pytest.fixture
def printing(tmp_path: Path) -> Callable[[str], DumpPrograms]:
    """Programs of which the one that reads prints this."""

    def made(text: str) -> DumpPrograms:
        printed, program = tmp_path / "printed", tmp_path / "pg_restore"
        printed.write_text(text)
        program.write_text(f"#!/bin/sh\nexec cat {printed}\n")
        program.chmod(0o700)
        return DumpPrograms(program, program, 18)

    return made


@pytest.mark.parametrize("what", PRINTED)
def test_rows_are_read_as_strictly_as_an_archives(
    things: Collection, printing: Callable[[str], DumpPrograms], what: str
) -> None:
    with pytest.raises(Refused) as caught:
        list(dumped_rows(Path("dump"), [things], "acme", printing(PRINTED[what])))
    assert caught.value.code == "archive_unreadable"


def test_a_good_row_is_read(things: Collection, printing: Callable[[str], DumpPrograms]) -> None:
    found = list(dumped_rows(Path("dump"), [things], "acme", printing(GOOD + ROW + "\\.\n")))
    assert found == [("paybill_applied", {"call_id": "c1", "digest": "d", "applied_at": NOW})]


def test_programs_that_are_too_old_or_not_there_are_told(tmp_path: Path) -> None:
    for folder, path in ((tmp_path, ""), (None, "relative:/nowhere"), (None, "")):
        with pytest.raises(Unavailable) as caught:
            find_programs(folder, path, 16)
        assert caught.value.code == "pg_dump_missing"
    for name in ("pg_dump", "pg_restore"):
        script = tmp_path / name
        script.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 15.3'\n")
        script.chmod(0o700)
    assert find_programs(tmp_path, "", 15).major == 15
    with pytest.raises(Unavailable):
        find_programs(None, str(tmp_path), 16)


def test_the_newest_programs_on_the_path_are_taken(programs: DumpPrograms) -> None:
    folders = sorted(str(one) for one in INSTALLED.glob("pginstall*/bin"))
    for order in (folders, folders[::-1]):
        assert find_programs(None, os.pathsep.join(order), 16) == programs


def test_a_program_that_is_not_read_to_its_end_ends_all_the_same() -> None:
    with running(["/bin/sh", "-c", "echo ready; exec sleep 60"], {}, bool) as blocks:
        assert next(blocks) == b"ready\n"
    blocks.close()


def test_a_tenant_that_is_not_there_has_no_dump(
    on_postgres: PostgresDatabases, things: Collection, programs: DumpPrograms
) -> None:
    with pytest.raises(NotFound):
        dumped(on_postgres, "silo", things, programs)
