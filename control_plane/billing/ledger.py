"""The ledger's entries: what an event of billing moves between accounts, in double entry. Not where they are kept.

A debit is positive and a credit negative, in integer minor units. An entry sums to zero in every
currency, or it cannot be made. What each account holds, and the side on which it usually stands:

- ``receivable`` (debit): what tenants owe on finalised invoices;
- ``cash_clearing`` (debit): what payment providers have taken in and not yet paid out to us;
- ``cash`` (debit): what has reached our bank;
- ``revenue`` (credit): what has been earned;
- ``deferred_revenue`` (credit): what has been invoiced for service that is still to come;
- ``credit_balance`` (credit): what tenants have to their credit, for coming invoices;
- ``tax_payable`` (credit): tax that has been invoiced and belongs to the state;
- ``write_off`` (debit): what was owed and is given up;
- ``refunds`` (credit): what credit notes have promised to pay back and has not left us yet.

Every entry is one tenant's, so each account has a balance for each tenant. An event that is about no
tenant, as a payout of a provider, has the tenant "". The rules are those of double-entry bookkeeping;
that money which a provider holds is kept apart from cash follows how card payments settle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from control_plane.domain.canonical import digest
from control_plane.domain.money import MINOR_MAX, Currency
from control_plane.errors import BadInput, Refused

Account: TypeAlias = Literal[
    "receivable",
    "cash_clearing",
    "cash",
    "revenue",
    "deferred_revenue",
    "credit_balance",
    "tax_payable",
    "write_off",
    "refunds",
]
CauseKind: TypeAlias = Literal[
    "invoice_finalised",
    "payment_settled",
    "payment_refunded",
    "credit_note_issued",
    "written_off",
    "credit_granted",
    "credit_applied",
    "revenue_recognised",
    "payout_received",
    "reversal",
]
Balances: TypeAlias = Mapping[tuple[Account, str], int]
"""Signed minor units by (account, currency); what is zero is left out."""

_STRICT: Final = ConfigDict(frozen=True, extra="forbid", strict=True)
_POSTINGS_MAX: Final = 100
_TenantId: TypeAlias = Annotated[str, Field(max_length=40)]
_Reference: TypeAlias = Annotated[str, Field(min_length=1, max_length=120)]


class Cause(BaseModel):
    """What made an entry; with the tenant it is unique. ``reference`` is an id of that kind's own."""

    model_config = _STRICT

    kind: CauseKind
    reference: _Reference


class Posting(BaseModel):
    """What moves on one account: minor units, a debit positive, a credit negative, never zero."""

    model_config = _STRICT

    account: Account
    amount_minor: int = Field(ge=-MINOR_MAX, le=MINOR_MAX)
    currency: Currency

    @field_validator("amount_minor")
    @classmethod
    def _not_zero(cls, amount_minor: int) -> int:
        if not amount_minor:
            raise ValueError("a posting moves something")
        return amount_minor


class Entry(BaseModel):
    """One event in double entry; postings come out in one order, an account once in a currency.

    Refused (`ledger_unbalanced`) when there are fewer than two postings or they do not sum to zero
    in each currency.
    """

    model_config = _STRICT

    tenant: _TenantId
    occurred_at: AwareDatetime
    cause: Cause
    postings: tuple[Posting, ...] = Field(max_length=_POSTINGS_MAX)

    @property
    def id(self) -> str:
        """64 hexadecimal digits that follow from tenant and cause alone: the same event, the same id."""
        return digest([self.tenant, self.cause.kind, self.cause.reference])

    @field_validator("postings")
    @classmethod
    def _balanced(cls, postings: tuple[Posting, ...]) -> tuple[Posting, ...]:
        sums: Counter[str] = Counter()
        for one in postings:
            sums[one.currency] += one.amount_minor
        if len(postings) < 2 or any(sums.values()):  # noqa: PLR2004 - from one account to another
            raise Refused(
                "an entry has two postings or more, and they sum to zero in each currency",
                code="ledger_unbalanced",
                rule="ledger.balanced",
            )
        ordered = {(one.account, one.currency): one for one in postings}
        if len(ordered) != len(postings):
            raise ValueError("an account stands once in each currency")
        return tuple(ordered[key] for key in sorted(ordered))


class Occurrence(BaseModel):
    """An event that moves money: whose it is, its id among its kind, when, and in which currency."""

    model_config = _STRICT

    tenant: _TenantId
    reference: _Reference
    occurred_at: AwareDatetime
    currency: Currency


def invoice_finalised(
    of: Occurrence,
    *,
    net_minor: int,
    tax_minor: int = 0,
    deferred_minor: int = 0,
    credit_minor: int = 0,
) -> Entry | None:
    """The tenant owes net and tax, less the credit that is applied; None for an invoice of nothing.

    ``deferred_minor`` is the part of the net for service still to come. BadInput for a negative
    amount, more deferred than net, more credit than the total. A void is `reverse` of this entry.
    """
    _within("net_minor", net_minor)
    _within("tax_minor", tax_minor)
    total = net_minor + tax_minor
    _part("deferred_minor", deferred_minor, "net_minor", net_minor)
    _part("credit_minor", credit_minor, "the total", total)
    if not total:
        return None
    return _entry(
        of,
        "invoice_finalised",
        {
            "receivable": total - credit_minor,
            "credit_balance": credit_minor,
            "revenue": deferred_minor - net_minor,
            "deferred_revenue": -deferred_minor,
            "tax_payable": -tax_minor,
        },
    )


def invoice_gave_back(
    of: Occurrence, *, earned_minor: int, deferred_minor: int, tax_minor: int
) -> Entry | None:
    """An invoice that gives something back too: each part may be below zero; None for nothing at all.

    ``earned_minor`` is its net for service that was given, ``deferred_minor`` for service still to
    come. The tenant owes what they come to; what comes to less than nothing is credit.
    """
    for name, value in (
        ("earned_minor", earned_minor),
        ("deferred_minor", deferred_minor),
        ("tax_minor", tax_minor),
    ):
        _within(name, value, least=-MINOR_MAX)
    if not (earned_minor or deferred_minor or tax_minor):
        return None
    total = earned_minor + deferred_minor + tax_minor
    moved: dict[Account, int] = {
        "receivable": max(0, total),
        "credit_balance": min(0, total),
        "revenue": -earned_minor,
        "deferred_revenue": -deferred_minor,
        "tax_payable": -tax_minor,
    }
    return _entry(of, "invoice_finalised", moved)


def revenue_recognised(of: Occurrence, *, amount_minor: int) -> Entry:
    """Service that was invoiced ahead has been given: deferred revenue is earned."""
    _within("amount_minor", amount_minor, least=1)
    moved: dict[Account, int] = {"deferred_revenue": amount_minor, "revenue": -amount_minor}
    return _entry(of, "revenue_recognised", moved)


def payment_settled(
    of: Occurrence,
    *,
    amount_minor: int,
    allocated_minor: int | None = None,
    into: Literal["cash_clearing", "cash"] = "cash_clearing",
) -> Entry:
    """Money has come in; ``allocated_minor`` of it pays what is owed, all of it when None.

    What is not allocated is to the tenant's credit. Money that comes straight to our bank goes into
    ``cash``. A payment that the bank takes back is `reverse` of this entry.
    """
    _within("amount_minor", amount_minor, least=1)
    allocated = amount_minor if allocated_minor is None else allocated_minor
    _part("allocated_minor", allocated, "amount_minor", amount_minor)
    moved: dict[Account, int] = {
        into: amount_minor,
        "receivable": -allocated,
        "credit_balance": allocated - amount_minor,
    }
    return _entry(of, "payment_settled", moved)


def payment_refunded(
    of: Occurrence,
    *,
    amount_minor: int,
    owed: Literal["refunds", "credit_balance"] = "refunds",
    out_of: Literal["cash_clearing", "cash"] = "cash_clearing",
) -> Entry:
    """Money has gone back: what a credit note promised, or credit that is paid out."""
    _within("amount_minor", amount_minor, least=1)
    moved: dict[Account, int] = {owed: amount_minor, out_of: -amount_minor}
    return _entry(of, "payment_refunded", moved)


def credit_note_issued(
    of: Occurrence,
    *,
    net_minor: int,
    tax_minor: int = 0,
    deferred_minor: int = 0,
    receivable_minor: int = 0,
    refund_minor: int = 0,
    credit_minor: int = 0,
) -> Entry:
    """Takes back net and tax of an invoice; ``deferred_minor`` of the net was not yet earned.

    The total lessens what is owed, is to be paid back, or is credit: the three parts must come to it.
    Of an invoice that gave something back, or by a cent of rounding, net or tax may be below zero.
    """
    _within("net_minor", net_minor, least=-MINOR_MAX)
    _within("tax_minor", tax_minor, least=-MINOR_MAX)
    _part("deferred_minor", deferred_minor, "net_minor", max(0, net_minor))
    parts = {"receivable": receivable_minor, "refund": refund_minor, "credit": credit_minor}
    for name, value in parts.items():
        _within(f"{name}_minor", value)
    if not 0 < net_minor + tax_minor == sum(parts.values()):
        raise BadInput("net_minor", "net and tax must be what the three parts come to")
    moved: dict[Account, int] = {
        "revenue": net_minor - deferred_minor,
        "deferred_revenue": deferred_minor,
        "tax_payable": tax_minor,
        "receivable": -receivable_minor,
        "refunds": -refund_minor,
        "credit_balance": -credit_minor,
    }
    return _entry(of, "credit_note_issued", moved)


def written_off(of: Occurrence, *, amount_minor: int) -> Entry:
    """What is owed is given up, tax and all. When it is paid after all, `reverse` this first."""
    _within("amount_minor", amount_minor, least=1)
    return _entry(of, "written_off", {"write_off": amount_minor, "receivable": -amount_minor})


def credit_granted(
    of: Occurrence,
    *,
    amount_minor: int,
    out_of: Literal["revenue", "deferred_revenue", "refunds"] = "revenue",
) -> Entry:
    """The tenant gets credit for coming invoices, at the cost of revenue, earned or not.

    Out of ``refunds``: what was promised to be paid back and could not be.
    """
    _within("amount_minor", amount_minor, least=1)
    moved: dict[Account, int] = {out_of: amount_minor, "credit_balance": -amount_minor}
    return _entry(of, "credit_granted", moved)


def credit_applied(of: Occurrence, *, amount_minor: int) -> Entry:
    """Credit pays what is owed on an invoice that is open already."""
    _within("amount_minor", amount_minor, least=1)
    moved: dict[Account, int] = {"credit_balance": amount_minor, "receivable": -amount_minor}
    return _entry(of, "credit_applied", moved)


def payout_received(of: Occurrence, *, amount_minor: int) -> Entry:
    """A provider has paid out to our bank; the occurrence is about no tenant."""
    _within("amount_minor", amount_minor, least=1)
    return _entry(of, "payout_received", {"cash": amount_minor, "cash_clearing": -amount_minor})


def reverse(entry: Entry, occurred_at: datetime) -> Entry:
    """The entry that undoes another whole; an entry has one reversal, and a reversal has none.

    Refused (`ledger_reversal`) for a reversal: what should stand again is a new event.
    """
    if entry.cause.kind == "reversal":
        raise Refused(
            "a reversal is not reversed", code="ledger_reversal", rule="ledger.reversal_is_final"
        )
    return Entry(
        tenant=entry.tenant,
        occurred_at=occurred_at,
        cause=Cause(kind="reversal", reference=entry.id),
        postings=tuple(
            one.model_copy(update={"amount_minor": -one.amount_minor}) for one in entry.postings
        ),
    )


def fold(entries: Iterable[Entry]) -> Balances:
    """What entries come to, in any order: the one definition of a balance."""
    sums: Counter[tuple[Account, str]] = Counter()
    for entry in entries:
        for one in entry.postings:
            sums[one.account, one.currency] += one.amount_minor
    return {key: amount for key, amount in sums.items() if amount}


def _within(field: str, amount_minor: int, *, least: int = 0) -> None:
    if not least <= amount_minor <= MINOR_MAX:
        raise BadInput(field, f"must lie between {least} and {MINOR_MAX}")


def _part(field: str, amount_minor: int, whole: str, whole_minor: int) -> None:
    if not 0 <= amount_minor <= whole_minor:
        raise BadInput(field, f"must lie between 0 and {whole}")


def _entry(of: Occurrence, kind: CauseKind, moved: Mapping[Account, int]) -> Entry:
    if any(abs(amount) > MINOR_MAX for amount in moved.values()):
        raise BadInput("amount_minor", f"must lie within {MINOR_MAX} of zero")
    return Entry(
        tenant=of.tenant,
        occurred_at=of.occurred_at,
        cause=Cause(kind=kind, reference=of.reference),
        postings=tuple(
            Posting(account=account, amount_minor=amount, currency=of.currency)
            for account, amount in moved.items()
            if amount
        ),
    )
