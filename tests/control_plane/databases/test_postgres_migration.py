"""A change of declarations on Postgres: who sees what afterwards, and what it waits for. Not the change itself."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, insert, select, text

from control_plane.data.tables import collection_table
from control_plane.databases.postgres import PostgresDatabases
from control_plane.databases.postgres_names import Names
from control_plane.domain.isolation import Isolation
from control_plane.errors import PaybillError, Unavailable
from tests.support.evolutions import AFTER, BEFORE, DEALS, TEAMS, old_person, put, row, tables_shape
from tests.support.evolutions import PEOPLE as OLD_PEOPLE
from tests.support.rows import row_id
from tests.support.tenants import TenantServer, workspace

pytestmark = pytest.mark.slice_of(3)

GUARDED = text("""SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, c.relacl::text,
        (SELECT array_agg(DISTINCT coalesce(a.attstattarget, -1)) FROM pg_attribute a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)::text,
        (SELECT array_agg(DISTINCT k.convalidated) FROM pg_constraint k
            WHERE k.conrelid = c.oid)::text,
        (SELECT array_agg(p.policyname || p.permissive || p.roles::text || p.cmd
            || coalesce(p.qual, '') || coalesce(p.with_check, '') ORDER BY p.policyname)
            FROM pg_policies p
            WHERE p.tablename = c.relname AND p.schemaname = current_schema())::text
    FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
    ORDER BY c.relname""")


def guards(databases: PostgresDatabases, model: Isolation, prefix: str) -> list[Any]:
    """How each table of acme's place is kept from others, without the workspace's own names."""
    with databases.reading("acme", model) as connection:
        found = connection.execute(GUARDED).all()
    return [tuple(str(part).replace(prefix, "P") for part in one) for one in found]


def led(databases: PostgresDatabases, model: Isolation, *tenants: str) -> None:
    for tenant in tenants:
        databases.create(tenant, model, BEFORE, 1)
        with databases.transaction(tenant, model) as connection:
            put(connection, TEAMS, row(900, tenant, title="t"))
            put(connection, OLD_PEOPLE, old_person(1, tenant))
    for tenant in tenants:
        databases.migrate(tenant, model, BEFORE, AFTER, "expand", 1)
    for tenant in tenants:
        databases.migrate(tenant, model, BEFORE, AFTER, "contract", 1)


@pytest.mark.long
def test_tables_are_kept_from_others_as_those_that_were_made_so(
    on_postgres: PostgresDatabases,
    server: TenantServer,
    tenant_logins: TenantServer,
    any_model: Isolation,
) -> None:
    led(on_postgres, any_model, "acme", "other")
    with workspace(tenant_logins) as beside, beside.engine() as fresh:
        fresh.create("acme", any_model, AFTER, 1)
        expected = guards(fresh, any_model, beside.prefix)
    assert guards(on_postgres, any_model, server.prefix) == expected
    assert {"deals", "people"} < {one[0] for one in expected}


@pytest.mark.long
def test_a_stranger_sees_nothing_of_a_table_that_came(
    on_postgres: PostgresDatabases, server: TenantServer, any_model: Isolation
) -> None:
    led(on_postgres, any_model, "acme", "other")
    deals = collection_table(DEALS)
    everything = select(func.count()).select_from(deals)
    with on_postgres.transaction("acme", any_model) as connection:
        put(connection, DEALS, row(4, "acme", person=row_id(1), worth=5))
        assert connection.execute(everything).scalar_one() == 1
    with on_postgres.reading("other", any_model) as connection:
        assert connection.execute(everything).scalar_one() == 0
    with (
        pytest.raises(PaybillError),
        on_postgres.transaction("other", any_model) as connection,
    ):
        connection.execute(insert(deals).values(**row(5, "acme", person=row_id(1), worth=5)))
    if any_model == "bridge":
        schema = Names(server.prefix).place("acme", any_model).schema
        foreign = deals.to_metadata(deals.metadata.__class__(), schema=schema)
        with pytest.raises(PaybillError), on_postgres.reading("other", any_model) as connection:
            connection.execute(select(foreign))


@pytest.mark.long
def test_a_change_waits_for_a_writer_no_longer_than_it_may(
    on_postgres: PostgresDatabases, server: TenantServer, any_model: Isolation
) -> None:
    on_postgres.create("acme", any_model, BEFORE, 1)
    with on_postgres.reading("acme", any_model) as connection:
        stood = tables_shape(connection)
    with (
        on_postgres.transaction("acme", any_model) as connection,
        server.engine(statement_ms_max=100) as hasty,
    ):
        put(connection, TEAMS, row(900, "acme", title="t"))
        put(connection, OLD_PEOPLE, old_person(1, "acme"))
        with pytest.raises(Unavailable) as caught:
            hasty.migrate("acme", any_model, BEFORE, AFTER, "expand", 1)
        assert caught.value.code == "database_busy"
    with on_postgres.reading("acme", any_model) as connection:
        assert tables_shape(connection) == stood
    on_postgres.migrate("acme", any_model, BEFORE, AFTER, "expand", 1)
    assert on_postgres.probe("acme", any_model, AFTER) == "ready"
