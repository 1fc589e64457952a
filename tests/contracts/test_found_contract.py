"""Who is found on a server where nothing else knows of them, over every engine, isolation model and slot."""

from __future__ import annotations

from typing import cast

import pytest

from control_plane.data.collection import SAMPLES, Collection, load_collection
from control_plane.databases.port import DatabaseEngine, DatabaseServer
from control_plane.domain.isolation import ISOLATIONS, Isolation

pytestmark = pytest.mark.slice_of(3)


@pytest.fixture(scope="module")
def contacts() -> Collection:
    return load_collection(SAMPLES / "contacts.yaml")


def slot(databases: DatabaseEngine, number: int) -> DatabaseEngine:
    """The engine of other places on the same server."""
    return cast("DatabaseServer", databases).slot(number)


def test_where_nothing_stands_nobody_is_found(databases: DatabaseEngine) -> None:
    assert databases.found() == []


@pytest.mark.long_but_one
def test_who_has_a_place_is_found_and_who_has_left_it_is_not(
    databases: DatabaseEngine, model: Isolation, contacts: Collection
) -> None:
    for tenant in ("acme", "acme-2"):
        databases.create(tenant, model, [contacts], 1)
    assert databases.found() == [("acme", model), ("acme-2", model)]
    databases.drop("acme", model, 2)
    assert databases.found() == [("acme-2", model)]


def test_each_place_is_found_in_its_own_slot(
    databases: DatabaseEngine, model: Isolation, contacts: Collection
) -> None:
    databases.create("acme", model, [contacts], 1)
    slot(databases, 2).create("globex", model, [contacts], 1)
    assert databases.found() == [("acme", model)]
    assert slot(databases, 2).found() == [("globex", model)]
    assert slot(databases, 1).found() == []


@pytest.mark.long
def test_one_tenant_may_be_found_in_every_model(
    databases: DatabaseEngine, contacts: Collection
) -> None:
    for each in ISOLATIONS:
        databases.create("acme", each, [contacts], 1)
    assert sorted(databases.found()) == sorted(("acme", each) for each in ISOLATIONS)
