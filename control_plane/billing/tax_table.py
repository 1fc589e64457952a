"""Rates by country out of a versioned table: the engine for whoever keeps one. Not the rates themselves.

A customer is taxed at the rate of their own country on the day of the invoice there. A business in
another country than the seller's, with a VAT id, owes the tax itself where the table says so. What
holds for a customer of whom no country is known, or one that the table lacks, the table says too.
Whether a rate, a threshold or an exemption holds is for the seller's accountant: nothing here knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from control_plane.billing.calendar import ZoneName, local_day
from control_plane.billing.tax import TaxableLine, TaxLine, check_lines, tax_line
from control_plane.domain import canonical
from control_plane.domain.tax import Country, Percent, TaxParty, TaxReason, TaxRules
from control_plane.errors import Refused

_COUNTRIES_MAX = 300
_RATES_MAX = 100
_LAST_DAY: Final = date.max
_DAY: Final = timedelta(days=1)

Elsewhere: TypeAlias = Literal["refused", "untaxed"]
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

    @property
    def endless(self) -> bool:
        """Whether some rate holds on every day from the first rate's on."""
        until: date | None = None
        for one in sorted(self.rates, key=lambda rate: rate.since):
            if until is None or (until < _LAST_DAY and one.since <= until + _DAY):
                until = one.until if until is None else max(until, one.until)
        return until == _LAST_DAY


def _each_country_once(countries: tuple[CountryRates, ...]) -> tuple[CountryRates, ...]:
    if len({one.country for one in countries}) != len(countries):
        raise ValueError("each country stands only once")
    return tuple(sorted(countries, key=lambda one: one.country))


class TaxTable(_Strict):
    """What is in force where; a change is another version, so that an invoice can name its own."""

    version: int = Field(ge=1, description="Another one with each change.")
    country_unknown: Country | None = Field(
        default=None,
        description="Where a customer is taken to be of whom no country is known; else refused.",
    )
    elsewhere: Elsewhere = Field(
        default="refused", description="What holds in a country that is not listed."
    )
    countries: Annotated[
        tuple[CountryRates, ...],
        Field(max_length=_COUNTRIES_MAX),
        AfterValidator(_each_country_once),
    ]

    @model_validator(mode="after")
    def _knows_the_unknown(self) -> Self:
        listed = {one.country for one in self.countries}
        if self.country_unknown is not None and self.country_unknown not in listed:
            raise ValueError("country_unknown is one of the countries")
        return self


class TableTax:
    """The engine over one version of a table. Frozen with it: the same call, the same lines."""

    def __init__(self, table: TaxTable) -> None:
        self._table = table
        self._countries = {one.country: one for one in table.countries}
        told = canonical.digest(table.model_dump(mode="json"))
        self._rules = f"table:{table.version}:{told}"

    @property
    def rules(self) -> TaxRules:
        """The table by its version and digest."""
        return self._rules

    def tax(
        self,
        seller: TaxParty,
        customer: TaxParty | None,
        lines: Sequence[TaxableLine],
        at: datetime,
    ) -> tuple[TaxLine, ...]:
        """As the port. `tax_unknown` for a country, or a day of it, that the table says nothing of."""
        if check_lines(lines) is None:
            return ()
        if customer is None:
            if self._table.country_unknown is None:
                raise _unknown("customer.country")
            customer = TaxParty(country=self._table.country_unknown)
        there = self._countries.get(customer.country)
        if there is None:
            if self._table.elsewhere == "untaxed":
                return ()
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
