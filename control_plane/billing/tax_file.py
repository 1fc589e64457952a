"""How a workspace taxes, as `tax.yaml` in its catalog says it. Not the rates of any country, and not how a rate becomes amounts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from control_plane.billing.tax import TaxEngine
from control_plane.billing.tax_table import TableTax, TaxTable
from control_plane.domain import canonical
from control_plane.domain.plan_fault import fault
from control_plane.domain.strict_yaml import parse_yaml
from control_plane.domain.tax import TaxParty
from control_plane.errors import BadInput

_TOLD_DIGITS = 16


@dataclass(frozen=True)
class Taxation:
    """Who owes the tax, and the engine that says which."""

    seller: TaxParty
    engine: TaxEngine

    @property
    def told(self) -> str:
        """Both in one line, to compare."""
        return f"{self.engine.rules} for {canonical.digest(self.seller)[:_TOLD_DIGITS]}"


class TaxFile(BaseModel):
    """The file. Of no customer and on no day does it leave open what holds: nobody could be billed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    engine: Literal["table"] = Field(description="What says which tax is due.")
    seller: TaxParty = Field(description="Where you are taxed, and your own VAT id.")
    table: TaxTable = Field(description="The rates, by country.")

    @model_validator(mode="after")
    def _leaves_nothing_open(self) -> Self:
        if self.table.country_unknown is None:
            raise ValueError("table.country_unknown says where a customer without a country is")
        if not all(one.endless for one in self.table.countries):
            raise ValueError("in each country of table some rate holds on every day from the first")
        return self

    def taxation(self) -> Taxation:
        """The same, ready to be asked."""
        return Taxation(self.seller, TableTax(self.table))


def parse_tax(yaml_text: str, file_name: str) -> TaxFile:
    """The file in `yaml_text`. BadInput names the file, the first wrong field and its rule."""
    plain = parse_yaml(yaml_text, file_name)
    try:
        # As JSON, strict still lets a list be a tuple, and text a day.
        return TaxFile.model_validate_json(json.dumps(plain))
    except ValidationError as error:
        path, rule = fault(plain, error.errors(include_url=False)[0])
        raise BadInput(f"{file_name}: {_told(path)}", rule) from None


def _told(path: Iterable[int | str]) -> str:
    told = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return told.removeprefix(".") or "tax"
