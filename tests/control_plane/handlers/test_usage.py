"""Usage and entitlements as they are called for: recorded once, told exactly, refused to nobody for a debt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, select

from control_plane.billing import usage_store
from control_plane.billing.quota_store import Quotas
from control_plane.billing.usage_terms import schedule_of
from control_plane.domain.canonical import instant
from control_plane.domain.entitlement import MeteredEntitlement
from control_plane.domain.plans import parse_plans
from control_plane.domain.terms import Terms, Unbilled
from control_plane.facts.load import subscription_row
from control_plane.store import tables
from control_plane.store.billing_tables import billing_account
from control_plane.store.usage_tables import usage_event
from policies.gate import Gate
from tests.support.approval_world import REQUESTER, TENANT
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import ADMIN, SUPPORT, Bench, Onboarded, make_bench

PLANS = Path(__file__).parents[2] / "support" / "metered_catalog" / "plans.yaml"
VIEWER = "vic"


@pytest.fixture
def bench(tmp_path: Path, gate: Gate, standing: Onboarded) -> Iterator[Bench]:
    """A world whose tenant is on a plan with entitlements; somebody may only look."""
    made = make_bench(standing, tmp_path / "world", gate)
    plans = parse_plans(PLANS.read_text(), "plans.yaml")
    applied: Any = made.world.ports.catalog
    world = made.world.with_catalog(replace(applied, plans=plans))
    world.alter(tables.subscription, tables.subscription.c.tenant == TENANT, plan="free")
    world.grant(VIEWER, "viewer", actor="vic-bot")
    yield Bench(world)
    world.close()


def now(bench: Bench) -> datetime:
    return bench.world.clock.now()


def used(bench: Bench, identity: str, **more: Any) -> dict[str, Any]:
    return {
        "source": "gateway",
        "id": identity,
        "meter": "api_calls",
        "quantity": 1,
        "occurred_at": instant(now(bench)),
        **more,
    }


def record(bench: Bench, *events: dict[str, Any], **more: Any) -> dict[str, Any]:
    asked = {"tenant": TENANT, "events": [*events], "idempotency_key": fresh_key(), **more}
    return bench.ask("usage_record", REQUESTER, **asked)


def recorded(bench: Bench, *events: dict[str, Any]) -> dict[str, Any]:
    answered = record(bench, *events)
    assert answered["outcome"] == "done", answered
    result: dict[str, Any] = answered["result"]
    return result


def check(bench: Bench, feature: str, who: str = VIEWER, **more: Any) -> dict[str, Any]:
    answered = bench.ask("entitlement_check", who, tenant=TENANT, feature=feature, **more)
    assert answered["outcome"] == "done", answered
    result: dict[str, Any] = answered["result"]
    return result


def summary(bench: Bench, **more: Any) -> dict[str, Any]:
    answered = bench.ask("usage_summary", VIEWER, tenant=TENANT, **more)
    assert answered["outcome"] == "done", answered
    result: dict[str, Any] = answered["result"]
    return result


def calls(bench: Bench, **more: Any) -> dict[str, Any]:
    line: dict[str, Any] = next(
        one for one in summary(bench, **more)["meters"] if one["meter"] == "api_calls"
    )
    return line


def stand(bench: Bench, **values: Any) -> None:
    bench.world.alter(tables.subscription, tables.subscription.c.tenant == TENANT, **values)


def kept(bench: Bench) -> int:
    with bench.world.store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(usage_event)).scalar_one())


# recording -------------------------------------------------------------------------------------


def test_events_are_recorded_and_counted_once(bench: Bench) -> None:
    first, second = used(bench, "1", quantity="2.5"), used(bench, "2")
    assert recorded(bench, first, second) == {
        "accepted": 2,
        "duplicates": 0,
        "rejected": 0,
        "rejections": [],
    }
    assert recorded(bench, first, used(bench, "3"))["duplicates"] == 1
    assert calls(bench)["total"] == "4.5"


def test_each_event_that_is_not_accepted_is_told_by_place_and_code(bench: Bench) -> None:
    recorded(bench, used(bench, "1"))
    told = recorded(
        bench,
        used(bench, "2"),
        used(bench, "3", meter="unheard"),
        used(bench, "4", occurred_at=instant(now(bench) + timedelta(hours=1))),
        used(bench, "5", occurred_at=instant(now(bench) - timedelta(days=70))),
        used(bench, "1", quantity=7),
        used(bench, "1"),
    )
    assert told == {
        "accepted": 1,
        "duplicates": 1,
        "rejected": 4,
        "rejections": [
            {"index": 1, "code": "meter_unknown"},
            {"index": 2, "code": "usage_ahead"},
            {"index": 3, "code": "usage_late"},
            {"index": 4, "code": "usage_conflict"},
        ],
    }
    assert kept(bench) == 2


def test_the_same_call_again_records_nothing_and_is_answered_as_before(bench: Bench) -> None:
    asked = {"idempotency_key": fresh_key()}
    first = record(bench, used(bench, "1"), **asked)
    again = record(bench, used(bench, "1"), **asked)
    assert again["result"] == first["result"]
    assert first["result"]["accepted"] == 1
    other = record(bench, used(bench, "2"), **asked)
    assert (other["outcome"], other["code"]) == ("refused", "idempotency_key_reused")
    assert kept(bench) == 1


def test_a_dry_run_keeps_no_event(bench: Bench) -> None:
    told = record(bench, used(bench, "1"), dry_run=True)
    assert told["outcome"] == "planned"
    assert told["result"]["usage"]["events"] == 1
    assert kept(bench) == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"quantity": 1.5}, "events.0.quantity"),
        ({"quantity": -1}, "events.0.quantity"),
        ({"quantity": "1e3"}, "events.0.quantity"),
        ({"id": "two words"}, "events.0.id"),
        ({"source": ""}, "events.0.source"),
        ({"meter": "API"}, "events.0.meter"),
        ({"occurred_at": "yesterday"}, "events.0.occurred_at"),
        ({"occurred_at": "1969-12-31T23:59:59Z"}, "instant"),
        ({"tenant": "other"}, "events.0.tenant"),
    ],
)
def test_an_event_that_is_none_is_bad_input_and_none_of_its_call_is_kept(
    bench: Bench, change: dict[str, Any], field: str
) -> None:
    events = [used(bench, "1", **change), used(bench, "2")]
    asked = {"tenant": TENANT, "events": events, "idempotency_key": fresh_key()}
    assert bench.bad_input("usage_record", REQUESTER, **asked).startswith(f"{field}: ")
    assert kept(bench) == 0


@pytest.mark.parametrize("count", [0, 1001])
def test_a_call_has_1_to_1000_events(bench: Bench, count: int) -> None:
    events = [used(bench, str(number)) for number in range(count)]
    asked = {"tenant": TENANT, "events": events, "idempotency_key": fresh_key()}
    assert bench.bad_input("usage_record", REQUESTER, **asked).startswith("events: ")


def test_a_thousand_events_are_one_call(bench: Bench) -> None:
    assert (
        recorded(bench, *(used(bench, str(number)) for number in range(1000)))["accepted"] == 1000
    )


@pytest.mark.parametrize("who", [SUPPORT, VIEWER])
def test_who_may_only_read_cannot_record(bench: Bench, who: str) -> None:
    names = {"usage_record", "usage_summary", "entitlement_check"}
    generation = bench.world.generation()
    facts = {name: tool.facts for name, tool in generation.tools.items() if name in names}
    listed = generation.keeper.listed(bench.world.caller(who), facts)
    assert listed == {"usage_summary", "entitlement_check"}


def test_usage_is_recorded_and_told_of_a_tenant_that_is_shut(bench: Bench) -> None:
    here = tables.tenant.c.id == TENANT
    bench.world.alter(
        tables.tenant, here, access_mode="none", state="suspended", suspend_reasons=["billing"]
    )
    stand(bench, state="unpaid")
    assert recorded(bench, used(bench, "1"))["accepted"] == 1
    line = calls(bench)
    assert (line["total"], line["status"], line["code"]) == ("1", "denied", "not_entitled")
    assert check(bench, "sso")["status"] == "denied"


def test_a_plan_that_is_no_longer_declared_refuses_usage_and_grants_nothing(bench: Bench) -> None:
    stand(bench, plan_version=7)
    for told in (
        record(bench, used(bench, "1")),
        bench.ask("usage_summary", VIEWER, tenant=TENANT),
    ):
        assert (told["outcome"], told["code"]) == ("refused", "plan_not_found")
    assert check(bench, "sso")["code"] == "not_entitled"


def test_what_was_used_on_the_plan_before_is_recorded_where_it_is_still_to_be_billed(
    bench: Bench,
) -> None:
    cut = now(bench) - timedelta(minutes=30)
    began = cut - timedelta(days=3)
    terms = Terms(currency="EUR", anchor_at=cut)
    waits = Unbilled(invoice="in_1", plan="free", plan_version=1, terms=terms, start=began, end=cut)
    account: dict[str, Any] = {
        "tenant": TENANT,
        "collection_paused": False,
        "never_suspend": False,
        "running": [],
        "gates": [],
        "terms": terms.model_dump(mode="json"),
        "unbilled": waits.model_dump(mode="json"),
    }
    with bench.world.store.write() as connection:
        connection.execute(billing_account.insert().values(**account))
    stand(bench, plan="team")
    told = recorded(bench, used(bench, "1", occurred_at=instant(cut - timedelta(minutes=1))))
    assert told["accepted"] == 1
    with bench.world.store.read() as connection:
        assert usage_store.used(connection, TENANT, began) == {"api_calls": Decimal(1)}


# telling ---------------------------------------------------------------------------------------


def test_a_summary_tells_total_limits_and_what_is_left(bench: Bench) -> None:
    recorded(bench, used(bench, "1", quantity="2.5"))
    told = summary(bench)
    month = now(bench).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (month + timedelta(days=32)).replace(day=1)
    assert told == {
        "tenant": TENANT,
        "period_start": instant(month),
        "period_end": instant(following),
        "open_until": instant(following + timedelta(days=1)),
        "running": True,
        "meters": [
            {
                "meter": "api_calls",
                "total": "2.5",
                "reserved": "0",
                "soft_limit": "8",
                "limit": "10",
                "status": "allowed",
                "code": None,
                "remaining": "7.5",
                "grace_ends_at": None,
            },
            {
                "meter": "storage_gb",
                "total": "0",
                "reserved": "0",
                "soft_limit": None,
                "limit": None,
                "status": "allowed",
                "code": None,
                "remaining": None,
                "grace_ends_at": None,
            },
        ],
    }


@pytest.mark.parametrize(
    ("quantity", "status", "code", "remaining"),
    [
        ("8", "allowed", None, "2"),
        ("9", "warned", "soft_limit_passed", "1"),
        ("10", "denied", "hard_limit_reached", "0"),
        ("12.5", "denied", "hard_limit_reached", "0"),
    ],
)
def test_a_summary_says_how_a_meter_stands(
    bench: Bench, quantity: str, status: str, code: str | None, remaining: str
) -> None:
    recorded(bench, used(bench, "1", quantity=quantity))
    line = calls(bench)
    assert (line["status"], line["code"], line["remaining"]) == (status, code, remaining)


def test_a_period_that_is_over_has_totals_and_no_limits(bench: Bench) -> None:
    month = now(bench).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    recorded(bench, used(bench, "1", quantity=3))
    bench.world.clock.advance(timedelta(days=40))
    told = summary(bench, at=instant(month))
    assert (told["running"], told["period_start"]) == (False, instant(month))
    line = calls(bench, at=instant(month))
    assert (line["total"], line["limit"], line["status"]) == ("3", None, None)
    assert calls(bench)["total"] == "0"


# checking --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feature", "quantity", "kind", "status", "code"),
    [
        ("sso", 1, "boolean", "allowed", None),
        ("audit", 1, None, "denied", "not_entitled"),
        ("file_mb", "25", "static", "allowed", None),
        ("file_mb", "25.000000001", "static", "denied", "value_exceeded"),
        ("storage_gb", "999999999999999", "metered", "allowed", None),
        ("api_calls", 3, "metered", "allowed", None),
        ("api_calls", 4, "metered", "warned", "soft_limit_passed"),
        ("api_calls", 6, "metered", "denied", "hard_limit_reached"),
        ("api_calls", 0, "metered", "allowed", None),
    ],
)
def test_an_entitlement_is_checked_as_its_kind_says(
    bench: Bench, feature: str, quantity: Any, kind: str | None, status: str, code: str | None
) -> None:
    recorded(bench, used(bench, "1", quantity=5))
    told = check(bench, feature, quantity=quantity)
    assert (told["kind"], told["status"], told["code"]) == (kind, status, code)
    assert told["quantity"] == str(quantity)


def test_a_no_tells_what_would_lift_it(bench: Bench) -> None:
    recorded(bench, used(bench, "1", quantity=9))
    told = check(bench, "api_calls", quantity=2)
    assert told["lifted_by"] == ["change_plan", "next_period", "ask_for_less"]
    assert told["resets_at"] == summary(bench)["period_end"]
    assert told["remaining"] == "1"


def test_a_grace_ends_though_usage_goes_on(bench: Bench) -> None:
    first = now(bench).replace(day=1, hour=0)
    # All of it in one period.
    bench.world.clock.advance(first + timedelta(days=33) - now(bench))
    recorded(bench, used(bench, "1", quantity=9))
    ends = now(bench) + timedelta(hours=48)
    bench.world.clock.advance(timedelta(hours=47))
    recorded(bench, used(bench, "2", quantity="0.5"))
    told = check(bench, "api_calls", quantity="0.5")
    assert (told["status"], told["grace_ends_at"]) == ("warned", instant(ends))
    bench.world.clock.advance(timedelta(hours=1))
    over = check(bench, "api_calls", quantity="0.5")
    assert (over["status"], over["code"]) == ("denied", "grace_over")


def test_what_resources_reserve_is_no_longer_there(bench: Bench) -> None:
    with bench.world.store.write(TENANT) as connection:
        subscription = subscription_row(connection, TENANT)
        assert subscription is not None
        running = schedule_of(subscription).period_at(now(bench))
        offer = bench.world.ports.catalog.plans.offer("free")
        granted = next(one for one in offer.entitlements if one.feature == "api_calls")
        assert isinstance(granted, MeteredEntitlement)
        quotas = Quotas(connection, TENANT, running, now(bench))
        assert quotas.reserve(granted, "db-1", Decimal(10), now(bench)).status == "warned"
    told = check(bench, "api_calls")
    assert (told["status"], told["remaining"]) == ("denied", "0")
    assert "release" in told["lifted_by"]
    assert calls(bench)["reserved"] == "10"


def test_the_same_question_has_the_same_answer(bench: Bench) -> None:
    recorded(bench, used(bench, "1", quantity=5))
    told = check(bench, "api_calls", quantity=4)
    for who in (SUPPORT, ADMIN, REQUESTER):
        assert check(bench, "api_calls", who, quantity=4) == told


# whose it is -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "asked"),
    [
        ("usage_summary", {}),
        ("entitlement_check", {"feature": "sso"}),
        ("usage_record", {"events": "some", "idempotency_key": "x"}),
    ],
)
def test_usage_of_others_is_as_absent_as_that_of_a_tenant_that_never_was(
    bench: Bench, tool: str, asked: dict[str, Any]
) -> None:
    outsider = "out"
    bench.world.grant(outsider, "operator", actor="out-bot")
    bench.world.alter_grant(outsider, tenants=["elsewhere"])
    counted: list[object] = []

    def statement(*said: object) -> None:
        counted.append(said)

    def once(tenant: str) -> tuple[dict[str, Any], int]:
        given = {**asked, "tenant": tenant}
        if "events" in given:
            given |= {"events": [used(bench, "1")], "idempotency_key": fresh_key()}
        counted.clear()
        event.listen(Engine, "before_cursor_execute", statement)
        try:
            return bench.ask(tool, outsider, **given), len(counted)
        finally:
            event.remove(Engine, "before_cursor_execute", statement)

    for tenant in (TENANT, "never-was"):
        once(tenant)
    assert once(TENANT) == once("never-was")
    assert once(TENANT)[0]["outcome"] == "not_found"
