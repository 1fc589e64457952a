"""Tax: exact sums whatever the lines and their order, and the rates of a table by country and day."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from control_plane.billing.tax import (
    NoTax,
    TaxableLine,
    TaxEngine,
    TaxLine,
    invoice_line,
    part_of,
    tax_line,
    title,
)
from control_plane.billing.tax_table import CountryRates, TableTax, TaxRate, TaxTable
from control_plane.domain.money import MINOR_MAX, Money, round_money
from control_plane.domain.tax import TaxParty
from control_plane.errors import BadInput, Refused

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
SELLER = TaxParty(country="DE", vat_id="DE123456789", business=True)
RATES = st.decimals(min_value=0, max_value=100, places=3)


def lines(*minor: int, currency: str = "EUR") -> tuple[TaxableLine, ...]:
    return tuple(
        TaxableLine(id=f"line_{index}", kind="base", net=Money(minor=one, currency=currency))
        for index, one in enumerate(minor)
    )


def table(*countries: CountryRates) -> TableTax:
    return TableTax(TaxTable(version=1, countries=countries))


def rate(percent: str, since: str = "2020-01-01", **facts: Any) -> TaxRate:
    return TaxRate(percent=Decimal(percent), since=date.fromisoformat(since), **facts)


def rates(country: str, *held: TaxRate, **facts: Any) -> CountryRates:
    base = {"zone": "UTC", "rates": held}
    return CountryRates.model_validate({"country": country, **base, **facts})


ENGINE = table(
    rates(
        "DE",
        rate("19", until=date(2020, 6, 30)),
        rate("16", "2020-07-01", until=date(2020, 12, 31)),
        rate("19", "2021-01-01"),
        zone="Europe/Berlin",
    ),
    rates("FR", rate("20"), zone="Europe/Paris"),
    rates("CA", rate("5", name="GST"), rate("9.975", name="QST"), reverse_charge=False),
    rates("AE", rate("0")),
)


def consumer(country: str) -> TaxParty:
    return TaxParty(country=country)


def business(country: str, vat_id: str | None = "FR12345678901") -> TaxParty:
    return TaxParty(country=country, vat_id=vat_id, business=True)


@given(amounts=st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=40), percent=RATES)
def test_the_shares_of_the_lines_sum_exactly_to_a_tax_that_was_rounded_once(
    amounts: list[int], percent: Decimal
) -> None:
    tax = tax_line("DE", percent, "standard", lines(*amounts))
    assert tax.taxable.minor == sum(amounts)
    assert tax.amount.minor == round_money(sum(amounts) * Fraction(percent) / 100)
    assert sum(share.amount_minor for share in tax.shares) == tax.amount.minor
    assert {share.line for share in tax.shares} == {one.id for one in lines(*amounts)}


@given(amounts=st.lists(st.integers(0, 10**9), min_size=1, max_size=40), percent=RATES)
def test_what_is_charged_is_never_taxed_below_zero_and_never_above_itself(
    amounts: list[int], percent: Decimal
) -> None:
    tax = tax_line("DE", percent, "standard", lines(*amounts))
    net = {one.id: one.net.minor for one in lines(*amounts)}
    assert all(0 <= share.amount_minor <= net[share.line] for share in tax.shares)


@given(data=st.data(), amounts=st.lists(st.integers(-10_000, 10_000), min_size=1, max_size=20))
def test_no_order_of_the_lines_changes_anything(data: st.DataObject, amounts: list[int]) -> None:
    given_lines = lines(*amounts)
    shuffled = data.draw(st.permutations(given_lines))
    customer = consumer("CA")
    assert ENGINE.tax(SELLER, customer, shuffled, NOW) == ENGINE.tax(
        SELLER, customer, given_lines, NOW
    )


@given(cuts=st.lists(st.integers(0, 11_900), max_size=6), amounts=st.lists(st.integers(0, 5000)))
def test_however_an_invoice_is_credited_the_taxes_of_the_parts_sum_to_its_own(
    cuts: list[int], amounts: list[int]
) -> None:
    taxes = (tax_line("DE", Decimal(19), "standard", lines(0, *amounts)).charged,)
    edges = [0, *sorted(cuts), 11_900]
    parts = [part_of(taxes, before, after, 11_900)[0] for before, after in pairwise(edges)]
    assert sum(part.amount_minor for part in parts) == taxes[0].amount_minor
    assert sum(part.taxable_minor for part in parts) == taxes[0].taxable_minor
    assert all(part.amount_minor >= 0 for part in parts)


@pytest.mark.parametrize(
    ("before", "after", "total"), [(2, 1, 10), (-1, 1, 10), (0, 11, 10), (0, 0, 0)]
)
def test_a_part_that_does_not_lie_within_the_invoice_is_bad_input(
    before: int, after: int, total: int
) -> None:
    with pytest.raises(BadInput):
        part_of((), before, after, total)


def test_rounding_each_line_would_have_missed_a_cent_and_the_sum_does_not() -> None:
    tax = tax_line("DE", Decimal(19), "standard", lines(3, 3, 3))
    # Each by itself is 0.57, so 1; the three together are 1.71, so 2.
    assert tax.amount == Money(minor=2, currency="EUR")
    assert [share.amount_minor for share in tax.shares] == [1, 0, 1]


@pytest.mark.parametrize(
    ("at", "percent"),
    [
        (datetime(2020, 6, 30, 21, 59, tzinfo=UTC), "19"),
        (datetime(2020, 6, 30, 22, 0, tzinfo=UTC), "16"),
        (datetime(2020, 12, 31, 22, 59, tzinfo=UTC), "16"),
        (datetime(2020, 12, 31, 23, 0, tzinfo=UTC), "19"),
    ],
)
def test_a_rate_begins_with_the_day_of_its_country(at: datetime, percent: str) -> None:
    (tax,) = ENGINE.tax(SELLER, consumer("DE"), lines(10_000), at)
    assert (tax.jurisdiction, tax.rate_percent, tax.reason) == ("DE", Decimal(percent), "standard")
    assert tax.amount.minor == int(percent) * 100


def test_two_taxes_of_a_country_each_stand_over_the_same_net() -> None:
    found = ENGINE.tax(SELLER, consumer("CA"), lines(10_000), NOW)
    assert [(one.jurisdiction, one.amount.minor) for one in found] == [
        ("CA GST", 500),
        ("CA QST", 998),
    ]


def test_a_rate_of_zero_is_said_as_such() -> None:
    (tax,) = ENGINE.tax(SELLER, consumer("AE"), lines(10_000), NOW)
    assert (tax.reason, tax.amount.minor, tax.taxable.minor) == ("zero_rated", 0, 10_000)


@pytest.mark.parametrize(
    ("customer", "reason"),
    [
        (business("FR"), "reverse_charge"),
        (business("FR", vat_id=None), "standard"),
        (TaxParty(country="FR", vat_id="FR12345678901"), "standard"),
        (business("DE", vat_id="DE999999999"), "standard"),
        (business("CA"), "standard"),
    ],
)
def test_only_a_business_abroad_with_a_vat_id_owes_the_tax_itself(
    customer: TaxParty, reason: str
) -> None:
    found = ENGINE.tax(SELLER, customer, lines(10_000, -2_000), NOW)
    assert {one.reason for one in found} == {reason}
    assert all(one.taxable.minor == 8_000 for one in found)
    assert (reason == "reverse_charge") == all(one.amount.minor == 0 for one in found)


@pytest.mark.parametrize(
    ("customer", "at", "fact"),
    [
        (consumer("US"), NOW, "customer.country"),
        (business("US"), NOW, "customer.country"),
        (consumer("FR"), datetime(2019, 12, 31, tzinfo=UTC), "at"),
        (business("FR"), datetime(2019, 12, 31, tzinfo=UTC), "at"),
    ],
)
def test_a_country_or_a_day_that_the_table_lacks_is_refused(
    customer: TaxParty, at: datetime, fact: str
) -> None:
    with pytest.raises(Refused) as caught:
        ENGINE.tax(SELLER, customer, lines(10_000), at)
    assert (caught.value.code, caught.value.fact) == ("tax_unknown", fact)


@pytest.mark.parametrize("engine", [NoTax(), ENGINE])
def test_every_engine_says_nothing_of_no_lines_and_refuses_what_is_no_set_of_lines(
    engine: TaxEngine,
) -> None:
    twice = (*lines(1), *lines(2))
    two = (*lines(1), TaxableLine(id="other", kind="base", net=Money(minor=1, currency="USD")))
    assert engine.tax(SELLER, consumer("DE"), (), NOW) == ()
    with pytest.raises(BadInput):
        engine.tax(SELLER, consumer("DE"), twice, NOW)
    with pytest.raises(Refused) as caught:
        engine.tax(SELLER, consumer("DE"), two, NOW)
    assert caught.value.code == "two_currencies"


def test_no_tax_is_no_tax_anywhere() -> None:
    assert NoTax().tax(SELLER, consumer("US"), lines(10_000), NOW) == ()


def test_a_sum_beyond_the_exact_range_is_bad_input() -> None:
    with pytest.raises(BadInput):
        tax_line("DE", Decimal(0), "zero_rated", lines(MINOR_MAX, 1))
    with pytest.raises(BadInput):
        tax_line("DE", Decimal(0), "zero_rated", ())


@pytest.mark.parametrize("kind", ["tax", "credit_carried"])
def test_neither_tax_nor_what_is_carried_over_is_taxed(kind: str) -> None:
    with pytest.raises(ValidationError):
        TaxableLine.model_validate(
            {"id": "line_1", "kind": kind, "net": Money(minor=1, currency="EUR")}
        )


def test_a_tax_becomes_the_same_line_of_an_invoice_each_time() -> None:
    (tax,) = ENGINE.tax(SELLER, consumer("FR"), lines(10_000), NOW)
    line = invoice_line("invoice_1", tax)
    assert (line.kind, line.description, line.amount_minor) == ("tax", "Tax FR 20 %", 2_000)
    assert line == invoice_line("invoice_1", tax)
    gst, qst = ENGINE.tax(SELLER, consumer("CA"), lines(10_000), NOW)
    assert invoice_line("invoice_1", gst).id != invoice_line("invoice_1", qst).id
    assert title(qst) == "Tax CA QST 9.975 %"


def test_a_table_is_read_from_text_with_exact_rates() -> None:
    text = """{"version": 3, "countries": [{"country": "CH", "zone": "Europe/Zurich", "rates":
        [{"percent": "8.1", "since": "2024-01-01"}]}]}"""
    engine = TableTax(TaxTable.model_validate_json(text))
    assert engine.rules.startswith("table:3:")
    (tax,) = engine.tax(SELLER, consumer("CH"), lines(10_000), NOW)
    assert (tax.rate_percent, tax.amount.minor) == (Decimal("8.1"), 810)
    assert TaxLine.model_validate_json(tax.model_dump_json()) == tax


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [rate("19"), rate("16", "2020-07-01")],
        [rate("19", name="GST"), rate("19", name="GST")],
    ],
)
def test_a_country_without_rates_or_with_two_at_once_is_no_country(rows: list[TaxRate]) -> None:
    with pytest.raises(ValidationError):
        rates("DE", *rows)


def test_a_table_has_each_country_once_and_no_rate_that_ends_before_it_begins() -> None:
    with pytest.raises(ValidationError):
        TaxTable(version=1, countries=(rates("DE", rate("19")), rates("DE", rate("7"))))
    with pytest.raises(ValidationError):
        rate("19", "2020-01-02", until=date(2020, 1, 1))
    with pytest.raises(ValidationError):
        rate("100.1")


@pytest.mark.sweep
def test_ten_thousand_invoices_are_taxed_exactly() -> None:
    drawn = Random(5)
    for _ in range(10_000):
        amounts = [drawn.randint(-5_000, 100_000) for _ in range(drawn.randint(1, 6))]
        percent = Decimal(drawn.randint(0, 100_000)).scaleb(-3)
        tax = tax_line("DE", percent, "standard", lines(*amounts))
        exact = sum(amounts) * Fraction(percent) / 100
        assert abs(tax.amount.minor - exact) <= Fraction(1, 2)
        assert sum(share.amount_minor for share in tax.shares) == tax.amount.minor
        signs = {share.line: share.amount_minor for share in tax.shares}
        assert all(one.net.minor * signs[one.id] >= 0 for one in lines(*amounts))
