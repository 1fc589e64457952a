"""A team's own rows in an archive: from each engine to each, whole, and never another's."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Connection, insert, select, update

from control_plane.data.archive import export_tenant, load_tenant, summary
from control_plane.data.team_shape import TeamShape, team_tables
from control_plane.databases.team_catalog import team_shape
from control_plane.domain.canonical import canonical
from control_plane.errors import Failed, PaybillError, Refused
from control_plane.fleet.checker import require_sound
from control_plane.fleet.scratch import lead
from tests.support.moving_spots import ALL, NOW, Spot, fill, spot_on
from tests.support.moving_team import CARD, FILES, LINK, card, told_alike
from tests.support.postgres import Postgres
from tests.support.tenants import TenantServer, tenant_server

NAMES: Final = {one.name for one in ALL}
ENGINES: Final = ("sqlite", "postgres")


@pytest.fixture(scope="module")
def logins(postgres: Postgres) -> Iterator[TenantServer]:
    with tenant_server(postgres) as made:
        yield made


@pytest.fixture(scope="module")
def spots(
    tmp_path_factory: pytest.TempPathFactory, logins: TenantServer
) -> Iterator[dict[str, Spot]]:
    """A tenant with rows, and a neighbour in the same tables, on each engine."""
    root: Path = tmp_path_factory.mktemp("archives")
    with ExitStack() as held:
        made: dict[str, Spot] = {}
        for kind in ENGINES:
            one = held.enter_context(spot_on(kind, "pooled", root, logins))
            fill(Spot(one.databases, "pooled", "other", one.server).made(), 2)
            fill(one.made())
            made[kind] = one
        yield made


def archived(spot: Spot) -> bytes:
    """The tenant's archive."""
    target = io.BytesIO()
    with spot.databases.reading("acme", spot.model) as source:
        made = export_tenant(source, ALL, "acme", target)
        assert made == summary(source, ALL, "acme")
    assert made.tables["card"].rows == 3
    return target.getvalue()


def led(scratch: Connection) -> None:
    """Have the team's tables in a scratch place."""
    made = require_sound(FILES, NAMES)
    lead(scratch, made, NAMES, {one.name: one.digest for one in made}, NOW)


def alike(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """The tenant's rows of the team's, told as on any engine."""
    shape: TeamShape = team_shape(connection)
    typed = team_tables(shape, told_alike(shape))
    return {
        name: [
            {
                column.name: column.type.told(row[column.name])  # type: ignore[attr-defined]
                for column in table.columns
            }
            for row in connection.execute(
                select(*table.columns)
                .where(table.c.tenant_id == "acme")
                .order_by(*table.primary_key)
            ).mappings()
        ]
        for name, table in typed.items()
    }


@pytest.mark.long_but_one
@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("source", ENGINES)
def test_an_archive_of_one_engine_is_restored_on_any(
    spots: dict[str, Spot], source: str, target: str
) -> None:
    content = archived(spots[source])
    with spots[source].databases.reading("acme", "pooled") as connection:
        rows = alike(connection)
    engine = spots[target].databases
    with engine.scratch("acme", "pooled", ALL) as trial:
        led(trial)
        loaded = load_tenant(trial, ALL, "acme", io.BytesIO(content))
        assert loaded == summary(trial, ALL, "acme")
        assert alike(trial) == rows
        with pytest.raises(Refused) as again:
            load_tenant(trial, ALL, "acme", io.BytesIO(content))
        assert again.value.code == "tenant_not_empty"
        if source == target:
            second = io.BytesIO()
            export_tenant(trial, ALL, "acme", second)
            assert second.getvalue() == content


def test_the_tables_must_be_those_of_the_archives_migrations(spots: dict[str, Spot]) -> None:
    content = archived(spots["sqlite"])
    with spots["sqlite"].databases.scratch("acme", "pooled", ALL) as trial:
        with pytest.raises(Failed) as caught:
            load_tenant(trial, ALL, "acme", io.BytesIO(content))
        assert caught.value.code == "migrations_differ"


def test_without_them_it_is_an_archive_of_the_second_format(spots: dict[str, Spot]) -> None:
    target = io.BytesIO()
    with spots["sqlite"].databases.reading("acme", "pooled") as source:
        export_tenant(source, ALL, "acme", target, team=False)
    assert json.loads(target.getvalue().split(b"\n")[0])["archive"] == 2
    assert json.loads(archived(spots["sqlite"]).split(b"\n")[0])["archive"] == 3
    with spots["sqlite"].databases.scratch("acme", "pooled", ALL) as trial:
        led(trial)
        loaded = load_tenant(trial, ALL, "acme", io.BytesIO(target.getvalue()))
        assert loaded == summary(trial, ALL, "acme")
        assert (loaded.tables["card"].rows, loaded.tables["notes"].rows) == (0, 3)


def team_lines(content: bytes) -> tuple[list[bytes], list[bytes]]:
    """The lines before the team's part, and those of it."""
    lines = content.splitlines(keepends=True)
    at = next(place for place, one in enumerate(lines) if one.startswith(b'{"columns"'))
    return lines[:at], lines[at:]


def broken(team: list[bytes]) -> Iterator[tuple[list[bytes], str]]:
    """Parts that are not as they were written, with the code by which each is refused."""
    head, rows, end = team[0], team[1:-1], team[-1]
    yield [], "archive_unreadable"
    yield [head], "archive_unreadable"
    yield [head, *rows], "archive_unreadable"
    yield [head, *rows, end, end], "archive_unreadable"
    yield [head, *rows[1:], end], "archive_differs"
    yield [head, *rows, rows[-1], end], "archive_differs"
    yield [head, b'["card",{}]\n', *rows, end], "archive_unreadable"
    yield [head, b'["people",{"id":"x"}]\n', *rows, end], "archive_unreadable"
    yield [head, rows[0].replace(b'"label"', b'"lapel"'), *rows[1:], end], "archive_unreadable"
    yield [end, *rows, end], "archive_unreadable"


def code_of(spot: Spot, lines: list[bytes]) -> str:
    """By which code a load of the lines is refused."""
    with spot.databases.scratch("acme", "pooled", ALL) as trial:
        led(trial)
        with pytest.raises(PaybillError) as caught:
            load_tenant(trial, ALL, "acme", io.BytesIO(b"".join(lines)))
    return caught.value.code


@pytest.mark.long
def test_what_is_not_as_it_was_written_is_refused(spots: dict[str, Spot]) -> None:
    before, team = team_lines(archived(spots["sqlite"]))
    for lines, code in broken(team):
        assert code_of(spots["sqlite"], [*before, *lines]) == code, lines
    before, (head, row, *rest) = team_lines(archived(spots["postgres"]))
    number = row.replace(b'"number":"1"', b'"number":1')
    assert code_of(spots["postgres"], [*before, head, number, *rest]) == "archive_unreadable"


def test_a_row_that_refers_to_none_is_found(spots: dict[str, Spot]) -> None:
    # A file takes it from who minds no foreign keys; the sums of an archive cannot tell.
    with spots["sqlite"].databases.scratch("acme", "pooled", ALL) as trial:
        led(trial)
        trial.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        trial.execute(insert(CARD), [card("acme", 1)])
        target = io.BytesIO()
        export_tenant(trial, ALL, "acme", target)
    with spots["sqlite"].databases.scratch("acme", "pooled", ALL) as trial:
        led(trial)
        with pytest.raises(Refused) as caught:
            load_tenant(trial, ALL, "acme", io.BytesIO(target.getvalue()))
        assert caught.value.code == "archive_differs"


@pytest.mark.parametrize(
    ("kind", "values"), [("sqlite", {"id": "none"}), ("sqlite", {"id": 2**40})]
)
def test_what_the_other_engine_cannot_hold_is_told(
    spots: dict[str, Spot], kind: str, values: dict[str, Any]
) -> None:
    with spots[kind].databases.scratch("acme", "pooled", ALL) as trial:
        led(trial)
        trial.execute(insert(LINK), [{"tenant_id": "acme", "id": 1, "other": None}])
        trial.execute(update(LINK).values(**values))
        target = io.BytesIO()
        export_tenant(trial, ALL, "acme", target)
    with spots["postgres"].databases.scratch("acme", "pooled", ALL) as trial:
        led(trial)
        with pytest.raises(Refused) as caught:
            load_tenant(trial, ALL, "acme", io.BytesIO(target.getvalue()))
        assert (caught.value.code, caught.value.fact) == ("rows_do_not_fit", "link")


def test_lines_of_the_part_are_canonical(spots: dict[str, Spot]) -> None:
    for kind in ENGINES:
        _, team = team_lines(archived(spots[kind]))
        for line in team:
            assert canonical(json.loads(line)) + b"\n" == line
