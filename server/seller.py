"""Who sells, as `catalog/seller.yaml` says it for the workspace's invoices. Not an invoice, and no part of what is applied."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from control_plane.billing.parties import Labelled, Parties, Party
from control_plane.domain.buyer import Buyer
from control_plane.domain.plan_fault import fault
from control_plane.domain.strict_yaml import parse_yaml
from control_plane.domain.tax import InvoiceTax
from control_plane.domain.tenant import Tenant
from control_plane.errors import BadInput, PaybillError
from server.private_files import read_plain_file, sync_folder, write_new_file
from server.workspace import Workspace

FILE_NAME: Final = "seller.yaml"
HINT: Final = "Name, address and tax ids come from catalog/seller.yaml"
_FILE_BYTES_MAX: Final = 65_536
_SAMPLE: Final = """\
# Who sells, as invoices show it. Read whenever one is shown: nothing needs to be applied.
# What the law of your place wants to stand there is for you to say.
seller:
  name: {name}
  # Up to 8 lines. As long as this one stands, your invoices say so.
  address: ["{hint}"]
  # tax_ids: [{{label: VAT ID, value: DE123456789}}]
  # contact: [billing@example.com]
# Where to pay by transfer; without it, an invoice names no account.
# bank:
#   - {{label: IBAN, value: DE02 1203 0000 0000 2020 51}}
# pay_at: https://billing.example.com/pay
# note: Registered in Berlin, HRB 123456.
#
# Invoices are taxed only where tax.yaml beside this file says how: see docs/reference/invoices.md.
"""


class Seller(BaseModel):
    """The file: who sells, and where to pay. Each field as an invoice shows it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    seller: Party
    bank: tuple[Labelled, ...] = Field(default=(), max_length=8)
    pay_at: str | None = None
    note: str | None = None


def parties(
    workspace: Workspace, customer: Tenant, buyer: Buyer | None, tax: InvoiceTax | None
) -> Parties:
    """Both sides of an invoice: the seller of the file, or a hint where there is none. BadInput.

    `buyer` and `tax` are the invoice's own: each VAT id that it was taxed by stands on it.
    """
    held = read_seller(workspace.catalog / FILE_NAME)
    if held is None:
        held = Seller(seller=Party(name=workspace.name, address=(HINT,)))
    try:
        return Parties(
            seller=_taxed_as(held.seller, None if tax is None else tax.seller.vat_id),
            customer=_bought(customer, buyer),
            bank=held.bank,
            pay_at=held.pay_at,
            note=held.note,
        )
    except ValidationError as error:
        where = error.errors(include_url=False)[0]["loc"][0]
        raise BadInput(f"{FILE_NAME}: {where}", "is not as the reference says") from None


def _bought(customer: Tenant, buyer: Buyer | None) -> Party:
    name = customer.display_name or customer.id
    if buyer is None:
        return Party(name=name, address=())
    party = Party(name=buyer.name or name, address=(*buyer.address, buyer.country))
    return _taxed_as(party, buyer.vat_id)


def _taxed_as(party: Party, vat_id: str | None) -> Party:
    if vat_id is None or any(_bare(one.value) == _bare(vat_id) for one in party.tax_ids):
        return party
    ids = (*party.tax_ids, Labelled(label="VAT ID", value=vat_id))
    return party.model_copy(update={"tax_ids": ids})


def _bare(vat_id: str) -> str:
    return "".join(one for one in vat_id if one.isalnum()).upper()


def write_sample(catalog: Path, name: str) -> None:
    """Write a file for a workspace of that name to start from, where there is none. OSError."""
    file = catalog / FILE_NAME
    if os.path.lexists(file):
        return
    draft = catalog / f".{FILE_NAME}.{secrets.token_hex(8)}"
    text = _SAMPLE.format(name=json.dumps(name, ensure_ascii=False), hint=HINT)
    try:
        write_new_file(draft, text.encode(), mode=0o644)
        draft.rename(file)
        sync_folder(catalog)
    finally:
        draft.unlink(missing_ok=True)


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
