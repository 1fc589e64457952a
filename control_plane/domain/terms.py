"""What a subscription was agreed on: currency, interval, quantities, how it is paid. Not the plan or the prices."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from control_plane.domain.buyer import Buyer
from control_plane.domain.charge import Interval, Slug
from control_plane.domain.coupon import CouponCode
from control_plane.domain.instant import Instant
from control_plane.domain.money import MINOR_MAX, Currency, Money
from control_plane.domain.tax import Rate

Collection: TypeAlias = Literal["automatic", "by_invoice"]
Quantity: TypeAlias = Annotated[int, Field(ge=0, le=MINOR_MAX)]

DUE_DAYS: Final = 14  # of an invoice that is paid by transfer
_ADD_ONS_MAX = 100
_RATES_MAX = 100


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Taken(_Strict):
    """So many of one add-on, above zero."""

    name: Slug
    quantity: Annotated[int, Field(ge=1, le=MINOR_MAX)]


def _each_once(add_ons: tuple[Taken, ...]) -> tuple[Taken, ...]:
    if len({one.name for one in add_ons}) != len(add_ons):
        raise ValueError("each add-on stands only once")
    return tuple(sorted(add_ons, key=lambda one: one.name))


AddOnsTaken: TypeAlias = Annotated[
    tuple[Taken, ...], Field(max_length=_ADD_ONS_MAX), AfterValidator(_each_once)
]


class Method(_Strict):
    """How a tenant pays: a provider, and its own token for the account. Never what is on a card."""

    provider: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    reference: str = Field(pattern=r"^[\x21-\x7e]{1,120}$")


class Terms(_Strict):
    """The agreed terms. Periods are counted from `anchor_at` in `zone`, by its IANA name.

    `automatic` collects from the method at once; `by_invoice` asks for a transfer within
    `due_days`.
    """

    currency: Currency
    interval: Interval = "month"
    zone: str = Field(default="UTC", min_length=1, max_length=64)
    anchor_at: Instant
    collection: Collection = "automatic"
    due_days: int = Field(default=DUE_DAYS, ge=0, le=365)
    seats: Quantity = 0
    add_ons: AddOnsTaken = ()


class Agreement(_Strict):
    """What a new subscription is asked to be: terms without an anchor, and how it is paid."""

    currency: Currency
    interval: Interval = "month"
    zone: str = Field(default="UTC", min_length=1, max_length=64)
    collection: Collection = "automatic"
    seats: Quantity = 0
    add_ons: AddOnsTaken = ()
    method: Method | None = None
    buyer: Buyer | None = None
    coupon: CouponCode | None = None

    def terms(self, anchor_at: datetime) -> Terms:
        """The terms, from an aware instant on."""
        return Terms(
            currency=self.currency,
            interval=self.interval,
            zone=self.zone,
            anchor_at=anchor_at,
            collection=self.collection,
            seats=self.seats,
            add_ons=self.add_ons,
        )


class TakenOff(_Strict):
    """What one coupon took off one charge, above zero."""

    code: CouponCode
    amount_minor: Annotated[int, Field(ge=1, le=MINOR_MAX)]


class Running(_Strict):
    """What a component costs in the period that runs: since when, and what was invoiced for it.

    `invoiced_minor` is for the time from `since` to the period's end, before what coupons took off
    it, and `line` the one that charged it, which a credit takes back. `taxed` is how that line was
    taxed once its invoice was final, so that a credit takes the same tax back; None for not at all.
    """

    component: str = Field(min_length=1, max_length=64)
    price_minor: Annotated[int, Field(ge=0, le=MINOR_MAX)]
    since: Instant
    invoiced_minor: Annotated[int, Field(ge=0, le=MINOR_MAX)]
    line: str = Field(default="", max_length=64)
    taken_off: tuple[TakenOff, ...] = ()
    taxed: Annotated[tuple[Rate, ...], Field(max_length=_RATES_MAX)] | None = None

    @property
    def charged_minor(self) -> int:
        """What was charged for it in the end."""
        return self.invoiced_minor - sum(one.amount_minor for one in self.taken_off)


class Unbilled(_Strict):
    """Usage from `start` up to but without `end` that an invoice waits for, at the rates of then.

    It lies in the period from `period_start` to `period_end`, of which it may be a part.
    """

    invoice: str = Field(min_length=1, max_length=64)
    plan: str = Field(min_length=1, max_length=40)
    plan_version: int = Field(ge=1)
    terms: Terms
    start: Instant
    end: Instant
    period_start: Instant | None = None
    period_end: Instant | None = None


def money(minor: int, terms: Terms) -> Money:
    """An amount in the terms' currency."""
    return Money(minor=minor, currency=terms.currency)
