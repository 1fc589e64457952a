"""Who a tenant's invoices are made out to, and the tax that follows from it: previewed, taken, told and given back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from control_plane.billing.tax_file import parse_tax
from control_plane.store import billing_tables as tables
from graphs.errors import Unlisted
from policies.gate import Gate
from server.invoice_papers import paper
from server.workspace import Workspace
from tests.support.approval_world import TENANT
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import Onboarded
from tests.support.paying_bench import BILLING, VIEWER, PayingBench, paying

TAX = """
engine: table
seller: {country: DE, vat_id: DE123456789, business: true}
table:
  version: 7
  country_unknown: DE
  elsewhere: refused
  countries:
    - {country: DE, zone: Europe/Berlin, rates: [{percent: 19, since: 2021-01-01}]}
    - {country: FR, zone: Europe/Paris, rates: [{percent: 20, since: 2014-01-01}]}
"""
FRENCH: dict[str, Any] = {"country": "FR", "address": ["1 rue de Rivoli", "75001 Paris"]}
FIRM: dict[str, Any] = {
    "name": "Usine SA",
    "country": "FR",
    "business": True,
    "vat_id": "FR12345678901",
}


@pytest.fixture
def bench(tmp_path: Path, gate: Gate, standing: Onboarded) -> Iterator[PayingBench]:
    """A world of this test's own, in which invoices are taxed."""
    with paying(standing, tmp_path, gate) as made:
        catalog: Any = made.world.ports.catalog
        taxed = replace(catalog, tax=parse_tax(TAX, "tax.yaml").taxation())
        yield replace(made, world=made.world.with_catalog(taxed))


def invoice(bench: PayingBench, at: int = -1) -> dict[str, Any]:
    told = bench.ask("invoice_get", BILLING, tenant=TENANT, invoice=bench.invoices[at].id)
    result: dict[str, Any] = told["result"]
    return result


def test_a_change_is_previewed_and_charged_with_the_customers_tax(bench: PayingBench) -> None:
    bench.do("billing_details_set", BILLING, **FRENCH)
    assert bench.subscription["billing_details"] == {
        "name": None,
        "business": False,
        "vat_id": None,
        **FRENCH,
    }
    bench.on("team", seats=2)
    assert bench.charged_minor() == [4100 + 820]
    bench.later(days=10)
    preview = bench.preview("pro", seats=5)
    run_id = bench.do("subscription_change", plan="pro", seats=5)
    assert run_id
    assert bench.charged_minor() == [4920, preview["total_minor"]]
    (line,) = [one for one in preview["lines"] if one["kind"] == "tax"]
    assert line["description"] == "Tax FR 20 %"
    told = invoice(bench)
    assert told["tax"]["charged"] == [
        {
            "jurisdiction": "FR",
            "rate_percent": "20",
            "reason": "standard",
            "taxable_minor": preview["total_minor"] - line["amount_minor"],
            "amount_minor": line["amount_minor"],
        }
    ]
    assert told["tax"]["rules"].startswith("table:7:")
    assert told["tax"]["customer"] == {"country": "FR", "vat_id": None, "business": False}
    assert told["billing_details"]["address"] == FRENCH["address"]


def test_time_bills_with_tax_and_a_forecast_says_so_before(bench: PayingBench) -> None:
    bench.on("team")
    # Nobody said where the customer is: the table does.
    assert bench.charged_minor() == [3100 + 589]
    bench.do("billing_details_set", **FIRM)
    asked = {"tenant": TENANT, "months": 1}
    seen = bench.ask("subscription_simulate", BILLING, **asked)["result"]
    bench.later(days=31)
    assert bench.charged_minor() == [3689, 3100]
    assert [one["total_minor"] for one in seen["invoices"] if one["planned"]] == [3100]
    (charged,) = invoice(bench)["tax"]["charged"]
    assert (charged["reason"], charged["amount_minor"]) == ("reverse_charge", 0)
    assert invoice(bench, 0)["billing_details"] is None


def test_a_credit_note_says_what_of_it_is_tax(bench: PayingBench) -> None:
    bench.do("billing_details_set", **FRENCH)
    bench.on("team")
    owned = bench.invoices[0].id
    asked = {"invoice": owned, "kind": "balance", "reason": "service"}
    bench.do("credit_note_issue", BILLING, amount_minor=720, **asked)
    (note,) = invoice(bench)["credit_notes"]
    assert (note["amount_minor"], note["tax_minor"]) == (720, 120)
    assert bench.book.balance_minor("tax_payable") == -(620 - 120)


def test_a_country_of_which_the_rules_say_nothing_is_refused_and_nothing_is_set(
    bench: PayingBench,
) -> None:
    asked = {"tenant": TENANT, "idempotency_key": fresh_key(), "country": "US"}
    told = bench.ask("billing_details_set", **asked)
    assert (told["outcome"], told["code"]) == ("refused", "tax_unknown")
    assert "billing_details_set" in told["next_tools"]
    assert bench.subscription["billing_details"] is None


@pytest.mark.parametrize("column", ["tax", "buyer"])
def test_the_database_itself_keeps_how_a_final_invoice_was_taxed(
    bench: PayingBench, column: str
) -> None:
    bench.on("team")
    with pytest.raises(IntegrityError), bench.world.store.write() as connection:
        connection.execute(update(tables.invoice).values({column: None}))


def test_who_only_reads_sets_no_details(bench: PayingBench) -> None:
    with pytest.raises(Unlisted):
        bench.ask(
            "billing_details_set", VIEWER, tenant=TENANT, idempotency_key=fresh_key(), **FRENCH
        )


@pytest.mark.long
def test_papers_show_taxes_by_rate_vat_ids_and_what_is_taken_back(bench: PayingBench) -> None:
    workspace: Workspace = bench.world.workspace
    bench.do("billing_details_set", BILLING, country="FR", address=["1 rue de Rivoli"])
    bench.on("team", seats=2)
    bench.do("billing_details_set", BILLING, **FIRM)
    bench.later(days=10)
    bench.do("subscription_change", plan="pro")
    first, second = bench.invoices
    credited = {"invoice": first.id, "kind": "balance", "reason": "service"}
    bench.do("credit_note_issue", BILLING, amount_minor=492, **credited)
    (note,) = [one["number"] for one in invoice(bench, 0)["credit_notes"]]
    with bench.world.store.read() as connection:
        told = [
            paper(connection, workspace, TENANT, name or "")
            for name in (first.number, second.number, note)
        ]
    one, other, back = told
    assert one.customer.lines == ("1 rue de Rivoli", "FR")
    assert "VAT ID: DE123456789" in one.seller.lines
    assert ("Tax FR 20 % of 41.00", "8.20") in {(row.label, row.amount) for row in one.totals}
    assert other.customer.name == "Usine SA"
    assert "VAT ID: FR12345678901" in other.customer.lines
    assert any(note.startswith("Reverse charge") for note in other.notes)
    labels = [row.label for row in other.totals if row.label.startswith("Tax")]
    assert [label.partition(" of ")[0] for label in labels] == [
        "Tax FR, reverse charge",
        "Tax FR 20 %",
    ]
    places = {detail for row in other.rows for detail in row.details if "Takes back" in detail}
    assert places == {
        f"Takes back line {position} of invoice {first.number}" for position in (1, 2)
    }
    assert ("Tax FR 20 % of 4.10", "0.82") in {(row.label, row.amount) for row in back.totals}
    assert back.heading == "Credit note"
