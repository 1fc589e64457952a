"""Drawn policies, tables and callers: what the tools answer is what is allowed row by row, on both engines."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from control_plane.domain.caller import Caller, Role
from tests.rows.bulk import bulk_delete, bulk_update
from tests.rows.case import Case
from tests.rows.changing import create, delete, update
from tests.rows.drawn import draw_table, erring_group
from tests.rows.reading import aggregate, get, query
from tests.rows.world import CALLERS, OTHER, TENANT, Stand, World, opened_world

ENGINES = ("sqlite", "postgres")
SEED = 7
TABLES, CASES_PER_CALLER = 52, 10
SMALL_TABLES, SMALL_CASES_PER_CALLER = 4, 2


class Operation(NamedTuple):
    """What is asked, how often among the others, and the role without which it is not listed."""

    run: Callable[[Case], None]
    weight: int
    role: Role | None = None


OPERATIONS = (
    Operation(query, 6),
    Operation(get, 2),
    Operation(aggregate, 4),
    Operation(create, 2),
    Operation(update, 4),
    Operation(delete, 2, "platform_admin"),
    Operation(bulk_update, 3),
    Operation(bulk_delete, 2, "platform_admin"),
)


def drawn_operation(chance: random.Random, caller: Caller) -> Operation:
    able = [one for one in OPERATIONS if one.role is None or one.role in caller.roles]
    return chance.choices(able, [one.weight for one in able])[0]


def assert_cases(world: World, stand: Stand, cases_per_caller: int) -> Counter[str]:
    """Run the cases of one table: each caller in turn, so that one works on what another left."""
    ran: Counter[str] = Counter()
    for number in range(cases_per_caller):
        for place, caller in enumerate(CALLERS):
            chance = random.Random(f"{SEED}/{stand.name}/{place}/{number}")
            operation = drawn_operation(chance, caller)
            named = f"{operation.run.__name__} {number} of {stand.name} by caller {place}"
            try:
                operation.run(Case(world, stand, caller, chance))
            except AssertionError as error:
                error.add_note(f"{named}; mode {stand.drawn.mode}; rules {stand.drawn.rules}")
                raise
            ran[operation.run.__name__] += 1
    return ran


def opened(
    engine: str,
    drawn: int,
    tenants: Sequence[str],
    request: pytest.FixtureRequest,
    factory: pytest.TempPathFactory,
) -> Iterator[World]:
    server = request.getfixturevalue("postgres") if engine == "postgres" else None
    binary: Path = request.getfixturevalue("cerbos_binary")
    tables = [*(draw_table(SEED, number) for number in range(drawn)), erring_group()]
    with opened_world(factory.mktemp("rows"), binary, SEED, tables, server, tenants) as world:
        yield world


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.sweep)]
)
def small_world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    yield from opened(request.param, SMALL_TABLES - 1, (TENANT,), request, tmp_path_factory)


@pytest.fixture(scope="module", params=ENGINES)
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    yield from opened(request.param, TABLES - 1, (TENANT, OTHER), request, tmp_path_factory)


@pytest.mark.long
def test_a_few_drawn_cases_agree_with_the_checks_of_their_rows(small_world: World) -> None:
    ran: Counter[str] = Counter()
    for stand in small_world.stands:
        ran += assert_cases(small_world, stand, SMALL_CASES_PER_CALLER)
    assert ran.total() == SMALL_TABLES * SMALL_CASES_PER_CALLER * len(CALLERS)


def test_a_row_is_not_found_by_a_field_that_its_check_hides(small_world: World) -> None:
    stand = small_world.stands[-1]
    case = Case(small_world, stand, CALLERS[0], random.Random(SEED))
    known = {"op": "is_null", "field": "phone", "value": False}
    hidden = [
        row_id
        for row_id, row in stand.rows.items()
        if "read_pii" not in case.sight[row_id]
        and (row["state"], row["amount"]) == ("open", None)
        and row["phone"] is not None
    ]
    # The plan lets them through: one rule allows. The check does not: another one errs.
    assert hidden
    for asked in ({"filter": known}, {"sort": "phone"}):
        answered = case.ask("record_query", limit=100, **asked)
        found = {record["id"] for record in answered["result"]["records"]}
        assert not found & {*hidden}, asked


@pytest.mark.sweep
@pytest.mark.parametrize("number", range(TABLES))
def test_many_drawn_cases_agree_with_the_checks_of_their_rows(world: World, number: int) -> None:
    stand = world.stands[number]
    ran = assert_cases(world, stand, CASES_PER_CALLER)
    assert world.standing(stand, OTHER) == stand.foreign
    assert ran.total() == CASES_PER_CALLER * len(CALLERS)


def test_the_sweep_is_as_long_as_it_is_said_to_be() -> None:
    assert TABLES * CASES_PER_CALLER * len(CALLERS) >= 2_000
