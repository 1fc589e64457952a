"""Random lives of subscriptions: after every move the books are whole, whatever the clock or the zone."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from datetime import timedelta
from functools import lru_cache
from random import Random

import pytest

from control_plane.billing.clockwork import advance
from control_plane.billing.ending import cancel_now, resume
from control_plane.domain.plans import PlanCatalog
from control_plane.domain.subscription import SUBSCRIPTION
from control_plane.domain.terms import Method
from tests.support.billing_lives import Life, random_catalog
from tests.support.books import DAY, facts_of, state_of

SLICE = 90
SWEEP_EVENTS = 1_000_000
COMMANDS = 60
TAXED_EACH = 3  # of so many lives one is taxed


@lru_cache(maxsize=2)
def _catalog(number: int) -> PlanCatalog:
    return random_catalog(Random(number))


def lived(seed: int, zones: Random | None = None) -> Life:
    """The life that follows from a seed."""
    taxed = Random(seed) if seed % TAXED_EACH == 0 else None
    return Life(Random(seed), _catalog(seed // 10), zones, taxed).live(COMMANDS)


def ends(life: Life) -> None:
    """There is a way on from wherever it is: to a paid active one, and then to its end."""
    book = life.book
    life.generous = 1.0
    book.revise(
        method=Method(provider="sandbox", reference="card"),
        method_set_at=life.now,
        collection_paused=False,
    )
    life.auditor.spared = frozenset(one.id for one in book.owed())
    life.now += timedelta(microseconds=1)
    if state_of(book) == "paused":
        resume(book, life.now)
    life.pass_until(life.now + 90 * DAY)
    if state_of(book) not in SUBSCRIPTION.terminal:
        cancel_now(book, life.now, "the end", released=True)
    life.pass_until(life.now + DAY)
    assert state_of(book) in SUBSCRIPTION.terminal
    assert book.subscription.unbilled is None
    assert book.deferred_minor == 0 if book.subscription.terms else True
    life.auditor.look(book)


def test_the_books_are_whole_after_every_move_of_random_lives() -> None:
    events = refused = 0
    states: set[str] = set()
    for seed in range(SLICE):
        life = lived(seed)
        states.add(state_of(life.book))
        ends(life)
        events += life.events
        refused += life.refused
    assert events > 2_000
    assert refused > 200
    assert len(states) > 3


@pytest.mark.sweep
def test_the_books_are_whole_after_a_million_moves() -> None:
    events, seed = 0, 1_000_000
    while events < SWEEP_EVENTS:
        try:
            life = lived(seed)
            ends(life)
        except Exception as error:
            error.add_note(f"the life of seed {seed}, after {events} events of others")
            raise
        events, seed = events + life.events, seed + 1
    assert events >= SWEEP_EVENTS


@pytest.fixture
def elsewhere() -> Generator[None]:
    """The process stands in another zone, whose clocks change."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "America/St_Johns"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


SEEDS = range(5_000, 5_012)


@pytest.fixture(scope="module")
def here() -> dict[int, tuple[object, ...]]:
    """What becomes of each seed where the tests run."""
    return {seed: facts_of(lived(seed).book) for seed in SEEDS}


@pytest.mark.usefixtures("here", "elsewhere")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_zone_of_the_process_changes_nothing(
    seed: int, here: dict[int, tuple[object, ...]]
) -> None:
    assert time.tzname[0] == "NST"
    assert facts_of(lived(seed).book) == here[seed]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_zones_in_which_instants_are_told_change_nothing(
    seed: int, here: dict[int, tuple[object, ...]]
) -> None:
    assert facts_of(lived(seed, Random(seed)).book) == here[seed]


@pytest.mark.parametrize("seed", range(7_000, 7_030))
def test_a_sweep_that_comes_late_comes_to_the_same_as_one_that_came_in_time(seed: int) -> None:
    catalog = random_catalog(Random(seed))
    often, late = Life(Random(seed), catalog), Life(Random(seed), catalog)
    for life in (often, late):
        assert life.book.subscription.terms is not None
        terms = life.book.terms.model_copy(update={"collection": "by_invoice"})
        life.book.revise(terms=terms)
    clock, until = Random(seed), often.now + 500 * DAY
    at = often.now
    while at < until:
        at += timedelta(seconds=clock.randrange(9 * 86_400))
        advance(often.book, min(at, until))
    advance(late.book, until)
    assert often.book.invoices == late.book.invoices
    assert often.book.subscription == late.book.subscription
    assert often.book.notes == late.book.notes
