"""A worker or face killed at any boundary over files, then another: one effect, no orphan, a stable tenant. Not the harness."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.postgres import Postgres, raze
from tests.unwind.blows import strike
from tests.unwind.cases import (
    Case,
    every_kill_of_a_face,
    every_kill_of_a_worker,
    some_kills_of_a_face,
    some_kills_of_a_worker,
)
from tests.unwind.errands import (
    OTHER,
    Errand,
    every_errand,
    every_errand_elsewhere,
    some_errands,
    some_errands_beside,
)
from tests.unwind.fleet import Fleet, FleetKill, every_fleet_kill
from tests.unwind.killing import kill_face, kill_worker
from tests.unwind.money import Blow, every_blow, some_blows
from tests.unwind.running_errands import run_errand

if TYPE_CHECKING:
    from tests.unwind.site import Site
    from tests.unwind.stock import Stock
    from tests.unwind.travellers import Travellers


@pytest.fixture(scope="module")
def site(sqlite_site: Site) -> Iterator[Site]:
    """The workspace; at the end its whole log is held against its rows."""
    yield sqlite_site
    sqlite_site.assert_log_intact()


@pytest.fixture(scope="module")
def stock(sqlite_stock: Stock) -> Stock:
    return sqlite_stock


@pytest.fixture(scope="module")
def travellers(sqlite_travellers: Travellers) -> Travellers:
    return sqlite_travellers


@pytest.fixture(scope="module")
def elsewhere(site: Site, other_postgres: Postgres) -> Iterator[Site]:
    """The same, once there is another server that tenants may stand on."""
    site.declare(OTHER, other_postgres)
    yield site
    raze(other_postgres, site.house.workspace.id)


@pytest.fixture(scope="module")
def fleet(sqlite_fleet: Fleet) -> Fleet:
    return sqlite_fleet


@pytest.mark.long_but_one
@pytest.mark.slice_of(4)
@pytest.mark.parametrize("case", some_kills_of_a_worker("sqlite"), ids=str)
def test_a_worker_killed_at_one_boundary_of_each_class_finishes_once(
    site: Site, stock: Stock, case: Case
) -> None:
    kill_worker(site, stock, case)


@pytest.mark.sweep
@pytest.mark.parametrize("case", every_kill_of_a_worker("sqlite"), ids=str)
def test_a_worker_killed_at_every_boundary_finishes_once(
    site: Site, stock: Stock, case: Case
) -> None:
    kill_worker(site, stock, case)


@pytest.mark.sweep
@pytest.mark.anyio
@pytest.mark.parametrize("case", some_kills_of_a_face("sqlite"), ids=str)
async def test_a_face_killed_at_a_boundary_leaves_one_run_that_a_repeat_finds(
    site: Site, stock: Stock, case: Case
) -> None:
    await kill_face(site, stock, case)


@pytest.mark.sweep
@pytest.mark.anyio
@pytest.mark.parametrize("case", every_kill_of_a_face("sqlite"), ids=str)
async def test_a_face_killed_at_every_boundary_leaves_one_run_that_a_repeat_finds(
    site: Site, stock: Stock, case: Case
) -> None:
    await kill_face(site, stock, case)


@pytest.mark.long
@pytest.mark.parametrize("blow", some_blows("sqlite"), ids=str)
def test_a_worker_killed_while_it_moves_money_moves_it_once(
    site: Site, stock: Stock, blow: Blow
) -> None:
    strike(site, stock, blow)


@pytest.mark.sweep
@pytest.mark.parametrize("blow", every_blow("sqlite"), ids=str)
def test_a_worker_killed_at_every_boundary_of_money_moves_it_once(
    site: Site, stock: Stock, blow: Blow
) -> None:
    strike(site, stock, blow)


@pytest.mark.long
@pytest.mark.parametrize("errand", some_errands("sqlite"), ids=str)
def test_a_worker_killed_while_it_moves_rows_leaves_each_in_one_place(
    site: Site, travellers: Travellers, errand: Errand
) -> None:
    run_errand(site, travellers, errand)


@pytest.mark.long
@pytest.mark.slice_of(2)
@pytest.mark.parametrize("errand", some_errands_beside("sqlite"), ids=str)
def test_a_worker_killed_at_one_boundary_of_what_stands_beside_leaves_each_in_one_place(
    site: Site, travellers: Travellers, errand: Errand
) -> None:
    run_errand(site, travellers, errand)


@pytest.mark.sweep
@pytest.mark.parametrize("errand", every_errand("sqlite"), ids=str)
def test_a_worker_killed_at_every_boundary_of_moving_rows_leaves_each_in_one_place(
    site: Site, travellers: Travellers, errand: Errand
) -> None:
    run_errand(site, travellers, errand)


@pytest.mark.sweep
@pytest.mark.parametrize("errand", every_errand_elsewhere("sqlite"), ids=str)
def test_a_worker_killed_at_every_boundary_of_moving_rows_to_another_server_leaves_each_in_one_place(
    elsewhere: Site, travellers: Travellers, errand: Errand
) -> None:
    run_errand(elsewhere, travellers, errand)


@pytest.mark.sweep
@pytest.mark.parametrize("kill", every_fleet_kill("sqlite"), ids=str)
def test_a_worker_killed_at_every_boundary_of_changing_all_tenants_changes_each_once(
    fleet: Fleet, kill: FleetKill
) -> None:
    fleet.strike(kill)
