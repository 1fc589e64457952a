"""An invoice or credit note as a PDF. Not what it says, and not the page of HTML.

The same document, fonts and paper give the same bytes: nothing is taken from the clock, and the id of the file
is a digest of what it shows.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from control_plane.billing.invoice_document import COLUMNS, Block, InvoiceDocument, Row, Total
from control_plane.billing.pdf_sheet import (
    ACCENT,
    INK,
    LINE,
    MARGIN,
    OWN_FONTS,
    SOFT,
    TINT,
    Colour,
    Paper,
    PdfFonts,
    Sheets,
)
from control_plane.domain import canonical

_POSITION: Final = 9.0
_QUANTITY: Final = 22.0
_UNIT_PRICE: Final = 28.0
_AMOUNT: Final = 32.0
_GAP: Final = 2.0
_TEXT: Final = 9.0
_SMALL: Final = 7.8
_TEXT_MM: Final = 4.3
_SMALL_MM: Final = 3.7
_HEADS_MM: Final = 7.5
_ID_DIGITS: Final = 32
_UNDATED: Final = datetime(1970, 1, 1, tzinfo=UTC)  # a draft: the file must have some date
_MARKS: Final[dict[str, Colour]] = {
    "Paid": (29, 112, 68),
    "Draft": (138, 90, 0),
    "Void": (161, 38, 34),
}


def render_pdf(
    document: InvoiceDocument, *, fonts: PdfFonts = OWN_FONTS, paper: Paper = "A4"
) -> bytes:
    """The whole file, with as many pages as its rows need."""
    sheets = _Invoice(document, fonts, paper)
    try:
        sheets.compose()
        return bytes(sheets.output())
    finally:
        sheets.close_fonts()


class _Invoice(Sheets):
    def __init__(self, document: InvoiceDocument, fonts: PdfFonts, paper: Paper) -> None:
        super().__init__(fonts, paper)
        self._document = document
        self._in_rows = False
        self._title = f"{document.heading} {document.number}"
        self._described = self.inner_mm - _POSITION - _QUANTITY - _UNIT_PRICE - _AMOUNT
        wanted = sorted({row.reverses for row in document.rows if row.reverses is not None})
        self._targets = {position: self.add_link() for position in wanted}
        self.set_title(self._title)
        self.set_author(document.seller.name)
        self.set_producer("Paybill")
        self.set_lang("en")
        self.set_creation_date(document.issued_at or _UNDATED)

    def file_id(self) -> str:
        shown = canonical.digest(self._document)[:_ID_DIGITS].upper()
        return f"<{shown}><{shown}>"

    def header(self) -> None:
        """Called on each new page: the watermark, and the columns' heads where rows go on."""
        if self._document.mark in {"Draft", "Void"}:
            self.watermark(self._document.mark.upper())
        if self._in_rows:
            self._heads()

    def compose(self) -> None:
        """Every part, from top to bottom."""
        self.add_page()
        self._top()
        self._parties()
        self._in_rows = True
        self._heads()
        for row in self._document.rows:
            self._row(row)
        self._in_rows = False
        self._totals()
        self._how_to_pay()
        self._notes()
        self.number_pages(f"{self._title} \N{MIDDLE DOT} {self._document.seller.name}")

    def _top(self) -> None:
        half = self.inner_mm / 2
        self.fill(MARGIN, self.inner_mm, 1.2, ACCENT)
        self.at_mm = top = MARGIN + 7
        self.put(MARGIN, self._document.heading, size=22, width_mm=half, bold=True)
        self.at_mm += 12
        if self._document.mark is not None:
            self._badge(self._document.mark)
        marked = self.at_mm
        self.at_mm = top
        self._block(self._document.seller, MARGIN + half, half, right=True)
        self.at_mm = max(self.at_mm, marked) + 6

    def _badge(self, mark: str) -> None:
        colour = _MARKS[mark]
        self.set_draw_color(*colour)
        self.set_line_width(0.4)
        self.rect(MARGIN, self.at_mm, 18, 6)
        self.at_mm += 1.3
        word = mark.upper()
        inset = (18 - self.width_of(word, 8.5, bold=True)) / 2
        self.put(MARGIN + inset, word, size=8.5, width_mm=18, bold=True, colour=colour)
        self.at_mm += 5

    def _block(self, block: Block, left: float, width: float, *, right: bool = False) -> None:
        for line in self.wrapped(block.name, width, 10, bold=True):
            self.make_room(_TEXT_MM)
            self.put(left, line, size=10, width_mm=width, bold=True, right=right)
            self.at_mm += _TEXT_MM + 0.4
        for text in block.lines:
            for line in self.wrapped(text, width, _TEXT):
                self.make_room(_TEXT_MM)
                self.put(left, line, size=_TEXT, width_mm=width, colour=SOFT, right=right)
                self.at_mm += _TEXT_MM

    def _parties(self) -> None:
        half = self.inner_mm / 2 - 4
        block = self._document.customer
        lines = sum(len(self.wrapped(line, half, _TEXT)) for line in (block.name, *block.lines))
        self.make_room((lines + 3) * _TEXT_MM)
        top = self.at_mm
        self.put(MARGIN, "BILLED TO", size=7, width_mm=half, bold=True, colour=SOFT)
        self.at_mm += 4.2
        self._block(block, MARGIN, half)
        below, self.at_mm = self.at_mm, top
        left, label = self.right_mm - half, 24.0
        for fact in self._document.facts:
            self.put(left, fact.label, size=_TEXT, width_mm=label, colour=SOFT)
            self.put(left + label, fact.value, size=_TEXT, width_mm=half - label)
            self.at_mm += _TEXT_MM + 0.6
        self.at_mm = max(self.at_mm, below) + 6

    def _heads(self) -> None:
        self.make_room(_HEADS_MM)
        self.fill(MARGIN, self.inner_mm, _HEADS_MM, TINT)
        self.at_mm += 2.1
        amount = f"{COLUMNS[4]} ({self._document.currency})"
        self._cells((*COLUMNS[:4], amount), bold=True, size=8.2)
        self.at_mm += _HEADS_MM - 2.1
        self.rule(MARGIN, self.right_mm, INK, 0.3)
        self.at_mm += 1.8

    def _cells(self, texts: tuple[str, ...], *, size: float = _TEXT, bold: bool = False) -> None:
        """One line over all columns: the first two from the left, the numbers to the right."""
        left = MARGIN
        widths = (_POSITION, self._described, _QUANTITY, _UNIT_PRICE, _AMOUNT)
        for index, (text, width) in enumerate(zip(texts, widths, strict=True)):
            if text:
                self.put(
                    left + _GAP,
                    text,
                    size=size,
                    width_mm=width - 2 * _GAP,
                    bold=bold,
                    right=index > 1,
                )
            left += width

    def _row(self, row: Row) -> None:
        width = self._described - 2 * _GAP
        first, *more = self.wrapped(row.description, width, _TEXT)
        details = [line for one in row.details for line in self.wrapped(one, width, _SMALL)]
        height = (1 + len(more)) * _TEXT_MM + len(details) * _SMALL_MM + 3
        self.make_room(height)
        top, left = self.at_mm, MARGIN + _POSITION + _GAP
        if row.position in self._targets:
            self.set_link(self._targets[row.position], y=top, page=self.page_no())
        if row.reverses is not None:
            self.link(left, top, width, height, self._targets[row.reverses])
        self._cells((str(row.position), first, row.quantity, row.unit_price, row.amount))
        self.at_mm += _TEXT_MM
        for line in more:
            self.put(left, line, size=_TEXT, width_mm=width)
            self.at_mm += _TEXT_MM
        for line in details:
            self.put(left, line, size=_SMALL, width_mm=width, colour=SOFT)
            self.at_mm += _SMALL_MM
        self.at_mm = top + height - 1.4
        self.rule(MARGIN, self.right_mm, LINE)
        self.at_mm = top + height

    def _totals(self) -> None:
        self.at_mm += 2
        # The strong lines stand together, and never alone at the top of a page.
        last = self._document.totals[-3:]
        for total in self._document.totals[:-3]:
            self._total(total)
        self.make_room(len(last) * 9.0)
        for total in last:
            self._total(total)

    def _total(self, total: Total) -> None:
        strong = total.weight == "strong"
        size, step = (10.5, 5.2) if strong else (_TEXT, _TEXT_MM)
        left = MARGIN + self.inner_mm * 0.4
        amount = 44.0
        label = self.right_mm - left - amount - _GAP
        lines = self.wrapped(total.label, label, size, bold=strong)
        self.make_room(len(lines) * step + 4)
        if strong:
            self.at_mm += 0.6
            self.rule(left, self.right_mm, INK, 0.3)
            self.at_mm += 1.8
        top, colour = self.at_mm, INK if strong else SOFT
        for line in lines:
            self.put(left + _GAP, line, size=size, width_mm=label, bold=strong, colour=colour)
            self.at_mm += step
        below, self.at_mm = self.at_mm, top
        start = self.right_mm - amount - _GAP
        self.put(start, total.amount, size=size, width_mm=amount, bold=strong, right=True)
        self.at_mm = below + 1.2

    def _how_to_pay(self) -> None:
        document = self._document
        if not document.payment and document.pay_at is None:
            return
        height = 8 + (len(document.payment) + (document.pay_at is not None)) * (_TEXT_MM + 0.4) + 2
        self.at_mm += 6
        self.make_room(height)
        self.fill(MARGIN, self.inner_mm, height, TINT)
        self.fill(MARGIN, 1.2, height, ACCENT)
        end = self.at_mm + height
        left, width = MARGIN + 6, self.inner_mm - 10
        self.at_mm += 3
        self.put(left, "HOW TO PAY", size=7, width_mm=width, bold=True, colour=SOFT)
        self.at_mm += 4.6
        if document.pay_at is not None:
            self.put(left, document.pay_at, size=_TEXT, width_mm=width, colour=ACCENT)
            self.link(left, self.at_mm, width, _TEXT_MM, document.pay_at)
            self.at_mm += _TEXT_MM + 0.4
        for fact in document.payment:
            self.put(left, fact.label, size=_TEXT, width_mm=38, colour=SOFT)
            self.put(left + 40, fact.value, size=_TEXT, width_mm=width - 40)
            self.at_mm += _TEXT_MM + 0.4
        self.at_mm = end

    def _notes(self) -> None:
        self.at_mm += 6
        for note in self._document.notes:
            for line in self.wrapped(note, self.inner_mm, _SMALL):
                self.make_room(_SMALL_MM)
                self.put(MARGIN, line, size=_SMALL, width_mm=self.inner_mm, colour=SOFT)
                self.at_mm += _SMALL_MM
            self.at_mm += 1
