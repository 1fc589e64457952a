"""Who sells, as `catalog/seller.yaml` says it for the workspace's invoices. Not an invoice, and no part of what is applied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from control_plane.billing.parties import Labelled, Parties, Party
from control_plane.domain.plan_fault import fault
from control_plane.domain.strict_yaml import parse_yaml
from control_plane.domain.tenant import Tenant
from control_plane.errors import BadInput, PaybillError
from server.private_files import read_plain_file
from server.workspace import Workspace

FILE_NAME: Final = "seller.yaml"
HINT: Final = "Name, address and tax ids come from catalog/seller.yaml"
_FILE_BYTES_MAX: Final = 65_536


class Seller(BaseModel):
    """The file: who sells, and where to pay. Each field as an invoice shows it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    seller: Party
    bank: tuple[Labelled, ...] = Field(default=(), max_length=8)
    pay_at: str | None = None
    note: str | None = None


def parties(workspace: Workspace, customer: Tenant) -> Parties:
    """Both sides of an invoice: the seller of the file, or a hint where there is none. BadInput."""
    held = read_seller(workspace.catalog / FILE_NAME)
    if held is None:
        held = Seller(seller=Party(name=workspace.name, address=(HINT,)))
    bought = Party(name=customer.display_name or customer.id, address=())
    try:
        return Parties(
            seller=held.seller,
            customer=bought,
            bank=held.bank,
            pay_at=held.pay_at,
            note=held.note,
        )
    except ValidationError as error:
        where = error.errors(include_url=False)[0]["loc"][0]
        raise BadInput(f"{FILE_NAME}: {where}", "is not as the reference says") from None


def read_seller(file: Path) -> Seller | None:
    """The file's content, or None where it is not there. BadInput names the first wrong field."""
    try:
        content, _ = read_plain_file(file, bytes_max=_FILE_BYTES_MAX)
        text = content.decode()
    except FileNotFoundError:
        return None
    except (PaybillError, UnicodeDecodeError):
        raise BadInput(FILE_NAME, "must be a plain file of text") from None
    told = parse_yaml(text, FILE_NAME)
    try:
        return Seller.model_validate_json(json.dumps(told))
    except ValidationError as error:
        path, rule = fault(told, error.errors(include_url=False)[0])
        where = ".".join(str(part) for part in path)
        raise BadInput(f"{FILE_NAME}: {where}", rule) from None
