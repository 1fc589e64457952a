"""A campaign whose worker is killed again and again: nobody is skipped, nobody changed twice."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.fleet_place import FleetPlace
from tests.support.postgres import Postgres
from tests.support.tenants import tenant_server, workspace

SEED = 20_300_101
LONGEST_S = 0.05


def killed_until_done(place: FleetPlace, tenants: int, kills: int) -> int:
    """Carry the campaign on through so many kills, then look at every tenant; how many struck it at work."""
    chance = random.Random(SEED)
    place.make(tenants)
    # Behind the last of them there is work left for the one that ends it.
    goals = sorted(chance.sample(range(tenants * 4 // 5), kills))
    struck = 0
    for epoch, done in enumerate(goals, start=2):
        struck += place.carry_on_until_killed(epoch, done, chance.uniform(0, LONGEST_S))
    place.carry_on(2 + kills)
    state, receipts = place.state()
    assert (state, dict(receipts)) == ("done", {"done": tenants})
    assert place.wrong() == []
    return struck


def test_nobody_is_skipped_or_changed_twice(tmp_path: Path) -> None:
    assert killed_until_done(FleetPlace(tmp_path), 9, 3) > 0


@pytest.mark.sweep
def test_a_thousand_tenants_through_twenty_kills(tmp_path: Path) -> None:
    assert killed_until_done(FleetPlace(tmp_path), 1_000, 20) == 20


@pytest.mark.sweep
def test_tenants_on_postgres_through_twenty_kills(tmp_path: Path, postgres: Postgres) -> None:
    with tenant_server(postgres) as logins, workspace(logins) as fresh:
        assert killed_until_done(FleetPlace(tmp_path, fresh), 60, 20) == 20
