"""Coupons through the tools: previewed and charged as previewed, shown, given back, and never had twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from control_plane.audit.recorder import guarded_rows
from control_plane.billing import coupon_store
from control_plane.domain.coupon_catalog import parse_coupons
from control_plane.store.coupon_tables import coupon_tally, redemption
from policies.gate import Gate
from tests.support.approval_world import TENANT
from tests.support.lifecycle_bench import Onboarded
from tests.support.paying_bench import BILLING, VIEWER, PayingBench, paying

COUPONS = parse_coupons(
    """
coupons:
  - {code: HALF, title: Half, percent_off: 50, duration: intervals, intervals: 2}
  - {code: TEN, title: Ten off, amount_off: {minor: 1000, currency: EUR}, duration: once}
  - {code: ALL, title: A month for nothing, percent_off: 100, duration: once}
  - {code: EVER, title: For nothing, percent_off: 100, duration: forever}
  - {code: LAST, title: The last one, percent_off: 10, duration: once, redemptions_max: 1}
  - {code: PRO, title: For pro, percent_off: 10, duration: once, plans: [pro]}
""",
    "coupons.yaml",
)
NEWCO: dict[str, Any] = {
    "tenant": "globex",
    "display_name": "New company",
    "plan": "team",
    "isolation": "pooled",
}
TERMS: dict[str, Any] = {
    "currency": "EUR",
    "seats": 2,
    "method": {"provider": "sandbox", "reference": "sandbox_ok"},
}
REFUSED = {
    "NOPE": "coupon_not_found",
    "PRO": "coupon_not_for_plan",
    "LAST": "coupon_used_up",
}


@pytest.fixture
def bench(tmp_path: Path, gate: Gate, standing: Onboarded) -> Iterator[PayingBench]:
    """A world of this test's own, whose catalog has coupons."""
    with paying(standing, tmp_path, gate) as made:
        catalog: Any = made.world.ports.catalog
        yield replace(made, world=made.world.with_catalog(replace(catalog, coupons=COUPONS)))


def lines(told: list[Any]) -> dict[str, int]:
    return {f"{one['kind']}:{one['reference']}": one["amount_minor"] for one in told}


def counted(bench: PayingBench, code: str) -> int:
    with bench.world.store.read() as connection:
        return coupon_store.redeemed(connection, code)


def held(bench: PayingBench) -> list[tuple[str, int, int | None]]:
    return [
        (one["code"], one["periods"], one["periods_left"]) for one in bench.subscription["coupons"]
    ]


def test_what_a_preview_takes_off_is_what_the_change_takes_off(bench: PayingBench) -> None:
    asked: dict[str, Any] = {"plan": "team", "currency": "EUR", "seats": 2, "coupon": "HALF"}
    told = bench.preview(**asked)
    assert lines(told["lines"]) == {
        "base:plan": 3100,
        "seats:seats": 1000,
        "discount:HALF:plan": -1550,
        "discount:HALF:seats": -500,
    }
    assert (told["due_minor"], told["recurring_minor"]) == (2050, 4100)
    assert told["recurring_discount_minor"] == 2050
    assert counted(bench, "HALF") == 0
    bench.pays_with("sandbox_ok")
    bench.do("subscription_change", proration_at=told["proration_at"], **asked)
    shown = bench.ask("invoice_get", BILLING, tenant=TENANT, invoice=bench.invoices[-1].id)
    assert lines(shown["result"]["lines"]) == lines(told["lines"])
    assert bench.charged_minor() == [2050]
    assert held(bench) == [("HALF", 1, 1)]
    assert counted(bench, "HALF") == 1
    assert bench.subscription["coupons"][0]["percent_off"] == "50"


def test_a_coupon_lowers_its_periods_in_the_forecast_as_by_the_clock(bench: PayingBench) -> None:
    bench.on("team", seats=2, coupon="HALF")
    told = bench.ask("subscription_simulate", BILLING, tenant=TENANT, months=3)["result"]
    assert [one["total_minor"] for one in told["invoices"]][-3:] == [2050, 4100, 4100]
    assert "subscription.coupon_ended" in {one["kind"] for one in told["timeline"]}
    bench.later(days=31)
    bench.later(days=28)
    assert [one.total_minor for one in bench.invoices] == [2050, 2050, 4100]
    assert held(bench) == []


@pytest.mark.long
def test_a_coupon_alone_is_a_change_that_costs_nothing_and_is_taken_back(
    bench: PayingBench,
) -> None:
    bench.on("team", seats=2)
    told = bench.preview("team", coupon="TEN")
    assert (told["lines"], told["due_minor"], told["applies"]) == ([], 0, "period_end")
    assert told["recurring_discount_minor"] == 1000
    bench.do("subscription_change", plan="team", coupon="TEN")
    assert held(bench) == [("TEN", 0, 1)]
    assert bench.subscription["coupons"][0]["amount_off_minor"] == 1000
    bench.do("subscription_change", plan="team", remove_coupon="TEN")
    assert (held(bench), counted(bench, "TEN")) == ([], 0)


@pytest.mark.long
def test_a_declined_change_gives_its_coupon_back(bench: PayingBench) -> None:
    bench.on("team", seats=2)
    bench.pays_with("sandbox_declined")
    run = bench.work(bench.propose("subscription_change", plan="pro", coupon="LAST"))
    assert (run.state, run.reason) == ("compensated", "payment_declined")
    assert (held(bench), counted(bench, "LAST")) == ([], 0)
    bench.pays_with("sandbox_ok")
    bench.do("subscription_change", plan="pro", coupon="LAST")
    assert counted(bench, "LAST") == 1


def test_a_change_that_fails_once_it_is_paid_puts_coupons_back_as_they_were(
    bench: PayingBench,
) -> None:
    bench.on("team", seats=2, coupon="HALF")
    bench.later(days=10)
    before = bench.subscription
    run = bench.propose("subscription_change", plan="team", seats=4, coupon="LAST")
    assert bench.work(run, "change_subscription.finish.before").state == "compensated"
    assert bench.subscription == before
    assert (held(bench), counted(bench, "LAST")) == ([("HALF", 1, 1)], 0)


def test_a_coupon_alone_that_fails_is_not_redeemed(bench: PayingBench) -> None:
    bench.on("team", seats=2)
    run = bench.propose("subscription_change", plan="team", coupon="LAST")
    assert bench.work(run, "change_subscription.finish.before").state == "compensated"
    assert (held(bench), counted(bench, "LAST")) == ([], 0)


def used_up(bench: PayingBench) -> None:
    """Another tenant has had the last one."""
    with bench.world.store.write() as connection:
        connection.execute(coupon_tally.insert().values(code="LAST", redeemed=1))


def test_what_may_not_be_redeemed_is_refused_at_once(bench: PayingBench) -> None:
    bench.on("team", seats=2, coupon="HALF")
    used_up(bench)
    for code, expected in {**REFUSED, "HALF": "coupon_redeemed"}.items():
        asked = {"plan": "team", "coupon": code}
        assert bench.refused("subscription_change", **asked) == expected
        told = bench.ask("subscription_preview_change", VIEWER, tenant=TENANT, **asked)
        assert told["code"] == expected
        terms = {**TERMS, "coupon": code}
        if code in REFUSED:
            assert bench.refused("tenant_onboard", **NEWCO, subscription=terms) == expected


def test_the_last_one_taken_by_another_before_the_books_move_charges_nothing(
    bench: PayingBench,
) -> None:
    bench.on("team", seats=2)
    run = bench.propose("subscription_change", plan="pro", coupon="LAST")
    used_up(bench)
    ended = bench.work(run)
    assert (ended.state, ended.reason) == ("failed", "coupon_used_up")
    assert (len(bench.invoices), held(bench)) == (1, [])


@pytest.mark.long
def test_a_tenant_is_brought_in_with_a_coupon(bench: PayingBench) -> None:
    bench.do("tenant_onboard", **NEWCO, subscription={**TERMS, "coupon": "HALF"})
    with bench.world.store.read() as connection:
        (made,) = coupon_store.redemptions(connection, "globex").values()
    assert (made.code, made.periods) == ("HALF", 1)
    assert bench.refused("tenant_onboard", **NEWCO, subscription=TERMS) == "tenant_exists"


def test_a_coupon_over_all_needs_no_first_payment(bench: PayingBench) -> None:
    bench.do("tenant_onboard", **NEWCO, subscription={**TERMS, "coupon": "ALL"})
    told = bench.ask("invoice_list", tenant="globex")["result"]
    assert [one["total_minor"] for one in told["invoices"]] == [0]


def test_a_coupon_over_all_for_good_needs_no_payment_method(bench: PayingBench) -> None:
    bare = {name: value for name, value in TERMS.items() if name != "method"}
    subscription = {**bare, "coupon": "ALL"}
    refused = bench.refused("tenant_onboard", **NEWCO, subscription=subscription)
    assert refused == "payment_method_required"
    bench.do("tenant_onboard", **NEWCO, subscription={**bare, "coupon": "EVER"})
    told = bench.ask("subscription_get", tenant="globex")["result"]
    assert (told["state"], told["payment_provider"]) == ("active", None)


def test_a_tenant_that_did_not_come_may_redeem_its_coupon_again(bench: PayingBench) -> None:
    terms = {**TERMS, "coupon": "LAST"}
    declined = {**terms, "method": {"provider": "sandbox", "reference": "sandbox_declined"}}
    run = bench.work(bench.propose("tenant_onboard", **NEWCO, subscription=declined))
    assert (run.state, counted(bench, "LAST")) == ("compensated", 0)
    bench.world.clock.advance(timedelta(minutes=1))
    bench.do("tenant_onboard", **NEWCO, subscription=terms)
    assert counted(bench, "LAST") == 1


def test_a_redemption_is_a_row_that_leaves_vouch_for(bench: PayingBench) -> None:
    bench.on("team", seats=2, coupon="HALF")
    with bench.world.store.read() as connection:
        (named,) = [key for table, key in guarded_rows(connection) if table == redemption.name]
    assert bench.book.redemptions["HALF"].id == named
