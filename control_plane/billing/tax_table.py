"""Rates by country out of a versioned table: the engine for whoever keeps one. Not the rates themselves.

A customer is taxed at the rate of their own country on the day of the invoice there. A business in
another country than the seller's, with a VAT id, owes the tax itself where the table says so.
Whether a rate, a threshold or an exemption holds is for the seller's accountant: nothing here knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from control_plane.billing.calendar import ZoneName, local_day
from control_plane.billing.tax import (
    Country,
    Percent,
    TaxableLine,
    TaxLine,
    TaxParty,
    TaxReason,
    check_lines,
    tax_line,
)
from control_plane.errors import Refused

_COUNTRIES_MAX = 300
_RATES_MAX = 100
_LAST_DAY = date.max

TaxName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 .-]{0,39}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TaxRate(_Strict):
    """A rate from its first day to its last, both included. `name` is for a second tax of a country."""

    percent: Percent
    since: date
    until: date = _LAST_DAY
    name: TaxName | None = None

    @model_validator(mode="after")
    def _runs_forwards(self) -> Self:
        if self.until < self.since:
            raise ValueError("a rate ends no earlier than it begins")
        return self

    def holds(self, day: date) -> bool:
        """Whether it is in force on that day."""
        return self.since <= day <= self.until


class CountryRates(_Strict):
    """The rates of a country, and the zone in which its days begin.

    Several with different names hold side by side, each over the same net amount.
    """

    country: Country
    zone: ZoneName
    rates: tuple[TaxRate, ...] = Field(min_length=1, max_length=_RATES_MAX)
    reverse_charge: bool = Field(
        default=True, description="Whether a business there with a VAT id owes the tax itself."
    )

    @model_validator(mode="after")
    def _one_at_a_time(self) -> Self:
        ordered = sorted(self.rates, key=lambda one: (one.name or "", one.since))
        for earlier, later in pairwise(ordered):
            if earlier.name == later.name and later.since <= earlier.until:
                raise ValueError("rates of one name never overlap")
        return self


def _each_country_once(countries: tuple[CountryRates, ...]) -> tuple[CountryRates, ...]:
    if len({one.country for one in countries}) != len(countries):
        raise ValueError("each country stands only once")
    return tuple(sorted(countries, key=lambda one: one.country))


class TaxTable(_Strict):
    """What is in force where; a change is another version, so that an invoice can name its own."""

    version: int = Field(ge=1)
    countries: Annotated[
        tuple[CountryRates, ...],
        Field(max_length=_COUNTRIES_MAX),
        AfterValidator(_each_country_once),
    ]


class TableTax:
    """The engine over one version of a table. Frozen with it: the same call, the same lines."""

    def __init__(self, table: TaxTable) -> None:
        self._countries = {one.country: one for one in table.countries}
        self.version = table.version

    def tax(
        self, seller: TaxParty, customer: TaxParty, lines: Sequence[TaxableLine], at: datetime
    ) -> tuple[TaxLine, ...]:
        """As the port. `tax_unknown` for a country, or a day of it, that the table does not have."""
        if check_lines(lines) is None:
            return ()
        there = self._countries.get(customer.country)
        if there is None:
            raise _unknown("customer.country")
        day = local_day(at, there.zone)
        rates = [one for one in there.rates if one.holds(day)]
        if not rates:
            raise _unknown("at")
        if there.reverse_charge and _owes_it_itself(seller, customer):
            return (tax_line(there.country, Decimal(0), "reverse_charge", lines),)
        return tuple(
            _at_rate(there.country, one, lines)
            for one in sorted(rates, key=lambda rate: rate.name or "")
        )


def _owes_it_itself(seller: TaxParty, customer: TaxParty) -> bool:
    abroad = customer.country != seller.country
    return abroad and customer.business and customer.vat_id is not None


def _at_rate(country: str, rate: TaxRate, lines: Sequence[TaxableLine]) -> TaxLine:
    jurisdiction = country if rate.name is None else f"{country} {rate.name}"
    reason: TaxReason = "standard" if rate.percent else "zero_rated"
    return tax_line(jurisdiction, rate.percent, reason, lines)


def _unknown(fact: str) -> Refused:
    return Refused(
        "no tax is known for that country on that day",
        code="tax_unknown",
        rule="tax.table",
        fact=fact,
    )
