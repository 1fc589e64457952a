"""`paybill simulate` and `paybill invoices`: tables, pictures and papers of a real workspace, which stays as it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from sqlalchemy import select
from typer.testing import CliRunner, Result

from control_plane.billing import book_store, starting
from control_plane.domain.subscription import Subscription
from control_plane.domain.tenant import Tenant
from control_plane.domain.terms import Method, Terms
from control_plane.store import rows, tables
from control_plane.store.schema import METADATA
from server.catalog import load_applied
from server.cli.app import app
from server.seller import HINT
from tests.server.cli.conftest import Run
from tests.support.house import House, build_house
from tests.support.pdf_text import pages

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> House:
    """A workspace with a tenant on a plan with prices, and one on none."""
    made = build_house(tmp_path_factory.mktemp("billed"), cerbos_binary)
    with made.store() as store, store.write() as connection:
        plans = load_applied(connection, made.workspace.catalogs).plans
        for name, plan in (("acme", "business"), ("globex", "free")):
            tenant = Tenant(
                id=name,
                display_name=f"{name.title()} Ltd.",
                isolation="pooled",
                plan=plan,
                region="local",
                state="active",
                access_mode="full",
            )
            rows.put(connection, tables.tenant, tenant)
            state = "scheduled" if name == "acme" else "active"
            given = {"id": name, "tenant": name, "plan": plan, "plan_version": 1, "state": state}
            held = Subscription.model_validate(given)
            known = {column.name for column in tables.subscription.columns}
            told = held.model_dump(mode="json", include=known)
            connection.execute(tables.subscription.insert().values(**told))
        book = book_store.load(connection, "acme", plans)
        book.revise(
            terms=Terms(currency="EUR", anchor_at=NOW, seats=2),
            method=Method(provider="sandbox", reference="sandbox_ok"),
            method_set_at=NOW,
        )
        starting.start(book, NOW)
        book_store.save(connection, book)
    return made


@pytest.fixture
def paybill(house: House) -> Run:
    """`paybill("simulate", ...)` in that workspace."""

    def one(*words: str | Path) -> Result:
        told = {**house.environment, "COLUMNS": "200"}
        return CliRunner().invoke(app, [str(word) for word in words], env=told)

    return one


def everything(house: House) -> dict[str, list[str]]:
    with house.store() as store, store.read() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(table))))
            for table in METADATA.sorted_tables
        }


# simulate --------------------------------------------------------------------------------------


def test_the_forecast_is_told_as_tables_and_as_rows_of_blocks(paybill: Run, house: House) -> None:
    before = everything(house)
    told = paybill("simulate", "--tenant", "acme", "--months", "13")
    assert told.exit_code == 0, told.output
    assert everything(house) == before
    for said in ("Timeline of acme", "subscription.renewed", "PLANNED-12", "EUR 67.00"):
        assert said in told.stdout
    (row,) = [line for line in told.stdout.splitlines() if line.strip().startswith("active ")]
    assert set(row.split()[1]) <= {"█", "·"}
    assert "no usage is assumed" in told.stderr


def test_where_payments_fail_the_ladder_is_seen(paybill: Run) -> None:
    told = paybill("simulate", "--tenant", "acme", "--months", "2", "--payments", "fail")
    lines = {line.split()[0]: line.split()[1] for line in told.stdout.splitlines() if "█" in line}
    # The first payment fails, and what never began ends within a day.
    assert lines["incomplete"].startswith("█·")
    assert lines["incomplete_expired"].startswith("██")


def test_json_is_the_answer_of_the_tool_and_nothing_else(paybill: Run) -> None:
    told = json.loads(paybill("simulate", "--tenant", "acme", "--months", "1", "--json").stdout)
    assert (told["tenant"], told["months"], told["payments"]) == ("acme", 1, "succeed")
    assert told["final"]["state"] == "active"


def test_the_picture_is_drawn_into_a_new_file_alone(paybill: Run, tmp_path: Path) -> None:
    out = tmp_path / "acme.svg"
    asked = ("simulate", "--tenant", "acme", "--months", "3", "--svg", out)
    assert paybill(*asked).exit_code == 0
    assert ET.fromstring(out.read_text()).tag.endswith("svg")  # noqa: S314 - it is our own
    again = paybill(*asked)
    assert again.exit_code == 1
    assert "--svg: must be a new file" in again.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--tenant", "nobody"), 1, "there is no subscription"),
        (("--tenant", "acme", "--months", "37"), 2, "less than or equal to 36"),
        (("--tenant", "acme", "--payments", "maybe"), 2, "not one of"),
    ],
)
def test_what_cannot_be_foreseen_is_said_in_one_line(
    paybill: Run, words: tuple[str, ...], code: int, said: str
) -> None:
    told = paybill("simulate", *words)
    assert told.exit_code == code
    assert said in told.stderr
    assert "Traceback" not in told.output


def test_a_free_tenant_has_an_empty_forecast(paybill: Run) -> None:
    told = paybill("simulate", "--tenant", "globex", "--months", "36")
    assert told.exit_code == 0, told.output
    assert "active" in told.stdout


# invoices --------------------------------------------------------------------------------------


def test_a_tenants_invoices_are_listed(paybill: Run) -> None:
    told = paybill("invoices", "list", "acme")
    assert told.exit_code == 0, told.output
    for said in ("INV-000001", "open", "EUR 67.00", "invoice_"):
        assert said in told.stdout
    assert "INV" not in paybill("invoices", "list", "globex").stdout


def test_an_invoice_is_shown_by_number_and_by_id(paybill: Run) -> None:
    told = paybill("invoices", "show", "acme", "INV-000001")
    assert told.exit_code == 0, told.output
    for said in ("Invoice INV-000001", "Acme Ltd.", "Seats", "Amount due: EUR 67.00", HINT):
        assert said in told.stdout
    (named,) = [
        word
        for word in paybill("invoices", "list", "acme").stdout.split()
        if word.startswith("invoice_")
    ]
    assert paybill("invoices", "show", "acme", named).stdout == told.stdout


def test_page_and_pdf_are_written_with_who_sells(
    paybill: Run, house: House, tmp_path: Path
) -> None:
    file = house.workspace.catalog / "seller.yaml"
    file.write_text(
        "seller:\n  name: Northwind Software GmbH\n  address: [Torstrasse 12, 10119 Berlin]\n"
        "  tax_ids: [{label: VAT ID, value: DE123456789}]\n"
        "bank: [{label: IBAN, value: DE02 1203 0000}]\nnote: Thank you.\n"
    )
    html, pdf = tmp_path / "a.html", tmp_path / "a.pdf"
    try:
        made = paybill("invoices", "show", "acme", "INV-000001", "--html", html, "--pdf", pdf)
    finally:
        file.unlink()
    assert made.exit_code == 0, made.output
    for said in ("Northwind Software GmbH", "DE123456789", "Acme Ltd.", "EUR 67.00"):
        assert said in html.read_text()
    assert "Northwind Software GmbH" in pages(pdf.read_bytes())[0]
    assert made.stdout == ""
    again = paybill("invoices", "show", "acme", "INV-000001", "--html", html)
    assert (again.exit_code, "--html: must be a new file" in again.stderr) == (1, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seller: {name: A}\n", "seller.yaml: seller.address"),
        ("seller: {name: A, address: []}\nodd: 1\n", "seller.yaml: odd"),
        ("seller: [\n", "seller.yaml"),
        ("seller: {name: A, address: []}\npay_at: http://here\n", "seller.yaml: pay_at"),
    ],
)
def test_a_file_of_the_seller_that_does_not_hold_is_told_by_its_field(
    paybill: Run, house: House, text: str, said: str
) -> None:
    file = house.workspace.catalog / "seller.yaml"
    file.write_text(text)
    try:
        told = paybill("invoices", "show", "acme", "INV-000001")
    finally:
        file.unlink()
    assert told.exit_code == 1
    assert said in told.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "globex", "INV-000001"), "there is no such invoice"),
        (("show", "acme", "INV-000009"), "there is no such invoice"),
        (("list", "nobody"), "there is no such tenant"),
        (("show", "nobody", "INV-000001"), "there is no such tenant"),
    ],
)
def test_what_is_not_there_is_said(paybill: Run, words: tuple[str, ...], said: str) -> None:
    told = paybill("invoices", *words)
    assert told.exit_code == 1
    assert said in told.stderr
