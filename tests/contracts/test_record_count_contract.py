"""How every engine keeps a tenant's count of records, and never past its limit. Not who sets the limit."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Final

import pytest
from sqlalchemy import Connection

from control_plane.data.applied import apply_once
from control_plane.data.archive import export_tenant, load_tenant
from control_plane.data.collection import SAMPLES, bind_collections, load_collection
from control_plane.data.record_count import count_on, records_of
from control_plane.data.rows import delete_row
from control_plane.data.tables import collection_table
from control_plane.databases.port import DatabaseEngine
from control_plane.domain.isolation import Isolation
from control_plane.errors import Failed, NotFound, Refused
from tests.support.evolutions import declared, put, row
from tests.support.rows import NOW, VALUES, count, row_id

WRITERS: Final = 6
ROOM: Final = 3
CONTACTS: Final = load_collection(SAMPLES / "contacts.yaml")
TABLE: Final = collection_table(CONTACTS)
NOTES: Final = declared("notes", {"text": {"kind": "string", "max_length": 9}})
TAGS: Final = declared("tags", {"text": {"kind": "string", "max_length": 9}})
BOTH: Final = bind_collections([NOTES, TAGS])
ONE: Final = bind_collections([NOTES])


def counted(databases: DatabaseEngine, model: Isolation, tenant: str = "acme") -> int:
    with databases.reading(tenant, model) as connection:
        return records_of(connection, tenant)


def counting(
    databases: DatabaseEngine, model: Isolation, more: int, most: int | None, tenant: str = "acme"
) -> None:
    with databases.transaction(tenant, model) as connection:
        count_on(connection, tenant, more, most)


def add(connection: Connection, number: int, most: int) -> None:
    count_on(connection, "acme", 1, most)
    put(connection, CONTACTS, row(number, "acme", **VALUES))


@pytest.mark.slice_of(6)
def test_a_tenant_has_no_record_until_one_is_added(
    databases: DatabaseEngine, model: Isolation
) -> None:
    databases.create("acme", model, [CONTACTS], 1)
    assert counted(databases, model) == 0
    counting(databases, model, 2, 2)
    databases.create("acme", model, [CONTACTS], 1)
    assert counted(databases, model) == 2


@pytest.mark.slice_of(6)
def test_more_than_the_limit_is_refused_and_fewer_never_are(
    databases: DatabaseEngine, model: Isolation
) -> None:
    databases.create("acme", model, [CONTACTS], 1)
    counting(databases, model, 5, None)
    with pytest.raises(Refused) as caught:
        counting(databases, model, 1, 5)
    told = caught.value
    assert (told.code, told.rule, told.fact) == (
        "records_quota",
        "catalog.quotas.records_max",
        "records",
    )
    assert "5 records" in str(told)
    # Above a limit that has fallen, too.
    counting(databases, model, -1, 2)
    assert counted(databases, model) == 4
    with pytest.raises(Refused):
        counting(databases, model, 1, 4)
    counting(databases, model, 0, 0)
    assert counted(databases, model) == 4


@pytest.mark.slice_of(6)
def test_a_neighbours_records_are_no_ones_but_the_neighbours(
    databases: DatabaseEngine, model: Isolation
) -> None:
    for tenant in ("acme", "other"):
        databases.create(tenant, model, [CONTACTS], 1)
    counting(databases, model, 3, 3)
    counting(databases, model, 1, 1, "other")
    assert (counted(databases, model), counted(databases, model, "other")) == (3, 1)
    databases.drop("acme", model, 1)
    databases.create("acme", model, [CONTACTS], 2)
    assert (counted(databases, model), counted(databases, model, "other")) == (0, 1)


@pytest.mark.parametrize("isolation", ["silo", "bridge", "pooled"])
def test_many_at_once_never_get_past_the_limit(
    databases: DatabaseEngine, isolation: Isolation
) -> None:
    databases.create("acme", isolation, [CONTACTS], 1)
    together = Barrier(WRITERS, timeout=20)

    def write(number: int) -> str:
        together.wait()
        try:
            with databases.transaction("acme", isolation) as connection:
                apply_once(
                    connection,
                    "acme",
                    1,
                    f"call-{number}",
                    "d",
                    lambda inside: add(inside, number, ROOM),
                    now=NOW,
                )
        except Refused as error:
            return error.code
        return "added"

    with ThreadPoolExecutor(WRITERS) as pool:
        said = sorted(pool.map(write, range(WRITERS)))
    assert said == ["added"] * ROOM + ["records_quota"] * (WRITERS - ROOM)
    assert counted(databases, isolation) == ROOM
    with databases.reading("acme", isolation) as connection:
        assert count(connection, TABLE) == ROOM


@pytest.mark.parametrize("isolation", ["pooled"])
def test_who_removes_makes_room_for_who_waits(
    databases: DatabaseEngine, isolation: Isolation
) -> None:
    databases.create("acme", isolation, [CONTACTS], 1)
    with databases.transaction("acme", isolation) as connection:
        add(connection, 0, 1)
    together = Barrier(2, timeout=20)

    def remove() -> None:
        with databases.transaction("acme", isolation) as connection:
            count_on(connection, "acme", -1)
            together.wait()
            delete_row(connection, TABLE, "acme", row_id(0), version=1)

    def replace() -> None:
        together.wait()
        with databases.transaction("acme", isolation) as connection:
            add(connection, 1, 1)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(remove), pool.submit(replace)]:
            done.result(timeout=30)
    assert counted(databases, isolation) == 1


@pytest.mark.slice_of(6)
def test_what_goes_with_its_collection_is_counted_no_more(
    databases: DatabaseEngine, model: Isolation
) -> None:
    for tenant, tags in (("acme", 2), ("other", 1)):
        databases.create(tenant, model, BOTH, 1)
        with databases.transaction(tenant, model) as connection:
            count_on(connection, tenant, tags + 1)
            put(connection, BOTH[0], row(1, tenant, text="n"))
            for number in range(tags):
                put(connection, BOTH[1], row(number, tenant, text="t"))
    for tenant in ("acme", "other"):
        databases.migrate(tenant, model, BOTH, ONE, "expand", 1)
    assert (counted(databases, model), counted(databases, model, "other")) == (3, 2)
    for _ in range(2):
        for tenant in ("acme", "other"):
            databases.migrate(tenant, model, BOTH, ONE, "contract", 1)
    assert (counted(databases, model), counted(databases, model, "other")) == (1, 1)
    assert databases.probe("acme", model, ONE) == "ready"
    counting(databases, model, 1, 2)


@pytest.mark.slice_of(6)
def test_what_is_loaded_is_counted_and_past_the_limit_too(
    databases: DatabaseEngine, model: Isolation
) -> None:
    databases.create("acme", model, [CONTACTS], 1)
    with databases.transaction("acme", model) as connection:
        for number in range(3):
            add(connection, number, 3)
    archive = io.BytesIO()
    with databases.reading("acme", model) as connection:
        export_tenant(connection, [CONTACTS], "acme", archive)
    archive.seek(0)
    databases.drop("acme", model, 1)
    databases.create("acme", model, [CONTACTS], 2)
    with databases.transaction("acme", model) as connection:
        load_tenant(connection, [CONTACTS], "acme", archive)
    assert counted(databases, model) == 3
    with pytest.raises(Refused):
        counting(databases, model, 1, 1)


@pytest.mark.slice_of(6)
def test_a_count_that_is_not_there_adds_nothing(
    databases: DatabaseEngine, model: Isolation
) -> None:
    databases.create("acme", model, [CONTACTS], 1)
    with databases.transaction("acme", model) as connection, pytest.raises(Failed) as caught:
        count_on(connection, "nobody", 1, 9)
    assert caught.value.code == "schema_differs"
    # Where tenants share a file on SQLite, that one is there for whoever asks.
    with pytest.raises((NotFound, Failed)), databases.reading("nobody", model) as connection:
        records_of(connection, "nobody")
