"""Tax as it stands on an invoice: who was taxed, by which rules, and what came of it. Not a rate that holds, nor an engine."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from control_plane.domain.money import MINOR_MAX
from control_plane.domain.prices import Quantity

Country: TypeAlias = Annotated[
    str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2, as `DE`.")
]
VatId: TypeAlias = Annotated[
    str,
    Field(
        pattern=r"^[A-Z0-9][A-Z0-9 .+*/-]{0,28}[A-Z0-9]$",
        description="As the country writes it, with its prefix; nobody is asked whether it holds.",
    ),
]
Percent: TypeAlias = Annotated[
    Quantity, Field(le=100, description="Of the net amount, in percent, as text: `8.1`.")
]
Jurisdiction: TypeAlias = Annotated[
    str, Field(min_length=1, max_length=80, pattern=r"^[A-Z]{2}( .+)?$")
]
TaxReason: TypeAlias = Literal["standard", "zero_rated", "reverse_charge"]
TaxRules: TypeAlias = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9_]{0,39}:[A-Za-z0-9._-]{1,40}:[0-9a-f]{64}$",
        description="The engine, its version, and the digest of what it was told.",
    ),
]

_RATES_MAX = 1_000  # of one invoice: old ones that something is given back at among them
_SHARES_MAX = 10_000


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TaxParty(_Strict):
    """A seller or a customer, as tax law asks: where, and whether as a business."""

    country: Country
    vat_id: VatId | None = None
    business: bool = False


class Rate(_Strict):
    """One tax by its rate. `jurisdiction` is a country, with the tax's name where it has several."""

    jurisdiction: Jurisdiction
    rate_percent: Percent
    reason: TaxReason


class TaxShare(_Strict):
    """What falls on one line, in minor units."""

    line: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    amount_minor: int = Field(ge=-MINOR_MAX, le=MINOR_MAX)


class TaxCharged(Rate):
    """What one rate came to, in minor units of the invoice's currency; below zero for what is given back.

    `shares` of the lines that it taxes sum exactly to `amount_minor`; a part of an invoice has none.
    """

    taxable_minor: int = Field(ge=-MINOR_MAX, le=MINOR_MAX)
    amount_minor: int = Field(ge=-MINOR_MAX, le=MINOR_MAX)
    shares: tuple[TaxShare, ...] = Field(default=(), max_length=_SHARES_MAX)

    @property
    def rate(self) -> Rate:
        """The rate alone."""
        return Rate(
            jurisdiction=self.jurisdiction, rate_percent=self.rate_percent, reason=self.reason
        )


ChargedTaxes: TypeAlias = Annotated[tuple[TaxCharged, ...], Field(max_length=_RATES_MAX)]


class InvoiceTax(_Strict):
    """How an invoice was taxed: enough to come to the same again, and to give a part of it back.

    Without a `customer` nobody knew where they were: the rules say what holds then. What was taxed
    with nothing has no `charged`.
    """

    rules: TaxRules
    seller: TaxParty
    customer: TaxParty | None = None
    charged: ChargedTaxes = ()

    @property
    def amount_minor(self) -> int:
        """All taxes together."""
        return sum(one.amount_minor for one in self.charged)

    def rates_of(self, line: str) -> tuple[Rate, ...]:
        """What one line of the invoice is taxed with."""
        return tuple(
            one.rate for one in self.charged if any(share.line == line for share in one.shares)
        )
