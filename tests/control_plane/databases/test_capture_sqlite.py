"""What a SQLite file notes and refuses while a tenant of it is moved, whoever writes it with whatever."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import delete

from control_plane.data.moving_ends import READ_ONLY
from control_plane.databases.sqlite import SqliteDatabases
from control_plane.domain.isolation import Isolation
from control_plane.errors import Refused, Unavailable
from tests.support.moving_spots import ALL, NOTE, Spot, files_of, fill, left_by_a_move
from tests.support.rows import row_id

pytestmark = pytest.mark.slice_of(3)


@pytest.fixture
def spot(tmp_path: Path, any_model: Isolation) -> Iterator[Spot]:
    databases = SqliteDatabases(tmp_path / "data", busy_timeout_ms=100)
    fill(Spot(databases, any_model, tenant="other").made(), 2)
    one = Spot(databases, any_model).made()
    fill(one)
    yield one
    databases.close()


@contextmanager
def plain(spot: Spot) -> Generator[sqlite3.Connection]:
    """Somebody's own program: it minds no foreign keys, and knows no timeout of ours."""
    with closing(sqlite3.connect(files_of(spot), timeout=5)) as raw:
        yield raw


def noted(spot: Spot) -> dict[str, set[str]]:
    with spot.end().surveying() as survey:
        return {name: set(keys) for name, keys in survey.noted().keys.items()}


def strike_all(spot: Spot) -> None:
    with spot.end().surveying() as survey:
        entries = survey.noted().entries
    spot.end().strike(entries)


@pytest.mark.parametrize(
    ("statement", "keys"),
    [
        ("UPDATE people SET name = 'x' WHERE tenant_id = 'acme' AND id = '{1}'", {1}),
        ("UPDATE people SET id = '{7}' WHERE tenant_id = 'acme' AND id = '{1}'", {1, 7}),
        ("DELETE FROM people WHERE tenant_id = 'acme' AND badge > 1", {2, 3}),
        ("DELETE FROM people WHERE tenant_id = 'acme'", {1, 2, 3}),
        # Of a row that is replaced, SQLite tells no trigger.
        ("UPDATE OR REPLACE people SET badge = 2 WHERE tenant_id = 'acme' AND id = '{1}'", {1, 2}),
        (
            """INSERT OR REPLACE INTO people (tenant_id, id, version, created_at, name, badge, pay)
                VALUES ('acme', '{8}', 1, '2024-01-01', 'x', 3, 1)""",
            {3, 8},
        ),
        (
            """INSERT INTO people (tenant_id, id, version, created_at, name, badge, pay)
                VALUES ('acme', '{1}', 1, '2024-01-01', 'x', 9, 1)
                ON CONFLICT (tenant_id, id) DO UPDATE SET name = excluded.name""",
            {1},
        ),
    ],
)
def test_every_row_that_a_statement_changes_is_noted(
    spot: Spot, statement: str, keys: set[int]
) -> None:
    spot.end().capture(ALL)
    before = spot.rows()["people"]
    with plain(spot) as raw:
        raw.execute(statement.format(*(row_id(number) for number in range(10))))
        raw.commit()
    after = spot.rows()["people"]
    changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    assert changed == {row_id(number) for number in keys}
    assert noted(spot)["people"] >= changed


def test_what_is_rolled_back_is_not_noted(spot: Spot) -> None:
    spot.end().capture(ALL)
    with plain(spot) as raw:
        raw.execute("DELETE FROM notes")
        raw.rollback()
    assert noted(spot) == {}


def test_another_tenants_rows_are_neither_noted_nor_refused(spot: Spot) -> None:
    end = spot.end()
    end.capture(ALL)
    end.freeze(1_000)
    other = Spot(spot.databases, spot.model, tenant="other")
    with plain(other) as raw:
        raw.execute("UPDATE people SET name = 'x' WHERE tenant_id = 'other'")
        raw.commit()
    assert {one["name"] for one in other.rows()["people"].values()} == {"x"}
    assert noted(spot) == {}
    assert other.databases.probe("other", spot.model, ALL) == "ready"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE people SET name = 'x' WHERE tenant_id = 'acme'",
        "DELETE FROM paybill_applied WHERE tenant_id = 'acme'",
        "UPDATE OR IGNORE people SET tenant_id = 'other' WHERE tenant_id = 'acme'",
        """INSERT OR REPLACE INTO teams (tenant_id, id, version, created_at)
            VALUES ('acme', 'x', 1, '2024-01-01')""",
        """INSERT OR IGNORE INTO notes (tenant_id, id, version, created_at, text, person)
            VALUES ('acme', 'x', 1, '2024-01-01', 'x', 'x')""",
    ],
)
def test_who_writes_a_frozen_tenants_rows_is_told_that_they_are_read_only(
    spot: Spot, statement: str
) -> None:
    end = spot.end()
    end.capture(ALL)
    before = spot.rows()
    end.freeze(1_000)
    with plain(spot) as raw:
        with pytest.raises(sqlite3.IntegrityError, match=READ_ONLY):
            raw.execute(statement)
        raw.commit()
        assert raw.execute("SELECT count(*) FROM people WHERE tenant_id = 'acme'").fetchone() == (
            3,
        )
    with pytest.raises(Refused) as caught, spot.databases.transaction("acme", spot.model) as ours:
        ours.execute(delete(NOTE).where(NOTE.c.tenant_id == "acme"))
    assert caught.value.code == "fenced"
    assert spot.rows() == before
    assert spot.databases.open_at("acme", spot.model) is None
    end.thaw(open=True)
    assert spot.databases.open_at("acme", spot.model) == 2
    with plain(spot) as raw:
        raw.execute("UPDATE people SET name = 'x' WHERE tenant_id = 'acme'")
        raw.commit()
    assert noted(spot) == {"people": {row_id(number) for number in (1, 2, 3)}}


def test_a_freeze_waits_for_who_writes_and_gives_up_after_its_patience(spot: Spot) -> None:
    end = spot.end()
    end.capture(ALL)
    with plain(spot) as raw:
        raw.execute("UPDATE people SET name = 'x' WHERE tenant_id = 'acme'")
        with pytest.raises(Unavailable) as caught:
            end.freeze(300)
        assert caught.value.code == "database_busy"
        raw.commit()
    assert spot.databases.open_at("acme", spot.model) == 1


def test_only_what_is_captured_is_surveyed_or_frozen(spot: Spot) -> None:
    with spot.end().surveying() as survey, pytest.raises(Refused) as caught:
        survey.noted()
    assert caught.value.code == "not_captured"
    with pytest.raises(Refused) as frozen:
        spot.end().freeze(1_000)
    assert frozen.value.code == "not_captured"


def test_capture_and_release_can_be_repeated_and_leave_nothing(spot: Spot) -> None:
    end = spot.end()
    for _ in range(2):
        end.capture(ALL)
    assert left_by_a_move(spot) != set()
    for _ in range(2):
        end.release()
    assert left_by_a_move(spot) == set()
    assert spot.databases.probe("acme", spot.model, ALL) == "ready"


@pytest.mark.long
def test_two_tenants_of_a_file_are_moved_apart_from_each_other(spot: Spot) -> None:
    other = Spot(spot.databases, spot.model, tenant="other")
    for one in (spot, other):
        one.end().capture(ALL)
    with plain(spot) as raw:
        raw.execute("DELETE FROM notes WHERE tenant_id = 'acme'")
        raw.commit()
    assert (set(noted(spot)), set(noted(other))) == ({"notes"}, set())
    strike_all(spot)
    assert noted(spot) == {}
    spot.end().release()
    assert noted(other) == {}
    other.end().release()
    assert left_by_a_move(spot) == set()


def test_a_run_that_another_has_followed_changes_nothing_any_more(spot: Spot) -> None:
    spot.end(3).capture(ALL)
    stale = spot.end(2)
    acts: list[Callable[[], None]] = [
        lambda: stale.capture(ALL),
        lambda: stale.strike([1]),
        lambda: stale.freeze(1_000),
        stale.release,
    ]
    for act in acts:
        with pytest.raises(Refused) as caught:
            act()
        assert caught.value.code == "fenced"


def test_a_table_that_was_made_anew_meanwhile_has_lost_its_capture(spot: Spot) -> None:
    end = spot.end()
    end.capture(ALL)
    with plain(spot) as raw:
        (name,) = raw.execute(
            "SELECT name FROM sqlite_master WHERE name LIKE 'paybill_moving.acme.notes.after_u%'"
        ).fetchone()
        raw.execute(f'DROP TRIGGER "{name}"')
    with end.surveying() as survey, pytest.raises(Refused) as caught:
        survey.noted()
    assert caught.value.code == "capture_lost"
    with pytest.raises(Refused) as again:
        end.capture(ALL)
    assert again.value.code == "capture_lost"
    end.release()
    end.capture(ALL)
    assert noted(spot) == {}
