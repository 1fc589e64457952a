"""Tax as a port: what a set of lines is taxed with, and by whom. Not a registration, a return or a check of VAT ids.

An engine says which rates hold for whom; how a rate becomes amounts is said once, here. Of each rate
an invoice is rounded once, over the sum of what it taxes, and the shares of the lines are the
differences of rounded cumulatives: they sum exactly, and no order of the lines changes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Literal, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from control_plane.domain.invoice import LINES_MAX, BillingId, InvoiceLine, line_id
from control_plane.domain.money import MINOR_MAX, Currency, Money, round_money
from control_plane.domain.prices import Quantity
from control_plane.errors import BadInput, Refused

Country: TypeAlias = Annotated[
    str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2, as `DE`.")
]
VatId: TypeAlias = Annotated[
    str,
    Field(
        pattern=r"^[A-Z0-9](?:[A-Z0-9 .+*/-]{0,28}[A-Z0-9])$",
        description="As the country writes it, with its prefix; nobody is asked whether it holds.",
    ),
]
Percent: TypeAlias = Annotated[
    Quantity, Field(le=100, description="Of the net amount, in percent, as text: `8.1`.")
]
Jurisdiction: TypeAlias = Annotated[
    str, Field(min_length=1, max_length=80, pattern=r"^[A-Z]{2}( .+)?$")
]
# What may be taxed: never the tax itself, and not what is only carried from one bill to another.
TaxableKind: TypeAlias = Literal[
    "base",
    "seats",
    "usage",
    "minimum",
    "add_on",
    "proration_credit",
    "proration_debit",
    "discount",
    "manual",
]
TaxReason: TypeAlias = Literal["standard", "zero_rated", "reverse_charge"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TaxParty(_Strict):
    """A seller or a customer, as tax law asks: where, and whether as a business."""

    country: Country
    vat_id: VatId | None = None
    business: bool = False


class TaxableLine(_Strict):
    """What is taxed of one line: its net amount, below zero for what is given back."""

    id: BillingId
    kind: TaxableKind
    net: Money


class TaxShare(_Strict):
    """What falls on one line, in minor units of the tax line's currency."""

    line: BillingId
    amount_minor: int = Field(ge=-MINOR_MAX, le=MINOR_MAX)


class TaxLine(_Strict):
    """One rate over all that it taxes. `shares` sum exactly to `amount`.

    `jurisdiction` is a country and, where it has several taxes, the name of this one: `CA GST`.
    """

    jurisdiction: Jurisdiction
    rate_percent: Percent
    reason: TaxReason
    taxable: Money
    amount: Money
    shares: tuple[TaxShare, ...] = Field(default=(), max_length=LINES_MAX)


class TaxEngine(Protocol):
    """Says which taxes are due on lines that a seller bills a customer at an aware instant."""

    def tax(
        self, seller: TaxParty, customer: TaxParty, lines: Sequence[TaxableLine], at: datetime
    ) -> tuple[TaxLine, ...]:
        """One line a rate, sorted by jurisdiction; none for no lines.

        Refused (`tax_unknown`) where the engine cannot say, (`two_currencies`) for lines in two
        currencies; BadInput for a line that stands twice.
        """
        ...


class NoTax:
    """The engine of a seller who owes no tax: never a line."""

    def tax(
        self, seller: TaxParty, customer: TaxParty, lines: Sequence[TaxableLine], at: datetime
    ) -> tuple[TaxLine, ...]:
        check_lines(lines)
        return ()


def tax_line(
    jurisdiction: str, rate_percent: Decimal, reason: TaxReason, lines: Sequence[TaxableLine]
) -> TaxLine:
    """One rate over `lines` (at least one): rounded once, and shared out by rounded cumulatives.

    The lines are taken in the order of their ids, so that the same ones give the same shares.
    Of a line of zero or above the share is zero or above. Errors as `TaxEngine.tax`.
    """
    currency = check_lines(lines)
    if currency is None:
        raise BadInput("lines", "must not be empty")
    rate = Fraction(rate_percent) / 100
    taxable, done = 0, 0
    shares: list[TaxShare] = []
    for one in sorted(lines, key=lambda line: line.id):
        taxable += one.net.minor
        upto = round_money(taxable * rate)
        shares.append(TaxShare(line=one.id, amount_minor=upto - done))
        done = upto
    if abs(taxable) > MINOR_MAX:
        raise BadInput("lines", f"must sum to within {MINOR_MAX} of zero")
    return TaxLine(
        jurisdiction=jurisdiction,
        rate_percent=rate_percent,
        reason=reason,
        taxable=Money(minor=taxable, currency=currency),
        amount=Money(minor=done, currency=currency),
        shares=tuple(shares),
    )


def check_lines(lines: Sequence[TaxableLine]) -> Currency | None:
    """The one currency of the lines, None without any. Errors as `TaxEngine.tax`."""
    if len(lines) > LINES_MAX:
        raise BadInput("lines", f"must be at most {LINES_MAX}")
    if len({one.id for one in lines}) != len(lines):
        raise BadInput("lines", "each line stands only once")
    currencies = {one.net.currency for one in lines}
    if len(currencies) > 1:
        raise Refused(
            "lines in two currencies are never taxed together",
            code="two_currencies",
            rule="tax.currency",
        )
    return next(iter(currencies), None)


def part_of(
    taxes: Iterable[TaxLine], before_minor: int, after_minor: int, total_minor: int
) -> tuple[TaxLine, ...]:
    """The taxes in a part of an invoice over `total_minor` with tax: from `before` to `after`.

    For credit notes: the first takes from 0 to its amount, the next from there on. However the
    whole is cut, the parts sum exactly to `taxes`. No shares, because a part has no lines. BadInput
    unless 0 <= before <= after <= total and total is above zero.
    """
    if not 0 <= before_minor <= after_minor <= total_minor or total_minor == 0:
        raise BadInput("after_minor", "must lie between what was credited before and the total")

    def between(money: Money) -> Money:
        upto, done = (
            round_money(Fraction(money.minor * at, total_minor))
            for at in (after_minor, before_minor)
        )
        return Money(minor=upto - done, currency=money.currency)

    return tuple(
        one.model_copy(
            update={"taxable": between(one.taxable), "amount": between(one.amount), "shares": ()}
        )
        for one in taxes
    )


def title(tax: TaxLine) -> str:
    """What a customer reads, as `Tax DE 19 %`."""
    if tax.reason == "reverse_charge":
        return f"Tax {tax.jurisdiction}, reverse charge"
    return f"Tax {tax.jurisdiction} {tax.rate_percent:f} %"


def invoice_line(invoice: str, tax: TaxLine) -> InvoiceLine:
    """The line of an invoice for one tax; its id is the same each time it is made."""
    reference = f"{tax.jurisdiction}:{tax.rate_percent:f}:{tax.reason}"
    return InvoiceLine(
        id=line_id(invoice, "tax", reference),
        invoice=invoice,
        kind="tax",
        reference=reference,
        description=title(tax),
        amount_minor=tax.amount.minor,
        currency=tax.amount.currency,
    )
