"""References, unique fields, computed fields and decimals in real tables, up to the commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Connection, Table, delete, func, insert, inspect, select, update
from sqlalchemy.schema import UniqueConstraint

from control_plane.data.archive import export_tenant, load_tenant
from control_plane.data.collection import SAMPLES, Collection, bind_collections, load_collection
from control_plane.data.table_parts import part_name
from control_plane.data.tables import collection_table, schema_digest, tenant_metadata
from control_plane.databases.port import DatabaseEngine
from control_plane.databases.sqlite import SqliteDatabases
from control_plane.errors import Failed, PaybillError, Refused
from tests.support.postgres import Postgres
from tests.support.tenants import TenantServer, tenant_server, workspace

NOW: Final = datetime(2024, 1, 1, tzinfo=UTC)
MODEL: Final = "pooled"
# People and teams refer to each other, people to themselves, and both to declared currencies.
PEOPLE: Final = Collection.model_validate_json(
    r"""{"name": "people", "description": "Who.", "indexes": [["state", "pay"]], "fields": {
        "team": {"kind": "reference", "collection": "teams"},
        "boss": {"kind": "reference", "collection": "people", "nullable": true},
        "coin": {"kind": "reference", "collection": "currencies", "nullable": true},
        "badge": {"kind": "integer", "unique": true, "nullable": true},
        "state": {"kind": "enum", "values": ["in", "100%'\\:x"]},
        "title": {"kind": "string", "max_length": 20, "nullable": true},
        "pay": {"kind": "decimal", "precision": 18, "scale": 2},
        "months": {"kind": "integer"},
        "shown": {"kind": "computed",
                  "formula": {"op": "concat", "fields": ["state", "title"], "separator": "%'\\:x "}},
        "year": {"kind": "computed", "formula": {"op": "product", "fields": ["pay", "months"]}},
        "rest": {"kind": "computed",
                 "formula": {"op": "difference", "fields": ["months", "months", "months"]}},
        "more": {"kind": "computed", "formula": {"op": "sum", "fields": ["pay", "pay", "pay"]}},
        "cube": {"kind": "computed",
                 "formula": {"op": "product", "fields": ["months", "months", "months"]}}}}"""
)
TEAMS: Final = Collection.model_validate_json(
    """{"name": "teams", "description": "Teams.", "fields": {
        "lead": {"kind": "reference", "collection": "people", "unique": true}}}"""
)
CURRENCIES: Final = load_collection(SAMPLES / "currencies.yaml")
ALL: Final = bind_collections([PEOPLE, TEAMS, CURRENCIES])
PERSON: Final = collection_table(PEOPLE)
TEAM: Final = collection_table(TEAMS)


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Iterator[TenantServer]:
    with tenant_server(postgres) as made:
        yield made


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DatabaseEngine]:
    """Two tenants, side by side."""
    if request.param == "sqlite":
        root = tmp_path_factory.mktemp("links") / "data"
        yield created(SqliteDatabases(root, busy_timeout_ms=2_000))
        return
    with workspace(request.getfixturevalue("server")) as fresh, fresh.engine() as engine:
        yield created(engine)


def created(databases: DatabaseEngine) -> DatabaseEngine:
    for tenant in ("acme", "other"):
        databases.create(tenant, MODEL, ALL, 1)
        assert databases.probe(tenant, MODEL, ALL) == "ready"
    return databases


@pytest.fixture
def databases(opened: DatabaseEngine) -> DatabaseEngine:
    """The first tenant has one team with its lead, and the other has nothing."""
    for tenant in ("acme", "other"):
        with opened.transaction(tenant, MODEL) as connection:
            for table in (TEAM, PERSON):
                connection.execute(delete(table).where(table.c.tenant_id == tenant))
    with opened.transaction("acme", MODEL) as connection:
        person(connection, 1, team=row_id(7))
        team(connection, 7, lead=row_id(1))
    return opened


def row_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def add(connection: Connection, table: Table, number: int, tenant: str, **values: Any) -> None:
    implicit = {"tenant_id": tenant, "id": row_id(number), "version": 1, "created_at": NOW}
    connection.execute(insert(table).values(**implicit, **values))


def person(connection: Connection, number: int, *, tenant: str = "acme", **values: Any) -> None:
    plain = {"team": row_id(7), "state": "in", "pay": Decimal("2.50"), "months": 12}
    add(connection, PERSON, number, tenant, **{**plain, **values})


def team(connection: Connection, number: int, *, tenant: str = "acme", **values: Any) -> None:
    add(connection, TEAM, number, tenant, **values)


def refused(databases: DatabaseEngine, tenant: str, deed: Callable[[Connection], object]) -> str:
    with pytest.raises(Refused) as caught, databases.transaction(tenant, MODEL) as connection:
        deed(connection)
    assert caught.value.code == "constraint"
    return caught.value.rule


def counted(databases: DatabaseEngine, table: Table, tenant: str = "acme") -> int:
    with databases.reading(tenant, MODEL) as connection:
        mine = select(func.count()).select_from(table).where(table.c.tenant_id == tenant)
        return int(connection.execute(mine).scalar_one())


def test_rows_that_refer_to_each_other_stand_when_all_are_there(databases: DatabaseEngine) -> None:
    with databases.transaction("acme", MODEL) as connection:
        person(connection, 2, team=row_id(8), boss=row_id(3))
        person(connection, 3, team=row_id(8), boss=row_id(3))
        team(connection, 8, lead=row_id(2))
    assert counted(databases, PERSON) == 3


def test_a_reference_to_no_row_is_refused_when_it_is_committed(databases: DatabaseEngine) -> None:
    lost = refused(databases, "acme", lambda inside: person(inside, 2, team=row_id(9)))
    assert lost == "foreign_key"
    moved = update(PERSON).where(PERSON.c.tenant_id == "acme").values(boss=row_id(9))
    assert refused(databases, "acme", lambda inside: inside.execute(moved)) == "foreign_key"
    assert counted(databases, PERSON) == 1


def test_another_tenants_row_is_no_row_to_refer_to(databases: DatabaseEngine) -> None:
    lost = refused(
        databases, "other", lambda inside: person(inside, 2, tenant="other", team=row_id(7))
    )
    assert lost == "foreign_key"
    with databases.transaction("other", MODEL) as connection:
        person(connection, 2, tenant="other", team=row_id(7))
        team(connection, 7, tenant="other", lead=row_id(2))
    assert counted(databases, PERSON, "other") == 1


def test_a_row_that_is_referred_to_is_not_deleted_alone(databases: DatabaseEngine) -> None:
    deletions = [delete(table).where(table.c.tenant_id == "acme") for table in (TEAM, PERSON)]
    for one in deletions:
        held = refused(databases, "acme", lambda inside, one=one: inside.execute(one))  # type: ignore[misc]
        assert held == "foreign_key"
    with databases.transaction("acme", MODEL) as connection:
        for one in deletions:
            connection.execute(one)
    assert counted(databases, PERSON) == counted(databases, TEAM) == 0


def test_a_unique_value_stands_once_in_a_tenant(databases: DatabaseEngine) -> None:
    with databases.transaction("acme", MODEL) as connection:
        person(connection, 2, badge=7)
        person(connection, 3)
        person(connection, 4)
    with databases.transaction("other", MODEL) as connection:
        person(connection, 2, tenant="other", badge=7)
        team(connection, 7, tenant="other", lead=row_id(2))
    assert refused(databases, "acme", lambda inside: person(inside, 5, badge=7)) == "unique"
    assert refused(databases, "acme", lambda inside: team(inside, 8, lead=row_id(1))) == "unique"


def test_computed_values_follow_their_fields(databases: DatabaseEngine) -> None:
    names = ("shown", "year", "rest", "more", "cube")
    wanted = select(*(PERSON.c[name] for name in names)).where(PERSON.c.tenant_id == "acme")
    with databases.transaction("acme", MODEL) as connection:
        before = connection.execute(wanted).one()
        assert tuple(before) == (None, Decimal("30.00"), -12, Decimal("7.50"), 1728)
        change = update(PERSON).where(PERSON.c.tenant_id == "acme")
        odd = {"title": "Ms", "state": "100%'\\:x", "pay": Decimal("-0.01")}
        connection.execute(change.values(odd))
        after = connection.execute(wanted).one()
    joined = "100%'\\:x%'\\:x Ms"
    assert tuple(after) == (joined, Decimal("-0.12"), -12, Decimal("-0.03"), 1728)


def test_a_computed_value_is_nobodys_to_set(databases: DatabaseEngine) -> None:
    with pytest.raises(Failed), databases.transaction("acme", MODEL) as connection:
        person(connection, 2, year=Decimal("1.00"))
    with pytest.raises(Failed), databases.transaction("acme", MODEL) as connection:
        connection.execute(update(PERSON).values(cube=1))


@pytest.mark.parametrize(
    "values",
    [
        {"months": 2**30},
        {"months": 2**53 - 1},
        {"pay": Decimal("9999999999999999.99"), "months": 2},
        {"pay": Decimal("9999999999999999.99"), "months": 0},
    ],
)
def test_a_result_that_is_too_large_is_refused_with_its_row(
    databases: DatabaseEngine, values: dict[str, Any]
) -> None:
    with pytest.raises(PaybillError), databases.transaction("acme", MODEL) as connection:
        person(connection, 2, **values)
    assert counted(databases, PERSON) == 1


def test_decimals_are_ordered_compared_and_summed_exactly(databases: DatabaseEngine) -> None:
    sums = [Decimal("0.10"), Decimal("1000000000000000.01"), Decimal("-0.20"), Decimal("9.00")]
    with databases.transaction("acme", MODEL) as connection:
        for number, pay in enumerate(sums, start=2):
            person(connection, number, pay=pay, months=0)
    mine = PERSON.c.tenant_id == "acme"
    with databases.reading("acme", MODEL) as connection:
        ordered = connection.execute(select(PERSON.c.pay).where(mine).order_by(PERSON.c.pay))
        assert ordered.scalars().all() == sorted([*sums, Decimal("2.50")])
        found = select(PERSON.c.id).where(mine, PERSON.c.pay == Decimal("0.10"))
        assert connection.execute(found).scalars().all() == [row_id(2)]
        above = select(func.count()).where(mine, PERSON.c.pay > Decimal("2.49"))
        assert connection.execute(above).scalar_one() == 3
        total = connection.execute(select(func.sum(PERSON.c.pay)).where(mine)).scalar_one()
        assert total == sum(sums) + Decimal("2.50")


def test_a_decimal_is_never_rounded_to_be_kept(databases: DatabaseEngine) -> None:
    with (
        pytest.raises(Exception, match="at most 2 decimals"),
        databases.transaction("acme", MODEL) as connection,
    ):
        person(connection, 2, pay=Decimal("0.005"))


def test_what_refers_in_circles_is_restored(databases: DatabaseEngine, tmp_path: Path) -> None:
    with databases.transaction("acme", MODEL) as connection:
        for number in range(2, 300):
            person(connection, number, boss=row_id(301 - number), title="x")
    kept = tmp_path / "kept"
    with databases.reading("acme", MODEL) as connection, kept.open("wb") as target:
        made = export_tenant(connection, ALL, "acme", target)
    assert b"shown" not in kept.read_bytes()
    with databases.scratch("acme", MODEL, ALL) as connection, kept.open("rb") as source:
        assert load_tenant(connection, ALL, "acme", source) == made
    with databases.transaction("acme", MODEL) as connection:
        for table in (PERSON, TEAM):
            connection.execute(delete(table).where(table.c.tenant_id == "acme"))
        with kept.open("rb") as source:
            assert load_tenant(connection, ALL, "acme", source) == made
    with databases.reading("acme", MODEL) as connection:
        shown = connection.execute(select(PERSON.c.shown).where(PERSON.c.id == row_id(2)))
        assert shown.scalar_one() == "in%'\\:x x"


def test_every_constraint_and_index_has_a_short_name_of_its_own() -> None:
    longest = [f"{letter}{'x' * 47}" for letter in "abcd"]
    one = Collection.model_validate(
        {
            "name": longest[0],
            "description": "Long names.",
            "fields": {name: {"kind": "integer", "unique": True} for name in longest},
            "indexes": (tuple(longest), (longest[0],), (longest[0], longest[1])),
        }
    )
    made = tenant_metadata([one])
    table = made.tables[one.name]
    names = [index.name for index in table.indexes] + [
        key.name for key in table.constraints if isinstance(key, UniqueConstraint)
    ]
    assert len({str(name) for name in names}) == 7
    assert all(len(str(name).encode()) <= 63 for name in names)
    assert part_name("key", "a_b", ["c"]) != part_name("key", "a", ["b_c"])


def test_the_tables_have_what_is_declared(databases: DatabaseEngine) -> None:
    with databases.reading("acme", MODEL) as connection:
        inspector = inspect(connection)
        indexed = {tuple(index["column_names"]) for index in inspector.get_indexes("people")}
        assert {
            ("tenant_id", "state", "pay", "id"),
            ("tenant_id", "team", "id"),
            ("tenant_id", "boss", "id"),
            ("tenant_id", "coin", "id"),
        } <= indexed
        assert inspector.get_pk_constraint("people")["constrained_columns"] == ["tenant_id", "id"]
        referred = {
            (tuple(key["constrained_columns"]), key["referred_table"])
            for key in inspector.get_foreign_keys("people")
        }
    assert referred == {(("tenant_id", "team"), "teams"), (("tenant_id", "boss"), "people")}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"kind": "integer"}, {"kind": "integer", "unique": True}),
        (
            {"kind": "decimal", "precision": 8, "scale": 2},
            {"kind": "decimal", "precision": 8, "scale": 3},
        ),
        (
            {"kind": "decimal", "precision": 8, "scale": 2},
            {"kind": "decimal", "precision": 9, "scale": 2},
        ),
        (
            {"kind": "computed", "formula": {"op": "sum", "fields": ("a", "a")}},
            {"kind": "computed", "formula": {"op": "sum", "fields": ("a", "b")}},
        ),
        (
            {"kind": "reference", "collection": "rows"},
            {"kind": "reference", "collection": "others"},
        ),
        (
            {"kind": "reference", "collection": "rows"},
            {"kind": "reference", "collection": "currencies"},
        ),
    ],
)
def test_what_shapes_the_tables_changes_their_digest(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    def made(**field: Any) -> str:
        plain = {"a": {"kind": "integer"}, "b": {"kind": "integer"}, "c": field}
        one = Collection.model_validate({"name": "rows", "description": "Rows.", "fields": plain})
        others = one.model_copy(update={"name": "others"})
        return schema_digest([one, others, CURRENCIES])

    assert made(**old) != made(**new)
    assert made(**old) == made(**{**old, "description": "Other words.", "group": "pii"})


def test_an_index_changes_the_digest_and_a_default_does_not() -> None:
    one = Collection.model_validate(
        {"name": "rows", "description": "Rows.", "fields": {"a": {"kind": "integer"}}}
    )
    indexed = one.model_copy(update={"indexes": (("a",),)})
    assert schema_digest([one]) != schema_digest([indexed])
    default = one.model_copy(
        update={"fields": {"a": one.fields["a"].model_copy(update={"default": 1})}}
    )
    assert schema_digest([one]) == schema_digest([default])


def test_a_tenant_whose_rows_go_in_circles_is_removed(
    databases: DatabaseEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.databases.removal.ROWS_PER_STEP", 2)
    databases.create("third", MODEL, ALL, 1)
    with databases.transaction("third", MODEL) as connection:
        for number in range(1, 8):
            person(connection, number, tenant="third", boss=row_id(8 - number))
        team(connection, 7, tenant="third", lead=row_id(1))
    databases.drop("third", MODEL, 1)
    assert databases.probe("third", MODEL, ALL) == "absent"
    assert counted(databases, PERSON) == 1
