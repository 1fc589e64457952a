"""The PDF of an invoice: read back it says what the document says, on as many pages as it takes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.billing import pdf_sheet
from control_plane.billing.invoice_document import InvoiceDocument, invoice_document
from control_plane.billing.invoice_pdf import render_pdf
from control_plane.billing.pdf_sheet import OWN_FONTS, Sheets
from control_plane.domain.invoice import LINES_MAX
from tests.support.invoices import (
    END,
    HOSTILE,
    PARTIES,
    START,
    documents,
    draft,
    hostile_parties,
    line,
    numbered,
)
from tests.support.pdf_text import pages

EXAMPLE = Path(__file__).parents[3] / "docs" / "reference" / "invoice-example.pdf"
UNKNOWN = "\N{REPLACEMENT CHARACTER}"


@pytest.fixture(scope="module")
def shown() -> dict[str, InvoiceDocument]:
    return documents()


def many(count: int, **facts: Any) -> InvoiceDocument:
    lines = tuple(
        line("usage", f"meter:{index}", f"Usage of meter {index}", index, **facts)
        for index in range(1, count + 1)
    )
    return invoice_document(numbered(draft(lines)), PARTIES)


@pytest.fixture(scope="module")
def sheets() -> Iterator[Sheets]:
    made = Sheets(OWN_FONTS, "A4")
    made.add_page()
    yield made
    made.close_fonts()


def test_the_example_in_the_docs_says_what_is_made(shown: dict[str, InvoiceDocument]) -> None:
    # Its bytes hang on the version of the library that compresses them, its texts do not.
    assert pages(EXAMPLE.read_bytes()) == pages(render_pdf(shown["part_paid"]))


@pytest.mark.parametrize("name", ["draft", "open", "part_paid", "paid", "void", "reverse_charge"])
def test_it_says_all_that_the_document_says(shown: dict[str, InvoiceDocument], name: str) -> None:
    document = shown[name]
    texts = {text for page in pages(render_pdf(document)) for text in page}
    for row in document.rows:
        assert {row.description, row.amount, *row.details} <= texts
        assert {row.quantity, row.unit_price} - {""} <= texts
    assert {part for total in document.totals for part in (total.label, total.amount)} <= texts
    assert {fact.value for fact in (*document.facts, *document.payment)} <= texts
    assert {document.seller.name, *document.seller.lines, *document.notes} <= texts
    assert {document.customer.name, *document.customer.lines} <= texts
    assert (document.pay_at in texts) == (document.pay_at is not None)
    assert ("Draft".upper() in texts) == (name == "draft")


def test_the_same_invoice_gives_the_same_bytes_and_another_does_not(
    shown: dict[str, InvoiceDocument],
) -> None:
    first = render_pdf(shown["open"])
    assert first == render_pdf(documents()["open"])
    other = shown["open"].model_copy(update={"notes": ("Something else.",)})
    assert render_pdf(other) != first
    assert b"/CreationDate (D:20260601060000Z)" in first
    assert first.count(b"/ID [<") == 1


@pytest.mark.long_but_one
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_another_process_elsewhere_gives_the_same_bytes(
    shown: dict[str, InvoiceDocument], zone: str
) -> None:
    code = (
        "import hashlib, sys\n"
        "from control_plane.billing.invoice_pdf import render_pdf\n"
        "from tests.support.invoices import documents\n"
        "sys.stdout.write(hashlib.sha256(render_pdf(documents()['open'])).hexdigest())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=EXAMPLE.parents[2],
        env={"TZ": zone, "PYTHONHASHSEED": str(len(zone)), "PATH": os.defpath},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == hashlib.sha256(render_pdf(shown["open"])).hexdigest()


def test_an_invoice_of_another_instant_is_dated_so(shown: dict[str, InvoiceDocument]) -> None:
    later = datetime(2027, 1, 2, tzinfo=UTC) + timedelta(seconds=3)
    dated = shown["open"].model_copy(update={"issued_at": later})
    assert b"/CreationDate (D:20270102000003Z)" in render_pdf(dated)
    assert b"/CreationDate (D:19700101000000Z)" in render_pdf(shown["draft"])


def test_every_page_of_rows_begins_with_the_heads_and_tells_its_number() -> None:
    document = many(120, period_start=START, period_end=END)
    found = pages(render_pdf(document))
    assert 4 <= len(found) <= 7
    for number, page in enumerate(found, start=1):
        assert page[-1] == f"Page {number} of {len(found)}"
        assert "NW-2026-0042" in page[-2]
    rows = {row.description for row in document.rows}
    with_rows = [page for page in found if rows & set(page)]
    assert all("Amount (EUR)" in page for page in with_rows)
    listed = [text for page in found for text in page if text in rows]
    assert listed == [row.description for row in document.rows]


@pytest.mark.parametrize("count", range(18, 34, 3))
def test_the_total_never_stands_on_a_page_without_its_steps(count: int) -> None:
    found = pages(render_pdf(many(count)))
    (home,) = [page for page in found if "Total" in page]
    assert "Amount due" in home


@pytest.mark.long
def test_ten_thousand_lines_are_all_there() -> None:
    document = many(LINES_MAX, quantity=Decimal(3), unit_price=Decimal("0.5"))
    found = pages(render_pdf(document))
    assert 200 <= len(found) <= 400
    texts = {text for page in found for text in page}
    assert {row.description for row in document.rows} <= texts
    assert document.totals[-1].amount in texts


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_breaks_nothing(text: str) -> None:
    document = invoice_document(
        numbered(draft((line("base", "plan", text[:200], 500),))), hostile_parties(text)
    )
    found = pages(render_pdf(document))
    texts = [one for page in found for one in page]
    assert "NW-2026-0042" in texts
    assert document.totals[-1].amount in texts
    assert texts[-1] == f"Page {len(found)} of {len(found)}"


def test_a_mark_of_the_library_in_a_text_is_a_text() -> None:
    document = invoice_document(
        numbered(draft((line("base", "plan", "{nb} **bold** (a\\b)", 500),))), PARTIES
    )
    assert "{nb} **bold** (a\\b)" in pages(render_pdf(document))[0]


def test_letters_of_many_scripts_are_shown_and_an_unknown_one_is_marked() -> None:
    known = "Łódź Ñandú Αθήνα Київ Việt თბილისი €₹₺"
    document = invoice_document(
        numbered(draft((line("base", "plan", known, 500), line("base", "x", "漢字😀", 500)))),
        PARTIES,
    )
    page = pages(render_pdf(document))[0]
    assert known in page
    assert UNKNOWN * 3 in page


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("Plan שלום 12", "Plan 12 םולש"),
        ("Plan (שלום)", "Plan (םולש)"),
        ("שלום (עולם)", "(םלוע) םולש"),
    ],
)
def test_hebrew_is_put_in_its_order_of_reading(text: str, drawn: str) -> None:
    document = invoice_document(numbered(draft((line("base", "plan", text, 500),))), PARTIES)
    assert drawn in pages(render_pdf(document))[0]


@given(text=st.text(max_size=120))
def test_any_text_is_wrapped_into_lines_that_fit_and_lose_nothing(
    sheets: Sheets, text: str
) -> None:
    lines = sheets.wrapped(text, 40, 9)
    assert "".join(lines).replace(" ", "") == "".join(text.split())
    # A single letter may be wider than its column, but nothing that could have been cut.
    assert all(sheets.fits(one, 40, 9) or len(one) == 1 for one in lines)


def test_a_number_that_is_too_long_for_its_column_is_made_smaller() -> None:
    document = many(1, quantity=Decimal("123456789012345678901234567890.5"))
    assert document.rows[0].quantity in pages(render_pdf(document))[0]


def test_letter_paper_is_of_its_own_size(shown: dict[str, InvoiceDocument]) -> None:
    assert b"/MediaBox [0 0 612.00 792.00]" in render_pdf(shown["open"], paper="Letter")


def test_other_fonts_are_taken_where_they_are_given(shown: dict[str, InvoiceDocument]) -> None:
    swapped = pdf_sheet.PdfFonts(regular=OWN_FONTS.bold, bold=OWN_FONTS.bold)
    made = render_pdf(shown["open"], fonts=swapped)
    assert made != render_pdf(shown["open"])
    assert pages(made)[0][0] == "Invoice"


def test_the_fonts_stand_beside_their_licence() -> None:
    notice = (OWN_FONTS.regular.parent / "NOTICE.md").read_text()
    assert OWN_FONTS.regular.name in notice
    assert OWN_FONTS.bold.name in notice
    assert "Permission is hereby granted" in notice
