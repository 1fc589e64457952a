"""Isolation on Postgres: what a face's login can do, also with statements that are not ours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.sql import SQL, Identifier
from sqlalchemy import Connection, Table, select
from sqlalchemy.exc import DBAPIError

from control_plane.data.collection import SAMPLES, Collection, load_collection
from control_plane.data.tables import APPLIED, FENCE, collection_table
from control_plane.databases.postgres import PostgresDatabases
from control_plane.databases.postgres_names import PREFIX_LENGTH_MAX, Names, Place
from control_plane.domain.isolation import ISOLATIONS, Isolation
from control_plane.errors import BadInput, PaybillError
from tests.support.rows import NOW, VALUES, add, apply, count, row_id
from tests.support.slices import sliced
from tests.support.tenants import TenantServer, workspace


@dataclass(frozen=True)
class Two:
    """Two tenants with a row each; a test leaves the rows as they are."""

    databases: PostgresDatabases
    table: Table
    model: Isolation
    server: TenantServer

    def place(self, tenant: str) -> Place:
        """What the tenant's things are called."""
        return Names(self.server.prefix).place(tenant, self.model)

    def own_rows(self, tenant: str) -> list[str]:
        """The names in the tenant's rows, as it sees them itself."""
        with self.databases.reading(tenant, self.model) as connection:
            return list(connection.execute(select(self.table.c.full_name)).scalars())


@pytest.fixture(scope="module", params=ISOLATIONS)
def two(
    request: pytest.FixtureRequest,
    tenant_logins: TenantServer,
    people: Collection,
    people_table: Table,
) -> Iterator[Two]:
    model: Isolation = request.param
    with workspace(tenant_logins) as server, server.engine() as databases:
        for tenant in ("acme", "other"):
            databases.create(tenant, model, [people], 1)
            with databases.transaction(tenant, model) as connection:
                apply(connection, people_table, tenant)
        yield Two(databases, people_table, model, server)


# Each is what a statement that slipped in might try, to get from acme to the other tenant.
HOSTILE = {
    "nothing": [],
    "reset": ["RESET ROLE"],
    "other role": ['SET LOCAL ROLE "{role}"'],
    "reset and other role": ["RESET ROLE", 'SET ROLE "{role}"'],
    "other name": ["SET paybill.tenant = 'other'"],
    "no entry": ["RESET paybill.entry"],
    "guessed entry": ["SET paybill.entry = 'other'", 'SET ROLE "{role}"'],
    "new transaction": ["COMMIT", "BEGIN", 'SET ROLE "{role}"'],
    "no row security": ["SET row_security = off"],
    "session authorization": ['SET SESSION AUTHORIZATION "{role}"'],
    "own function": ["CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql RETURN 1"],
    "read entries": ['SET ROLE "{role}"', "SELECT * FROM paybill.entry"],
    "policy": ['DROP POLICY paybill_tenant ON "{schema}".contacts'],
    "row security off": ['ALTER TABLE "{schema}".contacts DISABLE ROW LEVEL SECURITY'],
    "grant": ['GRANT SELECT ON "{schema}".contacts TO PUBLIC'],
    "truncate": ['TRUNCATE "{schema}".contacts'],
    "drop": ['DROP TABLE "{schema}".contacts'],
}
STRIKES = {
    "read": "SELECT 1 FROM \"{schema}\".contacts WHERE tenant_id = 'other'",
    "change": "UPDATE \"{schema}\".contacts SET full_name = 'y' WHERE tenant_id = 'other'",
    "take": "UPDATE \"{schema}\".contacts SET tenant_id = 'acme' WHERE tenant_id = 'other'",
    "remove": "DELETE FROM \"{schema}\".contacts WHERE tenant_id = 'other'",
    "proof": "SELECT 1 FROM \"{schema}\".paybill_applied WHERE tenant_id = 'other'",
    "fence": "SELECT 1 FROM \"{schema}\".paybill_fence WHERE tenant_id = 'other'",
    "add": 'INSERT INTO "{schema}".contacts (tenant_id, id, version, created_at, full_name,'
    " email, status, balance) VALUES ('other', 'n', 1, now(), 'y', 'e', 'lead', 0)",
}


@pytest.mark.parametrize("way", sliced(HOSTILE, every=3))
def test_no_statement_within_a_tenant_reaches_another(two: Two, way: str) -> None:
    names = {"schema": two.place("other").schema, "role": two.place("other").role}
    for strike in STRIKES.values():
        touched = 0
        try:
            with two.databases.transaction("acme", two.model) as connection:
                for statement in HOSTILE[way]:
                    attempt(connection, statement.format(**names))
                # In a database of its own the very same names are acme's: no row is the other's.
                touched = connection.exec_driver_sql(strike.format(**names)).rowcount
        except PaybillError:
            touched = 0
        assert touched == 0, strike
    with two.databases.transaction("other", two.model) as connection:
        assert connection.exec_driver_sql(STRIKES["read"].format(**names)).rowcount == 1
    assert two.own_rows("other") == ["x"]


def attempt(connection: Connection, statement: str) -> None:
    """Run it; a refusal must not end what comes after, as it would not for an attacker."""
    if statement in {"COMMIT", "BEGIN"}:
        connection.exec_driver_sql(statement)
        return
    connection.exec_driver_sql("SAVEPOINT before")
    try:
        connection.exec_driver_sql(statement)
    except DBAPIError:
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT before")


def test_a_face_outside_of_a_tenants_transaction_reads_nothing(two: Two) -> None:
    place = two.place("acme")
    tables = SQL("SELECT * FROM {}.{}")
    with two.server.raw(two.server.face, place.database) as raw:
        for schema, name in (
            (place.schema, "contacts"),
            (place.schema, "paybill_applied"),
            (place.schema, "paybill_fence"),
            (place.schema, "paybill_schema"),
            (place.schema, "paybill_undo"),
            ("paybill", "entry"),
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                raw.execute(tables.format(Identifier(schema), Identifier(name)))
        # The role alone opens the schema, but shows no row.
        raw.execute(SQL("SET ROLE {}").format(Identifier(place.role)))
        for name in ("contacts", "paybill_applied", "paybill_fence"):
            query = tables.format(Identifier(place.schema), Identifier(name))
            assert raw.execute(query).fetchall() == []


def test_an_entry_shown_in_another_place_opens_nothing(
    on_postgres: PostgresDatabases, server: TenantServer, people: Collection, people_table: Table
) -> None:
    for model in ISOLATIONS:
        on_postgres.create("acme", model, [people], 1)
        with on_postgres.transaction("acme", model) as connection:
            add(connection, people_table, "acme")
    with on_postgres.transaction("acme", "silo") as connection:
        token = connection.exec_driver_sql("SELECT current_setting('paybill.entry')").scalar_one()
    for model in ("bridge", "pooled"):
        place = Names(server.prefix).place("acme", model)
        with server.raw(server.face, place.database) as raw:
            raw.execute("SELECT set_config('paybill.entry', %s, false)", [token])
            raw.execute(SQL("SET ROLE {}").format(Identifier(place.role)))
            query = SQL("SELECT * FROM {}.contacts").format(Identifier(place.schema))
            assert raw.execute(query).fetchall() == []


def test_a_face_neither_opens_a_fence_nor_forgets_a_proof(two: Two) -> None:
    two.databases.fence("acme", two.model, 2, open=False)
    deeds = [
        FENCE.update().values(open=True),
        FENCE.update().values(tenant_id="acme"),
        FENCE.delete(),
        APPLIED.delete(),
        APPLIED.update().values(digest="e"),
    ]
    for deed in deeds:
        with (
            pytest.raises(PaybillError),
            two.databases.transaction("acme", two.model) as connection,
        ):
            connection.execute(deed)
    assert two.databases.open_at("acme", two.model) is None


def test_a_row_cannot_be_given_to_another_tenant(two: Two) -> None:
    for deed in (
        two.table.update().values(tenant_id="other"),
        two.table.insert().values(
            {**VALUES, "tenant_id": "other", "id": row_id(9), "version": 1, "created_at": NOW}
        ),
    ):
        with (
            pytest.raises(PaybillError),
            two.databases.transaction("acme", two.model) as connection,
        ):
            connection.execute(deed)
    assert two.own_rows("other") == ["x"]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "CREATE TEMP TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE TABLE public.mine (id int)",
        "CREATE ROLE mine",
        "ALTER TABLE contacts ADD COLUMN mine int",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY contacts TO PROGRAM 'cat'",
    ],
)
def test_a_tenants_role_makes_and_owns_nothing(two: Two, statement: str) -> None:
    with (
        pytest.raises(PaybillError) as caught,
        two.databases.transaction("acme", two.model) as connection,
    ):
        connection.exec_driver_sql(statement)
    assert "mine" not in str(caught.value)


def test_every_table_of_rows_is_under_forced_row_security(two: Two) -> None:
    place = two.place("acme")
    with two.server.raw(two.server.owner, place.database) as raw:
        found = raw.execute(
            "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity, r.rolname"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " JOIN pg_roles r ON r.oid = c.relowner"
            " WHERE n.nspname = %s AND c.relkind = 'r'",
            [place.schema],
        ).fetchall()
        assert {name: forced for name, forced, _ in found} == {
            "contacts": True,
            "paybill_applied": True,
            "paybill_count": True,
            "paybill_fence": True,
            "paybill_schema": False,
            "paybill_undo": True,
        }
        assert {owner for *_, owner in found} == {two.server.owner.username}
        # Even the owner, outside of a tenant, sees no row.
        query = SQL("SELECT * FROM {}.contacts").format(Identifier(place.schema))
        assert raw.execute(query).fetchall() == []


def test_roles_have_no_right_but_what_they_need(two: Two) -> None:
    with two.server.raw(two.server.root) as raw:
        found = raw.execute(
            "SELECT rolname, rolcanlogin OR rolsuper OR rolcreatedb OR rolcreaterole"
            " OR rolbypassrls OR rolreplication FROM pg_roles WHERE starts_with(rolname, %s)",
            [two.server.prefix],
        ).fetchall()
        owned = raw.execute(
            "SELECT count(*) FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid"
            " WHERE d.deptype = 'o' AND starts_with(r.rolname, %s)",
            [two.server.prefix],
        ).fetchone()
    assert found
    assert not any(has_a_right for _, has_a_right in found)
    assert owned == (0,)


def test_text_is_ordered_by_code_point_in_every_column(two: Two) -> None:
    place = two.place("acme")
    with two.server.raw(two.server.owner, place.database) as raw:
        collations = raw.execute(
            "SELECT DISTINCT collation_name FROM information_schema.columns"
            " WHERE table_schema = %s AND data_type IN ('text', 'character varying')",
            [place.schema],
        ).fetchall()
    assert collations == [("C",)]


def test_a_session_carries_nothing_from_one_tenant_to_the_next(
    on_postgres: PostgresDatabases, server: TenantServer, people: Collection
) -> None:
    for tenant in ("acme", "other"):
        on_postgres.create(tenant, "pooled", [people], 1)
    with server.engine(as_face=True) as face:
        with face.transaction("acme", "pooled") as connection:
            first = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            connection.exec_driver_sql("SET application_name = 'acme'")
            connection.exec_driver_sql("SET search_path = nowhere")
            connection.exec_driver_sql("PREPARE kept AS SELECT 1")
            connection.exec_driver_sql("SELECT pg_advisory_lock(7)")
            connection.exec_driver_sql("LISTEN acme")
        with face.transaction("other", "pooled") as connection:
            second = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            left = connection.exec_driver_sql(
                "SELECT current_setting('application_name'),"
                " (SELECT count(*) FROM pg_prepared_statements WHERE name = 'kept'),"
                " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7),"
                " (SELECT count(*) FROM pg_listening_channels())"
            ).one()
    assert first == second
    assert tuple(left) == ("", 0, 0, 0)


@pytest.fixture
def currencies() -> Collection:
    return load_collection(SAMPLES / "currencies.yaml")


def test_reference_rows_are_read_by_all_and_written_by_none(
    on_postgres: PostgresDatabases,
    people: Collection,
    currencies: Collection,
    any_model: Isolation,
) -> None:
    table = collection_table(currencies)
    for tenant in ("acme", "other"):
        on_postgres.create(tenant, any_model, [people, currencies], 1)
        with on_postgres.reading(tenant, any_model) as connection:
            assert count(connection, table) == len(currencies.rows)
    for deed in (table.delete(), table.update().values(id="x"), table.insert().values(id="x")):
        with (
            pytest.raises(PaybillError),
            on_postgres.transaction("acme", any_model) as connection,
        ):
            connection.execute(deed)


def test_changed_reference_rows_reach_a_bridge_tenant_that_stands(
    on_postgres: PostgresDatabases, people: Collection, currencies: Collection
) -> None:
    table = collection_table(currencies)
    on_postgres.create("acme", "bridge", [people, currencies], 1)
    fewer = currencies.model_copy(update={"rows": currencies.rows[:1]})
    assert on_postgres.probe("acme", "bridge", [people, fewer]) == "differs"
    on_postgres.create("other", "bridge", [people, fewer], 1)
    with on_postgres.reading("acme", "bridge") as connection:
        assert count(connection, table) == 1
    assert on_postgres.probe("acme", "bridge", [people, fewer]) == "ready"


PREFIXES = st.from_regex(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", fullmatch=True).filter(
    lambda text: len(text) <= PREFIX_LENGTH_MAX
)
TENANTS = st.sampled_from(["acme", "shared", "pooled", "bridge", "a-b", "a--b", "a" * 40]) | (
    st.from_regex(r"[a-z][a-z0-9-]{1,38}[a-z0-9]", fullmatch=True)
)


@settings(max_examples=40, deadline=None)
@given(
    prefixes=st.lists(PREFIXES, min_size=1, max_size=3, unique=True),
    tenants=st.lists(TENANTS, min_size=1, max_size=4, unique=True),
)
def test_no_two_names_are_the_same_and_none_is_cut(prefixes: list[str], tenants: list[str]) -> None:
    databases: list[str] = []
    roles: list[str] = []
    for names in map(Names, prefixes):
        databases += [names.shared, *map(names.trial, tenants)]
        databases += [names.place(tenant, "silo").database for tenant in tenants]
        roles += [names.pooled_role, names.bridge_group]
        roles += [names.place(tenant, one).role for tenant in tenants for one in ISOLATIONS[:2]]
    assert len(set(databases)) == len(databases)
    assert len(set(roles)) == len(roles)
    assert max(len(name) for name in databases + roles) <= 63


@pytest.mark.parametrize("prefix", ["", "A", "a__b", "a_", "1a", "a-b", 'a"', "a" * 19])
def test_a_prefix_that_could_meet_another_is_refused(prefix: str) -> None:
    with pytest.raises(BadInput, match="prefix"):
        Names(prefix)
