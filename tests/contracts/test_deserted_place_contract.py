"""A place that all tenants have left, asked for with other collections: over every engine and model. Not one with a tenant in it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
from sqlalchemy import func, select

from control_plane.data.collection import Collection, bind_collections
from control_plane.data.tables import collection_table
from control_plane.databases.port import DatabaseEngine
from control_plane.domain.isolation import Isolation
from control_plane.errors import Refused
from tests.support.evolutions import (
    AFTER,
    BEFORE,
    CURRENCIES,
    MORE_CURRENCIES,
    PEOPLE,
    TEAMS,
    changed,
    declared,
    old_person,
    put,
    row,
    tables_shape,
)

pytestmark = pytest.mark.slice_of(6)

# Of no catalog that leads to another one by moves: the kind of a field is not the same.
ELSE: Final = bind_collections([changed(TEAMS, {"title": {"kind": "integer"}})])


def shape(databases: DatabaseEngine, tenant: str, model: Isolation) -> dict[str, Any]:
    with databases.reading(tenant, model) as connection:
        return tables_shape(connection)


def filled(databases: DatabaseEngine, model: Isolation, tenant: str = "acme") -> None:
    databases.create(tenant, model, BEFORE, 1)
    with databases.transaction(tenant, model) as connection:
        put(connection, TEAMS, row(900, tenant, title="t"))
        put(connection, PEOPLE, old_person(1, tenant))


def refusal(
    databases: DatabaseEngine, tenant: str, model: Isolation, collections: Sequence[Collection]
) -> str:
    """The code with which a creation is refused; empty where it is not."""
    try:
        databases.create(tenant, model, collections, 1)
    except Refused as error:
        return error.code
    return ""


def assert_made_of(
    databases: DatabaseEngine, tenant: str, model: Isolation, collections: Sequence[Collection]
) -> None:
    """It stands as one that was never anything else."""
    assert databases.probe(tenant, model, collections) == "ready"
    databases.create("fresh", "silo", collections, 1)
    assert shape(databases, tenant, model) == shape(databases, "fresh", "silo")


@pytest.mark.long_but_one
@pytest.mark.parametrize("expanded", [False, True], ids=["whole", "between the phases"])
@pytest.mark.parametrize("wanted", [AFTER, ELSE, BEFORE], ids=["next", "other", "same"])
def test_a_place_that_nobody_is_left_in_is_made_anew_of_what_is_asked_for(
    databases: DatabaseEngine, model: Isolation, wanted: Sequence[Collection], expanded: bool
) -> None:
    filled(databases, model)
    if expanded:
        databases.migrate("acme", model, BEFORE, AFTER, "expand", 1)
    databases.drop("acme", model, 1)
    databases.create("other", model, wanted, 1)
    databases.create("other", model, wanted, 1)
    assert_made_of(databases, "other", model, wanted)
    databases.create("third", model, wanted, 1)
    assert databases.probe("third", model, wanted) == "ready"
    with databases.reading("other", model) as connection:
        for name in shape(databases, "other", model).keys() & {"people", "teams"}:
            one = next(found for found in wanted if found.name == name)
            count = select(func.count()).select_from(collection_table(one))
            assert connection.execute(count).scalar_one() == 0


@pytest.mark.long
def test_declared_rows_that_nobody_reads_any_more_go_as_well(
    databases: DatabaseEngine, model: Isolation
) -> None:
    filled(databases, model)
    databases.migrate("acme", model, BEFORE, AFTER, "expand", 1)
    databases.drop("acme", model, 1)
    databases.create("other", model, AFTER, 1)
    codes = select(collection_table(MORE_CURRENCIES).c.code)
    with databases.reading("other", model) as connection:
        found = set(connection.execute(codes).scalars())
    assert found == {one["code"] for one in MORE_CURRENCIES.rows}
    assert databases.probe("other", model, BEFORE) == "differs"


@pytest.mark.long_but_one
@pytest.mark.parametrize("expanded", [False, True], ids=["whole", "between the phases"])
def test_as_long_as_a_tenant_is_in_it_it_stays_what_it_is(
    databases: DatabaseEngine, model: Isolation, expanded: bool
) -> None:
    for tenant in ("acme", "other"):
        filled(databases, model, tenant)
        if expanded:
            databases.migrate(tenant, model, BEFORE, AFTER, "expand", 1)
    databases.drop("acme", model, 1)
    stood = shape(databases, "other", model)
    with_rows = bind_collections([*ELSE, declared_otherwise()])
    assert refusal(databases, "other", model, with_rows) == "schema_differs"
    if model == "pooled":
        assert refusal(databases, "third", model, with_rows) == "schema_differs"
        assert not databases.exists("third", model)
    assert shape(databases, "other", model) == stood
    # Nor have the declared rows that it reads become others.
    assert databases.probe("other", model, BEFORE) == "ready"
    with databases.reading("other", model) as connection:
        count = select(func.count()).select_from(collection_table(PEOPLE))
        mine = count.where(collection_table(PEOPLE).c.tenant_id == "other")
        assert connection.execute(mine).scalar_one() == 1


def declared_otherwise() -> Collection:
    return CURRENCIES.model_copy(update={"rows": CURRENCIES.rows[:1]})


def test_of_two_who_make_it_anew_at_once_neither_takes_away_what_the_other_has(
    databases: DatabaseEngine, model: Isolation
) -> None:
    notes = bind_collections([declared("notes", {"text": {"kind": "text"}})])
    asked: dict[str, Sequence[Collection]] = {"one": ELSE, "two": notes, "three": ELSE}
    filled(databases, model)
    databases.drop("acme", model, 1)
    with ThreadPoolExecutor(len(asked)) as threads:
        made_by = [
            threads.submit(refusal, databases, tenant, model, wanted)
            for tenant, wanted in asked.items()
        ]
        codes = [one.result() for one in made_by]
    made = [name for name, code in zip(asked, codes, strict=True) if not code]
    assert made
    for name in made:
        assert databases.probe(name, model, asked[name]) == "ready"
    if model == "pooled":
        # All who are in it were made of the same.
        assert made in (["two"], ["one", "three"])
        assert set(codes) == {"", "schema_differs"}
    else:
        assert made == list(asked)
