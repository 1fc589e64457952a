"""What is told of tenants' databases: which there are, how they stand, and where, to whom."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.domain.canonical import instant
from control_plane.domain.database import DATABASE, Database
from control_plane.store import rows
from control_plane.store.database_tables import database
from tests.support.approval_world import OTHER, REQUESTER, TENANT
from tests.support.lifecycle_bench import ADMIN, SUPPORT, Bench

AUDITOR, VIEWER = "audrey", "vera"


def ask(bench: Bench, tool: str, who: str = REQUESTER, **arguments: Any) -> dict[str, Any]:
    """The result of a call that is done."""
    answered = bench.ask(tool, who, **arguments)
    assert answered["outcome"] == "done", answered
    return dict(answered["result"])


def put(bench: Bench, number: int, tenant: str = TENANT, **values: Any) -> Database:
    """Write a database past every rule."""
    now = instant(bench.world.clock.now())
    given: dict[str, Any] = {
        "id": f"{number:032x}",
        "tenant": tenant,
        "server": "main",
        "isolation": "pooled",
        "slot": number,
        "purpose": "clone",
        "state": "available",
        "run_id": "0" * 32,
        "made_at": now,
        "changed_at": now,
    }
    made = Database.model_validate(given | values)
    with bench.world.store.write() as connection:
        rows.put(connection, database, made)
    return made


def test_a_tenants_database_is_told_with_what_may_be_done(bench: Bench) -> None:
    (told,) = ask(bench, "database_list")["databases"]
    assert (told["tenant"], told["purpose"], told["isolation"]) == (TENANT, "serving", "pooled")
    assert (told["server"], told["slot"], told["state"]) == ("main", 0, "available")
    assert told["events"] == list(DATABASE.legal("available"))


def test_one_of_before_there_were_rows_is_told_as_it_must_be(bench: Bench) -> None:
    (known,) = ask(bench, "database_list")["databases"]
    with bench.world.store.write() as connection:
        connection.execute(database.delete())
    (told,) = ask(bench, "database_list")["databases"]
    assert (told["state"], told["purpose"], told["made_at"]) == ("available", "serving", None)
    assert told["run_id"] is None
    assert ask(bench, "database_get", tenant=TENANT)["database"] == told["database"]
    assert told["isolation"] == known["isolation"]
    bench.do("tenant_suspend", reason="operator")
    (told,) = ask(bench, "database_list")["databases"]
    assert (told["state"], "start" in told["events"]) == ("stopped", True)


def test_where_it_stands_is_for_who_runs_tenants_or_audits_them(bench: Bench) -> None:
    bench.world.grant(AUDITOR, "auditor", actor="audrey-bot")
    bench.world.grant(VIEWER, "viewer", actor="vera-bot")
    for who in (REQUESTER, ADMIN, AUDITOR):
        (told,) = ask(bench, "database_list", who)["databases"]
        assert (told["server"], told["slot"]) == ("main", 0), who
        assert ask(bench, "database_get", who, tenant=TENANT)["schema_digest"], who
    for who in (SUPPORT, VIEWER):
        (told,) = ask(bench, "database_list", who)["databases"]
        assert (told["server"], told["slot"], told["state"]) == (None, None, "available"), who
        told = ask(bench, "database_get", who, tenant=TENANT)
        assert (told["server"], told["schema_digest"], told["reachable"]) == (None, None, True), who


def test_one_is_read_with_its_records(bench: Bench) -> None:
    assert ask(bench, "database_get", tenant=TENANT)["records"] == 0
    bench.create()
    told = ask(bench, "database_get", tenant=TENANT)
    assert (told["records"], told["verified_backup"], told["handover_version"]) == (1, None, 1)


def test_one_that_does_not_answer_is_told_all_the_same(bench: Bench) -> None:
    made = put(bench, 3, server="elsewhere")
    told = ask(bench, "database_get", tenant=TENANT, database=made.id)
    assert (told["reachable"], told["records"], told["purpose"]) == (False, None, "clone")


def test_a_database_of_another_tenant_is_not_there(bench: Bench) -> None:
    other = put(bench, 4, OTHER)
    for asked in (
        {"tenant": TENANT, "database": other.id},
        {"tenant": OTHER},
        {"tenant": "nobody"},
    ):
        assert bench.ask("database_get", **asked)["outcome"] == "not_found", asked


def test_what_is_deleted_is_not_told(bench: Bench) -> None:
    made = put(bench, 5, state="deleted")
    assert len(ask(bench, "database_list")["databases"]) == 1
    asked = bench.ask("database_get", tenant=TENANT, database=made.id)
    assert asked["outcome"] == "not_found"


def test_pages_hold_each_database_once_the_serving_one_first(bench: Bench) -> None:
    for number in range(1, 8):
        put(bench, number, purpose="former" if number == 4 else "clone")
    seen: list[dict[str, Any]] = []
    after = None
    for _ in range(9):
        page = ask(bench, "database_list", limit=3, after=after)
        seen += page["databases"]
        after = page["next_after"]
        if after is None:
            break
    assert seen[0]["purpose"] == "serving"
    assert len({one["database"] for one in seen}) == len(seen) == 8
    formers = ask(bench, "database_list", purpose="former")["databases"]
    assert [one["slot"] for one in formers] == [4]
    assert ask(bench, "database_list", state="failed")["databases"] == []


def test_a_cursor_is_good_for_its_own_question_and_caller(bench: Bench) -> None:
    put(bench, 1)
    after = ask(bench, "database_list", limit=1)["next_after"]
    for who, asked in ((SUPPORT, {}), (REQUESTER, {"state": "available"})):
        answered = bench.ask("database_list", who, after=after, **asked)
        assert answered["outcome"] == "not_found"


@pytest.mark.parametrize("asked", [{"tenant": OTHER}, {"tenant": "nobody"}])
def test_what_is_outside_the_grant_lists_nothing(bench: Bench, asked: dict[str, str]) -> None:
    put(bench, 1, OTHER)
    assert ask(bench, "database_list", **asked) == {"databases": [], "next_after": None}
