"""Traps on Postgres by which a statement learns of rows that it does not see. Not what others build."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Table, insert, select

from control_plane.data.collection import Collection
from control_plane.data.tables import APPLIED
from control_plane.domain.isolation import ISOLATIONS
from control_plane.errors import NotFound, PaybillError, Refused
from tests.support.neighbours import SECRET, WAYS, Neighbours, neighbours
from tests.support.rows import NOW, VALUES, add, row_id
from tests.support.tenants import TenantServer

pytestmark = pytest.mark.slice_of(4)

OTHERS_ID = row_id(2)
NOBODYS_ID = row_id(9)
ROW = (
    "INSERT INTO {schema}.contacts (tenant_id, id, version, created_at, full_name, email, status,"
    " balance) VALUES "
)
HOLD = "SELECT * FROM {schema}.contacts WHERE id = 'ID' FOR LOCK"
REFER = "INSERT INTO orders VALUES ('acme', 'ID')"


@pytest.fixture(scope="module", params=ISOLATIONS)
def two(
    request: pytest.FixtureRequest,
    tenant_logins: TenantServer,
    people: Collection,
    people_table: Table,
) -> Iterator[Neighbours]:
    with neighbours(tenant_logins, people, people_table, request.param) as made:
        # Values that are common, and a histogram of the others: what a planner would keep.
        with made.databases.transaction("other", made.model) as connection:
            for number in range(100, 300):
                row = {**VALUES, "full_name": "z", "email": f"{number}@secret.example"}
                if number % 2:
                    row["email"] = SECRET
                connection.execute(
                    people_table.insert().values(
                        **row, tenant_id="other", id=row_id(number), version=1, created_at=NOW
                    )
                )
        with made.server.raw(made.server.owner, made.place("other").database) as raw:
            raw.execute("ANALYZE")
        yield made


def told(two: Neighbours, way: str, *statements: str) -> tuple[object, ...]:
    """What a client gets to see of statements within acme, as others of the other one's schema."""
    try:
        with two.inside("acme", way) as say:
            return tuple(say(statement) for statement in statements)
    except psycopg.Error as error:
        diag = error.diag
        return (error.sqlstate, diag.message_primary, diag.message_detail, diag.constraint_name)


@pytest.mark.long_but_one
@pytest.mark.parametrize("way", WAYS)
def test_a_key_that_another_tenant_has_is_free(two: Neighbours, way: str) -> None:
    with two.inside("acme", way) as say:
        say(
            "INSERT INTO contacts SELECT * FROM contacts ON CONFLICT DO NOTHING",
        )
        say(
            "UPDATE contacts SET id = '00000000-0000-4000-8000-000000000002' RETURNING id",
        )
        assert say("SELECT id FROM contacts") == [(OTHERS_ID,)]
        say(
            "INSERT INTO paybill_applied VALUES ('acme', 'call', 'd', now())",
        )


def test_a_key_that_another_tenant_is_just_taking_is_not_waited_for(two: Neighbours) -> None:
    with two.databases.transaction("other", two.model) as other:
        not_kept = other.begin_nested()
        add(other, two.table, "other", 77)
        other.execute(
            insert(APPLIED).values(tenant_id="other", call_id="c77", digest="d", applied_at=NOW)
        )
        with two.inside("acme", "raw") as say:
            say("SET LOCAL lock_timeout = '1ms'")
            say("UPDATE contacts SET id = '00000000-0000-4000-8000-000000000077'")
            say("INSERT INTO paybill_applied VALUES ('acme', 'c77', 'd', now())")
        not_kept.rollback()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "conflict",
    ["", " ON CONFLICT DO NOTHING", " ON CONFLICT (tenant_id, id) DO UPDATE SET email = 'y'"],
)
def test_a_row_for_another_tenant_is_refused_the_same_whether_its_key_is_taken(
    two: Neighbours, way: str, conflict: str
) -> None:
    tails = [
        f"('other', '{id_}', 1, now(), 'x', 'y', 'lead', 0){conflict}"
        for id_ in (OTHERS_ID, NOBODYS_ID)
    ]
    answers = {told(two, way, ROW + tail) for tail in tails}
    assert len(answers) == 1
    assert answers.pop()[0] == "42501"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("lock", ["UPDATE NOWAIT", "KEY SHARE NOWAIT", "SHARE SKIP LOCKED"])
def test_a_row_that_another_tenant_holds_is_as_absent_as_one_that_never_was(
    two: Neighbours, way: str, lock: str
) -> None:
    with two.databases.transaction("other", two.model) as other:
        other.execute(select(two.table).with_for_update())
        answers = {
            repr(told(two, way, HOLD.replace("ID", id_).replace("LOCK", lock)))
            for id_ in (OTHERS_ID, NOBODYS_ID)
        }
    assert len(answers) == 1


def test_a_reference_to_another_tenants_row_is_refused_as_one_to_no_row(two: Neighbours) -> None:
    with (
        two.operated(
            "CREATE TABLE {schema}.orders (tenant_id varchar(40), contact varchar(36),"
            " FOREIGN KEY (tenant_id, contact) REFERENCES {schema}.contacts (tenant_id, id));"
            "ALTER TABLE {schema}.orders OWNER TO {owner};"
            "ALTER TABLE {schema}.orders ENABLE ROW LEVEL SECURITY;"
            "ALTER TABLE {schema}.orders FORCE ROW LEVEL SECURITY;"
            "CREATE POLICY p ON {schema}.orders TO {role} USING (tenant_id = 'acme');"
            "GRANT INSERT ON {schema}.orders TO {role}",
            "DROP TABLE {schema}.orders",
        ),
    ):
        answers = {told(two, "raw", REFER.replace("ID", id_)) for id_ in (OTHERS_ID, NOBODYS_ID)}
        assert {answer[0] for answer in answers} == {"23503"}
        # The key is said at most as the client gave it.
        assert len({repr(answer).replace(OTHERS_ID, NOBODYS_ID) for answer in answers}) == 1
        assert told(two, "raw", REFER.replace("ID", row_id(1))) == ([],)


EXPLAINED = [
    "email = '{}'",
    "email < '{}'",
    "email >= '{}' AND email < '{}zz'",
    "company < '{}'",
    "company IS NOT NULL",
    "lower(email) = '{}'",
    "balance < 1",
    "email IN ('{}', 'c')",
    "created_at < now()",
]


@pytest.mark.parametrize("scan", ["on", "off"])
@pytest.mark.parametrize("condition", EXPLAINED)
def test_explain_tells_the_same_whether_another_tenant_has_the_value(
    two: Neighbours, condition: str, scan: str
) -> None:
    answers: set[str] = set()
    for value in (SECRET, "nobody"):
        asked = condition.format(value, value)
        explain = "EXPLAIN (ANALYZE, TIMING OFF, BUFFERS OFF, SUMMARY OFF) SELECT * FROM"
        found = told(
            two,
            "raw",
            "SET LOCAL enable_indexscan = " + scan,
            "SET LOCAL enable_bitmapscan = " + scan,
            "SET LOCAL ROLE {role}" if two.model == "bridge" else "SELECT 1",
            f"{explain} {{schema}}.contacts WHERE {asked}",
        )
        # In the other one's schema too every row is asked for the tenant before all else.
        assert "never executed" not in repr(found)
        answers.add(repr(found).replace(SECRET, "nobody"))
    assert len(answers) == 1


@pytest.mark.parametrize("way", WAYS)
def test_no_statistics_and_no_statements_of_others_are_to_be_seen(
    two: Neighbours, way: str
) -> None:
    with two.databases.transaction("other", two.model) as other:
        other.execute(select(two.table).where(two.table.c.email == SECRET))
        with two.inside("acme", way) as say:
            assert say("SELECT * FROM pg_stats WHERE tablename IN ('contacts', 'entry')") == []
            for role in ("SELECT 1", "RESET ROLE"):
                say(role)
                shown = repr(say("SELECT * FROM pg_stat_activity"))
                assert SECRET not in shown
                assert "other" not in shown.replace(two.place("other").database, "")
        for catalog in ("TABLE pg_statistic", "TABLE pg_authid"):
            with (
                pytest.raises(psycopg.errors.InsufficientPrivilege),
                two.inside("acme", way) as say,
            ):
                say(catalog)


@pytest.mark.parametrize("way", WAYS)
def test_copy_and_truncate_stay_within_the_tenant(two: Neighbours, way: str) -> None:
    with (
        two.entered("acme") as raw,
        raw.cursor() as cursor,
        cursor.copy("COPY contacts (tenant_id) TO STDOUT") as copied,
    ):
        assert [row[0] for row in copied.rows()] == ["acme"]
    refused = {
        "TRUNCATE contacts": "42501",
        "COPY contacts FROM '/dev/null'": "42501",
        "COPY contacts TO '/tmp/c'": "42501",
        "COPY contacts FROM STDIN": "0A000",
    }
    for statement, state in refused.items():
        assert told(two, way, statement)[0] == state, statement
    assert "acme" in two.names_of("acme")


def test_a_place_has_no_sequence_to_count_by(two: Neighbours) -> None:
    with two.server.raw(two.server.root, two.place("other").database) as raw:
        found = raw.execute("SELECT relname FROM pg_class WHERE relkind = 'S'").fetchall()
    assert found == []


def test_what_a_tenants_role_leaves_behind_does_not_keep_it_from_being_removed(
    two: Neighbours,
) -> None:
    two.databases.create("third", two.model, [two.people], 1)
    role = two.place("third").role
    # In the third one's own database, and in one that it shares with nobody it knows.
    for tenant in ("third", "other"):
        with two.server.raw(two.server.face, two.place(tenant).database) as raw:
            raw.execute(two.filled("SET ROLE {role}", "third"))
            raw.execute("SELECT lo_from_bytea(0, 'kept')")
            raw.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
    two.databases.drop("third", two.model, 1)
    assert not two.databases.exists("third", two.model)
    with two.server.raw(two.server.root) as raw:
        left = raw.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    assert (left is None) is (two.model != "pooled")
    with two.databases.reading("acme", two.model):
        pass


@pytest.mark.parametrize("way", WAYS)
def test_a_large_object_of_another_role_is_not_to_be_read(two: Neighbours, way: str) -> None:
    with two.server.raw(two.server.owner, two.place("acme").database) as raw:
        made = raw.execute("SELECT lo_from_bytea(0, 'secret')").fetchone()
        assert made is not None
        try:
            assert told(two, way, f"SELECT lo_get({made[0]})")[0] == "42501"
        finally:
            raw.execute("SELECT lo_unlink(%s)", [made[0]])


def test_an_answers_error_carries_neither_detail_nor_value(two: Neighbours) -> None:
    wrong: list[dict[str, object]] = [
        {"status": SECRET},
        {"full_name": None},
        {"balance": 2**70},
        {"tenant_id": "other"},
    ]
    for values in wrong:
        with (
            pytest.raises(PaybillError) as caught,
            two.databases.transaction("acme", two.model) as connection,
        ):
            connection.execute(two.table.update().values(values))
        error: PaybillError = caught.value
        for word in (SECRET, "acme", "other", "Failing row", "Key ("):
            assert word not in f"{error} {error.args} {vars(error)}"
    with (
        pytest.raises(Refused) as taken,
        two.databases.transaction("acme", two.model) as connection,
    ):
        add(connection, two.table, "acme", 1)
    # Where row security holds the server itself does not show the row.
    assert SECRET not in repr(taken.value.__cause__)
    assert "a@b" not in str(taken.value.__cause__)


def test_a_tenant_that_is_not_there_is_not_found_whatever_its_neighbours_are_called(
    two: Neighbours,
) -> None:
    for name in ("acm", "acme2", "acme-2", "acmeacme", "othe", "others"):
        assert two.databases.probe(name, two.model, [two.people]) == "absent"
        with pytest.raises(NotFound), two.databases.reading(name, two.model):
            pass
