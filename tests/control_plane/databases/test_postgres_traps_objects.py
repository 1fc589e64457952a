"""Traps on Postgres that somebody above makes: views, functions, keys, children, grants. Not a tenant's."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Table

from control_plane.data.collection import Collection
from control_plane.domain.isolation import ISOLATIONS
from control_plane.errors import Refused
from tests.support.neighbours import WAYS, Neighbours, neighbours
from tests.support.tenants import TenantServer

pytestmark = pytest.mark.slice_of(3)


@pytest.fixture(scope="module", params=ISOLATIONS)
def two(
    request: pytest.FixtureRequest,
    tenant_logins: TenantServer,
    people: Collection,
    people_table: Table,
) -> Iterator[Neighbours]:
    with neighbours(tenant_logins, people, people_table, request.param) as made:
        yield made


# What the operator makes, what takes it back, and the rule that it breaks.
OPENINGS = {
    "a view in the schema": (
        "CREATE VIEW {schema}.v AS SELECT * FROM {schema}.contacts",
        "DROP VIEW {schema}.v",
        "relation",
    ),
    "a materialised view in the schema": (
        "CREATE MATERIALIZED VIEW {schema}.v AS SELECT * FROM {schema}.contacts",
        "DROP MATERIALIZED VIEW {schema}.v",
        "relation",
    ),
    "a view elsewhere": (
        "CREATE VIEW public.v AS SELECT * FROM {schema}.contacts",
        "DROP VIEW public.v",
        "view",
    ),
    "a view over a bound view": (
        (
            "CREATE VIEW public.w WITH (security_invoker) AS SELECT * FROM {schema}.contacts;"
            "CREATE VIEW public.v AS SELECT * FROM public.w"
        ),
        "DROP VIEW public.v, public.w",
        "view",
    ),
    "a materialised view elsewhere": (
        "CREATE MATERIALIZED VIEW public.v AS SELECT * FROM {schema}.contacts",
        "DROP MATERIALIZED VIEW public.v",
        "view",
    ),
    "a function in the schema": (
        "CREATE FUNCTION {schema}.lower(varchar) RETURNS text LANGUAGE sql RETURN $1",
        "DROP FUNCTION {schema}.lower(varchar)",
        "function",
    ),
    "a function with another's rights": (
        (
            "CREATE SCHEMA s; GRANT USAGE ON SCHEMA s TO PUBLIC;"
            "CREATE FUNCTION s.f() RETURNS bigint LANGUAGE sql SECURITY DEFINER"
            " BEGIN ATOMIC SELECT count(*) FROM {schema}.contacts; END"
        ),
        "DROP SCHEMA s CASCADE",
        "function",
    ),
    "a key over all tenants": (
        "CREATE UNIQUE INDEX k ON {schema}.contacts (email)",
        "DROP INDEX {schema}.k",
        "index",
    ),
    "an index over all tenants": (
        "CREATE INDEX k ON {schema}.contacts (lower(email))",
        "DROP INDEX {schema}.k",
        "index",
    ),
    "a foreign key past the tenant": (
        (
            "CREATE TABLE public.c (id varchar(36), tenant_id varchar(40),"
            " FOREIGN KEY (tenant_id, id) REFERENCES {schema}.contacts (id, tenant_id))"
        ),
        "DROP TABLE public.c",
        "foreign_key",
    ),
    "a trigger": (
        (
            "CREATE TRIGGER t BEFORE UPDATE ON {schema}.contacts FOR EACH ROW"
            " EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()"
        ),
        "DROP TRIGGER t ON {schema}.contacts",
        "trigger",
    ),
    "a rule": (
        "CREATE RULE r AS ON DELETE TO {schema}.contacts DO ALSO NOTHING",
        "DROP RULE r ON {schema}.contacts",
        "rule",
    ),
    "a child elsewhere": (
        "CREATE TABLE public.c () INHERITS ({schema}.contacts)",
        "DROP TABLE public.c",
        "inheritance",
    ),
    "a partitioned table": (
        "CREATE TABLE {schema}.p (tenant_id text) PARTITION BY LIST (tenant_id)",
        "DROP TABLE {schema}.p",
        "relation",
    ),
    "a sequence": (
        "CREATE SEQUENCE {schema}.s",
        "DROP SEQUENCE {schema}.s",
        "relation",
    ),
    "another owner": (
        "ALTER TABLE {schema}.contacts OWNER TO postgres",
        "ALTER TABLE {schema}.contacts OWNER TO {owner}",
        "owner",
    ),
    "security that does not bind the owner": (
        "ALTER TABLE {schema}.contacts NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE {schema}.contacts FORCE ROW LEVEL SECURITY",
        "row_security",
    ),
    "one more policy": (
        "CREATE POLICY all_rows ON {schema}.contacts FOR SELECT USING (true)",
        "DROP POLICY all_rows ON {schema}.contacts",
        "policy",
    ),
    "a policy that asks nothing of a new row": (
        "CREATE POLICY any_row ON {schema}.contacts FOR INSERT WITH CHECK (true)",
        "DROP POLICY any_row ON {schema}.contacts",
        "policy",
    ),
    "a right that no policy binds": (
        "GRANT TRUNCATE ON {schema}.contacts TO {role}",
        "REVOKE TRUNCATE ON {schema}.contacts FROM {role}",
        "grant",
    ),
    "a right to forget a proof": (
        "GRANT DELETE ON {schema}.paybill_applied TO {role}",
        "REVOKE DELETE ON {schema}.paybill_applied FROM {role}",
        "grant",
    ),
    "a right to make things": (
        "GRANT CREATE ON SCHEMA {schema} TO {role}",
        "REVOKE CREATE ON SCHEMA {schema} FROM {role}",
        "grant",
    ),
    "a right to read entries": (
        "GRANT SELECT ON paybill.entry TO {face}",
        "REVOKE SELECT ON paybill.entry FROM {face}",
        "grant",
    ),
}


@pytest.mark.parametrize("what", OPENINGS)
def test_what_would_open_rows_to_others_is_seen_and_admits_nobody(
    two: Neighbours, what: str
) -> None:
    make, undo, rule = OPENINGS[what]
    with two.operated(make, undo):
        assert two.databases.probe("acme", two.model, [two.people]) == "differs"
        with pytest.raises(Refused) as caught:
            two.databases.create("acme", two.model, [two.people], 1)
        assert (caught.value.code, caught.value.rule) == ("schema_differs", rule)
    assert two.databases.probe("acme", two.model, [two.people]) == "ready"


def test_statistics_of_columns_that_tenants_share_are_seen(two: Neighbours) -> None:
    with two.operated(
        "ALTER TABLE {schema}.contacts ALTER COLUMN email SET STATISTICS 100",
        "ALTER TABLE {schema}.contacts ALTER COLUMN email SET STATISTICS 0",
    ):
        # In a database of its own there is nobody else of whom they could tell.
        expected = "ready" if two.model == "silo" else "differs"
        assert two.databases.probe("acme", two.model, [two.people]) == expected


def test_a_view_that_asks_as_its_caller_opens_nothing(two: Neighbours) -> None:
    with (
        two.operated(
            "CREATE SCHEMA s; CREATE VIEW s.v WITH (security_invoker) AS"
            " SELECT tenant_id FROM {schema}.contacts;"
            "GRANT USAGE ON SCHEMA s TO PUBLIC; GRANT SELECT ON s.v TO PUBLIC",
            "DROP SCHEMA s CASCADE",
        ),
        two.inside("acme", "raw") as say,
    ):
        assert say("SELECT * FROM s.v") == [("acme",)]
        assert two.databases.probe("acme", two.model, [two.people]) == "ready"


@pytest.mark.parametrize("way", WAYS)
def test_a_view_or_function_of_the_owners_shows_no_more_than_the_caller_sees(
    two: Neighbours, way: str
) -> None:
    with (
        two.operated(
            "CREATE SCHEMA s AUTHORIZATION {owner}; SET ROLE {owner};"
            "CREATE VIEW s.v AS SELECT tenant_id FROM {schema}.contacts;"
            "CREATE FUNCTION s.f() RETURNS SETOF varchar LANGUAGE sql SECURITY DEFINER"
            " BEGIN ATOMIC SELECT tenant_id FROM {schema}.contacts; END;"
            "GRANT USAGE ON SCHEMA s TO PUBLIC; GRANT SELECT ON s.v TO PUBLIC; RESET ROLE",
            "DROP SCHEMA s CASCADE",
        ),
        two.inside("acme", way) as say,
    ):
        assert say("SELECT * FROM s.v") == [("acme",)]
        assert say("SELECT s.f()") == [("acme",)]


def test_a_materialised_view_of_the_owners_is_empty(two: Neighbours) -> None:
    with (
        two.operated(
            "CREATE SCHEMA s AUTHORIZATION {owner}; SET ROLE {owner};"
            "CREATE MATERIALIZED VIEW s.v AS SELECT tenant_id FROM {schema}.contacts;"
            "GRANT USAGE ON SCHEMA s TO PUBLIC; GRANT SELECT ON s.v TO PUBLIC; RESET ROLE",
            "DROP SCHEMA s CASCADE",
        ),
        two.inside("acme", "raw") as say,
    ):
        assert say("SELECT * FROM s.v") == []


@pytest.mark.parametrize("way", WAYS)
def test_a_child_of_a_collections_table_is_not_to_be_addressed_directly(
    two: Neighbours, way: str
) -> None:
    with two.operated(
        (
            "CREATE TABLE {schema}.child () INHERITS ({schema}.contacts);"
            "INSERT INTO {schema}.child SELECT * FROM {schema}.contacts;"
            "UPDATE {schema}.child SET tenant_id = 'third'"
        ),
        "DROP TABLE {schema}.child",
    ):
        with two.inside("acme", way) as say:
            assert say("SELECT DISTINCT tenant_id FROM contacts") == [("acme",)]
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            two.inside("acme", way) as say,
        ):
            say("SELECT * FROM child")


@pytest.mark.parametrize("way", WAYS)
def test_a_partition_is_not_to_be_addressed_directly(two: Neighbours, way: str) -> None:
    with two.operated(
        (
            "CREATE TABLE {schema}.parted (LIKE {schema}.contacts) PARTITION BY LIST (tenant_id);"
            "CREATE TABLE {schema}.part PARTITION OF {schema}.parted FOR VALUES IN ('acme', 'other');"
            "INSERT INTO {schema}.parted SELECT * FROM {schema}.contacts"
        ),
        "DROP TABLE {schema}.parted",
    ):
        for table in ("SELECT * FROM part", "SELECT * FROM parted"):
            with (
                pytest.raises(psycopg.errors.InsufficientPrivilege),
                two.inside("acme", way) as say,
            ):
                say(table)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW {schema}.v AS SELECT 1",
        "CREATE VIEW v AS SELECT 1",
        "CREATE MATERIALIZED VIEW v AS SELECT 1",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1",
        "CREATE TABLE c () INHERITS (contacts)",
        "CREATE INDEX ON contacts (email)",
        "CREATE POLICY p ON contacts USING (true)",
        "CREATE RULE r AS ON DELETE TO contacts DO ALSO NOTHING",
        "CREATE STATISTICS s ON email, status FROM contacts",
        "CREATE TEMP VIEW v AS SELECT * FROM contacts",
    ],
)
def test_nobody_but_the_owner_makes_what_could_open_rows(
    two: Neighbours, way: str, statement: str
) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), two.inside("acme", way) as say:
        say(statement)
