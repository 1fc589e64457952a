"""What every Store keeps, over SQLite and Postgres. Not the rows' meaning, nor one engine's faults."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Connection, create_engine, func, select, text
from sqlalchemy.exc import IntegrityError

from control_plane.errors import PaybillError, Unavailable
from control_plane.ports import Store
from control_plane.store import tables
from control_plane.store.migrate import upgrade, upgrade_postgres
from control_plane.store.postgres import PostgresStore
from control_plane.store.sqlite import SqliteStore
from tests.support.postgres import Postgres

pytestmark = pytest.mark.slice_of(2)

WAIT_MS = 300
DEADLINE_S = 20
CONNECTIONS_MAX = 16

Place = Callable[[pytest.FixtureRequest, Path], AbstractContextManager["Subject"]]


@dataclass(frozen=True)
class Subject:
    """A store that waits for 300 ms, another one over the same rows, and what may break it."""

    store: Store
    other: Store
    broken: Callable[[], AbstractContextManager[object]]


@contextmanager
def sqlite(_: pytest.FixtureRequest, folder: Path) -> Generator[Subject]:
    path = folder / "store.db"
    upgrade(path)

    @contextmanager
    def gone() -> Generator[None]:
        away = path.with_name("away")
        path.rename(away)
        path.mkdir()
        store.close()
        try:
            yield
        finally:
            path.rmdir()
            away.rename(path)

    with (
        closing(SqliteStore(path, busy_timeout_ms=WAIT_MS)) as store,
        closing(SqliteStore(path, busy_timeout_ms=WAIT_MS)) as other,
    ):
        yield Subject(store, other, gone)


@contextmanager
def postgres(request: pytest.FixtureRequest, _: Path) -> Generator[Subject]:
    server: Postgres = request.getfixturevalue("postgres")
    with server.database() as url:
        upgrade_postgres(url, schema="public")
        with (
            closing(PostgresStore(url, schema="public", lock_ms_max=WAIT_MS)) as store,
            closing(PostgresStore(url, schema="public", lock_ms_max=WAIT_MS)) as other,
        ):
            yield Subject(store, other, server.down)


STORES: Final[Mapping[str, Place]] = {"sqlite": sqlite, "postgres": postgres}


@pytest.fixture(params=sorted(STORES))
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    with STORES[request.param](request, tmp_path) as found:
        yield found


def add(connection: Connection, tenant: str, epoch: int = 1) -> None:
    connection.execute(tables.fence.insert().values(tenant=tenant, epoch=epoch))


def count(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(tables.fence)).scalar_one()


def rows(store: Store) -> int:
    with store.read() as connection:
        return count(connection)


def one_more(store: Store, scope: str | None) -> None:
    """Read, then write what follows from it: two at once would lose one of them."""
    with store.write(scope) as connection:
        table = tables.fence
        held = connection.execute(select(table.c.epoch).where(table.c.tenant == "acme"))
        connection.execute(
            table.update().where(table.c.tenant == "acme").values(epoch=held.scalar_one() + 1)
        )


def test_what_is_written_stands_after_the_transaction(subject: Subject) -> None:
    with subject.store.write() as connection:
        add(connection, "acme")
    with subject.store.write("globex") as connection:
        add(connection, "globex")
    with subject.store.append() as connection:
        add(connection, "initech")
    assert rows(subject.store) == rows(subject.other) == 3


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, PaybillError])
@pytest.mark.parametrize("kind", ["whole", "scope", "append"])
def test_an_error_takes_everything_of_its_transaction_back(
    subject: Subject, kind: str, error: type[BaseException]
) -> None:
    opened = {
        "whole": subject.store.write,
        "scope": lambda: subject.store.write("acme"),
        "append": subject.store.append,
    }

    def change() -> None:
        with opened[kind]() as connection:
            add(connection, "acme")
            raise error

    with pytest.raises(error):
        change()
    assert rows(subject.store) == 0
    with opened[kind]() as connection:
        add(connection, "acme")
    assert rows(subject.store) == 1


def test_a_row_that_is_there_already_is_an_integrity_error(subject: Subject) -> None:
    def twice() -> None:
        with subject.store.write("acme") as connection:
            add(connection, "acme")
            add(connection, "acme")

    with pytest.raises(IntegrityError):
        twice()
    assert rows(subject.store) == 0


def test_a_savepoint_gives_back_only_what_followed_it(subject: Subject) -> None:
    with subject.store.write("acme") as connection:
        add(connection, "acme")

        def nested() -> None:
            with connection.begin_nested():
                add(connection, "globex")
                add(connection, "acme")

        with pytest.raises(IntegrityError):
            nested()
        add(connection, "initech")
    assert rows(subject.store) == 2


def test_a_read_sees_one_state_whatever_is_committed_meanwhile(subject: Subject) -> None:
    with subject.store.read() as reading:
        assert count(reading) == 0
        with subject.other.write("acme") as connection:
            add(connection, "acme")
        assert count(reading) == 0
    assert rows(subject.store) == 1


@pytest.mark.parametrize(
    ("held", "wanted"), [(None, None), (None, "acme"), ("acme", None), ("acme", "acme")]
)
def test_writers_that_may_touch_the_same_rows_exclude_each_other(
    subject: Subject, held: str | None, wanted: str | None
) -> None:
    with subject.store.write(held) as connection:
        add(connection, "acme")
        with pytest.raises(Unavailable) as refused, subject.other.write(wanted):
            pytest.fail("two writers at once")
        # Whoever only reads waits for nobody, and sees what stood before.
        assert rows(subject.other) == 0
    assert refused.value.code == "store_locked"
    with subject.other.write(wanted) as connection:
        assert count(connection) == 1


@pytest.mark.parametrize("scope", [None, "acme"])
def test_writers_of_one_scope_come_one_after_another_and_lose_nothing(
    subject: Subject, scope: str | None
) -> None:
    with subject.store.write() as connection:
        add(connection, "acme", 0)

    def work(store: Store) -> None:
        done = 0
        while done < 10:
            try:
                one_more(store, scope)
            except Unavailable as error:
                if error.code != "store_locked":
                    raise
            else:
                done += 1

    threads = [threading.Thread(target=work, args=(one,)) for one in (subject.store, subject.other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
    with subject.store.read() as connection:
        assert connection.execute(select(tables.fence.c.epoch)).scalar_one() == 20


def test_a_writer_finds_what_the_one_before_it_has_committed(subject: Subject) -> None:
    """The lock comes before the first look, so that what is seen is not of before the wait."""
    entered, seen = threading.Event(), list[int]()

    def follow() -> None:
        entered.set()
        with subject.other.write("acme") as connection:
            seen.append(count(connection))

    follower = threading.Thread(target=follow)
    with subject.store.write("acme") as connection:
        follower.start()
        assert entered.wait(DEADLINE_S)
        add(connection, "acme")
    follower.join(DEADLINE_S)
    assert seen == [1]


@pytest.mark.long
def test_a_store_that_breaks_down_is_named_and_serves_again_after_it(subject: Subject) -> None:
    assert rows(subject.store) == 0
    with subject.broken():
        for transaction in (subject.store.read, subject.store.write, subject.store.append):
            with pytest.raises(Unavailable) as refused, transaction() as connection:
                count(connection)
            assert refused.value.code == "store_unavailable"
            assert refused.value.__cause__ is None or isinstance(subject.store, SqliteStore)
    with subject.store.write() as connection:
        add(connection, "acme")
    assert rows(subject.store) == 1


def test_a_caller_that_finds_every_connection_taken_is_told_so(subject: Subject) -> None:
    with ExitStack() as taken:
        for _ in range(CONNECTIONS_MAX):
            taken.enter_context(subject.store.read())
        with pytest.raises(Unavailable) as refused, subject.store.read():
            pytest.fail("a seventeenth connection")
        # Who reads keeps nobody from writing.
        with subject.store.write() as connection:
            add(connection, "acme")
    assert refused.value.code == "store_locked"
    assert rows(subject.store) == 1


def test_a_closed_store_holds_no_connection_and_opens_again_when_it_is_asked(
    subject: Subject,
) -> None:
    assert rows(subject.store) == 0
    subject.store.close()
    subject.store.close()
    assert rows(subject.store) == 0


def test_on_postgres_nobody_waits_for_a_writer_of_another_scope(postgres: Postgres) -> None:
    with postgres.database() as url:
        upgrade_postgres(url, schema="public")
        with closing(PostgresStore(url, schema="public", lock_ms_max=WAIT_MS)) as store:
            with store.write("acme") as connection, store.write("globex") as beside:
                add(connection, "acme")
                add(beside, "globex")
                with store.append() as added:
                    add(added, "initech")
                assert rows(store) == 1
            assert rows(store) == 3
            with store.write() as connection, store.append() as added:
                add(connection, "umbrella")
                add(added, "hooli")
            assert rows(store) == 5


def test_on_postgres_two_schemas_of_one_database_do_not_wait_for_each_other(
    postgres: Postgres,
) -> None:
    with postgres.database() as url:
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("CREATE SCHEMA theirs"))
        engine.dispose()
        for schema in ("public", "theirs"):
            upgrade_postgres(url, schema=schema)
        with (
            closing(PostgresStore(url, schema="public", lock_ms_max=WAIT_MS)) as store,
            closing(PostgresStore(url, schema="theirs", lock_ms_max=WAIT_MS)) as theirs,
            store.write() as connection,
            theirs.write() as beside,
        ):
            add(connection, "acme")
            assert count(beside) == 0
