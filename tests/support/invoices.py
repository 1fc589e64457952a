"""One invoice with everything on it, in each of its states, and who it is from and for. Not a test."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from control_plane.billing.discounts import Discountable, discount_lines
from control_plane.billing.discounts import invoice_line as discount_invoice_line
from control_plane.billing.invoice_document import EarlierLine, InvoiceDocument, invoice_document
from control_plane.billing.parties import Labelled, Parties, Party
from control_plane.billing.tax import TaxableLine
from control_plane.billing.tax import invoice_line as tax_invoice_line
from control_plane.billing.tax_table import CountryRates, TableTax, TaxRate, TaxTable
from control_plane.domain.coupon import Coupon
from control_plane.domain.invoice import (
    Invoice,
    InvoiceLine,
    LineKind,
    allocate,
    finalize,
    line_id,
    void,
)
from control_plane.domain.money import Money
from control_plane.domain.tax import TaxCharged, TaxParty

ID = "invoice_1"
ZONE = "Europe/Berlin"
START = datetime(2026, 4, 30, 22, 0, tzinfo=UTC)
CHANGED = datetime(2026, 5, 12, 9, 30, tzinfo=UTC)
END = datetime(2026, 5, 31, 22, 0, tzinfo=UTC)
ISSUED = datetime(2026, 6, 1, 6, 0, tzinfo=UTC)
DUE = ISSUED + timedelta(days=14)
EARLIER_ID = line_id("invoice_0", "seats", "seats")
EARLIER = {EARLIER_ID: EarlierLine(number="NW-2026-0041", position=2)}
SELLER = TaxParty(country="DE", vat_id="DE123456789", business=True)

PARTIES = Parties(
    seller=Party(
        name="Northwind Software GmbH",
        address=("Torstraße 12", "10119 Berlin", "Germany"),
        tax_ids=(Labelled(label="VAT ID", value="DE123456789"),),
        contact=("billing@northwind.example",),
    ),
    customer=Party(
        name="Żółta Łódź Sp. z o.o.",
        address=("ul. Długa 7/3", "00-238 Warszawa", "Poland"),
        tax_ids=(Labelled(label="VAT ID", value="PL5260001246"),),
    ),
    bank=(
        Labelled(label="Account holder", value="Northwind Software GmbH"),
        Labelled(label="IBAN", value="DE02 1203 0000 0000 2020 51"),
        Labelled(label="BIC", value="BYLADEM1001"),
    ),
    pay_at="https://billing.northwind.example/pay/NW-2026-0042",
    note="Northwind Software GmbH, Amtsgericht Berlin HRB 123456.",
)


def line(
    kind: LineKind, reference: str, description: str, amount: int, **facts: Any
) -> InvoiceLine:
    """A line of the invoice, in euros."""
    owner = facts.pop("invoice", ID)
    base = {
        "id": line_id(owner, kind, reference),
        "invoice": owner,
        "kind": kind,
        "reference": reference,
        "description": description,
        "amount_minor": amount,
        "currency": "EUR",
    }
    return InvoiceLine.model_validate({**base, **facts})


def charges() -> tuple[InvoiceLine, ...]:
    """A month with a change of plan, seats, usage and a correction of the month before."""
    base = line(
        "base", "plan:solo", "Solo plan", 4_900,
        unit_price=Decimal(4_900), period_start=START, period_end=END,
    )  # fmt: skip
    return (
        base,
        line(
            "proration_credit", "plan:solo:1", "Solo plan", -3_083,
            unit_price=Decimal(4_900), period_start=CHANGED, period_end=END, reverses=base.id,
        ),
        line(
            "proration_debit", "plan:team:1", "Team plan", 12_520,
            unit_price=Decimal(19_900), period_start=CHANGED, period_end=END,
        ),
        line(
            "seats", "seats", "Seats", 9_600,
            quantity=Decimal(8), unit_price=Decimal(1_200), period_start=START, period_end=END,
        ),
        line(
            "usage", "meter:api_calls", "API calls above 1,000,000", 15_432,
            quantity=Decimal(1_286_000), unit_price=Decimal("0.012"),
            period_start=START, period_end=END,
        ),
        line(
            "proration_credit", "seats:0", "Seats", -1_200,
            quantity=Decimal(1), unit_price=Decimal(1_200), reverses=EARLIER_ID,
        ),
    )  # fmt: skip


def taxed(
    lines: tuple[InvoiceLine, ...], customer: TaxParty | None = None
) -> tuple[tuple[InvoiceLine, ...], tuple[TaxCharged, ...]]:
    """The lines with a discount on what is charged and the tax on all, and the taxes themselves."""
    coupon = Coupon(
        code="SPRING26", title="Spring offer, 10 % off", percent_off=Decimal(10), duration="once"
    )
    lowered = [
        Discountable(id=one.id, plan="team", amount=Money(minor=one.amount_minor, currency="EUR"))
        for one in lines
        if one.kind == "proration_debit"
    ]
    discounts = tuple(discount_invoice_line(ID, one) for one in discount_lines([coupon], lowered))
    table = TaxTable(
        version=1,
        countries=tuple(
            CountryRates(
                country=country,
                zone=zone,
                rates=(TaxRate(percent=Decimal(percent), since=date(2021, 1, 1)),),
            )
            for country, zone, percent in (
                ("DE", "Europe/Berlin", "19"),
                ("PL", "Europe/Warsaw", "23"),
            )
        ),
    )
    net = (*lines, *discounts)
    taxes = TableTax(table).tax(
        SELLER,
        customer or TaxParty(country="PL"),
        [
            TaxableLine.model_validate(
                {
                    "id": one.id,
                    "kind": one.kind,
                    "net": Money(minor=one.amount_minor, currency="EUR"),
                }
            )
            for one in net
        ],
        ISSUED,
    )
    return (*net, *(tax_invoice_line(ID, one) for one in taxes)), tuple(
        one.charged for one in taxes
    )


def draft(lines: tuple[InvoiceLine, ...], **facts: Any) -> Invoice:
    """A draft of these lines, whose total is their sum."""
    base = {
        "id": ID,
        "tenant": "acme",
        "currency": "EUR",
        "lines": lines,
        "total_minor": sum(one.amount_minor for one in lines),
        "period_start": START,
        "period_end": END,
    }
    return Invoice.model_validate({**base, **facts})


def numbered(invoice: Invoice) -> Invoice:
    """The draft made final."""
    return finalize(invoice, "NW-2026-0042", ISSUED, DUE)


def documents() -> dict[str, InvoiceDocument]:
    """The invoice by its state, and one that was partly paid before."""
    lines, taxes = taxed(charges())
    business = TaxParty(country="PL", vat_id="PL5260001246", business=True)
    reverse_lines, reverse_taxes = taxed(charges(), business)
    opened = numbered(draft(lines))
    by_name = {
        "open": (opened, taxes),
        "draft": (draft(lines), taxes),
        "paid": (allocate(opened, opened.due_minor), taxes),
        "part_paid": (allocate(opened, 10_000), taxes),
        "void": (void(opened), taxes),
        "reverse_charge": (numbered(draft(reverse_lines)), reverse_taxes),
    }
    return {
        name: invoice_document(invoice, PARTIES, zone=ZONE, taxes=held, earlier=EARLIER)
        for name, (invoice, held) in by_name.items()
    }


# What a customer might call themselves, or a plan be called.
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)> & '{{ 7 * 7 }}' {% raw %}",
    "</style></title></table><h1>",
    "W" * 120,
    "Łukasz " * 17,
    "שלום עולם (חברה) 123 Ltd.",
    "شركة الاختبار ١٢٣",
    "100\u202e001 EUR\u2066",
    "👩\u200d💻🇩🇪 emoji e\u0301\u0302\u0303",
    "\x00\x07\t\nlines\r\n",
    "{nb} \\( ) Tj ET endstream endobj",
    "漢字かな交じり文",
    "\ue000\U0010ffff\ufffe",
)


def hostile_parties(text: str) -> Parties:
    """Both sides with this text wherever one may stand."""
    side = {
        "name": text,
        "address": (text,) * 8,
        "contact": (text,) * 8,
        "tax_ids": ({"label": text[:40], "value": text},) * 4,
    }
    return Parties.model_validate(
        {
            "seller": side,
            "customer": side,
            "bank": ({"label": text[:40], "value": text},) * 8,
            "note": text * 3,
        }
    )
