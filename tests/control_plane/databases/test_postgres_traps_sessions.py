"""Traps on Postgres of sessions that tenants share, and of settings that a client makes itself."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import Connection, Table, select, text

from control_plane.data.collection import Collection
from control_plane.databases.postgres import PostgresDatabases
from control_plane.databases.postgres_names import Names
from control_plane.databases.postgres_sessions import Entries
from control_plane.domain.isolation import ISOLATIONS, Isolation
from control_plane.errors import BadInput, PaybillError
from tests.support.neighbours import Neighbours, enter, neighbours
from tests.support.rows import NOW, VALUES, row_id
from tests.support.tenants import TenantServer

pytestmark = pytest.mark.slice_of(3)

DEADLINE_S: Final = 60


@pytest.fixture(scope="module", params=ISOLATIONS)
def two(
    request: pytest.FixtureRequest,
    tenant_logins: TenantServer,
    people: Collection,
    people_table: Table,
) -> Iterator[Neighbours]:
    with neighbours(tenant_logins, people, people_table, request.param) as made:
        yield made


LEFT_BEHIND: Final = {
    "settings": ["SET paybill.entry = 'x'", "SET paybill.tenant = 'acme'", "SET work_mem = '1MB'"],
    "a role": ['SET ROLE "{role}"'],
    "a search path": ["SET search_path = nowhere"],
    "a statement prepared": ["PREPARE kept AS SELECT * FROM contacts"],
    "a cursor": ["DECLARE kept CURSOR WITH HOLD FOR SELECT * FROM contacts"],
    "a lock": ["SELECT pg_advisory_lock(7)"],
    "an ear": ["LISTEN kept"],
    "a failed statement": ["SELECT pg_advisory_lock(7)", "SELECT 1 / 0"],
    "a cancelled statement": ["SET ROLE NONE", "SET statement_timeout = 20", "SELECT pg_sleep(9)"],
    "a transaction of its own": ["SET ROLE NONE", "COMMIT", "BEGIN", "LISTEN kept"],
}
_LEFT = """SELECT current_user::text, current_setting('role'), current_setting('search_path'),
    current_setting('paybill.entry', true), current_setting('paybill.tenant', true),
    current_setting('work_mem') = (SELECT reset_val || unit FROM pg_settings
        WHERE name = 'work_mem') OR current_setting('work_mem') = '4MB',
    (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_cursors),
    (SELECT count(*) FROM pg_listening_channels()),
    (SELECT count(*) FROM pg_class WHERE relpersistence = 't')"""


@pytest.mark.parametrize("what", LEFT_BEHIND)
def test_a_session_that_is_given_back_holds_nothing_of_its_tenant(
    two: Neighbours, what: str
) -> None:
    place = two.place("acme")
    with two.server.engine(as_face=True) as face:
        with suppress(PaybillError), face.transaction("acme", two.model) as connection:
            for statement in LEFT_BEHIND[what]:
                connection.exec_driver_sql(statement.format(role=place.role))
        # While nobody uses it, seen from outside: neither lock nor transaction.
        with two.server.raw(two.server.root, place.database) as raw:
            held = raw.execute(
                "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
                " WHERE a.usename = %s AND l.locktype = 'advisory' AND l.objid = 7",
                [two.server.face.username],
            ).fetchone()
            assert held == (0,)
        with face._face.connected(place.database) as connection:
            found = tuple(connection.exec_driver_sql(_LEFT).one())
    user = two.server.face.username
    assert found[:2] == (user, "none")
    assert found[2] == '"$user", public'
    # A setting of ours that was ever made stays as an empty text: no entry has that digest.
    assert {found[3], found[4]} <= {None, ""}
    assert found[5:] == (True, 0, 0, 0, 0)


def test_a_killed_backend_is_not_given_to_the_next(two: Neighbours) -> None:
    with two.server.engine(as_face=True) as face:

        def killed() -> int:
            with face.transaction("acme", two.model) as connection:
                pid = int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
                with two.server.raw(two.server.root) as raw:
                    raw.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
                connection.execute(select(two.table))
            return pid

        with pytest.raises(PaybillError):
            killed()
        with face.reading("other", two.model) as connection:
            assert connection.execute(select(two.table.c.full_name)).scalars().all() == ["other"]


def test_a_session_that_cannot_be_emptied_is_given_up(two: Neighbours) -> None:
    with two.server.engine(as_face=True) as face:
        with face.reading("acme", two.model) as connection:
            pid = int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
            with two.server.raw(two.server.root) as raw:
                raw.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        with face.reading("other", two.model) as connection:
            assert connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() != pid
            assert connection.execute(select(two.table.c.full_name)).scalars().all() == ["other"]


def counted(two: Neighbours, settings: dict[str, str]) -> int:
    """Rows that the login sees in the other one's place, with these settings of its own making."""
    place = two.place("other")
    with two.server.raw(two.server.face, place.database) as raw:
        raw.execute(SQL("SET ROLE {}").format(Identifier(place.role)))
        for name, value in settings.items():
            raw.execute("SELECT set_config(%s, %s, false)", [name, value])
        query = SQL("SELECT * FROM {}.contacts").format(Identifier(place.schema))
        return len(raw.execute(query).fetchall())


def test_no_setting_but_the_token_itself_shows_a_row(two: Neighbours) -> None:
    token = Entries(two.server.face).token(two.place("other"))
    own = Entries(two.server.face).token(two.place("acme"))
    digest = hashlib.sha256(token.encode()).hexdigest()
    with two.server.raw(two.server.owner, two.place("other").database) as raw:
        kept = raw.execute("SELECT digest FROM paybill.entry WHERE tenant_id = 'other'").fetchone()
    assert kept == (digest,)
    for settings in (
        {},
        {"paybill.tenant": "other"},
        {"paybill.tenant": ""},
        {"paybill.tenant": "other", "paybill.entry": ""},
        {"paybill.tenant": "other", "paybill.entry": "other"},
        {"paybill.tenant": "other", "paybill.entry": digest},
        {"paybill.tenant": "other", "paybill.entry": own},
        {"paybill.tenant": "other", "paybill.entry": token.upper()},
        {"paybill.tenant": "other", "paybill.entry": token[:-1]},
        {"paybill.tenant": "acme", "paybill.entry": token},
    ):
        expected = settings.get("paybill.tenant") == "acme" and two.model != "pooled"
        assert counted(two, settings) == int(expected), settings.keys()
    assert counted(two, {"paybill.tenant": "other", "paybill.entry": token}) == 1


def test_a_bridge_neighbours_schema_takes_no_row_of_mine(
    tenant_logins: TenantServer, people: Collection, people_table: Table
) -> None:
    with neighbours(tenant_logins, people, people_table, "bridge") as two:
        place, other = two.place("acme"), two.place("other")
        with two.server.raw(two.server.face, place.database) as raw:
            enter(raw, place, Entries(two.server.face).token(place))
            raw.execute(SQL("SET ROLE {}").format(Identifier(other.role)))
            proof = SQL("INSERT INTO {}.paybill_applied VALUES ('acme', 'c', 'd', now())")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                raw.execute(proof.format(Identifier(other.schema)))


@pytest.mark.long
@pytest.mark.parametrize("model", ISOLATIONS)
def test_threads_of_two_tenants_on_one_pool_see_each_their_own_rows(
    tenant_logins: TenantServer, people: Collection, people_table: Table, model: Isolation
) -> None:
    faults: list[str] = []

    def work(databases: PostgresDatabases, number: int) -> None:
        for turn in range(50):
            tenant = ("acme", "other")[(number + turn) % 2]
            try:
                with databases.transaction(tenant, model) as connection:
                    _one_turn(connection, people_table, tenant, turn, faults)
            except (ZeroDivisionError, PaybillError) as error:
                if turn % 7 not in (3, 5):
                    faults.append(repr(error))

    with (
        neighbours(tenant_logins, people, people_table, model) as two,
        two.server.engine(as_face=True, statement_ms_max=20_000) as face,
    ):
        threads = [threading.Thread(target=work, args=(face, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
        assert not any(thread.is_alive() for thread in threads)
    assert faults == []


def _one_turn(
    connection: Connection, table: Table, tenant: str, turn: int, faults: list[str]
) -> None:
    seen = connection.execute(select(table.c.full_name)).scalars().all()
    if seen != [tenant]:
        faults.append(f"{tenant} saw {seen}")
    if turn % 7 == 2:
        connection.execute(text("SET SESSION search_path = nowhere"))
    if turn % 7 == 3:
        raise ZeroDivisionError
    if turn % 7 == 4:
        connection.execute(text("SET SESSION paybill.tenant = 'acme'"))
    if turn % 7 == 5:
        connection.execute(text("SELECT 1 / 0"))


@pytest.mark.long
@pytest.mark.parametrize("model", ISOLATIONS)
def test_tenants_whose_names_begin_alike_are_not_taken_for_one_another(
    on_postgres: PostgresDatabases, people: Collection, people_table: Table, model: Isolation
) -> None:
    tenants = ["acm", "acme", "acme2", "acme-2"]
    for tenant in tenants:
        on_postgres.create(tenant, model, [people], 1)
        with on_postgres.transaction(tenant, model) as connection:
            connection.execute(
                people_table.insert().values(
                    **VALUES | {"full_name": tenant},
                    tenant_id=tenant,
                    id=row_id(1),
                    version=1,
                    created_at=NOW,
                )
            )
    on_postgres.drop("acme", model, 1)
    for tenant in ("acm", "acme2", "acme-2"):
        with on_postgres.reading(tenant, model) as connection:
            found = connection.execute(select(people_table.c.full_name)).scalars().all()
        assert found == [tenant]
    for name in ("ACME", "acme_2", "acme%", "acme ", "acmé"):
        with pytest.raises(BadInput, match="tenant"):
            on_postgres.create(name, model, [people], 1)


def test_nobody_but_the_owner_connects_to_a_trial(
    on_postgres: PostgresDatabases, server: TenantServer, people: Collection
) -> None:
    trial = Names(server.prefix).trial("acme")
    with (
        on_postgres.scratch("acme", "pooled", [people]),
        pytest.raises(psycopg.OperationalError, match="permission denied"),
        server.raw(server.face, trial),
    ):
        pass
