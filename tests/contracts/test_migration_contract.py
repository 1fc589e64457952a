"""How every DatabaseEngine follows a changed declaration, over every engine and isolation model. Not one's extras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from control_plane.data.collection import Collection, bind_collections
from control_plane.data.tables import FENCE, collection_table
from control_plane.databases.migration import MigrationPhase
from control_plane.databases.port import DatabaseEngine
from control_plane.domain.isolation import Isolation
from control_plane.errors import NotFound, PaybillError, Refused
from tests.support.evolutions import (
    AFTER,
    AFTER_PEOPLE,
    BEFORE,
    DEALS,
    MORE_CURRENCIES,
    PEOPLE,
    TEAMS,
    changed,
    declared,
    new_person,
    old_person,
    put,
    row,
    tables_shape,
)
from tests.support.rows import row_id
from tests.support.tenants import TenantServer, workspace

pytestmark = pytest.mark.slice_of(6)

NOTES: Final = declared("notes", {"text": {"kind": "string", "max_length": 9, "nullable": True}})
PHASES: Final[tuple[MigrationPhase, ...]] = ("expand", "contract")


def shape(databases: DatabaseEngine, tenant: str, model: Isolation) -> dict[str, Any]:
    with databases.reading(tenant, model) as connection:
        return tables_shape(connection)


def write(
    databases: DatabaseEngine,
    model: Isolation,
    collection: Collection,
    *rows: dict[str, Any],
    tenant: str = "acme",
) -> None:
    with databases.transaction(tenant, model) as connection:
        put(connection, collection, *rows)


def read(
    databases: DatabaseEngine, model: Isolation, collection: Collection, tenant: str = "acme"
) -> list[Any]:
    table = collection_table(collection)
    own = (
        select(table) if collection.reference else select(table).where(table.c.tenant_id == tenant)
    )
    with databases.reading(tenant, model) as connection:
        return list(connection.execute(own.order_by(table.c.id)).all())


def refused(deed: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as caught:
        deed()
    return caught.value


def refusal(deed: Callable[[], object]) -> tuple[str | None, ...]:
    """Code, rule, fact and text; nothing where it is not refused."""
    try:
        deed()
    except Refused as error:
        return error.code, error.rule, error.fact, str(error)
    return ()


def filled(databases: DatabaseEngine, model: Isolation, *tenants: str) -> None:
    for tenant in tenants:
        databases.create(tenant, model, BEFORE, 1)
        write(databases, model, TEAMS, row(900, tenant, title="t"), tenant=tenant)
        write(databases, model, PEOPLE, old_person(1, tenant), tenant=tenant)


def test_calls_under_both_declarations_go_on_between_the_phases(
    databases: DatabaseEngine, model: Isolation
) -> None:
    filled(databases, model, "acme")
    databases.migrate("acme", model, BEFORE, AFTER, "expand", 1)
    assert databases.probe("acme", model, BEFORE) == "ready"
    assert databases.probe("acme", model, AFTER) == "ready"
    write(databases, model, PEOPLE, old_person(2, "acme", boss=row_id(1), status="former"))
    write(databases, model, AFTER_PEOPLE, new_person(3, "acme", boss=row_id(2)))
    write(databases, model, DEALS, row(4, "acme", person=row_id(3), worth=5))
    assert [one.name for one in read(databases, model, PEOPLE)] == ["p1", "p2", "n" * 40]
    found = read(databases, model, AFTER_PEOPLE)
    for one in found[:2]:
        assert (one.level, one.since.isoformat(), one.active) == (1, "2020-02-29", True)
        assert (one.rate, one.grade, one.seen.hour) == (Decimal("1.50"), "it's", 10)
        assert (one.year, one.deal) == (Decimal("30.00"), None)
    assert found[2].shown == "n" * 40 + "vip"
    assert len(read(databases, model, MORE_CURRENCIES)) == len(MORE_CURRENCIES.rows) + 1


@pytest.mark.long
def test_after_both_phases_it_is_as_one_that_was_made_so_with_its_rows(
    databases: DatabaseEngine, model: Isolation
) -> None:
    filled(databases, model, "acme")
    databases.migrate("acme", model, BEFORE, AFTER, "expand", 1)
    write(databases, model, AFTER_PEOPLE, new_person(2, "acme"))
    databases.migrate("acme", model, BEFORE, AFTER, "contract", 1)
    assert databases.probe("acme", model, AFTER) == "ready"
    assert databases.probe("acme", model, BEFORE) == "differs"
    databases.create("fresh", "silo", AFTER, 1)
    assert shape(databases, "acme", model) == shape(databases, "fresh", "silo")
    kept = [(one.name, one.level) for one in read(databases, model, AFTER_PEOPLE)]
    assert kept == [("p1", 1), ("n" * 40, 7)]
    assert len(read(databases, model, MORE_CURRENCIES)) == len(MORE_CURRENCIES.rows)
    assert len(read(databases, model, TEAMS)) == 1


def test_declared_rows_alone_can_change(databases: DatabaseEngine, model: Isolation) -> None:
    after = bind_collections([*BEFORE[:3], MORE_CURRENCIES])
    filled(databases, model, "acme")
    databases.migrate("acme", model, BEFORE, after, "expand", 1)
    assert databases.probe("acme", model, BEFORE) == "ready"
    assert databases.probe("acme", model, after) == "ready"
    codes = {one.code for one in read(databases, model, MORE_CURRENCIES)}
    assert codes == {found["code"] for one in (BEFORE[3], MORE_CURRENCIES) for found in one.rows}
    databases.migrate("acme", model, BEFORE, after, "contract", 1)
    assert databases.probe("acme", model, BEFORE) == "differs"
    assert databases.probe("acme", model, after) == "ready"
    assert len(read(databases, model, MORE_CURRENCIES)) == len(MORE_CURRENCIES.rows)
    assert len(read(databases, model, PEOPLE)) == 1


def test_a_phase_that_was_made_is_not_made_again(
    databases: DatabaseEngine, model: Isolation
) -> None:
    filled(databases, model, "acme")
    for phase in PHASES:
        databases.migrate("acme", model, BEFORE, AFTER, phase, 1)
        stands = shape(databases, "acme", model)
        # What is past is past: an expansion that comes late leads nothing back.
        for late in ("expand", phase):
            databases.migrate("acme", model, BEFORE, AFTER, late, 1)
            assert shape(databases, "acme", model) == stands
    assert databases.probe("acme", model, AFTER) == "ready"


def test_an_expansion_can_be_taken_back(databases: DatabaseEngine, model: Isolation) -> None:
    filled(databases, model, "acme")
    stood = shape(databases, "acme", model)
    databases.migrate("acme", model, BEFORE, AFTER, "expand", 1)
    for _ in range(2):
        databases.migrate("acme", model, BEFORE, AFTER, "retract", 1)
        assert shape(databases, "acme", model) == stood
        assert databases.probe("acme", model, BEFORE) == "ready"
        assert databases.probe("acme", model, AFTER) == "differs"
    assert [one.name for one in read(databases, model, PEOPLE)] == ["p1"]


@pytest.mark.long
def test_a_phase_out_of_turn_is_refused(databases: DatabaseEngine, model: Isolation) -> None:
    databases.create("acme", model, BEFORE, 1)
    other = bind_collections([*BEFORE, NOTES])
    stood = shape(databases, "acme", model)
    wrong: list[tuple[Sequence[Collection], Sequence[Collection], Any, str]] = [
        (BEFORE, AFTER, "contract", "not_expanded"),
        (other, AFTER, "expand", "schema_differs"),
        (other, AFTER, "contract", "schema_differs"),
    ]
    for before, after, phase, code in wrong:
        caught = refused(lambda: databases.migrate("acme", model, before, after, phase, 1))  # noqa: B023
        assert caught.code == code
    databases.migrate("acme", model, BEFORE, AFTER, "expand", 1)
    caught = refused(lambda: databases.migrate("acme", model, BEFORE, other, "expand", 1))
    assert caught.code == "schema_differs"
    databases.migrate("acme", model, BEFORE, AFTER, "retract", 1)
    assert shape(databases, "acme", model) == stood


def test_an_overtaken_run_changes_nothing(databases: DatabaseEngine, model: Isolation) -> None:
    databases.create("acme", model, BEFORE, 3)
    stood = shape(databases, "acme", model)
    caught = refused(lambda: databases.migrate("acme", model, BEFORE, AFTER, "expand", 2))
    assert (caught.code, caught.rule) == ("fenced", "epoch")
    assert shape(databases, "acme", model) == stood
    with pytest.raises(NotFound):
        databases.migrate("other", model, BEFORE, AFTER, "expand", 3)


def test_a_closed_tenant_stays_closed_and_stands_at_the_runs_epoch(
    databases: DatabaseEngine, model: Isolation
) -> None:
    databases.create("acme", model, BEFORE, 1)
    databases.migrate("acme", model, BEFORE, AFTER, "expand", 2)
    assert databases.open_at("acme", model) == 2
    databases.fence("acme", model, 3, open=False)
    databases.migrate("acme", model, BEFORE, AFTER, "contract", 4)
    assert databases.open_at("acme", model) is None
    with databases.reading("acme", model) as connection:
        assert connection.execute(select(FENCE.c.epoch)).scalar_one() == 4


NARROWER: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "not_null": ({"notes": {"kind": "text"}}, {"notes": None}),
    "max_length": ({"name": {"kind": "string", "max_length": 3}}, {"name": "abc  "}),
    "values": ({"status": {"kind": "enum", "values": ["lead"]}}, {"status": "former"}),
    "precision": (
        {"pay": {"kind": "decimal", "precision": 4, "scale": 2}},
        {"pay": Decimal("100.00")},
    ),
    "unique": ({"months": {"kind": "integer", "unique": True}}, {"months": 12}),
}


@pytest.mark.long_but_one
@pytest.mark.parametrize("rule", NARROWER)
def test_rows_that_do_not_fit_are_counted_and_nothing_changes(
    databases: DatabaseEngine, model: Isolation, rule: str
) -> None:
    fields, value = NARROWER[rule]
    after = bind_collections([changed(PEOPLE, fields), *BEFORE[1:]])
    filled(databases, model, "acme", "other")
    for tenant in ("acme", "other"):
        write(databases, model, PEOPLE, old_person(2, tenant, **value), tenant=tenant)
        databases.migrate(tenant, model, BEFORE, after, "expand", 1)
    stood = shape(databases, "acme", model)
    foretold = refusal(lambda: databases.require_fit("acme", model, BEFORE, after))
    caught = refused(lambda: databases.migrate("acme", model, BEFORE, after, "contract", 1))
    assert foretold == (caught.code, caught.rule, caught.fact, str(caught))
    (field,) = fields
    assert (caught.code, caught.rule, caught.fact) == ("rows_do_not_fit", rule, f"people.{field}")
    rows, tenants = (2 if rule == "unique" else 1), "1 tenant."
    if model == "pooled":
        rows, tenants = rows * 2, "2 tenants."
    assert str(caught).endswith(f"{rows} row{'s' if rows > 1 else ''} of {tenants}")
    assert shape(databases, "acme", model) == stood
    assert databases.probe("acme", model, BEFORE) == "ready"


@pytest.mark.long
def test_whether_rows_fit_is_told_and_nothing_changes(
    databases: DatabaseEngine, model: Isolation
) -> None:
    filled(databases, model, "acme", "other")
    for tenant in ("acme", "other"):
        databases.migrate(tenant, model, BEFORE, AFTER, "expand", 2)
    databases.fence("acme", model, 3, open=False)
    stood = shape(databases, "acme", model)
    databases.require_fit("acme", model, BEFORE, AFTER)
    assert (databases.open_at("acme", model), databases.open_at("other", model)) == (None, 2)
    assert shape(databases, "acme", model) == stood
    assert databases.probe("acme", model, BEFORE) == "ready"
    write(databases, model, PEOPLE, old_person(2, "other", status="former"), tenant="other")
    misfit = ("rows_do_not_fit", "values", "people.status")
    assert refusal(lambda: databases.require_fit("other", model, BEFORE, AFTER))[:3] == misfit
    # Where they share a table, one is told what holds for all.
    of_acme = refusal(lambda: databases.require_fit("acme", model, BEFORE, AFTER))
    assert of_acme[:3] == (misfit if model == "pooled" else ())


def test_whether_rows_fit_is_a_question_between_the_phases(
    databases: DatabaseEngine, model: Isolation
) -> None:
    filled(databases, model, "acme")
    other = bind_collections([*BEFORE, NOTES])
    changed_kind = changed(PEOPLE, {"months": {"kind": "string"}})
    impossible = bind_collections([changed_kind, *BEFORE[1:]])
    asked = [
        (BEFORE, AFTER, "not_expanded"),
        (other, AFTER, "schema_differs"),
        (BEFORE, impossible, "evolution_refused"),
    ]
    for before, after, code in asked:
        assert refused(lambda: databases.require_fit("acme", model, before, after)).code == code  # noqa: B023
    with pytest.raises(NotFound):
        databases.require_fit("other", model, BEFORE, AFTER)
    for phase in PHASES:
        databases.migrate("acme", model, BEFORE, AFTER, phase, 1)
    write(databases, model, AFTER_PEOPLE, new_person(2, "acme"))
    databases.require_fit("acme", model, BEFORE, AFTER)


NARROWED: Final = {name: field for fields, _ in NARROWER.values() for name, field in fields.items()}
TIGHTER: Final = bind_collections([changed(PEOPLE, NARROWED), *BEFORE[1:]])
PERSON: Final = st.fixed_dictionaries(
    {
        "notes": st.sampled_from(["n", "n", "n", "n", None]),
        "name": st.text("a\u00e9 ", min_size=1, max_size=3) | st.just("four"),
        "status": st.sampled_from(["lead", "lead", "lead", "lead", "former"]),
        "pay": st.sampled_from(["0.00", "99.99", "-99.99", "9.90", "-100.00"]).map(Decimal),
        "months": st.integers(1, 99),
    }
)


@pytest.mark.long
@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(PERSON, max_size=3))
def test_a_change_is_refused_for_rows_just_where_that_was_told(
    databases: DatabaseEngine, model: Isolation, rows: list[dict[str, Any]]
) -> None:
    databases.drop("acme", model, 1)
    databases.create("acme", model, BEFORE, 1)
    databases.migrate("acme", model, BEFORE, TIGHTER, "expand", 1)
    write(databases, model, TEAMS, row(900, "acme", title="t"))
    people = [old_person(number, "acme", **one) for number, one in enumerate(rows)]
    write(databases, model, PEOPLE, *people)
    foretold = refusal(lambda: databases.require_fit("acme", model, BEFORE, TIGHTER))
    made = refusal(lambda: databases.migrate("acme", model, BEFORE, TIGHTER, "contract", 1))
    assert foretold == made


@pytest.mark.long
def test_rows_that_a_new_formula_makes_too_large_stop_the_change(
    databases: DatabaseEngine, model: Isolation
) -> None:
    product = {"op": "product", "fields": ["months", "months"]}
    fields = {"square": {"kind": "computed", "formula": product}}
    after = bind_collections([changed(PEOPLE, fields), *BEFORE[1:]])
    filled(databases, model, "acme")
    write(databases, model, PEOPLE, old_person(2, "acme", months=2**31))
    stood = shape(databases, "acme", model)
    caught = refused(lambda: databases.migrate("acme", model, BEFORE, after, "expand", 1))
    assert (caught.code, caught.rule) == ("rows_do_not_fit", "check")
    assert shape(databases, "acme", model) == stood
    assert databases.probe("acme", model, BEFORE) == "ready"


def test_what_no_database_follows_is_refused(databases: DatabaseEngine, model: Isolation) -> None:
    databases.create("acme", model, BEFORE, 1)
    after = bind_collections([changed(PEOPLE, {"months": {"kind": "string"}}), *BEFORE[1:]])
    caught = refused(lambda: databases.migrate("acme", model, BEFORE, after, "expand", 1))
    assert (caught.code, caught.rule) == ("evolution_refused", "change_kind")
    assert caught.fact == "people.months"
    assert databases.probe("acme", model, BEFORE) == "ready"


@pytest.mark.long
def test_two_tenants_are_led_one_after_the_other_and_stay_apart(
    databases: DatabaseEngine, model: Isolation
) -> None:
    filled(databases, model, "acme", "other")
    for phase in PHASES:
        for tenant in ("acme", "other"):
            databases.migrate(tenant, model, BEFORE, AFTER, phase, 1)
            assert databases.probe(tenant, model, AFTER) == "ready"
    write(databases, model, DEALS, row(4, "acme", person=row_id(1), worth=5))
    table = collection_table(DEALS)
    with databases.reading("other", model) as connection:
        own = select(func.count()).select_from(table).where(table.c.tenant_id == "other")
        assert connection.execute(own).scalar_one() == 0
    assert len(read(databases, model, DEALS)) == 1
    assert len(read(databases, model, AFTER_PEOPLE, tenant="other")) == 1


@pytest.mark.long
def test_a_tenant_can_be_made_between_the_phases(
    databases: DatabaseEngine, model: Isolation
) -> None:
    filled(databases, model, "acme")
    databases.migrate("acme", model, BEFORE, AFTER, "expand", 1)
    databases.create("other", model, AFTER if model != "pooled" else BEFORE, 1)
    databases.migrate("other", model, BEFORE, AFTER, "expand", 1)
    for tenant in ("acme", "other"):
        assert databases.probe(tenant, model, AFTER) == "ready"
        databases.migrate(tenant, model, BEFORE, AFTER, "contract", 1)
        assert databases.probe(tenant, model, AFTER) == "ready"


def test_only_the_worker_changes_tables(server: TenantServer, model: Isolation) -> None:
    with workspace(server) as fresh, fresh.engine(as_face=True) as face:
        with pytest.raises(PaybillError) as caught:
            face.migrate("acme", model, BEFORE, AFTER, "expand", 1)
        assert caught.value.code == "not_the_worker"
