"""Who bills whom, as an invoice shows it. Not a tenant, a customer record or what tax law asks."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Line: TypeAlias = Annotated[str, Field(min_length=1, max_length=120)]
Lines: TypeAlias = Annotated[tuple[Line, ...], Field(max_length=8)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Labelled(_Strict):
    """Something with a name of its own, as `VAT ID` and `DE123456789`."""

    label: str = Field(min_length=1, max_length=40)
    value: str = Field(min_length=1, max_length=120)


class Party(_Strict):
    """A seller or a customer: what the law of the place wants to stand there is for the seller to say."""

    name: str = Field(min_length=1, max_length=200)
    address: Lines
    tax_ids: tuple[Labelled, ...] = Field(default=(), max_length=4)
    contact: Lines = ()


class Parties(_Strict):
    """Both sides of an invoice, and where to pay: `bank` as label and value, in the order shown."""

    seller: Party
    customer: Party
    bank: tuple[Labelled, ...] = Field(default=(), max_length=8)
    pay_at: str | None = Field(
        default=None,
        max_length=300,
        pattern=r"^https://[a-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$",
        description="A page on which the invoice can be paid.",
    )
    note: str | None = Field(
        default=None, min_length=1, max_length=500, description="At the end of every document."
    )
