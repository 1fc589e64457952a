"""A campaign whose worker is killed again and again: nobody is skipped, nobody changed twice."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.fleet_place import FleetPlace
from tests.support.postgres import Postgres
from tests.support.tenants import tenant_server, workspace

SEED = 20_300_101


def killed_until_done(place: FleetPlace, tenants: int, kills: int, longest_s: float) -> None:
    """Carry the campaign on through so many kills, then look at every tenant."""
    chance = random.Random(SEED)
    place.make(tenants)
    struck = 0
    for epoch in range(2, 2 + kills):
        struck += place.carry_on_until_killed(epoch, chance.uniform(0.01, longest_s))
    place.carry_on(2 + kills)
    state, receipts = place.state()
    assert struck > 0
    assert (state, dict(receipts)) == ("done", {"done": tenants})
    assert place.wrong() == []


def test_nobody_is_skipped_or_changed_twice(tmp_path: Path) -> None:
    killed_until_done(FleetPlace(tmp_path), 9, 3, 0.15)


@pytest.mark.sweep
def test_a_thousand_tenants_through_twenty_kills(tmp_path: Path) -> None:
    killed_until_done(FleetPlace(tmp_path), 1_000, 20, 3.0)


@pytest.mark.sweep
def test_tenants_on_postgres_through_twenty_kills(tmp_path: Path, postgres: Postgres) -> None:
    with tenant_server(postgres) as logins, workspace(logins) as fresh:
        killed_until_done(FleetPlace(tmp_path, fresh), 60, 20, 2.0)
