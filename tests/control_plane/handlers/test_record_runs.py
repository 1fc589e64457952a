"""Records changed as a run: by a filter, above a threshold, and taken back. Real engine, store and databases."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from control_plane.data.rows import insert_row
from control_plane.data.tables import collection_table
from control_plane.domain.canonical import Json
from control_plane.handlers.record_selection import planned_rows
from control_plane.handlers.record_values import new_values
from control_plane.handlers.registry import failpoint_names
from tests.support.approval_world import TENANT
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import ADMIN, SUPPORT, Bench
from tests.support.onboarding import contact

LEADS: dict[str, Json] = {"op": "eq", "field": "status", "value": "lead"}
FORWARD = [
    name
    for name in failpoint_names()
    if name.startswith("change_records.") and ".undo_" not in name
]


def put(bench: Bench, count: int, **values: Any) -> list[str]:
    """That many contacts, written as if they had always been there; their ids."""
    ports = bench.world.ports
    collection = ports.catalog.collections["contacts"]
    table, ids = collection_table(collection), [str(uuid4()) for _ in range(count)]
    with ports.databases.main.transaction(TENANT, "pooled") as connection:
        for number, row_id in enumerate(ids):
            row = new_values(collection, contact(full_name=f"Person {number}", **values))
            insert_row(connection, table, TENANT, row_id, row, now=ports.clock.now())
    return ids


def change(bench: Bench, tool: str, who: str = ADMIN, **arguments: Any) -> dict[str, Any]:
    """The answer to a call about contacts."""
    asked = {"tenant": TENANT, "collection": "contacts", "idempotency_key": fresh_key()}
    return bench.ask(tool, who, **{**asked, **arguments})


def proposed(bench: Bench, tool: str, who: str = ADMIN, **arguments: Any) -> str:
    """The id of a run that a call has asked for."""
    answer = change(bench, tool, who, **arguments)
    assert answer["outcome"] == "running", answer
    return str(answer["run_id"])


def undo(bench: Bench, run_id: str, **arguments: Any) -> dict[str, Any]:
    """The answer to a call that takes a run back."""
    asked = {"tenant": TENANT, "run_id": run_id, "idempotency_key": fresh_key()}
    return bench.ask("record_undo", ADMIN, **{**asked, **arguments})


def rows(bench: Bench) -> list[dict[str, Any]]:
    """Every contact, whole, by id."""
    answer = bench.ask("record_query", ADMIN, tenant=TENANT, collection="contacts", limit=100)
    found: list[dict[str, Any]] = answer["result"]["records"]
    return sorted(found, key=lambda one: str(one["id"]))


def without_versions(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in one.items() if name != "version"} for one in found]


@pytest.mark.long
def test_every_row_that_the_filter_finds_is_changed_and_no_other(bench: Bench) -> None:
    leads = put(bench, 3)
    (customer,) = put(bench, 1, status="customer")
    run = bench.work(
        proposed(bench, "record_bulk_update", filter=LEADS, values={"status": "former"})
    )
    assert run.state == "applied", run
    assert {one["id"]: one["status"] for one in rows(bench)} == {
        **dict.fromkeys(leads, "former"),
        customer: "customer",
    }
    assert {one["id"]: one["version"] for one in rows(bench)}[customer] == 1


def test_a_dry_run_shows_every_row_before_and_after_and_makes_no_run(bench: Bench) -> None:
    leads = put(bench, 2, balance=5)
    shown = change(bench, "record_bulk_update", filter=LEADS, values={"balance": 7}, dry_run=True)
    assert shown["outcome"] == "planned"
    assert sorted(shown["result"]["rows"]["changes"], key=lambda one: str(one["id"])) == [
        {"id": one, "version": 1, "before": {"balance": 5}, "after": {"balance": 7}}
        for one in sorted(leads)
    ]
    assert bench.ask("run_list", ADMIN, kind="change_records")["result"]["runs"] == []
    assert {one["balance"] for one in rows(bench)} == {5}


def test_what_the_asker_may_not_see_is_not_shown_to_them_either(bench: Bench) -> None:
    put(bench, 1, email="ada@example.com")
    shown = change(bench, "record_bulk_delete", filter=LEADS, dry_run=True)
    (whole,) = shown["result"]["rows"]["changes"]
    assert whole["before"]["email"] == "ada@example.com"


@pytest.mark.parametrize("name", ["email", "none"])
@pytest.mark.parametrize("place", ["values", "filter"])
def test_a_field_that_the_asker_may_not_read_is_as_unknown_as_one_that_is_not_there(
    bench: Bench, name: str, place: str
) -> None:
    asked: dict[str, Any] = {"filter": LEADS, "values": {"balance": 1}}
    asked[place] = {
        "values": {name: "b@example.com"},
        "filter": {"op": "eq", "field": name, "value": "b@example.com"},
    }[place]
    whole = {"tenant": TENANT, "collection": "contacts", "idempotency_key": fresh_key(), **asked}
    told = bench.bad_input("record_bulk_update", SUPPORT, **whole)
    assert told.replace(name, "…") in ("values.…: unknown field", "filter.field: unknown field")


def test_no_value_of_a_row_stands_in_the_plan(bench: Bench) -> None:
    put(bench, 1, company="Eckert-Mauchly", email="grace@example.com")
    run = bench.work(proposed(bench, "record_bulk_delete", filter=LEADS))
    assert run.state == "applied"
    assert "Mauchly" not in str(run.plan)
    assert "grace@" not in str(run.plan)


def test_more_rows_than_one_change_may_touch_are_refused_at_once(bench: Bench) -> None:
    put(bench, 101)
    answer = change(bench, "record_bulk_delete", filter=LEADS)
    assert (answer["outcome"], answer["code"]) == ("refused", "too_many_rows")


def test_a_large_change_waits_for_an_approval_of_these_rows_at_these_versions(
    bench: Bench,
) -> None:
    ids = put(bench, 21)
    run_id = proposed(bench, "record_bulk_update", filter=LEADS, values={"status": "former"})
    run = bench.work(run_id)
    assert run.state == "awaiting_approval", run
    assert run.plan_facts == {"change_rows": 21, "change_groups": [], "change_money_max": 0}
    rows_part = planned_rows(run)
    assert (rows_part["filter"], rows_part["values"]) == (LEADS, {"status": "former"})
    bench.world.forge(run, seed=bench.world.template.approver_seed)
    assert bench.work(run_id).state == "applied"
    assert {one["status"] for one in rows(bench)} == {"former"}
    assert len(ids) == 21


def test_an_approved_change_of_rows_that_moved_on_changes_none_of_them(bench: Bench) -> None:
    ids = put(bench, 21)
    run_id = proposed(bench, "record_bulk_update", filter=LEADS, values={"status": "former"})
    run = bench.work(run_id)
    change(bench, "record_update", id=ids[0], version=1, values={"company": "Other"})
    bench.world.forge(run, seed=bench.world.template.approver_seed)
    run = bench.work(run_id)
    assert (run.state, run.reason) == ("compensated", "stale"), run
    assert {one["status"] for one in rows(bench)} == {"lead"}


def test_a_waiting_change_keeps_no_lifecycle_of_its_tenant_waiting(bench: Bench) -> None:
    put(bench, 21)
    waiting = bench.work(proposed(bench, "record_bulk_delete", filter=LEADS))
    assert waiting.state == "awaiting_approval"
    bench.do("tenant_suspend", reason="operator")
    bench.world.forge(waiting, seed=bench.world.template.approver_seed)
    run = bench.work(waiting.id)
    assert (run.state, run.reason) == ("discarded", "access_suspended"), run


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("record_create", {"values": contact(balance=1_000_001)}),
        ("record_update", {"version": 1, "values": {"balance": -1_000_001}}),
        ("record_delete", {"version": 1}),
    ],
)
def test_one_record_with_much_money_becomes_a_run_that_waits(
    bench: Bench, tool: str, arguments: dict[str, Any]
) -> None:
    if tool == "record_update":
        arguments = {"id": put(bench, 1)[0], **arguments}
    if tool == "record_delete":
        arguments = {"id": _heavy(bench), **arguments}
    before = rows(bench)
    shown = change(bench, tool, dry_run=True, **arguments)
    assert shown["outcome"] == "planned"
    assert "approval" in shown["message"]
    key = fresh_key()
    run_id = proposed(bench, tool, idempotency_key=key, **arguments)
    run = bench.work(run_id)
    assert run.state == "awaiting_approval", run
    assert rows(bench) == before
    bench.world.forge(run, seed=bench.world.template.approver_seed)
    assert bench.work(run_id).state == "applied"
    assert rows(bench) != before
    again = change(bench, tool, idempotency_key=key, **arguments)
    assert again["outcome"] == "done", again


def _heavy(bench: Bench) -> str:
    run = bench.work(proposed(bench, "record_create", values=contact(balance=2_000_000)))
    bench.world.forge(run, seed=bench.world.template.approver_seed)
    assert bench.work(run.id).state == "applied"
    return str(rows(bench)[0]["id"])


@pytest.mark.parametrize("tool", ["record_bulk_update", "record_bulk_delete"])
def test_a_run_of_changes_is_taken_back_to_exactly_what_was(bench: Bench, tool: str) -> None:
    put(bench, 3, notes="as it was", company="Analytical")
    before = rows(bench)
    values: dict[str, Any] = {"values": {"status": "former", "notes": None}}
    arguments = values if tool == "record_bulk_update" else {}
    run = bench.work(proposed(bench, tool, filter=LEADS, **arguments))
    changed = rows(bench)
    assert changed != before
    shown = undo(bench, run.id, dry_run=True)
    assert [one["id"] for one in shown["result"]["rows"]["changes"]] == sorted(
        one["id"] for one in before
    )
    taken_back = bench.work(undo(bench, run.id)["run_id"])
    assert taken_back.state == "applied", taken_back
    assert without_versions(rows(bench)) == without_versions(before)
    assert all(
        new["version"] > old["version"] for new, old in zip(rows(bench), before, strict=True)
    )
    assert undo(bench, run.id)["code"] == "undo_gone"
    again = bench.work(undo(bench, taken_back.id)["run_id"])
    assert again.state == "applied"
    assert without_versions(rows(bench)) == without_versions(changed)


def test_what_has_changed_since_is_not_taken_back(bench: Bench) -> None:
    (row_id, _) = put(bench, 2)
    run = bench.work(proposed(bench, "record_bulk_update", filter=LEADS, values={"balance": 9}))
    change(bench, "record_update", id=row_id, version=2, values={"company": "Other"})
    assert undo(bench, run.id)["code"] == "stale"


@pytest.mark.parametrize("other", ["another_tenants", "of_another_kind", "absent"])
def test_only_a_run_of_changes_of_this_tenant_can_be_taken_back(bench: Bench, other: str) -> None:
    put(bench, 1)
    run = bench.work(proposed(bench, "record_bulk_update", filter=LEADS, values={"balance": 9}))
    asked = {
        "another_tenants": {"tenant": "globex", "run_id": run.id},
        "of_another_kind": {"run_id": bench.do("tenant_suspend", reason="operator").id},
        "absent": {"run_id": "0" * 32},
    }[other]
    assert undo(bench, **{"run_id": "", **asked})["outcome"] == "not_found"


@pytest.mark.slice_of(3)
@pytest.mark.parametrize("point", FORWARD)
def test_a_worker_that_dies_at_any_boundary_changes_each_row_once(bench: Bench, point: str) -> None:
    put(bench, 2)
    run_id = proposed(bench, "record_bulk_update", filter=LEADS, values={"balance": 9})
    bench.work_until_killed(run_id, point)
    assert bench.work(run_id).state == "applied"
    assert [(one["balance"], one["version"]) for one in rows(bench)] == [(9, 2)] * 2


def test_a_change_that_fails_behind_its_effect_is_put_back(bench: Bench) -> None:
    put(bench, 2)
    before = rows(bench)
    run_id = proposed(bench, "record_bulk_delete", filter=LEADS)
    run = bench.work(run_id, "change_records.change.done")
    assert run.state == "compensated", run
    assert without_versions(rows(bench)) == without_versions(before)


def test_the_same_call_again_finds_its_run(bench: Bench) -> None:
    put(bench, 2)
    asked: dict[str, Any] = {
        "filter": LEADS,
        "values": {"balance": 9},
        "idempotency_key": fresh_key(),
    }
    run_id = proposed(bench, "record_bulk_update", **asked)
    assert proposed(bench, "record_bulk_update", **asked) == run_id
    bench.work(run_id)
    answer = change(bench, "record_bulk_update", **asked)
    assert (answer["outcome"], answer["result"]["changed"]) == ("done", 2)


def test_a_filter_that_finds_nothing_changes_nothing(bench: Bench) -> None:
    run = bench.work(proposed(bench, "record_bulk_delete", filter=LEADS))
    assert run.state == "applied"
    assert rows(bench) == []
