"""Seats as they are called for: assigned once, never over, masked, refused with what would lift it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, select

from control_plane.billing import seat_store
from control_plane.domain.canonical import instant
from control_plane.domain.terms import Terms
from control_plane.store import tables
from control_plane.store.billing_tables import billing_account
from control_plane.store.schema import METADATA
from control_plane.store.seat_tables import seat
from tests.support.approval_world import TENANT
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import ADMIN, SUPPORT, Bench

VIEWER = "vic"
ADA, BOB, CYD, DAN = (f"{name}@example.com" for name in ("ada", "bob", "cyd", "dan"))


@pytest.fixture(autouse=True)
def three_seats(bench: Bench) -> None:
    """The tenant is on the sample's free plan, and somebody may only look."""
    bench.world.alter(tables.subscription, tables.subscription.c.tenant == TENANT, plan="free")
    bench.world.grant(VIEWER, "viewer", actor="vic-bot")


def assign(bench: Bench, holder: str, who: str = SUPPORT, **more: Any) -> dict[str, Any]:
    asked = {"tenant": TENANT, "holder": holder, "idempotency_key": fresh_key(), **more}
    return bench.ask("seat_assign", who, **asked)


def release(bench: Bench, holder: str, who: str = SUPPORT, **more: Any) -> dict[str, Any]:
    asked = {"tenant": TENANT, "holder": holder, "idempotency_key": fresh_key(), **more}
    return bench.ask("seat_release", who, **asked)


def listed(bench: Bench, who: str = SUPPORT, **more: Any) -> dict[str, Any]:
    answered = bench.ask("seat_list", who, tenant=TENANT, **more)
    assert answered["outcome"] == "done", answered
    result: dict[str, Any] = answered["result"]
    return result


def shut(bench: Bench, access: str) -> None:
    here = tables.tenant.c.id == TENANT
    reasons = ["operator"]
    bench.world.alter(
        tables.tenant, here, access_mode=access, state="suspended", suspend_reasons=reasons
    )


def bill(bench: Bench, **values: Any) -> None:
    """Write how the tenant's subscription stands with money."""
    free: dict[str, Any] = {
        "collection_paused": False,
        "never_suspend": False,
        "running": [],
        "gates": [],
    }
    with bench.world.store.write() as connection:
        connection.execute(billing_account.insert().values(tenant=TENANT, **{**free, **values}))


def rows(bench: Bench) -> int:
    with bench.world.store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(seat)).scalar_one())


# assigning and releasing -----------------------------------------------------------------------


def test_a_seat_is_assigned_listed_and_released(bench: Bench) -> None:
    now = instant(bench.world.clock.now())
    told = assign(bench, ADA)
    counts = {"size": 3, "assigned": 1, "reserved": 0, "free": 2}
    assert told["outcome"] == "done"
    assert told["result"] == {"tenant": TENANT, "holder": ADA, "new": True, **counts}
    line = {"holder": ADA, "state": "assigned", "assigned_at": now, "reserved_until": None}
    assert listed(bench) == {"tenant": TENANT, **counts, "seats": [line], "next_after": None}
    gone = release(bench, ADA)
    free = {"size": 3, "assigned": 0, "reserved": 0, "free": 3}
    assert gone["result"] == {"tenant": TENANT, "holder": ADA, "released": True, **free}
    assert listed(bench)["seats"] == []


def test_the_same_holder_again_takes_no_second_seat(bench: Bench) -> None:
    assert assign(bench, ADA)["result"]["new"]
    again = assign(bench, ADA, ADMIN)
    assert (again["outcome"], again["result"]["new"]) == ("done", False)
    assert again["result"]["assigned"] == 1


def test_what_nobody_holds_is_released_without_effect(bench: Bench) -> None:
    told = release(bench, ADA)
    assert (told["outcome"], told["result"]["released"]) == ("done", False)


def test_a_full_pool_is_refused_with_rule_and_what_would_lift_it(bench: Bench) -> None:
    for holder in (ADA, BOB, CYD):
        assign(bench, holder)
    for dry_run in (True, False):
        told = assign(bench, DAN, dry_run=dry_run)
        helpful = told.pop("next_tools")
        assert {"seat_list", "seat_release", "subscription_get"} <= set(helpful)
        assert told == {
            "outcome": "refused",
            "message": "Every seat is taken. Release one, or change to a larger plan.",
            "code": "seats_full",
            "rule": "seats.never_over",
            "fact": "seats",
        }
    assert assign(bench, ADA)["outcome"] == "done"
    release(bench, BOB)
    assert assign(bench, DAN)["result"]["free"] == 0
    assert rows(bench) == 3


def test_a_seat_that_was_taken_between_decision_and_effect_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for holder in (ADA, BOB):
        assign(bench, holder)
    store, write = bench.world.store, bench.world.store.write
    now = bench.world.clock.now()

    def raced(scope: str | None = None) -> Any:
        monkeypatch.setattr(store, "write", write)
        with write(TENANT) as connection:
            seat_store.assign(connection, TENANT, CYD, size=3, now=now, by="another")
        return write(scope)

    monkeypatch.setattr(store, "write", raced)
    told = assign(bench, DAN)
    assert (told["outcome"], told["code"]) == ("refused", "seats_full")
    assert rows(bench) == 3


def test_another_seat_that_was_taken_meanwhile_is_no_reason_to_fail(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, write = bench.world.store, bench.world.store.write
    now = bench.world.clock.now()

    def raced(scope: str | None = None) -> Any:
        monkeypatch.setattr(store, "write", write)
        with write(TENANT) as connection:
            seat_store.assign(connection, TENANT, BOB, size=3, now=now, by="another")
        return write(scope)

    monkeypatch.setattr(store, "write", raced)
    told = assign(bench, ADA)
    assert (told["outcome"], told["result"]["assigned"]) == ("done", 2)


def test_a_reserved_seat_counts_and_is_shown_until_it_is_over(bench: Bench) -> None:
    now = bench.world.clock.now()
    until = now + timedelta(hours=2)
    with bench.world.store.write(TENANT) as connection:
        seat_store.reserve(connection, TENANT, ADA, until, size=3, now=now, by="x")
    told = listed(bench)
    assert (told["reserved"], told["free"]) == (1, 2)
    assert told["seats"][0]["state"] == "reserved"
    assert told["seats"][0]["reserved_until"] == instant(until)
    assert assign(bench, ADA)["result"]["new"] is False
    with bench.world.store.write(TENANT) as connection:
        seat_store.reserve(connection, TENANT, BOB, until, size=3, now=now, by="x")
    bench.world.clock.advance(timedelta(hours=2))
    assert [one["holder"] for one in listed(bench)["seats"]] == [ADA]


# how many --------------------------------------------------------------------------------------


def test_a_pool_that_became_too_small_is_told_as_it_is_and_only_gives_back(bench: Bench) -> None:
    subscription = tables.subscription.c.tenant == TENANT
    bench.world.alter(tables.subscription, subscription, plan="team")
    for number in range(5):
        assign(bench, f"user-{number}")
    bench.world.alter(tables.subscription, subscription, plan="free")
    told = listed(bench)
    assert (told["size"], told["assigned"], told["free"]) == (3, 5, 0)
    assert assign(bench, ADA)["code"] == "seats_full"
    assert release(bench, "user-0")["outcome"] == "done"
    assert assign(bench, ADA)["code"] == "seats_full"


def test_a_pool_is_as_large_as_what_is_paid_for(bench: Bench) -> None:
    now = bench.world.clock.now()
    terms = Terms(currency="EUR", anchor_at=now, seats=2).model_dump(mode="json")
    bill(bench, terms=terms)
    assert listed(bench)["size"] == 2
    for holder in (ADA, BOB):
        assign(bench, holder)
    told = assign(bench, CYD)
    assert told["code"] == "seats_full"
    # The plan lets one have a third.
    assert told["message"] == "Every seat is taken. Release one, or take more seats."


def test_without_a_subscription_there_is_no_seat_to_be_had(bench: Bench) -> None:
    with bench.world.store.write() as connection:
        connection.execute(tables.subscription.delete())
    assert listed(bench)["size"] == 0
    assert assign(bench, ADA)["code"] == "seats_full"


# whose they are --------------------------------------------------------------------------------


def test_a_holder_is_masked_for_who_may_not_read_persons(bench: Bench) -> None:
    for holder in (ADA, BOB, CYD):
        assign(bench, holder)
    page = listed(bench, VIEWER, limit=2)
    assert [one["holder"] for one in page["seats"]] == [None, None]
    assert page["assigned"] == 3
    rest = listed(bench, VIEWER, limit=2, after=page["next_after"])
    assert [one["holder"] for one in rest["seats"]] == [None]
    assert rest["next_after"] is None
    assert "example" not in str(page) + str(rest)


def test_pages_are_in_the_order_of_holders_and_their_ends_are_sealed(bench: Bench) -> None:
    for holder in (CYD, ADA, BOB):
        assign(bench, holder)
    seen: list[str] = []
    after: str | None = None
    for _ in range(3):
        page = listed(bench, limit=1, **({} if after is None else {"after": after}))
        seen += [one["holder"] for one in page["seats"]]
        after = page["next_after"]
    assert (seen, after) == ([ADA, BOB, CYD], None)
    cursor = listed(bench, limit=1)["next_after"]
    foreign = bench.ask("seat_list", ADMIN, tenant=TENANT, after=cursor)
    assert foreign["outcome"] == "not_found"
    assert bench.ask("seat_list", SUPPORT, tenant=TENANT, after=ADA)["outcome"] == "not_found"


def test_no_row_but_the_seats_own_says_in_clear_who_holds_it(bench: Bench) -> None:
    assign(bench, ADA)
    assign(bench, ADA)
    assign(bench, BOB, dry_run=True)
    listed(bench, limit=1)
    release(bench, ADA)
    assign(bench, ADA)
    with bench.world.store.read() as connection:
        found = [
            table.name
            for table in METADATA.sorted_tables
            for row in connection.execute(select(table))
            if any(name in repr(tuple(row)) for name in (ADA, BOB))
        ]
    assert found == ["seat"]


# what is closed --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("access", "code"), [("read_only", "read_only"), ("none", "access_suspended")]
)
def test_of_a_closed_tenant_seats_are_listed_and_released_and_not_assigned(
    bench: Bench, access: str, code: str
) -> None:
    assign(bench, ADA)
    shut(bench, access)
    for holder in (ADA, BOB):
        told = assign(bench, holder)
        assert (told["outcome"], told["code"], told["fact"]) == ("refused", code, "access_mode")
    shown = listed(bench)["seats"][0]["holder"]
    gone = release(bench, ADA)
    # With nothing left open persons are masked, of seats as of records.
    expected = ADA if access == "read_only" else None
    assert (shown, gone["result"]["holder"]) == (expected, expected)
    assert gone["result"]["released"]


@pytest.mark.parametrize(
    ("level", "code"), [("read_only", "billing_read_only"), ("no_access", "billing_suspended")]
)
def test_debts_close_assigning_at_their_instant_and_a_payment_opens_it(
    bench: Bench, level: str, code: str
) -> None:
    assign(bench, ADA)
    at = bench.world.clock.now() + timedelta(days=1)
    bill(bench, gates=[{"at": instant(at), "level": level}])
    assert assign(bench, BOB)["outcome"] == "done"
    bench.world.clock.advance(timedelta(days=1))
    told = assign(bench, CYD)
    assert (told["outcome"], told["code"], told["fact"]) == ("refused", code, "billing_access")
    expected = ADA if level == "read_only" else None
    assert listed(bench)["seats"][0]["holder"] == expected
    assert release(bench, BOB)["result"]["released"]
    bench.world.alter(billing_account, billing_account.c.tenant == TENANT, gates=[])
    assert assign(bench, CYD)["outcome"] == "done"


def test_a_tenant_that_is_not_active_assigns_no_seat(bench: Bench) -> None:
    bench.world.alter(tables.tenant, tables.tenant.c.id == TENANT, state="resuming")
    assert assign(bench, ADA)["code"] == "tenant_not_active"


# calls -----------------------------------------------------------------------------------------


def test_the_same_call_again_is_answered_and_not_done_again(bench: Bench) -> None:
    key = fresh_key()
    first = assign(bench, ADA, idempotency_key=key)
    assert assign(bench, ADA, idempotency_key=key)["result"] == first["result"]
    assert assign(bench, BOB, idempotency_key=key)["code"] == "idempotency_key_reused"
    gone = release(bench, ADA, idempotency_key=(other := fresh_key()))
    assert release(bench, ADA, idempotency_key=other)["result"] == gone["result"]
    # Whether that call took it stays as it was; the counts are those of now.
    again = assign(bench, ADA, idempotency_key=key)["result"]
    assert (again["new"], again["assigned"]) == (True, 0)


def test_a_dry_run_says_what_would_be_and_changes_nothing(bench: Bench) -> None:
    told = assign(bench, ADA, dry_run=True)
    assert told["outcome"] == "planned"
    assert told["result"] == {"seats": {"change": "assign", "holder": ADA, "new": True}}
    assert rows(bench) == 0
    assign(bench, ADA)
    assert assign(bench, ADA, dry_run=True)["result"]["seats"]["new"] is False
    gone = release(bench, ADA, dry_run=True)
    assert gone["result"] == {"seats": {"change": "release", "holder": ADA, "released": True}}
    assert rows(bench) == 1


@pytest.mark.parametrize(
    "holder", ["", "a b", " ada", "ada\n", "a\x00b", "a\u00a0b", "x" * 201, "e\u0301", 7]
)
def test_a_holder_that_is_no_plain_name_is_bad_input(bench: Bench, holder: object) -> None:
    for tool in ("seat_assign", "seat_release"):
        asked = {"tenant": TENANT, "holder": holder, "idempotency_key": fresh_key()}
        told = bench.bad_input(tool, SUPPORT, **asked)
        assert told.startswith("holder: ")
        assert not holder or str(holder) not in told


@pytest.mark.parametrize("holder", ["é", "用户", "x" * 200, "ADA@example.com", "9f86d081"])
def test_a_holder_is_kept_as_it_is_written(bench: Bench, holder: str) -> None:
    assign(bench, ADA)
    assert assign(bench, holder)["result"]["new"]
    assert holder in [one["holder"] for one in listed(bench)["seats"]]


def test_a_foreign_tenants_seats_are_as_absent_as_one_that_never_was(bench: Bench) -> None:
    bench.world.put_tenant("umbrella", state="active")
    with bench.world.store.write() as connection:
        for holder in (ADA, BOB):
            now = bench.world.clock.now()
            seat_store.assign(connection, "umbrella", holder, size=9, now=now, by="x")
    for tool in ("seat_list", "seat_assign", "seat_release"):
        more = {} if tool == "seat_list" else {"holder": ADA}
        answers: list[dict[str, Any]] = []
        costs: list[int] = []
        for tenant in ("umbrella", "never-was"):
            statements: list[object] = []

            def count(*_: Any, statements: list[object] = statements) -> None:
                statements.append(None)

            asked = {"tenant": tenant, **more}
            if more:
                asked["idempotency_key"] = fresh_key()
            bench.ask(tool, SUPPORT, **asked)
            event.listen(Engine, "before_cursor_execute", count)
            try:
                answers.append(bench.ask(tool, SUPPORT, **asked))
            finally:
                event.remove(Engine, "before_cursor_execute", count)
            costs.append(len(statements))
        assert answers[0] == answers[1]
        assert answers[0]["outcome"] == "not_found"
        assert costs[0] == costs[1]
