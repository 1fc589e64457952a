"""A worker or face killed at any boundary over a Postgres server, then another: one effect, no orphan, a stable tenant. Not the harness."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.unwind.blows import strike
from tests.unwind.cases import (
    Case,
    every_kill_of_a_face,
    every_kill_of_a_worker,
    some_kills_of_a_face,
    some_kills_of_a_worker,
)
from tests.unwind.killing import kill_face, kill_worker
from tests.unwind.money import Blow, every_blow, some_blows

if TYPE_CHECKING:
    from tests.unwind.site import Site
    from tests.unwind.stock import Stock


@pytest.fixture(scope="module")
def site(postgres_site: Site) -> Iterator[Site]:
    """The workspace; at the end its whole log is held against its rows."""
    yield postgres_site
    postgres_site.assert_log_intact()


@pytest.fixture(scope="module")
def stock(postgres_stock: Stock) -> Stock:
    return postgres_stock


@pytest.mark.slice_of(4)
@pytest.mark.parametrize("case", some_kills_of_a_worker("postgres"), ids=str)
def test_a_worker_killed_at_one_boundary_of_each_class_finishes_once(
    site: Site, stock: Stock, case: Case
) -> None:
    kill_worker(site, stock, case)


@pytest.mark.sweep
@pytest.mark.parametrize("case", every_kill_of_a_worker("postgres"), ids=str)
def test_a_worker_killed_at_every_boundary_finishes_once(
    site: Site, stock: Stock, case: Case
) -> None:
    kill_worker(site, stock, case)


@pytest.mark.anyio
@pytest.mark.parametrize("case", some_kills_of_a_face("postgres"), ids=str)
async def test_a_face_killed_at_a_boundary_leaves_one_run_that_a_repeat_finds(
    site: Site, stock: Stock, case: Case
) -> None:
    await kill_face(site, stock, case)


@pytest.mark.sweep
@pytest.mark.anyio
@pytest.mark.parametrize("case", every_kill_of_a_face("postgres"), ids=str)
async def test_a_face_killed_at_every_boundary_leaves_one_run_that_a_repeat_finds(
    site: Site, stock: Stock, case: Case
) -> None:
    await kill_face(site, stock, case)


@pytest.mark.parametrize("blow", some_blows("postgres"), ids=str)
def test_a_worker_killed_while_it_moves_money_moves_it_once(
    site: Site, stock: Stock, blow: Blow
) -> None:
    strike(site, stock, blow)


@pytest.mark.sweep
@pytest.mark.parametrize("blow", every_blow("postgres"), ids=str)
def test_a_worker_killed_at_every_boundary_of_money_moves_it_once(
    site: Site, stock: Stock, blow: Blow
) -> None:
    strike(site, stock, blow)
