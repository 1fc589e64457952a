"""`tax.yaml`: what it may say, and which field is named where it says something else."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from control_plane.billing.tax import TaxableLine
from control_plane.billing.tax_file import parse_tax
from control_plane.billing.tax_table import CountryRates, TaxRate
from control_plane.domain.money import Money
from control_plane.domain.tax import TaxParty
from control_plane.errors import BadInput, Refused

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
LINE = TaxableLine(id="line", kind="base", net=Money(minor=1_000, currency="EUR"))
TEXT = """\
engine: table
seller: {country: DE, vat_id: DE123456789, business: true}
table:
  version: 2
  country_unknown: DE
  elsewhere: untaxed
  countries:
    - country: DE
      zone: Europe/Berlin
      rates:
        - {percent: 16, since: 2020-07-01, until: 2020-12-31}
        - {percent: 19, since: 2021-01-01}
    - country: CA
      zone: America/Toronto
      reverse_charge: false
      rates:
        - {name: GST, percent: 5, since: 2008-01-01}
        - {name: QST, percent: '9.975', since: 2013-01-01}
"""


def test_a_file_is_an_engine_with_a_name_of_its_own() -> None:
    taxation = parse_tax(TEXT, "tax.yaml").taxation()
    assert taxation.seller == TaxParty(country="DE", vat_id="DE123456789", business=True)
    engine, digits = taxation.engine.rules.rsplit(":", 1)
    assert (engine, len(digits)) == ("table:2", 64)
    dearer = parse_tax(TEXT.replace("percent: 19", "percent: 20"), "tax.yaml").taxation()
    assert dearer.engine.rules.rsplit(":", 1) != [engine, digits]
    assert dearer.told != taxation.told
    found = taxation.engine.tax(taxation.seller, TaxParty(country="CA"), [LINE], NOW)
    assert [one.amount.minor for one in found] == [50, 100]


def test_of_a_customer_without_a_country_and_of_one_elsewhere_the_file_says_what_holds() -> None:
    taxation = parse_tax(TEXT, "tax.yaml").taxation()
    (unknown,) = taxation.engine.tax(taxation.seller, None, [LINE], NOW)
    assert (unknown.jurisdiction, unknown.rate_percent) == ("DE", Decimal(19))
    there = TaxParty(country="US", business=True, vat_id="US1")
    assert taxation.engine.tax(taxation.seller, there, [LINE], NOW) == ()
    refusing = parse_tax(TEXT.replace("untaxed", "refused"), "tax.yaml").taxation()
    with pytest.raises(Refused) as caught:
        refusing.engine.tax(refusing.seller, there, [LINE], NOW)
    assert (caught.value.code, caught.value.fact) == ("tax_unknown", "customer.country")


@pytest.mark.parametrize(
    ("old", "new", "field", "rule"),
    [
        ("engine: table", "engine: guess", "tax.yaml: engine", "'table'"),
        ("country: DE, vat", "country: de, vat", "tax.yaml: seller.country", "pattern"),
        ("  country_unknown: DE\n", "", "tax.yaml: tax", "table.country_unknown"),
        ("unknown: DE", "unknown: FR", "tax.yaml: table", "one of the countries"),
        ("untaxed", "somehow", "tax.yaml: table.elsewhere", "'refused' or 'untaxed'"),
        ("percent: 19", "percent: 119", "countries[0].rates[1].percent", "100"),
        ("since: 2021-01-01}", "since: 2021-01-02}", "tax.yaml: tax", "every day from the first"),
        ("2020-12-31", "2021-12-31", "tax.yaml: table.countries[0]", "never overlap"),
        ("Europe/Berlin", "Europe/Nowhere", "tax.yaml: table.countries[0].zone", "zone"),
        ("country: CA", "country: DE", "tax.yaml: table.countries", "only once"),
        ("engine: table", "engine: table\nodd: 1", "tax.yaml: odd", "not permitted"),
        ("version: 2", "version: [", "tax.yaml", ""),
    ],
)
def test_a_mistake_is_told_by_field_and_rule(old: str, new: str, field: str, rule: str) -> None:
    assert old in TEXT
    with pytest.raises(BadInput) as caught:
        parse_tax(TEXT.replace(old, new, 1), "tax.yaml")
    assert field in caught.value.field
    assert rule in caught.value.rule


@pytest.mark.parametrize(
    ("spans", "endless"),
    [
        ([("2020-01-01", None)], True),
        ([("2020-01-01", "2020-12-31")], False),
        ([("2020-01-01", "2020-12-31"), ("2021-01-01", None)], True),
        ([("2020-01-01", "2020-12-31"), ("2021-01-02", None)], False),
    ],
)
def test_a_country_has_a_rate_on_every_day_from_its_first_on_or_not(
    spans: list[tuple[str, str | None]], endless: bool
) -> None:
    rates = tuple(
        TaxRate(
            percent=Decimal(7),
            since=date.fromisoformat(since),
            until=date.max if until is None else date.fromisoformat(until),
        )
        for since, until in spans
    )
    assert CountryRates(country="DE", zone="UTC", rates=rates).endless is endless
