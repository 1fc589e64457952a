"""How far a campaign is, as whoever watches it is told: how many, how fast, for how long still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.errors import NotFound
from control_plane.handlers import fleet_migration_steps
from control_plane.store.sqlite import SqliteStore
from server.fleet_watch import FleetLook, watch
from tests.support.fleet_place import FleetPlace
from tests.support.migrated import migrated_sqlite


def ticking() -> Iterator[float]:
    """A clock that goes on by a second at each look."""
    yield from map(float, range(1_000))


def test_it_is_followed_to_its_end(tmp_path: Path) -> None:
    place, clock = FleetPlace(tmp_path), ticking()
    place.make(3)
    with place.opened(1) as work:
        looks = list(
            watch(
                work.ports.store,
                lambda: next(clock),
                lambda: fleet_migration_steps.carry(work, None),
            )
        )
    assert [(one.state, one.done, one.databases) for one in looks] == [
        ("canary", 0, 3),
        ("done", 3, 3),
    ]
    assert [one.rests for one in looks] == [False, True]
    assert (looks[0].rate, looks[0].eta_s) == (0.0, None)
    assert (looks[1].rate, looks[1].eta_s) == (3.0, 0.0)


def test_what_is_left_at_this_rate_is_told_in_seconds() -> None:
    assert FleetLook("rest", 400, 100, 1_000, 20.0).eta_s == 25.0


def test_without_a_campaign_there_is_nothing_to_watch(tmp_path: Path) -> None:
    store = SqliteStore(migrated_sqlite(tmp_path / "store.db"))
    with pytest.raises(NotFound) as caught:
        next(watch(store, lambda: 0.0, lambda: None))
    assert caught.value.code == "fleet_migration_not_found"
    store.close()
