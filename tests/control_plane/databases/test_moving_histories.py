"""Whatever history of transactions a source has: the target is the source at every commit of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete

from control_plane.data.moving import catch_up, copy
from control_plane.data.moving_ends import MovingEnd
from tests.support.moving_spots import ALL, NOTE, PERSON, Spot, spot_on
from tests.support.moving_team import BOARD, CARD
from tests.support.moving_writers import OPS, PEOPLE_MAX, Op, Writer, direct, seen
from tests.support.postgres import Postgres
from tests.support.tenants import TenantServer, tenant_server

CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
NUMBERS = st.integers(1, PEOPLE_MAX)
OP: st.SearchStrategy[Op] = st.tuples(st.sampled_from(OPS), NUMBERS, NUMBERS)
TRANSACTION = st.tuples(st.lists(OP, min_size=1, max_size=6), st.sampled_from([True, True, False]))
# What is written between two rounds, and whether the last of them is made twice.
HISTORY = st.lists(st.lists(TRANSACTION, max_size=4), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def logins(postgres: Postgres) -> Iterator[TenantServer]:
    with tenant_server(postgres) as made:
        yield made


class Course:
    """A source, its writer past us, and a target."""

    def __init__(self, source: Spot, target: Spot, engine: Engine) -> None:
        self.source = source
        self.target = target
        self.leaving: MovingEnd = source.end()
        self.coming: MovingEnd = target.end()
        self.engine = engine

    def begun(self) -> Writer:
        """A writer of an empty place, and the place captured again."""
        self.leaving.release()
        with self.engine.begin() as connection:
            for table in (NOTE, PERSON, CARD, BOARD):
                connection.execute(delete(table).where(table.c.tenant_id == "acme"))
        self.leaving.capture(ALL)
        return Writer(self.source, self.engine)


@pytest.fixture(
    scope="module",
    params=[("sqlite", "silo"), ("postgres", "pooled")],
    ids="-".join,
)
def course(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, logins: TenantServer
) -> Iterator[Course]:
    kind, model = request.param
    root: Path = tmp_path_factory.mktemp("histories")
    with ExitStack() as held:
        source = held.enter_context(spot_on(kind, model, root, logins)).made()
        target = held.enter_context(spot_on("postgres", "bridge", root, logins)).closed()
        yield Course(source, target, held.enter_context(direct(source)))


def check_history(course: Course, history: list[list[tuple[list[Op], bool]]]) -> None:
    writer = course.begun()
    moved = course.source.moved_to(course.target)
    for place, transactions in enumerate(history):
        for ops, commits in transactions:
            writer.transact(ops, commit=commits)
        if place == 0:
            copy(course.leaving, course.coming, moved)
        else:
            catch_up(course.leaving, course.coming, moved)
        assert seen(course.target) == writer.ledger.told()
    last = catch_up(course.leaving, course.coming, moved, check="all")
    assert last.entries == 0
    assert last.comparison is not None
    last.comparison.require_equal()


@pytest.mark.long
@given(history=HISTORY)
@settings(max_examples=4, deadline=None, suppress_health_check=CHECKS)
def test_the_target_is_the_source_after_each_round(
    course: Course, history: list[list[tuple[list[Op], bool]]]
) -> None:
    check_history(course, history)


@pytest.mark.sweep
@given(history=HISTORY)
@settings(max_examples=150, deadline=None, suppress_health_check=CHECKS)
def test_the_target_is_the_source_after_each_round_of_many_histories(
    course: Course, history: list[list[tuple[list[Op], bool]]]
) -> None:
    check_history(course, history)
