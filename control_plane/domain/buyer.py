"""Who buys, as invoices name them and tax law asks. Not the tenant, its people or how it pays."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from control_plane.domain.tax import Country, TaxParty, VatId

AddressLine = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Buyer(BaseModel):
    """A customer's billing details. Without a `name`, an invoice has the tenant's.

    A VAT id alone makes no business: `business` says that it buys as one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="The name on invoices; without it, the tenant's."
    )
    address: tuple[AddressLine, ...] = Field(
        default=(), max_length=6, description="Street and place, a line each."
    )
    country: Country = Field(description="Where the customer is: ISO 3166-1 alpha-2, as `DE`.")
    business: bool = Field(default=False, description="Whether it buys as a business.")
    vat_id: VatId | None = Field(
        default=None, description="With the country's prefix; nobody is asked whether it holds."
    )

    @property
    def party(self) -> TaxParty:
        """The same as tax law asks."""
        return TaxParty(country=self.country, vat_id=self.vat_id, business=self.business)
