"""What a plan's `records_max` refuses, and what it never does. Real engine, store and databases."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
from sqlalchemy import delete, select, update

from control_plane.data.tables import COUNT, collection_table
from control_plane.domain.canonical import Json
from control_plane.store import tables
from tests.support.approval_world import TENANT
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import ADMIN, SUPPORT, Bench
from tests.support.offboarding import found, offboard
from tests.support.onboarding import contact

# What the tenant's plan `team` allows.
MOST: Final = 100_000
LEADS: Final[dict[str, Json]] = {"op": "eq", "field": "status", "value": "lead"}


def counted(bench: Bench) -> int:
    with bench.world.ports.databases.main.reading(TENANT, "pooled") as connection:
        mine = select(COUNT.c.records).where(COUNT.c.tenant_id == TENANT)
        return int(connection.execute(mine).scalar_one())


def room(bench: Bench, left: int) -> None:
    """As if the tenant had so many records that just these may be added."""
    with bench.world.ports.databases.main.transaction(TENANT, "pooled") as connection:
        mine = update(COUNT).where(COUNT.c.tenant_id == TENANT)
        connection.execute(mine.values(records=MOST - left))


def change(bench: Bench, tool: str, who: str = ADMIN, **arguments: Any) -> dict[str, Any]:
    asked = {"tenant": TENANT, "collection": "contacts", "idempotency_key": fresh_key()}
    return bench.ask(tool, who, **{**asked, **arguments})


def created(bench: Bench) -> dict[str, Any]:
    answered = bench.create()
    assert answered["outcome"] == "done", answered
    record: dict[str, Any] = answered["result"]["record"]
    return record


def removed(bench: Bench) -> str:
    """The run that has removed every record by a filter."""
    run = bench.work(change(bench, "record_bulk_delete", filter=LEADS)["run_id"])
    assert run.state == "applied", run
    return run.id


def undo(bench: Bench, run_id: str) -> dict[str, Any]:
    return bench.ask(
        "record_undo", ADMIN, tenant=TENANT, run_id=run_id, idempotency_key=fresh_key()
    )


def test_the_last_record_is_added_and_the_next_one_refused_with_what_says_so(bench: Bench) -> None:
    room(bench, 1)
    created(bench)
    answered = bench.create()
    assert answered["outcome"] == "refused"
    assert (answered["code"], answered["rule"], answered["fact"]) == (
        "records_quota",
        "catalog.quotas.records_max",
        "records",
    )
    assert str(MOST) in answered["message"]
    assert len(found(bench)) == 1
    assert counted(bench) == MOST


def test_a_refused_call_can_be_made_again_once_there_is_room(bench: Bench) -> None:
    one = created(bench)
    room(bench, 0)
    asked: dict[str, Any] = {"values": contact(), "idempotency_key": fresh_key()}
    assert change(bench, "record_create", **asked)["code"] == "records_quota"
    deleted = change(bench, "record_delete", id=one["id"], version=1)
    assert deleted["outcome"] == "done", deleted
    assert change(bench, "record_create", **asked)["outcome"] == "done"
    again = change(bench, "record_create", **asked)
    assert again["outcome"] == "done"
    assert counted(bench) == MOST


def test_what_is_there_is_changed_however_many_there_are(bench: Bench) -> None:
    one = created(bench)
    room(bench, -5)
    answered = change(bench, "record_update", id=one["id"], version=1, values={"balance": 7})
    assert answered["outcome"] == "done", answered
    assert counted(bench) == MOST + 5


def test_a_change_that_fails_counts_nothing(bench: Bench) -> None:
    one = created(bench)
    assert change(bench, "record_delete", id=one["id"], version=9)["code"] == "stale"
    assert counted(bench) == 1


def test_many_callers_at_once_never_get_past_the_limit(bench: Bench) -> None:
    room(bench, 2)
    with ThreadPoolExecutor(6) as pool:
        answers = [one.result() for one in [pool.submit(bench.create) for _ in range(6)]]
    said = Counter(one.get("code") or one["outcome"] for one in answers)
    # Whom the store kept waiting too long has added nothing either.
    assert said["done"] == len(found(bench)) <= 2
    assert said["records_quota"] >= 1
    assert counted(bench) == MOST - 2 + said["done"]


def test_a_run_that_would_add_one_too_many_is_refused_before_anybody_is_asked(
    bench: Bench,
) -> None:
    room(bench, 0)
    asked = change(bench, "record_create", values=contact(balance=2_000_000))
    run = bench.work(asked["run_id"])
    assert (run.state, run.reason, run.approval_id) == ("failed", "records_quota", None), run


def test_a_run_that_was_approved_is_held_to_the_limit_of_when_it_writes(bench: Bench) -> None:
    run_id = change(bench, "record_create", values=contact(balance=2_000_000))["run_id"]
    run = bench.work(run_id)
    assert run.state == "awaiting_approval", run
    room(bench, 0)
    bench.world.forge(run, seed=bench.world.template.approver_seed)
    run = bench.work(run_id)
    assert (run.state, run.reason) == ("compensated", "records_quota"), run
    assert (found(bench), counted(bench)) == ([], MOST)


def test_many_rows_leave_the_count_together_and_come_back_only_where_there_is_room(
    bench: Bench,
) -> None:
    for _ in range(3):
        created(bench)
    run_id = removed(bench)
    assert counted(bench) == 0
    room(bench, 2)
    refused = bench.work(undo(bench, run_id)["run_id"])
    assert (refused.state, refused.reason) == ("failed", "records_quota"), refused
    room(bench, 3)
    assert bench.work(undo(bench, run_id)["run_id"]).state == "applied"
    assert (len(found(bench)), counted(bench)) == (3, MOST)


def test_what_a_failed_run_removed_is_put_back_past_the_limit(bench: Bench) -> None:
    created(bench)
    run_id = change(bench, "record_bulk_delete", filter=LEADS)["run_id"]
    room(bench, 0)
    run = bench.work(run_id, "change_records.change.done")
    assert run.state == "compensated", run
    assert (len(found(bench)), counted(bench)) == (1, MOST)


def test_a_run_that_added_a_record_and_failed_counts_it_no_more(bench: Bench) -> None:
    run_id = change(bench, "record_create", values=contact(balance=2_000_000))["run_id"]
    bench.world.forge(bench.work(run_id), seed=bench.world.template.approver_seed)
    run = bench.work(run_id, "change_records.change.done")
    assert run.state == "compensated", run
    assert (found(bench), counted(bench)) == ([], 0)


@pytest.mark.slice_of(2)
@pytest.mark.parametrize("change_of", ["plan_gone", "no_subscription"])
def test_without_a_plan_that_says_how_many_none_is_added(bench: Bench, change_of: str) -> None:
    created(bench)
    table = tables.subscription
    with bench.world.store.write() as connection:
        mine = table.c.tenant == TENANT
        if change_of == "plan_gone":
            connection.execute(update(table).where(mine).values(plan_version=99))
        else:
            connection.execute(delete(table).where(mine))
    answered = bench.create()
    assert (answered["outcome"], answered["code"]) == ("refused", "records_quota")
    one = found(bench)[0]
    gone = change(bench, "record_delete", id=one["id"], version=1)
    assert gone["outcome"] == "done", gone


def test_who_may_not_add_a_record_is_not_told_of_the_limit(bench: Bench) -> None:
    room(bench, 0)
    bench.do("tenant_suspend", reason="operator")
    answered = change(bench, "record_create", SUPPORT, values=contact())
    assert answered["outcome"] == "refused"
    assert answered["code"] != "records_quota"
    assert str(MOST) not in str(answered)


@pytest.mark.long
def test_a_tenant_that_comes_back_has_all_its_records_and_their_count(away: Bench) -> None:
    run = away.do("tenant_restore", ADMIN)
    assert run.state == "applied"
    assert counted(away) == len(found(away)) == 2
    with away.world.ports.databases.main.reading(TENANT, "pooled") as connection:
        table = collection_table(away.world.ports.catalog.collections["contacts"])
        assert len(connection.execute(select(table)).all()) == 2


def test_a_tenant_that_is_gone_leaves_no_count(bench: Bench) -> None:
    created(bench)
    offboard(bench)
    with bench.world.ports.databases.main.reading(TENANT, "pooled") as connection:
        assert connection.execute(select(COUNT)).all() == []
