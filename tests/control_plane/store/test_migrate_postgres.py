"""A Postgres schema comes to this version's tables, while others use it. Not what the tables mean."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import URL, Connection, Table, create_engine, event, inspect, select, text

from control_plane.errors import Unavailable
from control_plane.store import migrate, tables
from control_plane.store.migrate import HEAD, await_head, revision, upgrade_postgres
from control_plane.store.postgres import PostgresStore
from control_plane.store.schema import METADATA
from tests.support.postgres import Postgres
from tests.support.waiting import until

CHECKOUT = Path(__file__).parents[3]
UPGRADE = """
import sys
from sqlalchemy import make_url
from control_plane.store.migrate import upgrade_postgres
sys.stdin.read(1)
upgrade_postgres(make_url(sys.argv[1]), schema="public")
print("alembic" in sys.modules)
"""
# Everything that the server itself says of a schema, whole and in its own words.
DEFINITIONS = """
SELECT 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
       a.attidentity::text, coalesce(pg_get_expr(d.adbin, d.adrelid), '')
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
 WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '', ''
  FROM pg_constraint WHERE connamespace = current_schema()::regnamespace
UNION ALL SELECT 'index', tablename, indexname, indexdef, '', '', ''
  FROM pg_indexes WHERE schemaname = current_schema()
UNION ALL SELECT 'comment', relname, '', coalesce(obj_description(oid, 'pg_class'), ''), '', '', ''
  FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(t.oid), tgenabled::text, '', ''
  FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
 WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace
UNION ALL SELECT 'function', proname, '', pg_get_functiondef(oid), '', '', ''
  FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
ORDER BY 1, 2, 3
"""


@pytest.fixture
def url(postgres: Postgres) -> Iterator[URL]:
    with postgres.database() as made:
        yield made


@contextmanager
def opened(url: URL) -> Generator[PostgresStore]:
    with closing(PostgresStore(url, schema="public", lock_ms_max=300)) as store:
        yield store


def definitions(url: URL) -> list[tuple[Any, ...]]:
    with opened(url) as store, store.read() as connection:
        found = connection.execute(text(DEFINITIONS)).all()
    return [tuple(one) for one in found if "alembic_version" not in str(one[1])]


def set_revision(url: URL, *revisions: str) -> None:
    with opened(url) as store, store.write() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
        for one in revisions:
            connection.execute(text("INSERT INTO alembic_version VALUES (:r)"), {"r": one})


def test_a_fresh_schema_comes_to_the_very_tables_of_the_metadata(postgres: Postgres) -> None:
    with postgres.database() as migrated, postgres.database() as made:
        upgrade_postgres(migrated, schema="public")
        with opened(made) as store, store.write() as connection:
            METADATA.create_all(connection)
        found = definitions(made)
        assert len(found) > 100
        assert {"trigger", "function"} < {kind for kind, *_ in found}
        assert definitions(migrated) == found


def test_autogenerate_finds_nothing_to_migrate(url: URL) -> None:
    upgrade_postgres(url, schema="public")
    with opened(url) as store, store.read() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, METADATA) == []


def test_an_upgrade_made_again_changes_nothing_and_keeps_the_rows(url: URL) -> None:
    upgrade_postgres(url, schema="public")
    with opened(url) as store:
        with store.write() as connection:
            connection.execute(tables.fence.insert().values(tenant="acme", epoch=3))
        before = definitions(url)
        upgrade_postgres(url, schema="public")
        assert definitions(url) == before
        with store.read() as connection:
            assert connection.execute(select(tables.fence.c.epoch)).scalar() == 3


@pytest.mark.long
def test_a_schema_of_the_first_revision_comes_to_the_same_tables_and_keeps_its_rows(
    url: URL, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(migrate, "HEAD", "0001")
        upgrade_postgres(url, schema="public")
    with opened(url) as store, store.write() as connection:
        assert "ledger_entry" not in inspect(connection).get_table_names()
        connection.execute(tables.fence.insert().values(tenant="acme", epoch=3))
    with postgres.database() as fresh:
        for one in (url, fresh):
            upgrade_postgres(one, schema="public")
        assert definitions(url) == definitions(fresh)
    with opened(url) as store, store.read() as connection:
        assert connection.execute(select(tables.fence.c.epoch)).scalar() == 3


def test_the_rights_are_given_with_the_tables_and_only_when_they_change(url: URL) -> None:
    seen: list[list[str]] = []

    def entitle(connection: Connection) -> None:
        seen.append(inspect(connection).get_table_names())

    for _ in range(2):
        upgrade_postgres(url, schema="public", entitle=entitle)
    (once,) = seen
    assert "audit_leaf" in once


@pytest.mark.long
def test_several_processes_upgrade_one_new_schema_at_once(url: URL) -> None:
    with ExitStack() as stack:
        children = [stack.enter_context(_child(url)) for _ in range(3)]
        for child in children:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        ends = [child.communicate(timeout=120) for child in children]
        assert [child.returncode for child in children] == [0, 0, 0], ends
    with opened(url) as store:
        assert revision(store) == HEAD


@pytest.mark.long
def test_a_schema_that_is_up_to_date_is_opened_without_alembic_while_another_writes(
    url: URL,
) -> None:
    upgrade_postgres(url, schema="public")
    with opened(url) as store, store.write(), _child(url) as child:
        assert child.communicate("\n", timeout=60) == ("False\n", "")


@pytest.mark.long
def test_readers_go_on_while_an_upgrade_waits_for_its_turn_and_while_it_works(
    url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another revision to come to: one that changes a table which others read."""
    upgrade_postgres(url, schema="public")
    set_revision(url, "0000")
    monkeypatch.setattr(migrate, "_PAUSE_S", 0.05)
    ran: list[str | None] = []

    def add_column(connection: Connection, present: str | None) -> None:
        ran.append(present)
        connection.execute(text("ALTER TABLE fence ADD COLUMN later text"))
        connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": HEAD})

    monkeypatch.setattr(migrate, "_run", add_column)
    upgrading = threading.Thread(target=upgrade_postgres, args=(url,), kwargs={"schema": "public"})
    # As faces have it: who waits behind the upgrade waits longer than the upgrade itself does.
    with closing(PostgresStore(url, schema="public")) as store:
        with store.read() as reading:
            # This reader holds the table: the upgrade asks, lets go, asks again.
            reading.execute(select(tables.fence.c.epoch))
            upgrading.start()
            until(lambda: len(ran) >= 2, "the upgrade has asked twice", 20)
            reading.execute(select(tables.fence.c.epoch))
            with store.read() as beside:
                beside.execute(select(tables.fence.c.epoch))
        upgrading.join(30)
        assert not upgrading.is_alive()
        assert revision(store) == HEAD
        # A face that was open all the while reads on, by the columns that it knows.
        with store.read() as reading:
            reading.execute(select(tables.fence))


def test_an_upgrade_that_never_gets_its_turn_gives_up_by_name(
    url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade_postgres(url, schema="public")
    set_revision(url, "0000")
    for name, value in (("_PAUSE_S", 0.01), ("_TRIES_MAX", 2), ("_TABLE_LOCK_MS", 50)):
        monkeypatch.setattr(migrate, name, value)
    with opened(url) as store, store.write(), pytest.raises(Unavailable) as told:
        upgrade_postgres(url, schema="public")
    assert told.value.code == "store_locked"


def test_a_schema_of_a_newer_version_is_refused_and_left_alone(url: URL) -> None:
    upgrade_postgres(url, schema="public")
    set_revision(url, "9999")
    with pytest.raises(Unavailable) as refused:
        upgrade_postgres(url, schema="public")
    assert refused.value.code == "store_newer"
    with opened(url) as store:
        assert revision(store) == "9999"
        with pytest.raises(Unavailable) as told:
            await_head(store, 0)
    assert told.value.code == "store_newer"


def test_a_face_waits_for_the_tables_and_not_for_ever(url: URL) -> None:
    with opened(url) as store:
        with pytest.raises(Unavailable) as told:
            await_head(store, 0)
        assert told.value.code == "store_older"
        upgrading = threading.Timer(0.2, upgrade_postgres, args=(url,), kwargs={"schema": "public"})
        upgrading.start()
        began = time.monotonic()
        await_head(store, 60)
        assert time.monotonic() - began >= 0.1
        upgrading.join(30)


def test_a_schema_of_another_program_is_refused_and_left_alone(url: URL) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE theirs (id integer)"))
    engine.dispose()
    with pytest.raises(Unavailable) as refused:
        upgrade_postgres(url, schema="public")
    assert refused.value.code == "store_unavailable"
    with opened(url) as store, store.read() as connection:
        assert inspect(connection).get_table_names() == ["theirs"]


def test_an_upgrade_that_fails_midway_leaves_an_empty_schema(url: URL) -> None:
    def stop(target: object, *_: object, **__: object) -> None:
        if getattr(target, "name", "") == "checkpoint":
            raise KeyboardInterrupt

    event.listen(Table, "before_create", stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            upgrade_postgres(url, schema="public")
    finally:
        event.remove(Table, "before_create", stop)
    with opened(url) as store:
        assert revision(store) is None
        upgrade_postgres(url, schema="public")
        assert revision(store) == HEAD


@contextmanager
def _child(url: URL) -> Generator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-c", UPGRADE, url.render_as_string(hide_password=False)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()
