"""What a tenant's own services can do with their logins on Postgres, also where they are hostile."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, cast

import psycopg
import pytest
from psycopg.sql import SQL, Composed, Identifier
from sqlalchemy import select

from control_plane.data.collection import SAMPLES, Collection, load_collection
from control_plane.data.tables import COUNT
from control_plane.databases.postgres import PostgresDatabases
from control_plane.databases.postgres_names import Names, Place
from control_plane.domain.handover import HALVES, Access, Half
from control_plane.domain.isolation import ISOLATIONS, Isolation
from tests.support.tenants import TenantServer, workspace

SECRET: Final = "kept-by-a-service-of-{}"
ADD: Final = (
    "INSERT INTO {}.contacts (tenant_id, id, version, created_at, full_name, email, status, balance)"
    " VALUES (%s, %s, 1, now(), 'y', %s, 'lead', 0)"
)
Raw = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Two:
    """Two tenants with a row each, and both logins of both."""

    databases: PostgresDatabases
    model: Isolation
    server: TenantServer

    def place(self, tenant: str) -> Place:
        return Names(self.server.prefix).place(tenant, self.model)

    @contextmanager
    def service(self, tenant: str, half: Half = "a", database: str = "") -> Generator[Raw]:
        """A session of the tenant's services."""
        address = self.databases.direct_address(tenant, self.model, half)
        with psycopg.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            password=SECRET.format(tenant),
            dbname=database or address.database,
            autocommit=True,
        ) as raw:
            yield raw

    def told(self, statement: str, tenant: str = "other") -> Composed:
        """The statement about the other tenant's things."""
        place = self.place(tenant)
        names = {
            "schema": Identifier(place.schema),
            "role": Identifier(place.role),
            "readers": Identifier(place.groups.readers),
            "writers": Identifier(place.groups.writers),
            "login": Identifier(Names(self.server.prefix).login(tenant, "a")),
            "face": Identifier(str(self.server.face.username)),
            "owner": Identifier(str(self.server.owner.username)),
        }
        return SQL(cast("Any", statement)).format(**names)

    def names(self, tenant: str) -> list[str]:
        """The rows that the tenant has, as it sees them itself."""
        with self.databases.reading(tenant, self.model) as connection:
            found = connection.exec_driver_sql("SELECT full_name FROM contacts ORDER BY 1")
            return list(found.scalars())

    def counted(self, tenant: str) -> int:
        with self.databases.reading(tenant, self.model) as connection:
            return int(connection.execute(select(COUNT.c.records)).scalar_one())


@pytest.fixture(scope="module", params=ISOLATIONS)
def two(
    request: pytest.FixtureRequest, tenant_logins: TenantServer, people: Collection
) -> Iterator[Two]:
    model: Isolation = request.param
    with workspace(tenant_logins) as server, server.engine() as databases:
        made = Two(databases, model, server)
        for tenant in ("acme", "other"):
            databases.create(tenant, model, [people], 1)
            for half in HALVES:
                databases.grant_direct(tenant, model, half, SECRET.format(tenant), "full")
            with made.service(tenant) as raw:
                raw.execute(made.told(ADD.replace("{}", "{schema}"), tenant), [tenant, "1", "e"])
        yield made


# What a service may try before it strikes, to be somebody else.
HOSTILE: Final = {
    "nothing": [],
    "other role": ["SET ROLE {role}"],
    "other readers": ["SET ROLE {readers}"],
    "other writers": ["SET ROLE {writers}"],
    "other login": ["SET ROLE {login}"],
    "face": ["SET ROLE {face}"],
    "owner": ["SET ROLE {owner}"],
    "session authorization": ["SET SESSION AUTHORIZATION {login}"],
    "other name": ["SET paybill.tenant = 'other'"],
    "other name for ever": ["ALTER ROLE CURRENT_USER SET search_path = {schema}"],
    "guessed entry": ["SET paybill.entry = 'other'", "SET paybill.tenant = 'other'"],
    "read entries": ["SELECT * FROM paybill.entry"],
    "become the other": ["UPDATE paybill.login SET tenant_id = 'other'"],
    "add a login": ["INSERT INTO paybill.login VALUES (session_user, 'pooled', 'other')"],
    "no row security": ["SET row_security = off"],
    "past policies": ["ALTER ROLE CURRENT_USER BYPASSRLS"],
    "grant itself": ["GRANT {readers} TO CURRENT_USER", "GRANT {role} TO CURRENT_USER"],
    "no triggers": ["SET session_replication_role = replica"],
    "own function": ["CREATE FUNCTION paybill.entered() RETURNS text LANGUAGE sql RETURN 'other'"],
    "own policy": ["CREATE POLICY mine ON {schema}.contacts USING (true)"],
    "drop the policy": ["DROP POLICY paybill_direct ON {schema}.contacts"],
    "view": ["CREATE TEMP VIEW mine AS SELECT * FROM {schema}.contacts"],
}
STRIKES: Final = {
    "read": "SELECT 1 FROM {schema}.contacts WHERE tenant_id = 'other'",
    "change": "UPDATE {schema}.contacts SET full_name = 'z' WHERE tenant_id = 'other'",
    "take": "UPDATE {schema}.contacts SET tenant_id = 'acme' WHERE tenant_id = 'other'",
    "give": "UPDATE {schema}.contacts SET tenant_id = 'other' WHERE tenant_id = 'acme'",
    "remove": "DELETE FROM {schema}.contacts WHERE tenant_id = 'other'",
    "truncate": "TRUNCATE {schema}.contacts",
    "add": ADD.replace("{}", "{schema}").replace("%s", "'other'", 1).replace("%s", "'n'"),
    "copy": "COPY {schema}.contacts TO PROGRAM 'cat'",
}
# Ours, beside its own rows: who writes them would undo the write protocol, or be counted for less.
OURS: Final = {
    "fence": "UPDATE {schema}.paybill_fence SET open = true",
    "hold the fence": "SELECT 1 FROM {schema}.paybill_fence FOR UPDATE",
    "read the fence": "SELECT 1 FROM {schema}.paybill_fence",
    "forge a proof": "INSERT INTO {schema}.paybill_applied VALUES ('acme', 'c', 'd', now())",
    "forget a proof": "DELETE FROM {schema}.paybill_applied",
    "count for less": "UPDATE {schema}.paybill_count SET records = -9",
    "read the count": "SELECT 1 FROM {schema}.paybill_count",
    "read the undo": "SELECT 1 FROM {schema}.paybill_undo",
    "shape": "UPDATE {schema}.paybill_schema SET digest = ''",
    "logins": "SELECT 1 FROM paybill.login",
    "entries": "SELECT 1 FROM paybill.entry",
    "call the counter": "SELECT paybill.counted()",
    "table": "CREATE TABLE {schema}.mine (id int)",
    "temporary table": "CREATE TEMP TABLE mine (id int)",
    "trigger": "ALTER TABLE {schema}.contacts DISABLE TRIGGER ALL",
    "role": "CREATE ROLE mine",
    "more sessions": "ALTER ROLE CURRENT_USER CONNECTION LIMIT -1",
    "another's password": "ALTER ROLE {login} PASSWORD 'x'",
    "file": "SELECT pg_read_file('/etc/passwd')",
}


def attempt(raw: Raw, statement: Composed) -> int:
    """How many rows it has touched; refused is none."""
    try:
        return max(raw.execute(statement).rowcount, 0)
    except psycopg.Error:
        return 0


@pytest.mark.slice_of(4)
@pytest.mark.parametrize("way", HOSTILE)
def test_no_login_of_a_tenant_reaches_another(two: Two, way: str) -> None:
    for half in HALVES:
        with two.service("acme", half) as raw:
            raw.execute("SET lock_timeout = '2s'")
            for statement in HOSTILE[way]:
                attempt(raw, two.told(statement))
            for name, strike in STRIKES.items():
                assert attempt(raw, two.told(strike)) == 0, name
    assert two.names("other") == ["y"]
    assert two.names("acme") == ["y"]
    assert (two.counted("acme"), two.counted("other")) == (1, 1)


@pytest.mark.parametrize("deed", OURS)
def test_what_we_keep_beside_the_rows_is_no_business_of_a_login(two: Two, deed: str) -> None:
    with two.service("acme") as raw, pytest.raises(psycopg.Error) as caught:
        raw.execute(two.told(OURS[deed], "acme" if "{schema}" in OURS[deed] else "other"))
    assert caught.value.sqlstate in {"42501", "0A000"}


def test_a_login_enters_no_other_database(two: Two) -> None:
    names = Names(two.server.prefix)
    others = {str(two.server.root.database), names.place("other", "silo").database, names.shared}
    for database in others - {two.place("acme").database}:
        with pytest.raises(psycopg.OperationalError), two.service("acme", database=database):
            pass


def test_a_service_that_says_another_tenant_is_counted_all_the_same(two: Two) -> None:
    hide = SQL(
        "INSERT INTO contacts (tenant_id, id, version, created_at, full_name, email, status,"
        " balance) VALUES ('acme', 'h', 1, now(), 'h', 'h', 'lead', 0)"
        " RETURNING set_config('paybill.tenant', 'other', false)"
    )
    with two.service("acme") as raw:
        assert raw.execute(hide).rowcount == 1
        assert two.counted("acme") == 2
        raw.execute("SET paybill.tenant = 'other'")
        assert raw.execute("DELETE FROM contacts WHERE id = 'h'").rowcount == 1
    assert (two.counted("acme"), two.counted("other")) == (1, 1)


@pytest.mark.slice_of(3)
@pytest.mark.parametrize(("half", "access"), list(product(HALVES, ("full", "read_only", "none"))))
def test_each_login_does_what_its_access_says_and_no_more(
    two: Two, half: Half, access: Access
) -> None:
    model, add = two.model, two.told(ADD.replace("{}", "{schema}"), "acme")
    try:
        with two.service("acme", half) as before:
            two.databases.limit_direct("acme", model, access, 1)
            assert two.databases.direct_halves("acme", model) == dict.fromkeys(HALVES, access)
            # In a session that stood before, as in one that is opened now.
            for opened in ("before", "now"):
                writes = reads = 0
                try:
                    if opened == "before":
                        reads, writes = done(before, add)
                    else:
                        with two.service("acme", half) as raw:
                            reads, writes = done(raw, add)
                except psycopg.OperationalError:
                    assert access == "none"
                assert (reads, writes) == (int(access != "none"), int(access == "full"))
    finally:
        two.databases.limit_direct("acme", model, "full", 1)
    with two.service("acme", half) as raw:
        assert done(raw, add) == (1, 1)
    assert two.counted("acme") == 1


def done(raw: Raw, add: Composed) -> tuple[int, int]:
    """How many it could read, and how many add and remove again."""
    read = raw.execute("SELECT 1 FROM contacts WHERE id = '1'").rowcount
    try:
        added = raw.execute(add, ["acme", "w", "w"]).rowcount
    except psycopg.errors.InsufficientPrivilege:
        return read, 0
    return read, min(added, raw.execute("DELETE FROM contacts WHERE id = 'w'").rowcount)


def test_a_transaction_at_work_is_waited_for_and_then_ended(two: Two) -> None:
    add = two.told(ADD.replace("{}", "{schema}"), "acme")
    try:
        with two.service("acme") as raw:
            raw.execute("BEGIN")
            raw.execute(add, ["acme", "t", "t"])
            two.databases.limit_direct("acme", two.model, "read_only", 0.05)
            with pytest.raises(psycopg.OperationalError):
                raw.execute("COMMIT")
    finally:
        two.databases.limit_direct("acme", two.model, "full", 1)
    assert two.names("acme") == ["y"]


def test_a_revoked_login_is_gone_and_the_other_stands(two: Two) -> None:
    with two.service("acme", "b") as raw:
        raw.execute("SELECT lo_creat(-1)")
        two.databases.revoke_direct("acme", two.model, "b")
        with pytest.raises(psycopg.OperationalError):
            raw.execute("SELECT 1")
    two.databases.revoke_direct("acme", two.model, "b")
    assert two.databases.direct_halves("acme", two.model) == {"a": "full"}
    with pytest.raises(psycopg.OperationalError), two.service("acme", "b"):
        pass
    with two.service("acme", "a") as raw:
        assert raw.execute("SELECT count(*) FROM contacts").fetchone() == (1,)
    two.databases.grant_direct("acme", two.model, "b", SECRET.format("acme"), "full")


def test_what_a_login_has_set_for_itself_does_not_outlive_its_renewal(two: Two) -> None:
    with two.service("acme", "b") as raw:
        raw.execute("ALTER ROLE CURRENT_USER SET search_path = 'nowhere'")
        raw.execute("ALTER ROLE CURRENT_USER PASSWORD 'its-own'")
    two.databases.grant_direct("acme", two.model, "b", SECRET.format("acme"), "full")
    with two.service("acme", "b") as raw:
        assert raw.execute("SELECT count(*) FROM contacts").fetchone() == (1,)


def test_neither_a_password_nor_what_opens_with_it_reaches_the_server(two: Two) -> None:
    login = Names(two.server.prefix).login("acme", "a")
    with two.server.raw(two.server.root) as raw:
        kept = raw.execute(
            "SELECT rolpassword, rolconnlimit FROM pg_authid WHERE rolname = %s", [login]
        )
        verifier, limit = kept.fetchone() or ("", 0)
    assert verifier.startswith("SCRAM-SHA-256$")
    assert limit > 0


def test_a_place_with_logins_is_ready_and_as_it_was_built(two: Two, people: Collection) -> None:
    assert two.databases.probe("acme", two.model, [people]) == "ready"


def test_a_place_that_was_made_before_there_were_logins_is_brought_to_the_shape(
    on_postgres: PostgresDatabases, server: TenantServer, people: Collection, any_model: Isolation
) -> None:
    on_postgres.create("acme", any_model, [people], 1)
    place = Names(server.prefix).place("acme", any_model)
    with server.raw(server.owner, place.database) as raw:
        raw.execute(
            "CREATE OR REPLACE FUNCTION paybill.entered() RETURNS text LANGUAGE sql STABLE"
            " PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
            " RETURN (SELECT e.tenant_id FROM paybill.entry e WHERE e.digest = encode("
            "sha256(convert_to(current_setting('paybill.entry', true), 'UTF8')), 'hex'))"
        )
        raw.execute("DROP TABLE paybill.login")
        raw.execute("DROP FUNCTION paybill.counted()")
    assert on_postgres.probe("acme", any_model, [people]) == "ready"
    on_postgres.grant_direct("acme", any_model, "a", SECRET.format("acme"), "read_only")
    assert on_postgres.probe("acme", any_model, [people]) == "ready"
    with Two(on_postgres, any_model, server).service("acme") as raw:
        assert raw.execute("SELECT count(*) FROM contacts").fetchone() == (0,)


@pytest.mark.long_but_one
def test_a_collection_that_is_added_later_is_open_to_logins_as_well(
    on_postgres: PostgresDatabases, server: TenantServer, people: Collection, any_model: Isolation
) -> None:
    currencies = load_collection(SAMPLES / "currencies.yaml")
    on_postgres.create("acme", any_model, [people], 1)
    on_postgres.grant_direct("acme", any_model, "a", SECRET.format("acme"), "full")
    more = people.model_copy(update={"name": "more"})
    after = [people, more, currencies]
    for phase in ("expand", "contract"):
        on_postgres.migrate("acme", any_model, [people], after, phase, 2)
    with Two(on_postgres, any_model, server).service("acme") as raw:
        assert raw.execute("SELECT count(*) FROM more").fetchone() == (0,)
        assert raw.execute("SELECT count(*) FROM reference.currencies").fetchone() != (0,)
    assert on_postgres.probe("acme", any_model, after) == "ready"


@pytest.mark.long_but_one
def test_a_database_goes_with_its_logins(
    on_postgres: PostgresDatabases, server: TenantServer, people: Collection, any_model: Isolation
) -> None:
    on_postgres.create("acme", any_model, [people], 1)
    on_postgres.grant_direct("acme", any_model, "a", SECRET.format("acme"), "none")
    on_postgres.drop("acme", any_model, 2)
    on_postgres.revoke_direct("acme", any_model, "a")
    with server.raw(server.root) as raw:
        left = raw.execute(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE %s", [f"{server.prefix}%acme"]
        )
        assert left.fetchall() == []


@pytest.mark.long
def test_a_login_that_serves_elsewhere_outlives_one_of_its_places(
    on_postgres: PostgresDatabases, server: TenantServer, people: Collection
) -> None:
    for model in ("silo", "pooled"):
        on_postgres.create("acme", model, [people], 1)
        on_postgres.grant_direct("acme", model, "a", SECRET.format("acme"), "full")
    on_postgres.drop("acme", "silo", 2)
    assert on_postgres.direct_halves("acme", "pooled") == {"a": "full"}
    with Two(on_postgres, "pooled", server).service("acme") as raw:
        assert raw.execute("SELECT count(*) FROM contacts").fetchone() == (0,)
