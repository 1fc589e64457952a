"""What only the Postgres store does: its bounds, its faults by name, its silence. Not the contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import URL, Connection, create_engine, func, select, text
from sqlalchemy.exc import IntegrityError

from control_plane.errors import Unavailable, Unknown
from control_plane.store import tables
from control_plane.store.postgres import PostgresStore
from tests.support.migrated import migrated_postgres
from tests.support.postgres import Postgres

pytestmark = pytest.mark.slice_of(2)

SECRET = "a word that no error may carry"


@pytest.fixture
def url(postgres: Postgres) -> Iterator[URL]:
    with migrated_postgres(postgres) as made:
        yield made


@pytest.fixture
def store(url: URL) -> Iterator[PostgresStore]:
    with closing(PostgresStore(url, schema="public", lock_ms_max=300)) as made:
        yield made


def rows(store: PostgresStore) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(tables.fence)).scalar_one()


def add(connection: Connection, tenant: str) -> None:
    connection.execute(tables.fence.insert().values(tenant=tenant, epoch=1))


def end_session(url: URL, connection: Connection) -> None:
    pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    engine = create_engine(url)
    with engine.connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    engine.dispose()


def fail_with(store: PostgresStore, sqlstate: str) -> None:
    with store.write() as connection:
        connection.execute(
            text(f"DO $$ BEGIN RAISE EXCEPTION '{SECRET}' USING ERRCODE = '{sqlstate}'; END $$")
        )


@pytest.mark.parametrize(
    ("sqlstate", "code"),
    [
        ("55P03", "store_locked"),
        ("40001", "store_locked"),
        ("40P01", "store_locked"),
        ("53100", "store_full"),
        ("53200", "store_unavailable"),
        ("53300", "store_unavailable"),
        ("42501", "store_unavailable"),
        ("57P01", "store_unavailable"),
        ("57014", "store_unavailable"),
        ("25006", "store_unavailable"),
        ("58030", "store_unavailable"),
        ("XX001", "store_unavailable"),
        ("08006", "store_unavailable"),
    ],
)
def test_a_fault_of_the_server_has_our_name_and_not_its_words(
    store: PostgresStore, sqlstate: str, code: str
) -> None:
    with pytest.raises(Unavailable) as told:
        fail_with(store, sqlstate)
    assert told.value.code == code
    assert SECRET not in str(told.value)
    assert told.value.__cause__ is None
    assert told.value.__suppress_context__
    assert rows(store) == 0


def test_an_error_of_ours_stays_what_it_is_and_shows_no_value(store: PostgresStore) -> None:
    def twice() -> None:
        with store.write() as connection:
            for _ in range(2):
                connection.execute(
                    tables.call.insert().values(
                        {column.name: None for column in tables.call.columns} | {"id": SECRET}
                    )
                )

    with pytest.raises(IntegrityError) as told:
        twice()
    assert "hidden" in str(told.value)


def test_a_session_that_is_ended_amid_a_transaction_is_named_and_leaves_nothing(
    url: URL, store: PostgresStore
) -> None:
    def work() -> None:
        with store.write("acme") as connection:
            add(connection, "acme")
            end_session(url, connection)
            add(connection, "globex")

    with pytest.raises(Unavailable) as told:
        work()
    assert told.value.code == "store_unavailable"
    assert rows(store) == 0
    # Its lock went with the session.
    with store.write() as connection:
        add(connection, "acme")


def test_a_session_that_is_ended_at_the_commit_of_a_change_leaves_it_unknown(
    url: URL, store: PostgresStore
) -> None:
    def work() -> None:
        with store.write("acme") as connection:
            add(connection, "acme")
            end_session(url, connection)

    with pytest.raises(Unknown) as told:
        work()
    assert told.value.code == "commit_unknown"


def test_a_session_that_is_ended_at_the_commit_of_an_added_row_is_only_unavailable(
    url: URL, store: PostgresStore
) -> None:
    def work() -> None:
        with store.append() as connection:
            add(connection, "acme")
            end_session(url, connection)

    with pytest.raises(Unavailable) as told:
        work()
    assert told.value.code == "store_unavailable"


def test_idle_sessions_that_were_ended_cost_nobody_a_call(url: URL, store: PostgresStore) -> None:
    assert rows(store) == 0
    engine = create_engine(url)
    with engine.connect() as other:
        ended = other.execute(
            text(
                "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'paybill'"
            )
        ).scalar_one()
    engine.dispose()
    assert ended >= 1
    assert rows(store) == 0


def test_a_read_cannot_write(store: PostgresStore) -> None:
    with pytest.raises(Unavailable) as told, store.read() as connection:
        add(connection, "acme")
    assert told.value.code == "store_unavailable"
    assert rows(store) == 0


def test_a_statement_that_takes_too_long_is_ended(url: URL) -> None:
    with closing(PostgresStore(url, schema="public", statement_ms_max=100)) as store:
        with pytest.raises(Unavailable) as told, store.read() as connection:
            connection.execute(text("SELECT pg_sleep(20)"))
        assert told.value.code == "store_unavailable"


def test_a_transaction_that_stands_idle_is_ended_and_lets_its_lock_go(url: URL) -> None:
    with (
        closing(PostgresStore(url, schema="public", idle_ms_max=100)) as lazy,
        closing(PostgresStore(url, schema="public", lock_ms_max=10_000)) as other,
    ):

        def idle() -> None:
            with lazy.write("acme") as connection:
                # Taken at last: the server has ended who held it.
                with other.write("acme") as taken:
                    add(taken, "acme")
                add(connection, "globex")

        with pytest.raises(Unavailable) as told:
            idle()
        assert told.value.code == "store_unavailable"
        assert rows(other) == 1


def test_more_connections_than_the_server_lets_in_are_named(postgres: Postgres, url: URL) -> None:
    with postgres.login(url, "CONNECT") as limited:
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text(f'ALTER ROLE "{limited.username}" CONNECTION LIMIT 1'))
            connection.execute(text(f'GRANT SELECT ON fence TO "{limited.username}"'))
        engine.dispose()
        with closing(PostgresStore(limited, schema="public")) as store, store.read() as first:
            first.execute(select(tables.fence))
            with pytest.raises(Unavailable) as told, store.read():
                pytest.fail("a second connection")
    assert told.value.code == "store_unavailable"


@pytest.mark.parametrize(
    "changed",
    [
        {"password": SECRET, "username": "nobody"},
        {"database": "nowhere"},
        {"query": {"host": "/no"}},
    ],
)
def test_a_server_that_is_not_reached_is_named_and_hides_how_it_was_tried(
    url: URL, changed: dict[str, str]
) -> None:
    with (
        closing(PostgresStore(url.set(**changed), schema="public")) as store,  # type: ignore[arg-type]
        pytest.raises(Unavailable) as told,
        store.read(),
    ):
        pytest.fail("let in")
    assert told.value.code == "store_unavailable"
    for word in (SECRET, "nobody", "nowhere", "/no"):
        assert word not in f"{told.value!r} {told.value.__cause__!r}"


def test_every_session_is_bounded_and_durable(store: PostgresStore) -> None:
    bounds = {
        "lock_timeout": "300ms",
        "statement_timeout": "30s",
        "idle_in_transaction_session_timeout": "1min",
        "synchronous_commit": "on",
    }
    for transaction in (store.read, store.write, store.append):
        with transaction() as connection:
            for name, value in bounds.items():
                assert connection.execute(text(f"SHOW {name}")).scalar_one() == value


def test_leaves_that_wait_are_found_by_an_index_and_not_sorted(store: PostgresStore) -> None:
    leaf = tables.audit_leaf
    waiting = select(leaf.c.id).where(leaf.c.position.is_(None)).order_by(leaf.c.written).limit(9)
    with store.read() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        literal = waiting.compile(connection.engine, compile_kwargs={"literal_binds": True})
        plan = str(connection.exec_driver_sql(f"EXPLAIN {literal}").fetchall())
    assert "ix_audit_leaf_waiting" in plan
    assert "Sort" not in plan
