"""The page of an invoice: the example in the docs, whole and alone, and no text of others becomes markup."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from control_plane.billing.invoice_document import InvoiceDocument, invoice_document
from control_plane.billing.invoice_page import render_page
from tests.support.invoices import HOSTILE, documents, draft, hostile_parties, line, numbered

EXAMPLE = Path(__file__).parents[3] / "docs" / "reference" / "invoice-example.html"
# Whatever would fetch, run or send something.
ACTIVE = {"script", "link", "img", "iframe", "object", "embed", "form", "base", "svg", "video"}


class Read(HTMLParser):
    """The elements of a page, their attributes, their nesting and the text between."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open and data.strip():
            self.texts.append(data.strip())


@pytest.fixture(scope="module")
def shown() -> dict[str, InvoiceDocument]:
    return documents()


def test_the_example_in_the_docs_is_what_is_made(shown: dict[str, InvoiceDocument]) -> None:
    assert render_page(shown["part_paid"]) == EXAMPLE.read_text()


@pytest.mark.parametrize("name", ["draft", "open", "part_paid", "paid", "void", "reverse_charge"])
def test_the_page_has_every_text_of_the_document_and_no_mistake_in_its_markup(
    shown: dict[str, InvoiceDocument], name: str
) -> None:
    document = shown[name]
    page = Read(render_page(document))
    assert page.open == []
    texts = set(page.texts)
    for row in document.rows:
        assert {row.description, row.amount, *row.details} <= texts
    assert {part for total in document.totals for part in (total.label, total.amount)} <= texts
    assert {fact.value for fact in (*document.facts, *document.payment)} <= texts
    assert {document.seller.name, *document.seller.lines, *document.notes} <= texts
    assert {document.customer.name, *document.customer.lines} <= texts


def test_nothing_is_fetched_run_or_sent(shown: dict[str, InvoiceDocument]) -> None:
    page = render_page(shown["open"])
    found = Read(page).elements
    assert not ACTIVE & {tag for tag, _ in found}
    assert not [name for _, attrs in found for name in attrs if name.startswith("on")]
    assert not [attrs for _, attrs in found if {"src", "srcset", "style"} & set(attrs)]
    assert "url(" not in page
    assert "@import" not in page
    policy = [attrs["content"] for _, attrs in found if "http-equiv" in attrs]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_a_credit_links_to_the_line_that_it_takes_back(shown: dict[str, InvoiceDocument]) -> None:
    found = Read(render_page(shown["open"])).elements
    links = [attrs["href"] for tag, attrs in found if tag == "a"]
    assert "#line-1" in links
    assert "line-1" in [attrs.get("id") for _, attrs in found]


@pytest.mark.parametrize(
    ("name", "word"), [("draft", "Draft"), ("void", "Void"), ("paid", "Paid"), ("open", None)]
)
def test_a_draft_and_a_void_invoice_are_marked_across_the_page(
    shown: dict[str, InvoiceDocument], name: str, word: str | None
) -> None:
    page = Read(render_page(shown[name]))
    marks = [attrs["class"] for _, attrs in page.elements if attrs.get("class")]
    assert ("watermark" in marks) == (name in {"draft", "void"})
    if word is not None:
        assert f"mark {word.lower()}" in marks
        assert word in page.texts


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_stays_a_text(text: str) -> None:
    document = invoice_document(
        numbered(draft((line("base", "plan", text[:200], 500),))), hostile_parties(text)
    )
    page = Read(render_page(document))
    plain = Read(render_page(documents()["open"]))
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in plain.elements}
    assert page.open == []
    assert document.rows[0].description in page.texts
    assert document.customer.name in page.texts
