"""What every DatabaseEngine keeps, over every engine and isolation model. Not one's extras."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import pytest
from sqlalchemy import Connection, Table, func, select
from sqlalchemy.exc import OperationalError

from control_plane.data.applied import apply_once, was_applied
from control_plane.data.collection import SAMPLES, Collection, load_collection
from control_plane.data.rows import get_row, insert_row, query_page
from control_plane.data.sort import Sort
from control_plane.data.tables import APPLIED, FENCE, collection_table
from control_plane.databases.port import DatabaseEngine
from control_plane.domain.isolation import Isolation
from control_plane.errors import BadInput, NotFound, PaybillError, Refused

pytestmark = pytest.mark.slice_of(3)

NOW: Final = datetime(2024, 1, 1, tzinfo=UTC)
ROW: Final = "00000000-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def contacts() -> Collection:
    return load_collection(SAMPLES / "contacts.yaml")


@pytest.fixture(scope="module")
def table(contacts: Collection) -> Table:
    return collection_table(contacts)


def add(connection: Connection, table: Table, tenant: str, row_id: str = ROW) -> None:
    values: dict[str, str | int] = {
        "full_name": tenant,
        "email": "a@b",
        "status": "lead",
        "balance": 0,
    }
    insert_row(connection, table, tenant, row_id, values, now=NOW)


def filled(
    databases: DatabaseEngine, model: Isolation, contacts: Collection, table: Table, tenant: str
) -> None:
    databases.create(tenant, model, [contacts], 1)
    with databases.transaction(tenant, model) as connection:
        apply_once(
            connection, tenant, 1, "call", "d", lambda inside: add(inside, table, tenant), now=NOW
        )


def test_a_created_database_is_ready(
    databases: DatabaseEngine, model: Isolation, contacts: Collection
) -> None:
    assert databases.probe("acme", model, [contacts]) == "absent"
    assert not databases.exists("acme", model)
    databases.create("acme", model, [contacts], 1)
    assert databases.probe("acme", model, [contacts]) == "ready"
    assert databases.exists("acme", model)
    assert databases.probe("other", model, [contacts]) == "absent"
    assert not databases.exists("other", model)


def test_creating_again_changes_nothing(
    databases: DatabaseEngine, model: Isolation, contacts: Collection, table: Table
) -> None:
    filled(databases, model, contacts, table, "acme")
    databases.fence("acme", model, 1, open=False)
    databases.create("acme", model, [contacts], 1)
    with databases.reading("acme", model) as connection:
        assert get_row(connection, table, "acme", ROW) is not None
        assert connection.execute(select(FENCE.c.open)).scalar_one() is False


def test_an_overtaken_run_neither_creates_fences_nor_drops(
    databases: DatabaseEngine, model: Isolation, contacts: Collection, table: Table
) -> None:
    filled(databases, model, contacts, table, "acme")
    databases.create("acme", model, [contacts], 3)
    deeds: list[Callable[[], None]] = [
        lambda: databases.create("acme", model, [contacts], 2),
        lambda: databases.fence("acme", model, 2, open=False),
        lambda: databases.drop("acme", model, 2),
    ]
    for deed in deeds:
        with pytest.raises(Refused) as caught:
            deed()
        assert caught.value.code == "fenced"
    with databases.reading("acme", model) as connection:
        assert get_row(connection, table, "acme", ROW) is not None


def test_other_collections_than_it_was_made_of_differ(
    databases: DatabaseEngine, model: Isolation, contacts: Collection
) -> None:
    other = contacts.model_copy(update={"name": "people"})
    databases.create("acme", model, [contacts], 1)
    assert databases.probe("acme", model, [other]) == "differs"
    assert databases.probe("acme", model, []) == "differs"
    with pytest.raises(Refused) as caught:
        databases.create("acme", model, [other], 1)
    assert caught.value.code == "schema_differs"


def test_a_tenant_sees_nothing_of_another(
    databases: DatabaseEngine, model: Isolation, contacts: Collection, table: Table
) -> None:
    filled(databases, model, contacts, table, "acme")
    databases.create("other", model, [contacts], 1)
    with databases.reading("other", model) as connection:
        assert get_row(connection, table, "other", ROW) is None
        assert was_applied(connection, "other", "call") is None
        page = query_page(connection, table, "other", None, Sort(), 10, None, deadline_ms=10_000)
        assert page.rows == ()


def test_dropping_one_tenant_leaves_the_others_rows(
    databases: DatabaseEngine, model: Isolation, contacts: Collection, table: Table
) -> None:
    for tenant in ("acme", "other"):
        filled(databases, model, contacts, table, tenant)
    databases.drop("acme", model, 1)
    databases.drop("acme", model, 1)
    assert databases.probe("acme", model, [contacts]) == "absent"
    assert not databases.exists("acme", model)
    assert databases.probe("other", model, [contacts]) == "ready"
    with databases.reading("other", model) as connection:
        assert get_row(connection, table, "other", ROW) is not None
        assert was_applied(connection, "other", "call") == "d"
        for some in (table, APPLIED, FENCE):
            gone = select(func.count()).select_from(some).where(some.c.tenant_id == "acme")
            assert connection.execute(gone).scalar_one() == 0


def test_a_tenant_made_anew_has_nothing_of_its_past(
    databases: DatabaseEngine, model: Isolation, contacts: Collection, table: Table
) -> None:
    filled(databases, model, contacts, table, "acme")
    databases.drop("acme", model, 2)
    databases.create("acme", model, [contacts], 3)
    with databases.reading("acme", model) as connection:
        assert get_row(connection, table, "acme", ROW) is None
        assert was_applied(connection, "acme", "call") is None


def test_where_a_tenant_stands_open_can_be_seen(
    databases: DatabaseEngine, model: Isolation, contacts: Collection
) -> None:
    assert databases.open_at("acme", model) is None
    for tenant in ("acme", "other"):
        databases.create(tenant, model, [contacts], 1)
    assert databases.open_at("acme", model) == 1
    databases.fence("acme", model, 2, open=False)
    assert databases.open_at("acme", model) is None
    assert databases.open_at("other", model) == 1
    databases.fence("acme", model, 3, open=True)
    assert databases.open_at("acme", model) == 3
    databases.drop("acme", model, 3)
    assert databases.open_at("acme", model) is None


def test_what_is_not_there_is_not_found_and_is_not_made(
    databases: DatabaseEngine, model: Isolation
) -> None:
    with pytest.raises(NotFound), databases.reading("acme", model):
        pass
    with pytest.raises(NotFound), databases.transaction("acme", model):
        pass
    with pytest.raises(NotFound):
        databases.fence("acme", model, 1, open=True)
    databases.drop("acme", model, 1)
    assert not databases.exists("acme", model)


def test_an_error_rolls_the_transaction_back(
    databases: DatabaseEngine, model: Isolation, contacts: Collection, table: Table
) -> None:
    databases.create("acme", model, [contacts], 1)

    def fails() -> None:
        with databases.transaction("acme", model) as connection:
            add(connection, table, "acme")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    with databases.reading("acme", model) as connection:
        assert get_row(connection, table, "acme", ROW) is None


def test_a_reader_cannot_write(
    databases: DatabaseEngine, model: Isolation, contacts: Collection, table: Table
) -> None:
    databases.create("acme", model, [contacts], 1)
    with pytest.raises(PaybillError), databases.reading("acme", model) as connection:
        add(connection, table, "acme")
    with databases.reading("acme", model) as connection:
        assert get_row(connection, table, "acme", ROW) is None


def test_a_broken_constraint_is_refused_in_our_words(
    databases: DatabaseEngine, model: Isolation, contacts: Collection, table: Table
) -> None:
    filled(databases, model, contacts, table, "acme")
    with pytest.raises(Refused) as taken, databases.transaction("acme", model) as connection:
        add(connection, table, "acme")
    assert (taken.value.code, taken.value.rule) == ("constraint", "primary_key")
    with pytest.raises(Refused) as checked, databases.transaction("acme", model) as connection:
        connection.execute(table.update().values(status="nonsense"))
    assert (checked.value.code, checked.value.rule) == ("constraint", "check")
    assert "nonsense" not in str(checked.value)
    assert not isinstance(checked.value, OperationalError)


@pytest.mark.parametrize(
    "tenant", ["", "ab", "../x", "a/b", "Acme", "1ab", "ab-", "a_b", "a" * 41, "abc\n", "a.b"]
)
def test_a_name_that_is_no_tenant_id_is_refused(
    databases: DatabaseEngine, model: Isolation, contacts: Collection, tenant: str
) -> None:
    with pytest.raises(BadInput, match="tenant"):
        databases.create(tenant, model, [contacts], 1)
    with pytest.raises(BadInput, match="tenant"):
        databases.drop(tenant, model, 1)


def test_an_unknown_model_is_refused(databases: DatabaseEngine, contacts: Collection) -> None:
    with pytest.raises(BadInput, match="model"):
        databases.create("acme", "shared", [contacts], 1)  # type: ignore[arg-type]


def test_every_model_reads_the_catalogs_reference_rows(
    databases: DatabaseEngine, model: Isolation, contacts: Collection
) -> None:
    currencies = load_collection(SAMPLES / "currencies.yaml")
    for tenant in ("acme", "other"):
        databases.create(tenant, model, [contacts, currencies], 1)
        assert databases.probe(tenant, model, [contacts, currencies]) == "ready"
        found: list[str] = []
        position = None
        for _ in currencies.rows:
            with databases.reading(tenant, model) as connection:
                page = query_page(
                    connection,
                    collection_table(currencies),
                    tenant,
                    None,
                    Sort("code"),
                    3,
                    position,
                    deadline_ms=10_000,
                )
            found += [str(row["code"]) for row in page.rows]
            position = page.next
            if position is None:
                break
        assert found == sorted(str(row["code"]) for row in currencies.rows)


def test_reference_rows_are_the_same_after_another_create(
    databases: DatabaseEngine, model: Isolation, contacts: Collection
) -> None:
    currencies = load_collection(SAMPLES / "currencies.yaml")
    fewer = currencies.model_copy(update={"rows": currencies.rows[:2]})
    databases.create("acme", model, [contacts, fewer], 1)
    assert databases.probe("acme", model, [contacts, currencies]) == "differs"
    databases.create("acme", model, [contacts, currencies], 1)
    databases.create("acme", model, [contacts, currencies], 1)
    assert databases.probe("acme", model, [contacts, currencies]) == "ready"
    with databases.reading("acme", model) as connection:
        count = select(func.count()).select_from(collection_table(currencies))
        assert connection.execute(count).scalar_one() == len(currencies.rows)


def test_no_tenants_connection_changes_a_reference_row(
    databases: DatabaseEngine, model: Isolation, contacts: Collection
) -> None:
    currencies = load_collection(SAMPLES / "currencies.yaml")
    table = collection_table(currencies)
    databases.create("acme", model, [contacts, currencies], 1)
    for statement in (table.update().values(title="x"), table.delete()):
        with (
            pytest.raises(PaybillError),
            databases.transaction("acme", model) as connection,
        ):
            connection.execute(statement)
    with databases.reading("acme", model) as connection:
        found = connection.execute(select(table.c.title)).scalars().all()
    assert sorted(found) == sorted(str(row["title"]) for row in currencies.rows)


def test_a_trial_database_is_empty_whole_and_the_tenants_own_is_not_touched(
    databases: DatabaseEngine, model: Isolation, contacts: Collection, table: Table
) -> None:
    filled(databases, model, contacts, table, "acme")
    for _ in range(2):
        with databases.scratch("acme", model, [contacts]) as connection:
            assert get_row(connection, table, "acme", ROW) is None
            add(connection, table, "acme")
            assert get_row(connection, table, "acme", ROW) is not None
            connection.execute(table.delete())
    with databases.reading("acme", model) as connection:
        assert get_row(connection, table, "acme", ROW) is not None
