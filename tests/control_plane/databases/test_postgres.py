"""The Postgres engine: what remains, two at once, and the closing of a tenant."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy import Table

from control_plane.data.applied import was_applied
from control_plane.data.collection import Collection
from control_plane.databases import postgres_pools, removal
from control_plane.databases.postgres import PostgresDatabases
from control_plane.databases.postgres_names import Names
from control_plane.domain.isolation import Isolation
from control_plane.errors import Failed, NotFound, PaybillError, Refused, Unavailable
from tests.support.rows import add, apply, count
from tests.support.tenants import TenantServer, standing
from tests.support.waiting import until

pytestmark = pytest.mark.slice_of(3)

DEADLINE_S = 20


def waits_for_a_lock(server: TenantServer) -> bool:
    with server.raw(server.root) as raw:
        found = raw.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND usename IN (%s, %s)",
            [server.owner.username, server.face.username],
        ).fetchone()
    return found is not None and found[0] > 0


def test_nothing_of_a_dropped_tenant_remains(
    on_postgres: PostgresDatabases,
    server: TenantServer,
    people: Collection,
    people_table: Table,
    any_model: Isolation,
) -> None:
    for model in ("bridge", "pooled", "silo"):
        on_postgres.create("other", model, [people], 1)
    before = standing(server)
    on_postgres.create("acme", any_model, [people], 1)
    assert standing(server) != before
    with on_postgres.transaction("acme", any_model) as connection:
        apply(connection, people_table, "acme")
    on_postgres.drop("acme", any_model, 1)
    assert standing(server) == before
    with server.raw(server.root, Names(server.prefix).shared) as raw:
        for name in ("contacts", "paybill_applied", "paybill_fence"):
            query = SQL("SELECT count(*) FROM pooled.{} WHERE tenant_id = 'acme'")
            assert raw.execute(query.format(Identifier(name))).fetchone() == (0,)


def test_a_trial_that_is_under_way_is_not_swept(
    on_postgres: PostgresDatabases, server: TenantServer, people: Collection, people_table: Table
) -> None:
    with on_postgres.scratch("acme", "pooled", [people]) as trial:
        with on_postgres.scratch("other", "pooled", [people]):
            add(trial, people_table, "acme")
        assert count(trial, people_table) == 1


def test_creations_at_once_make_one_of_each(
    on_postgres: PostgresDatabases, people: Collection, any_model: Isolation
) -> None:
    faults: list[PaybillError] = []

    def create(tenant: str) -> None:
        try:
            on_postgres.create(tenant, any_model, [people], 1)
        except PaybillError as error:
            faults.append(error)

    tenants = ["acme", "acme", "other"]
    threads = [threading.Thread(target=create, args=(tenant,)) for tenant in tenants]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert faults == []
    assert {on_postgres.probe(tenant, any_model, [people]) for tenant in tenants} == {"ready"}


def test_a_tenant_is_closed_after_the_writer_at_work_and_before_the_next(
    on_postgres: PostgresDatabases,
    server: TenantServer,
    people: Collection,
    people_table: Table,
    any_model: Isolation,
) -> None:
    on_postgres.create("acme", any_model, [people], 1)
    closing = threading.Thread(
        target=lambda: on_postgres.fence("acme", any_model, 2, open=False), daemon=True
    )
    refused: list[str] = []

    def write_later() -> None:
        try:
            with on_postgres.transaction("acme", any_model) as connection:
                apply(connection, people_table, "acme")
        except Refused as error:
            refused.append(error.code)

    later = threading.Thread(target=write_later, daemon=True)
    with on_postgres.transaction("acme", any_model) as connection:
        apply(connection, people_table, "acme")
        closing.start()
        until(lambda: waits_for_a_lock(server), "the closing waits")
        later.start()
    closing.join(DEADLINE_S)
    later.join(DEADLINE_S)
    assert on_postgres.open_at("acme", any_model) is None
    with on_postgres.reading("acme", any_model) as connection:
        assert was_applied(connection, "acme", "call") == "d"
    # The later one found either the tenant closed, or its call applied before.
    assert refused in ([], ["fenced"])
    with pytest.raises(Refused), on_postgres.transaction("acme", any_model) as connection:
        apply(connection, people_table, "acme")


def test_closing_gives_up_on_a_writer_that_does_not_end(
    server: TenantServer, people: Collection, people_table: Table
) -> None:
    with server.engine(statement_ms_max=100) as databases:
        databases.create("acme", "pooled", [people], 1)
        with databases.transaction("acme", "pooled") as connection:
            apply(connection, people_table, "acme")
            with pytest.raises(Unavailable) as caught:
                databases.fence("acme", "pooled", 2, open=False)
        assert caught.value.code == "database_busy"
        assert databases.open_at("acme", "pooled") == 1
        databases.fence("acme", "pooled", 2, open=False)
        assert databases.open_at("acme", "pooled") is None


def test_only_the_worker_makes_closes_and_removes(
    on_postgres: PostgresDatabases,
    server: TenantServer,
    people: Collection,
    people_table: Table,
    any_model: Isolation,
) -> None:
    with server.engine(as_face=True) as face:
        assert face.probe("acme", any_model, [people]) == "absent"
        assert not face.exists("acme", any_model)
        on_postgres.create("acme", any_model, [people], 1)
        deeds: list[Callable[[], object]] = [
            lambda: face.create("acme", any_model, [people], 2),
            lambda: face.drop("acme", any_model, 2),
            lambda: face.fence("acme", any_model, 2, open=False),
            lambda: face.scratch("acme", any_model, [people]).__enter__(),
        ]
        for deed in deeds:
            with pytest.raises(Failed) as caught:
                deed()
            assert caught.value.code == "not_the_worker"
        with face.transaction("acme", any_model) as connection:
            assert apply(connection, people_table, "acme")
        assert face.probe("acme", any_model, [people]) == "ready"


def test_a_face_that_was_connected_finds_a_dropped_database_gone_and_a_new_one_there(
    on_postgres: PostgresDatabases,
    server: TenantServer,
    people: Collection,
    people_table: Table,
    any_model: Isolation,
) -> None:
    with server.engine(as_face=True) as face:
        on_postgres.create("acme", any_model, [people], 1)
        with face.transaction("acme", any_model) as connection:
            add(connection, people_table, "acme")
        on_postgres.drop("acme", any_model, 1)
        with pytest.raises(NotFound), face.reading("acme", any_model):
            pass
        on_postgres.create("acme", any_model, [people], 2)
        with face.reading("acme", any_model) as connection:
            assert count(connection, people_table) == 0


def test_a_missing_column_differs(
    on_postgres: PostgresDatabases, server: TenantServer, people: Collection, any_model: Isolation
) -> None:
    on_postgres.create("acme", any_model, [people], 1)
    place = Names(server.prefix).place("acme", any_model)
    with server.raw(server.owner, place.database) as raw:
        raw.execute(
            SQL("ALTER TABLE {}.contacts RENAME COLUMN company TO firm").format(
                Identifier(place.schema)
            )
        )
    assert on_postgres.probe("acme", any_model, [people]) == "differs"


@pytest.mark.long
def test_a_pooled_tenant_is_removed_in_many_steps(
    on_postgres: PostgresDatabases,
    people: Collection,
    people_table: Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(removal, "ROWS_PER_STEP", 3)
    for tenant in ("acme", "other"):
        on_postgres.create(tenant, "pooled", [people], 1)
        with on_postgres.transaction(tenant, "pooled") as connection:
            for number in range(10):
                add(connection, people_table, tenant, number)
    on_postgres.drop("acme", "pooled", 1)
    assert not on_postgres.exists("acme", "pooled")
    with on_postgres.reading("other", "pooled") as connection:
        assert count(connection, people_table) == 10


@pytest.mark.long
def test_idle_connections_stay_to_few_databases(
    on_postgres: PostgresDatabases,
    server: TenantServer,
    people: Collection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres_pools, "DATABASES_MAX", 1)
    tenants = ["acme", "other", "third"]
    for tenant in tenants:
        on_postgres.create(tenant, "silo", [people], 1)
    with server.engine(as_face=True) as face, server.raw(server.root) as raw:
        for tenant in tenants * 2:
            with face.reading(tenant, "silo"):
                pass

        def sessions() -> int:
            found = raw.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = %s",
                [server.face.username],
            ).fetchone()
            assert found is not None
            return int(found[0])

        # A session's end is seen a moment after its connection was closed.
        until(lambda: sessions() == 1, "one session is left")


def test_a_worker_that_could_not_end_the_faces_sessions_makes_no_database(
    server: TenantServer, people: Collection
) -> None:
    stranger = server.face.set(username=f"{server.prefix}_stranger")
    with server.raw(server.root) as raw:
        raw.execute(
            SQL("CREATE ROLE {} LOGIN PASSWORD 'p'").format(Identifier(str(stranger.username)))
        )
    databases = PostgresDatabases.opened(
        owner=server.owner, face=stranger, prefix=server.prefix, statement_ms_max=5_000
    )
    with pytest.raises(Failed) as caught:
        databases.create("acme", "silo", [people], 1)
    assert caught.value.code == "worker_login"
    databases.close()


def test_another_password_of_the_face_opens_nothing_until_the_worker_says_so(
    on_postgres: PostgresDatabases, server: TenantServer, people: Collection, any_model: Isolation
) -> None:
    on_postgres.create("acme", any_model, [people], 1)
    name = str(server.face.username)
    changed = PostgresDatabases.opened(
        owner=server.owner,
        face=server.face.set(password="another"),
        prefix=server.prefix,
        statement_ms_max=5_000,
    )
    with server.raw(server.root) as raw:
        try:
            raw.execute(SQL("ALTER ROLE {} PASSWORD 'another'").format(Identifier(name)))
            with pytest.raises(NotFound), changed.reading("acme", any_model):
                pass
            changed.create("acme", any_model, [people], 1)
            with changed.reading("acme", any_model):
                pass
        finally:
            changed.close()
            kept = Literal(server.face.password)
            raw.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(name), kept))
