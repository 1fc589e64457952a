"""What leads from one declaration to the next, and that its statements lead there on both engines."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, MetaData, NullPool, create_engine, event, inspect

from control_plane.data.collection import Collection, bind_collections
from control_plane.data.evolution import Evolution, evolve
from control_plane.data.moves import Move
from control_plane.data.tables import schema_digest, tenant_metadata
from control_plane.databases.alterations import alterations, check_name
from control_plane.databases.migration import Migration, MigrationPhase
from control_plane.databases.preview import ddl_preview
from control_plane.databases.rebuild import rebuild
from control_plane.domain.canonical import canonical
from control_plane.errors import Refused
from tests.support.evolutions import (
    AFTER,
    BEFORE,
    CURRENCIES,
    PEOPLE,
    changed,
    declared,
    tables_shape,
)
from tests.support.postgres import Postgres

LABEL: Final = {"kind": "string", "max_length": 20}
THING: Final = declared("things", {"label": LABEL})


def between(fields: Mapping[str, Any], becomes: Mapping[str, Any], **rest: Any) -> Evolution:
    """From one declaration of `things` to another; both have the field `label` as well."""
    before = declared("things", {"label": LABEL, **fields})
    after = declared("things", {"label": LABEL, **becomes}, **rest)
    return evolve([before], [after])


def kinds(moves: Sequence[Move]) -> list[str]:
    return [one.kind for one in moves]


def test_nothing_leads_from_a_declaration_to_itself() -> None:
    assert evolve(BEFORE, BEFORE).moves == ()
    assert evolve(BEFORE, tuple(reversed(BEFORE))).moves == ()


def test_what_no_database_knows_of_is_no_move() -> None:
    told = changed(
        PEOPLE,
        {"months": {"kind": "integer", "description": "y", "group": "pii", "default": 1}},
        description="other",
        limits={"page_rows_max": 5},
    )
    found = evolve(BEFORE, [told, *BEFORE[1:]])
    assert found.moves == ()
    assert found.before != found.after


def test_an_evolution_is_the_same_each_time_and_says_all_of_itself() -> None:
    found = evolve(BEFORE, AFTER)
    assert found == evolve(tuple(reversed(BEFORE)), tuple(reversed(AFTER)))
    assert Evolution.model_validate_json(canonical(found)) == found
    assert len(found.digest()) == 64
    assert [one.phase for one in found.moves] == sorted(
        (one.phase for one in found.moves), key=["expand", "contract", "refused"].index
    )
    assert set(found.of("expand")) | set(found.of("contract")) == set(found.moves)
    found.require_possible()


def test_the_sample_change_is_told_move_by_move() -> None:
    found = evolve(BEFORE, AFTER)
    expand = {(one.name, one.kind) for one in found.of("expand")}
    assert {
        ("deals", "add_collection"),
        ("people.level", "add_field"),
        ("people.name", "widen_length"),
        ("people.pay", "widen_precision"),
        ("people.status", "add_values"),
        ("people.months", "drop_not_null"),
        ("people.phase", "drop_not_null"),
        ("people.badge", "drop_unique"),
        ("people", "add_index"),
        ("currencies", "replace_rows"),
    } < expand
    contract = {(one.name, one.kind) for one in found.of("contract")}
    assert {
        ("labels", "drop_collection"),
        ("people.label", "drop_field"),
        ("people.phase", "drop_field"),
        ("people.email", "narrow_length"),
        ("people.email", "add_unique"),
        ("people.notes", "set_not_null"),
        ("people.status", "remove_values"),
        ("people.level", "drop_default"),
        ("people", "drop_index"),
        ("currencies", "remove_rows"),
    } < contract
    assert found.loses_data
    assert {one.name for one in found.moves if one.loses_data} == {
        "labels",
        "people.label",
        "people.phase",
    }
    assert all(not one.reversible for one in found.moves if one.loses_data)
    assert all("{" not in one.message for one in found.moves)


REFUSED: Final[Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]] = {
    "change_kind": ({"a": {"kind": "integer"}}, {"a": {"kind": "uuid"}}),
    "change_target": (
        {"a": {"kind": "reference", "collection": "things"}},
        {"a": {"kind": "reference", "collection": "others"}},
    ),
    "change_currency": (
        {"a": {"kind": "money", "currency": "EUR"}},
        {"a": {"kind": "money", "currency": "USD"}},
    ),
    "change_scale": (
        {"a": {"kind": "decimal", "precision": 5, "scale": 2}},
        {"a": {"kind": "decimal", "precision": 5, "scale": 3}},
    ),
    "change_formula": (
        {"a": {"kind": "computed", "formula": {"op": "concat", "fields": ["label", "label"]}}},
        {
            "a": {
                "kind": "computed",
                "formula": {"op": "concat", "fields": ["label", "label", "label"]},
            }
        },
    ),
    "require_field": ({}, {"a": {"kind": "integer"}}),
    "unique_default": ({}, {"a": {"kind": "integer", "default": 1, "unique": True}}),
    "rename": (
        {"a": {"kind": "integer", "nullable": True}},
        {"b": {"kind": "integer", "nullable": True}},
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_change_the_meaning_of_rows_is_refused(kind: str) -> None:
    found = between(*REFUSED[kind])
    assert kinds(found.refused) == [kind]
    with pytest.raises(Refused) as caught:
        found.require_possible()
    assert (caught.value.code, caught.value.rule) == ("evolution_refused", kind)
    assert caught.value.fact.startswith("things.")
    assert str(caught.value).startswith(caught.value.fact)


def test_a_collection_cannot_be_renamed_nor_cease_to_be_the_tenants() -> None:
    renamed = declared("others", {"label": LABEL})
    found = evolve([THING], [renamed])
    assert kinds(found.refused) == ["rename"]
    assert "things" in found.refused[0].message
    shared = declared(
        "things", {"label": LABEL}, reference=True, key="label", rows=[{"label": "x"}]
    )
    assert kinds(evolve([THING], [shared]).refused) == ["change_tenant_key"]
    assert kinds(evolve([shared], [THING]).refused) == ["change_tenant_key"]
    keyed = changed(CURRENCIES, {}, key="title")
    assert kinds(evolve([CURRENCIES], [keyed]).refused) == ["change_key"]


def test_two_declarations_that_cannot_stand_together_are_refused() -> None:
    def parts(left: int, right: int) -> dict[str, Any]:
        return {
            "left": {"kind": "string", "max_length": left},
            "right": {"kind": "string", "max_length": right},
            "all": {"kind": "computed", "formula": {"op": "concat", "fields": ["left", "right"]}},
        }

    found = between(parts(900, 100), parts(100, 900))
    assert kinds(found.refused) == ["too_wide"]


def test_a_pattern_that_comes_holds_from_now_on() -> None:
    plain = {"a": {"kind": "string", "nullable": True}}
    bound = {"a": {"kind": "string", "nullable": True, "pattern": "x+"}}
    assert kinds(between(plain, bound).moves) == ["tighten_pattern"]
    assert kinds(between(bound, plain).moves) == ["loosen_pattern"]
    assert ddl_preview([THING], [THING], "expand", "postgresql") == []


def test_the_statements_can_be_read_beforehand() -> None:
    wider = declared(
        "things",
        {"label": {"kind": "string", "max_length": 30}, "n": {"kind": "integer", "default": 5}},
    )
    assert ddl_preview([THING], [wider], "expand", "postgresql") == [
        "ALTER TABLE things DROP CONSTRAINT things_label_check",
        'ALTER TABLE things ALTER COLUMN label TYPE VARCHAR(30) COLLATE "C"',
        "ALTER TABLE things ADD COLUMN n BIGINT DEFAULT 5 NOT NULL",
        (
            "ALTER TABLE things ADD CONSTRAINT things_label_check "
            "CHECK (length(label) <= 30) NOT VALID"
        ),
        "ALTER TABLE things VALIDATE CONSTRAINT things_label_check",
    ]
    assert ddl_preview([THING], [wider], "contract", "postgresql") == [
        "ALTER TABLE things ALTER COLUMN n DROP DEFAULT"
    ]
    made, filled, gone, named = ddl_preview([THING], [wider], "expand", "sqlite")
    assert made.startswith("CREATE TABLE paybill_beside_things (")
    assert filled.startswith("INSERT INTO paybill_beside_things (id, tenant_id,")
    assert gone == "DROP TABLE things"
    assert named == "ALTER TABLE paybill_beside_things RENAME TO things"


# What a field may be before and after, so that one leads to the other; None: it is not there.
CHOICES: Final[Mapping[str, Sequence[Mapping[str, Any] | None]]] = {
    "text": (
        {"kind": "string", "max_length": 9},
        {"kind": "string", "max_length": 30, "nullable": True},
        {"kind": "string", "max_length": 9, "unique": True},
    ),
    "size": (
        {"kind": "decimal", "precision": 5, "scale": 1},
        {"kind": "decimal", "precision": 9, "scale": 1, "nullable": True},
    ),
    "count": ({"kind": "integer"}, {"kind": "integer", "nullable": True, "unique": True}),
    "state": (
        None,
        {"kind": "enum", "values": ["a", "b"], "default": "b"},
        {"kind": "enum", "values": ["b", "a"], "default": "b", "nullable": True},
        {"kind": "enum", "values": ["b", "c%'\\:x"], "default": "b"},
    ),
    "boss": (
        None,
        {"kind": "reference", "collection": "things", "nullable": True},
        {"kind": "reference", "collection": "things", "nullable": True, "unique": True},
    ),
    "other": (None, {"kind": "reference", "collection": "others", "nullable": True}),
    "on": (None, {"kind": "boolean", "default": False}, {"kind": "boolean", "nullable": True}),
    "when": (None, {"kind": "timestamp", "nullable": True, "default": "2020-01-01T00:00:00Z"}),
    "data": (None, {"kind": "json", "nullable": True}),
    "twice": (None, {"kind": "computed", "formula": {"op": "concat", "fields": ["text", "text"]}}),
    "sum": (None, {"kind": "computed", "formula": {"op": "product", "fields": ["size", "count"]}}),
}
INDEXES: Final = (["text"], ["boss"], ["state", "text"], ["twice"], ["count", "size"])


@st.composite
def declarations(draw: st.DrawFn) -> tuple[Collection, ...]:
    chosen = {name: draw(st.sampled_from(options)) for name, options in CHOICES.items()}
    fields = {name: field for name, field in chosen.items() if field is not None}
    indexes = [one for one in INDEXES if set(one) <= set(fields) and draw(st.booleans())]
    others = declared("others", {"label": LABEL, "mark": {"kind": "uuid", "nullable": True}})
    if "other" not in fields and draw(st.booleans()):
        return (declared("things", fields, indexes=indexes),)
    return bind_collections([declared("things", fields, indexes=indexes), others])


def _without_implicit_transactions(raw: sqlite3.Connection, _: object) -> None:
    raw.isolation_level = None


def _begin(begun: Connection) -> None:
    begun.exec_driver_sql("BEGIN")


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """An empty database of each engine; whatever is made in it is rolled back."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            engine = create_engine("sqlite://", poolclass=NullPool)
            event.listen(engine, "connect", _without_implicit_transactions)
            event.listen(engine, "begin", _begin)
        else:
            url = stack.enter_context(request.getfixturevalue("postgres").database())
            engine = create_engine(url, poolclass=NullPool)
        stack.callback(engine.dispose)
        yield stack.enter_context(engine.connect())


def apply(connection: Connection, source: MetaData, target: MetaData) -> None:
    if connection.dialect.name == "sqlite":
        rebuild(connection, source, target)
        return
    for statement in alterations(
        source,
        target,
        connection.dialect,
        lambda table: {name: check_name(table, name) for name in table.c.keys()},  # noqa: SIM118
    ):
        connection.execute(statement)


def led(
    connection: Connection,
    before: Sequence[Collection],
    after: Sequence[Collection],
    *phases: MigrationPhase,
) -> dict[str, Any]:
    """The shape of an empty database that was made of `before` and led through the phases."""
    with connection.begin() as transaction:
        tenant_metadata(before).create_all(connection, checkfirst=False)
        for phase in phases:
            migration = Migration(before, after, phase)
            apply(connection, migration.source(), migration.target())
        found = tables_shape(connection)
        transaction.rollback()
    return found


def test_a_check_has_the_name_that_postgres_gives_it(postgres: Postgres) -> None:
    long = declared("a" * 48, {"b" * 40: LABEL, "c" * 2: LABEL})
    with postgres.database() as url:
        engine = create_engine(url, poolclass=NullPool)
        metadata = tenant_metadata([long])
        metadata.create_all(engine)
        found = {one["name"] for one in inspect(engine).get_check_constraints(long.name)}
    table = metadata.tables[long.name]
    assert found == {check_name(table, name) for name in long.fields}


@pytest.mark.long_but_one
@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(before=declarations(), after=declarations())
def test_what_was_led_there_has_the_shape_of_what_was_made_there(
    connection: Connection, before: tuple[Collection, ...], after: tuple[Collection, ...]
) -> None:
    found = evolve(before, after)
    assert not found.refused
    assert bool(found.moves) == (schema_digest(before) != schema_digest(after))
    fresh = led(connection, after, after)
    assert led(connection, before, after, "expand", "contract") == fresh
    assert led(connection, before, after, "expand", "retract") == led(connection, before, before)


@pytest.mark.sweep
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(before=declarations(), after=declarations())
def test_every_change_has_the_shape_of_what_was_made_there(
    connection: Connection, before: tuple[Collection, ...], after: tuple[Collection, ...]
) -> None:
    assert led(connection, before, after, "expand", "contract") == led(connection, after, after)
    assert led(connection, before, after, "expand", "retract") == led(connection, before, before)
