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
from typing import Literal, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from control_plane.domain import canonical
from control_plane.domain.invoice import LINES_MAX, BillingId, InvoiceLine, line_id
from control_plane.domain.money import MINOR_MAX, Currency, Money, round_money
from control_plane.domain.tax import (
    Rate,
    TaxCharged,
    TaxParty,
    TaxReason,
    TaxRules,
    TaxShare,
)
from control_plane.errors import BadInput, Refused

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


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TaxableLine(_Strict):
    """What is taxed of one line: its net amount, below zero for what is given back."""

    id: BillingId
    kind: TaxableKind
    net: Money


class TaxLine(Rate):
    """One rate over all that it taxes. `shares` sum exactly to `amount`."""

    taxable: Money
    amount: Money
    shares: tuple[TaxShare, ...] = Field(default=(), max_length=LINES_MAX)

    @property
    def rate(self) -> Rate:
        """The rate alone."""
        return Rate(
            jurisdiction=self.jurisdiction, rate_percent=self.rate_percent, reason=self.reason
        )

    @property
    def charged(self) -> TaxCharged:
        """The same as an invoice keeps it."""
        return TaxCharged(
            jurisdiction=self.jurisdiction,
            rate_percent=self.rate_percent,
            reason=self.reason,
            taxable_minor=self.taxable.minor,
            amount_minor=self.amount.minor,
            shares=self.shares,
        )


class TaxEngine(Protocol):
    """Says which taxes are due on lines that a seller bills a customer at an aware instant.

    Pure: the same rules, parties, lines and instant give the same lines, each made by `tax_line`.
    """

    @property
    def rules(self) -> TaxRules:
        """What it goes by, so that an invoice can name it."""
        ...

    def tax(
        self,
        seller: TaxParty,
        customer: TaxParty | None,
        lines: Sequence[TaxableLine],
        at: datetime,
    ) -> tuple[TaxLine, ...]:
        """One line a rate, sorted by jurisdiction; none for no lines.

        Without a customer nobody knows where they are: what holds then is a rule of the engine's.
        Refused (`tax_unknown`) where the engine cannot say, (`two_currencies`) for lines in two
        currencies; BadInput for a line that stands twice.
        """
        ...


class NoTax:
    """The engine of a seller who owes no tax: never a line."""

    rules: TaxRules = f"none:1:{canonical.digest('none')}"

    def tax(
        self,
        seller: TaxParty,
        customer: TaxParty | None,
        lines: Sequence[TaxableLine],
        at: datetime,
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
    taxes: Iterable[TaxCharged], before_minor: int, after_minor: int, total_minor: int
) -> tuple[TaxCharged, ...]:
    """The taxes in a part of an invoice over `total_minor` with tax: from `before` to `after`.

    For credit notes: the first takes from 0 to its amount, the next from there on. However the
    whole is cut, the parts sum exactly to `taxes`. BadInput unless 0 <= before <= after <= total
    and total is above zero. No shares, because a part has no lines.
    """
    if not 0 <= before_minor <= after_minor <= total_minor or total_minor == 0:
        raise BadInput("after_minor", "must lie between what was credited before and the total")

    def between(minor: int) -> int:
        upto, done = (
            round_money(Fraction(minor * at, total_minor)) for at in (after_minor, before_minor)
        )
        return upto - done

    return tuple(
        one.model_copy(
            update={
                "taxable_minor": between(one.taxable_minor),
                "amount_minor": between(one.amount_minor),
                "shares": (),
            }
        )
        for one in taxes
    )


def title(tax: Rate) -> str:
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
