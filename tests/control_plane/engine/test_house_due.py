"""For whom the house has something to ask, found in rows on either engine. Nothing is asked here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from control_plane.domain.canonical import instant
from control_plane.domain.tenant import Tenant
from control_plane.engine.house_clock import HELD
from control_plane.engine.house_due import Wish, wishes
from control_plane.ports import Store
from control_plane.store import rows, tables
from control_plane.store.billing_tables import billing_account
from control_plane.store.database_tables import database
from control_plane.store.infrastructure_tables import stack
from tests.support.ledgers import opened_store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.sweep)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store on each engine."""
    with opened_store(str(request.param), tmp_path, request) as opened:
        yield opened


def put(
    store: Store,
    name: str,
    *,
    state: str = "active",
    reasons: tuple[str, ...] = (),
    subscribed: str = "team",
    subscription_state: str = "active",
    gates: dict[str, datetime] | None = None,
    due_at: datetime | None = None,
) -> None:
    """A tenant with its subscription and, where it has gates, what its debts close and when."""
    made: dict[str, Any] = {
        "id": name,
        "display_name": name,
        "isolation": "pooled",
        "region": "local",
        "plan": "team",
        "state": state,
        "suspend_reasons": frozenset(reasons),
    }
    held = {
        "id": name,
        "tenant": name,
        "plan": subscribed,
        "plan_version": 1,
        "state": subscription_state,
        "cancel_at_period_end": False,
        "version": 1,
    }
    steps = [{"at": instant(at), "level": level} for level, at in (gates or {}).items()]
    account = {
        "tenant": name,
        "collection_paused": False,
        "never_suspend": False,
        "running": [],
        "gates": steps,
        "next_due_at": None if due_at is None else instant(due_at),
    }
    with store.write(name) as connection:
        rows.put(connection, tables.tenant, Tenant.model_validate(made))
        connection.execute(insert(tables.subscription), held)
        connection.execute(insert(billing_account), account)


def found(store: Store, now: datetime = NOW) -> dict[str, Wish]:
    """What would be asked for first, by tenant."""
    first: dict[str, Wish] = {}
    with store.read() as connection:
        for one in wishes(connection, now):
            first.setdefault(one.tenant, one)
    return first


LADDER = {"no_upgrades": NOW - 30 * DAY, "deprovision": NOW}


def test_who_has_come_to_the_last_rung_is_found_from_its_instant_on(store: Store) -> None:
    put(store, "calm")
    put(store, "owing", gates=LADDER, subscription_state="canceled")
    put(store, "gone", gates=LADDER, subscription_state="canceled", state="deprovisioned")
    put(store, "tagged", gates={"no_upgrades": NOW - 30 * DAY}, subscription_state="past_due")
    assert found(store, NOW - timedelta(microseconds=1)) == {}
    (wish,) = found(store).values()
    assert (wish.kind, wish.tenant, wish.tool) == ("offboard", "owing", "tenant_offboard")
    assert wish.since == instant(NOW - 30 * DAY)
    assert wish.command.model_dump() == {"tenant": "owing", "proposed_cancel": False}
    assert wish.cause.reason == "debt_unpaid"
    assert not wish.early


def test_a_subscription_that_goes_on_is_to_end_with_the_tenant(store: Store) -> None:
    put(store, "paused", gates=LADDER, subscription_state="paused", due_at=NOW)
    wish = found(store)["paused"]
    assert wish.command.model_dump()["proposed_cancel"] is True
    assert wish.early


def test_whose_stack_is_on_another_plan_is_found_while_it_is_in_service(store: Store) -> None:
    put(store, "behind", subscribed="pro")
    put(store, "shut", subscribed="pro", state="suspended", reasons=("operator",))
    put(store, "over", subscribed="pro", subscription_state="canceled")
    put(store, "waiting", subscribed="pro", subscription_state="incomplete")
    put(store, "level")
    (wish,) = found(store).values()
    assert (wish.kind, wish.tenant) == ("follow_plan", "behind")
    assert wish.command.model_dump() == {"tenant": "behind", "proposed_plan": "pro"}


def test_what_was_shut_for_a_bill_is_opened_once_nothing_is_closed_any_more(store: Store) -> None:
    put(store, "paid", state="suspended", reasons=("billing",))
    put(store, "security", state="suspended", reasons=("security",))
    put(
        store,
        "owing",
        state="suspended",
        reasons=("billing",),
        subscription_state="unpaid",
        gates={"read_only": NOW - DAY, "deprovision": NOW + DAY},
    )
    (wish,) = found(store).values()
    assert (wish.kind, wish.tenant) == ("resume", "paid")
    assert found(store, NOW + DAY)["owing"].kind == "offboard"


def test_of_one_tenant_one_thing_is_asked_and_the_debt_comes_first(store: Store) -> None:
    put(store, "both", gates=LADDER, subscribed="pro", subscription_state="past_due")
    assert [one.kind for one in found(store).values()] == ["offboard"]


def test_the_runs_that_hold_a_tenant_are_read_on_either_engine(store: Store) -> None:
    with store.read() as connection:
        assert connection.execute(HELD).all() == []


# stacks that nobody has looked at -------------------------------------------------------------------


def stands(store: Store, name: str, seen_at: datetime, **more: Any) -> None:
    """A tenant's stack that was applied long ago, and looked at then."""
    made: dict[str, Any] = {
        "tenant": name,
        "cloud": "aws",
        "isolation": "pooled",
        "region": "eu-west-1",
        "plan": "team",
        "size": "small",
        "state": "stands",
        "run_id": "run",
        "plan_digest": "",
        "resources": [],
        "outputs": {},
        "applied_at": instant(NOW - 90 * DAY),
        "checked_at": instant(seen_at),
    }
    with store.write(name) as connection:
        connection.execute(insert(stack), made | more)


def test_a_stack_in_a_cloud_is_looked_at_a_day_after_the_last_look(store: Store) -> None:
    for name, seen_at in (("old", NOW - DAY), ("new", NOW - DAY + timedelta(seconds=1))):
        put(store, name)
        stands(store, name, seen_at)
    asked = found(store)
    assert set(asked) == {"old"}
    wish = asked["old"]
    assert (wish.kind, wish.tool, wish.since) == ("drift_check", "drift_check", instant(NOW - DAY))


def test_a_stack_that_was_never_looked_at_counts_from_its_apply(store: Store) -> None:
    for name, applied_at in (("old", NOW - DAY), ("new", NOW)):
        put(store, name)
        stands(store, name, NOW, checked_at=None, applied_at=instant(applied_at))
    assert set(found(store)) == {"old"}


@pytest.mark.parametrize("more", [{"cloud": "local"}, {"state": "gone"}])
def test_what_nobody_else_reaches_or_is_gone_is_not_looked_at(
    store: Store, more: dict[str, Any]
) -> None:
    put(store, "old")
    stands(store, "old", NOW - 9 * DAY, **more)
    assert found(store) == {}


def test_a_stack_of_a_tenant_out_of_service_waits(store: Store) -> None:
    put(store, "old", state="suspended", reasons=("operator",))
    stands(store, "old", NOW - 9 * DAY)
    assert found(store) == {}


DRIFT = {"resources": [{"address": "aws_vpc.a"}, {"address": "aws_vpc.b"}]}


def test_a_stack_that_drifted_is_looked_at_again_before_anything_is_repaired(store: Store) -> None:
    put(store, "old")
    stands(store, "old", NOW - 2 * DAY, state="drifted", drift=DRIFT)
    assert found(store)["old"].kind == "drift_check"


def test_what_the_last_look_found_is_to_be_repaired(store: Store) -> None:
    for name, more in (("drifted", {"state": "drifted", "drift": DRIFT}), ("well", {})):
        put(store, name)
        stands(store, name, NOW, **more)
    (wish,) = found(store).values()
    assert (wish.kind, wish.tool, wish.tenant) == ("drift_repair", "drift_repair", "drifted")
    assert (wish.since, wish.cause.reason) == (instant(NOW), "stack_drifted")
    assert wish.cause.told.endswith("found 2 resources otherwise than applied.")
    assert wish.command.model_dump() == {"tenant": "drifted"}


def test_of_a_tenant_out_of_service_nothing_is_repaired(store: Store) -> None:
    put(store, "old", state="suspended", reasons=("operator",))
    stands(store, "old", NOW, state="drifted", drift=DRIFT)
    assert found(store) == {}


# What was left by a move --------------------------------------------------------------------------


def left(store: Store, name: str, until: datetime, **more: object) -> None:
    """A database that the tenant has left, kept until then."""
    made = {
        "id": f"db-{name}",
        "tenant": name,
        "server": "main",
        "isolation": "pooled",
        "slot": 0,
        "purpose": "former",
        "state": "available",
        "run_id": "run-1",
        "made_at": instant(NOW),
        "changed_at": instant(NOW),
        "kept_until": instant(until),
        "version": 1,
    }
    with store.write() as connection:
        connection.execute(insert(database), made | more)


def test_what_was_left_goes_once_its_time_is_over(store: Store) -> None:
    for name, until in (("over", NOW), ("kept", NOW + DAY)):
        put(store, name)
        left(store, name, until)
    (wish,) = found(store).values()
    assert (wish.kind, wish.tool, wish.tenant) == (
        "finalise_move",
        "tenant_move_finalise",
        "over",
    )
    assert (wish.since, wish.cause.reason) == ("db-over", "way_back_over")
    assert wish.command.model_dump() == {"tenant": "over", "database": "db-over"}


@pytest.mark.parametrize(
    "more",
    [{"purpose": "serving"}, {"purpose": "clone"}, {"state": "deleting"}, {"state": "deleted"}],
    ids=str,
)
def test_only_a_former_one_that_rests_is_removed(store: Store, more: dict[str, object]) -> None:
    put(store, "over")
    left(store, "over", NOW, **more)
    assert found(store) == {}


def test_of_a_tenant_that_is_under_way_nothing_is_removed(store: Store) -> None:
    put(store, "over", state="migrating")
    left(store, "over", NOW)
    assert found(store) == {}


@pytest.mark.parametrize("state", ["active", "suspended"])
def test_who_owes_is_taken_away_once_what_a_move_has_left_elsewhere_is_gone(
    store: Store, state: str
) -> None:
    put(store, "owing", gates=LADDER, state=state, reasons=("billing",))
    left(store, "owing", NOW + DAY, isolation="silo")
    assert found(store) == {}
    assert found(store, NOW + DAY)["owing"].kind == "finalise_move"
    with store.write("owing") as connection:
        rows.change(connection, database, database.c.tenant == "owing", state="deleted")
    assert found(store, NOW + DAY)["owing"].kind == "offboard"


@pytest.mark.parametrize(
    ("state", "isolation"), [("active", "pooled"), ("deprovision_failed", "silo")]
)
def test_what_goes_with_the_tenant_or_cannot_go_before_holds_nothing_up(
    store: Store, state: str, isolation: str
) -> None:
    put(store, "owing", gates=LADDER, state=state, subscription_state="canceled")
    left(store, "owing", NOW + DAY, isolation=isolation)
    assert found(store)["owing"].kind == "offboard"
