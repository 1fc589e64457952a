"""What would become of a subscription: as it really becomes, by hand's figures, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from control_plane.billing.outlook import DEPROVISION_PLANNED
from control_plane.domain.canonical import instant
from control_plane.domain.terms import Method
from control_plane.handlers import forecasts
from control_plane.handlers.billing_moves import closed_by_itself, opened
from control_plane.store import tables
from policies.gate import Gate
from tests.support.approval_world import REQUESTER, TENANT
from tests.support.billed import begin, everything, live, priced
from tests.support.books import change
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import Bench, Onboarded, make_bench

VIEWER = "vic"
START, DUE_AT, END = "2030-01-31T10:00", "2030-02-28T10:00", "2031-02-28T10:00"
# The ladder of a plan that says nothing of its own: days 0, 7, 14, 21 and 30 from what was due.
GATES = [
    ("clear", START, DUE_AT),
    ("no_upgrades", DUE_AT, "2030-03-07T10:00"),
    ("no_new_resources", "2030-03-07T10:00", "2030-03-14T10:00"),
    ("read_only", "2030-03-14T10:00", "2030-03-21T10:00"),
    ("no_access", "2030-03-21T10:00", "2030-03-30T10:00"),
    ("deprovision", "2030-03-30T10:00", END),
]
STATES = [
    ("active", START, DUE_AT),
    ("past_due", DUE_AT, "2030-03-14T10:00"),
    ("unpaid", "2030-03-14T10:00", "2030-03-30T10:00"),
    ("canceled", "2030-03-30T10:00", END),
]
# The tries that count from the due instant: days 0, 1, 3, 5, 7, 9, 11 and 14.
TRIED = ["02-28", "03-01", "03-03", "03-05", "03-07", "03-09", "03-11", "03-14"]
JAN = datetime(2030, 1, 31, 10, tzinfo=UTC)
DAY = timedelta(days=1)
DUE = [
    *(f"2030-{day}" for day in ("02-28", "03-31", "04-30", "05-31", "06-30", "07-31", "08-31")),
    *("2030-09-30", "2030-10-31", "2030-11-30", "2030-12-31", "2031-01-31", "2031-02-28"),
]


@pytest.fixture
def bench(tmp_path: Path, gate: Gate, standing: Onboarded) -> Iterator[Bench]:
    """A world whose tenant can be put on plans with prices; its clock stands at 31 January."""
    made = priced(make_bench(standing, tmp_path / "world", gate))
    made.world.clock.advance(JAN - made.world.clock.now())
    made.world.grant(VIEWER, "viewer", actor="vic-bot")
    yield made
    made.world.close()


def simulate(bench: Bench, months: int = 13, who: str = REQUESTER, **more: Any) -> dict[str, Any]:
    answered = bench.ask("subscription_simulate", who, tenant=TENANT, months=months, **more)
    assert answered["outcome"] == "done", answered
    result: dict[str, Any] = answered["result"]
    return result


def when(told: dict[str, Any], kind: str) -> list[str]:
    return [one["at"][:16] for one in told["timeline"] if one["kind"] == kind]


def billed(told: dict[str, Any]) -> list[tuple[str, int]]:
    final = [one for one in told["invoices"] if one["planned"] and one["number"]]
    return [(one["at"][:10], one["total_minor"]) for one in final]


def stretches(told: list[dict[str, str]], name: str) -> list[tuple[str, str, str]]:
    return [(one[name], one["since"][:16], one["until"][:16]) for one in told]


def settle(bench: Bench, **moved: Any) -> None:
    """Move the tenant's subscription by hand, as a run would."""
    with bench.world.store.write(TENANT) as connection:
        book = opened(connection, bench.world.ports, TENANT)
        book.revise(**moved)
        closed_by_itself(connection, bench.world.ports, book)


def paying(bench: Bench, plan: str, **more: Any) -> None:
    """The tenant has begun, and its first invoice is paid."""
    begin(bench, plan, **more)
    live(bench, bench.world.clock.now())


# by hand ---------------------------------------------------------------------------------------


def test_a_plan_that_began_on_day_31_is_billed_on_each_months_last_day(bench: Bench) -> None:
    paying(bench, "team")
    told = simulate(bench)
    # 29.99 for the plan, and twice 5.00 for a seat.
    assert billed(told) == [(day, 3999) for day in DUE]
    assert (told["since"][:16], told["until"][:16]) == ("2030-01-31T10:00", "2031-02-28T10:00")
    assert stretches(told["states"], "state") == [
        ("active", "2030-01-31T10:00", "2031-02-28T10:00")
    ]
    assert [one["level"] for one in told["gates"]] == ["clear"]
    assert told["totals"] == [
        {
            "month": day[:7],
            "currency": "EUR",
            "invoiced_minor": 3999,
            "collected_minor": 3999,
            "credited_minor": 0,
            "voided_minor": 0,
        }
        for day in DUE
    ]
    assert [one["number"] for one in told["invoices"]] == [f"PLANNED-{n}" for n in range(1, 14)]
    end = told["final"]
    assert (end["state"], end["entitled"], end["owed_minor"]) == ("active", True, {})
    assert end["current_period_end"][:16] == "2031-03-31T10:00"


def test_a_trial_ends_after_its_days_and_is_billed_from_there(bench: Bench) -> None:
    begin(bench, "trial")
    told = simulate(bench)
    assert stretches(told["states"], "state") == [
        ("trialing", "2030-01-31T10:00", "2030-02-14T10:00"),
        ("active", "2030-02-14T10:00", "2031-02-28T10:00"),
    ]
    assert billed(told) == [
        (f"20{30 + (month > 12)}-{(month - 1) % 12 + 1:02}-14", 4000) for month in range(2, 15)
    ]
    # Renewals wait an hour for late usage; the first invoice has none to wait for.
    assert [at[11:] for at in when(told, "invoice.finalised")] == ["10:00", *["11:00"] * 12]


def test_a_trial_without_a_method_pauses_and_nothing_is_billed(bench: Bench) -> None:
    begin(bench, "trial", method="")
    told = simulate(bench, months=2)
    assert [one["state"] for one in told["states"]] == ["trialing", "paused"]
    assert (billed(told), told["totals"], told["final"]["entitled"]) == ([], [], False)


def test_a_change_that_waits_holds_from_the_next_period_on(bench: Bench) -> None:
    paying(bench, "pro")
    bench.world.clock.advance(DAY)
    with bench.world.store.write(TENANT) as connection:
        book = opened(connection, bench.world.ports, TENANT)
        change(book, bench.world.clock.now(), plan="team")
        closed_by_itself(connection, bench.world.ports, book)
    told = simulate(bench, months=3)
    # From 99.99 down to 29.99 and two seats: nothing is given back, nothing is charged before.
    assert billed(told) == [("2030-02-28", 3999), ("2030-03-31", 3999), ("2030-04-30", 3999)]
    assert when(told, "subscription.apply_change") == ["2030-02-28T10:00"]
    assert (told["final"]["plan"], told["final"]["pending_plan"]) == ("team", None)


def test_where_every_payment_fails_the_ladder_is_walked_to_its_end(bench: Bench) -> None:
    paying(bench, "team")
    told = simulate(bench, payments="fail")
    assert stretches(told["gates"], "level") == GATES
    assert stretches(told["states"], "state") == STATES
    assert [at[5:10] for at in when(told, "payment.failed")] == TRIED
    assert billed(told) == [("2030-02-28", 3999)]
    end = told["final"]
    assert (end["state"], end["billing_level"], end["entitled"]) == (
        "canceled",
        "deprovision",
        False,
    )


def test_months_are_from_1_to_36(bench: Bench) -> None:
    for months in (0, 37):
        told = bench.bad_input("subscription_simulate", tenant=TENANT, months=months)
        assert told.startswith("months: ")
    paying(bench, "team")
    assert len(simulate(bench, months=36)["invoices"]) == 36


def test_a_free_tenant_has_nothing_before_it(bench: Bench) -> None:
    told = simulate(bench, months=36)
    assert (told["timeline"], told["invoices"], told["totals"]) == ([], [], [])
    assert told["final"]["state"] == "active"


def test_what_is_paid_by_transfer_is_paid_as_it_is_billed_or_never(bench: Bench) -> None:
    paying(bench, "team", method="", terms={"collection": "by_invoice"})
    paid, unpaid = simulate(bench, months=3), simulate(bench, months=3, payments="fail")
    assert [one["level"] for one in paid["gates"]] == ["clear"]
    assert [one["collected_minor"] for one in paid["totals"]] == [3999] * 4
    # The first invoice is due on day 14, and the ladder begins there.
    assert stretches(unpaid["gates"], "level")[1][:2] == ("no_upgrades", "2030-02-14T10:00")
    assert when(unpaid, "payment.failed") == []


# usage -----------------------------------------------------------------------------------------


def use(bench: Bench, identity: str, quantity: int) -> None:
    event = {
        "source": "gateway",
        "id": identity,
        "meter": "api_calls",
        "quantity": quantity,
        "occurred_at": instant(bench.world.clock.now()),
    }
    asked = {"tenant": TENANT, "events": [event], "idempotency_key": fresh_key()}
    assert bench.ask("usage_record", REQUESTER, **asked)["result"]["accepted"] == 1


def test_usage_to_come_is_that_of_the_last_whole_period(bench: Bench) -> None:
    paying(bench, "metered")
    use(bench, "1", 100)
    first = simulate(bench, months=2)
    # No period is whole yet: what was used is billed, and nothing is assumed.
    assert (first["usage_of"], first["usage"]) == (None, [])
    assert billed(first) == [("2030-02-28", 1200)]
    # The next one still waits for late usage as the two months are over.
    assert [one["state"] for one in first["invoices"]] == ["paid", "draft"]
    live(bench, datetime(2030, 3, 2, tzinfo=UTC))
    use(bench, "2", 30)
    told = simulate(bench, months=3)
    assert told["until"][:10] == "2030-06-02"
    assert told["usage_of"][:10] == "2030-01-31"
    assert told["usage"] == [{"meter": "api_calls", "quantity": "100"}]
    # 10.00 ahead, and 100 calls at 0.02; also for the month that runs, though it has but 30 so far.
    assert billed(told) == [(day, 1200) for day in ("2030-03-31", "2030-04-30", "2030-05-31")]
    use(bench, "3", 120)
    assert billed(simulate(bench, months=2)) == [("2030-03-31", 1300), ("2030-04-30", 1200)]


# as it really becomes --------------------------------------------------------------------------


def happened(told: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What both tell; a number is planned here and real there, a provider has words of its own."""
    found: list[tuple[Any, ...]] = []
    for one in told:
        amount: dict[str, Any] = one.get("amount") or {"minor": None}
        found.append((one["at"], one["kind"], one.get("reference"), amount["minor"]))
    return found


def foreseen(told: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Without what the house would ask for: that moves nothing of billing's."""
    return [
        (one["at"], one["kind"], one["reference"], one["amount_minor"])
        for one in told["timeline"]
        if one["kind"] != DEPROVISION_PLANNED
    ]


@pytest.mark.slice_of(3)
@pytest.mark.parametrize(
    ("plan", "payments"),
    [
        ("team", "succeed"),
        ("team", "fail"),
        ("trial", "succeed"),
        ("metered", "succeed"),
        ("metered", "fail"),
        ("term", "succeed"),
        ("strict", "fail"),
    ],
)
def test_what_is_foreseen_is_what_the_clock_then_does(
    bench: Bench, plan: str, payments: str
) -> None:
    paying(bench, plan)
    bench.world.clock.advance(DAY)
    if payments == "fail":
        settle(bench, method=Method(provider="sandbox", reference="sandbox_declined"))
    told = simulate(bench, payments=payments)
    really = live(bench, datetime.fromisoformat(told["until"]))
    assert foreseen(told) == happened(really)
    assert {"subscription.renewed", "invoice.finalised"} <= {one["kind"] for one in really}
    after = bench.ask("subscription_get", REQUESTER, tenant=TENANT)["result"]
    assert after["state"] == told["final"]["state"]
    assert after["billing_level"] == told["final"]["billing_level"]
    listed = bench.ask("invoice_list", REQUESTER, tenant=TENANT)["result"]["invoices"]
    made = {one["id"]: (one["total_minor"], one["state"]) for one in listed}
    planned = [one for one in told["invoices"] if one["planned"]]
    assert {
        one["id"]: (one["total_minor"], one["state"]) for one in planned
    }.items() <= made.items()


def test_a_debt_that_the_clock_is_late_for_is_collected_now(bench: Bench) -> None:
    paying(bench, "team")
    # Nobody looked for two months: what fell due is done at its instants, and collected today.
    bench.world.clock.advance(60 * DAY)
    told = simulate(bench, months=1)
    assert when(told, "invoice.finalised")[:2] == ["2030-02-28T10:00", "2030-03-31T10:00"]
    assert when(told, "payment.succeeded")[:2] == ["2030-04-01T10:00"] * 2
    assert foreseen(told) == happened(live(bench, datetime.fromisoformat(told["until"])))


# who, and what it costs ------------------------------------------------------------------------


@pytest.mark.parametrize("payments", ["succeed", "fail"])
def test_nothing_of_the_store_is_changed(bench: Bench, payments: str) -> None:
    paying(bench, "metered")
    use(bench, "1", 100)
    before = everything(bench)
    assert simulate(bench, payments=payments)["timeline"]
    after = everything(bench)
    # Every call leaves its leaf, and nothing else has moved.
    assert len(after.pop("audit_leaf")) == len(before.pop("audit_leaf")) + 1
    assert after == before


def test_who_may_not_see_money_has_no_such_tool(bench: Bench) -> None:
    names = ("invoice_list", "invoice_get", "subscription_simulate", "subscription_get")
    generation = bench.world.generation()
    facts = {name: generation.tools[name].facts for name in names}
    assert generation.keeper.listed(bench.world.caller(VIEWER), facts) == {"subscription_get"}


@pytest.mark.parametrize("tenant", ["globex", "nobody"])
def test_another_tenants_future_is_not_there(bench: Bench, tenant: str) -> None:
    absent = bench.ask("subscription_simulate", tenant="never-was", months=1)
    assert bench.ask("subscription_simulate", tenant=tenant, months=1) == absent
    assert absent["outcome"] == "not_found"


def test_a_version_that_is_no_longer_declared_is_refused(bench: Bench) -> None:
    paying(bench, "team")
    bench.world.alter(tables.subscription, tables.subscription.c.tenant == TENANT, plan_version=9)
    told = bench.ask("subscription_simulate", tenant=TENANT, months=1)
    assert (told["outcome"], told["code"]) == ("refused", "plan_not_found")


def test_more_than_can_be_shown_is_cut_and_says_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    paying(bench, "team")
    whole = simulate(bench)
    assert (whole["cut"], len(whole["timeline"])) == (False, whole["timeline_count"])
    monkeypatch.setattr(forecasts, "SHOWN_MAX", 10)
    told = simulate(bench)
    assert (told["cut"], len(told["timeline"]), len(told["invoices"])) == (True, 10, 10)
    assert told["timeline_count"] == whole["timeline_count"]
    assert told["totals"] == whole["totals"]
