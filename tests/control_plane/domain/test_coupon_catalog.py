"""The coupons that a catalog declares: read strictly, each code once, found by it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from control_plane.data.collection import SAMPLES
from control_plane.domain.coupon_catalog import (
    NO_COUPONS,
    CouponCatalog,
    parse_coupons,
    require_plans,
)
from control_plane.errors import BadInput, Refused

ONE = "{code: SPRING, title: Spring, percent_off: 12.5, duration: once}"


def parse(*items: str) -> CouponCatalog:
    return parse_coupons("coupons:\n" + "".join(f"  - {one}\n" for one in items), "coupons.yaml")


def test_a_coupon_is_found_by_its_code() -> None:
    assert parse(ONE).coupon("SPRING").percent_off == Decimal("12.5")


@pytest.mark.parametrize("catalog", [NO_COUPONS, parse(ONE)])
def test_one_that_is_not_declared_is_refused(catalog: CouponCatalog) -> None:
    with pytest.raises(Refused) as told:
        catalog.coupon("SUMMER")
    assert told.value.code == "coupon_not_found"


def test_an_amount_and_an_instant_are_written_as_everywhere() -> None:
    found = parse(
        "{code: TEN, title: Ten, amount_off: {minor: 1000, currency: EUR}, duration: intervals,"
        ' intervals: 3, redeem_by: "2027-01-01T00:00:00+01:00", redemptions_max: 5, plans: [team]}'
    ).coupon("TEN")
    assert found.amount_off is not None
    assert (found.amount_off.minor, found.intervals, found.plans) == (1000, 3, ("team",))
    assert found.redeem_by is not None
    assert found.redeem_by.isoformat() == "2026-12-31T23:00:00+00:00"


@pytest.mark.parametrize(
    ("items", "field"),
    [
        ((ONE, ONE), "coupons.yaml: coupons"),
        (("{code: SPRING, title: Spring, duration: once}",), "coupons.yaml: coupons[0]"),
        (("{code: spring, title: S, percent_off: 5, duration: once}",), "coupons[0].code"),
        (("{code: SPRING, title: S, percent_off: 101, duration: once}",), "coupons[0].percent_off"),
        (("{code: SPRING, title: S, percent_off: 5, duration: twice}",), "coupons[0].duration"),
        (("{code: SPRING, title: S, percent_off: 5, duration: once, free: 1}",), "coupons[0].free"),
    ],
)
def test_what_is_no_coupon_is_told_by_its_place(items: tuple[str, ...], field: str) -> None:
    with pytest.raises(BadInput) as told:
        parse(*items)
    assert field in told.value.field


def test_a_coupon_is_for_plans_that_there_are() -> None:
    catalog = parse(ONE, "{code: PRO, title: Pro, percent_off: 5, duration: once, plans: [pro]}")
    require_plans(catalog, ["pro", "team"], "coupons.yaml")
    with pytest.raises(BadInput) as told:
        require_plans(catalog, ["team"], "coupons.yaml")
    assert told.value.field == "coupons.yaml: coupons[1].plans"


def test_the_sample_has_a_coupon() -> None:
    text = (SAMPLES / "billing" / "coupons.yaml").read_text(encoding="utf-8")
    assert [one.code for one in parse_coupons(text, "coupons.yaml").coupons] == ["WELCOME20"]
