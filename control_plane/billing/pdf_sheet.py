"""Sheets of paper that lines of text are put on. Not what an invoice says, or where on the sheet.

Lengths are millimetres, sizes points. What a font cannot draw is shown as U+FFFD. Lines that are written from
right to left are put in their order of reading, but letters are not joined: scripts that need it
(as Arabic) are best read on the page.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast

from fpdf import FPDF
from fpdf.bidi import BidiParagraph
from pydantic import BaseModel, ConfigDict

Paper: TypeAlias = Literal["A4", "Letter"]
Colour: TypeAlias = tuple[int, int, int]

INK: Final[Colour] = (27, 36, 48)
SOFT: Final[Colour] = (91, 102, 117)
LINE: Final[Colour] = (217, 222, 229)
TINT: Final[Colour] = (244, 246, 248)
ACCENT: Final[Colour] = (31, 78, 121)
PALE: Final[Colour] = (238, 240, 243)

MARGIN: Final = 18.0
FOOT: Final = 20.0
_POINT: Final = 25.4 / 72
_UNKNOWN: Final = "\N{REPLACEMENT CHARACTER}"
_FROM_THE_RIGHT: Final = {"R", "AL"}
_MIRRORED: Final = str.maketrans("()[]{}<>«»", ")(][}{><»«")
_FAMILY: Final = "invoice"
_FONTS: Final = Path(__file__).parent / "fonts"


class PdfFonts(BaseModel):
    """The files of a TrueType font; what it covers can be shown. Part of what the bytes hang on."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    regular: Path
    bold: Path


# Latin, Greek, Cyrillic, Hebrew and Georgian, with the signs of currencies.
OWN_FONTS: Final = PdfFonts(
    regular=_FONTS / "DejaVuSansCondensed.ttf", bold=_FONTS / "DejaVuSansCondensed-Bold.ttf"
)


class Sheets(FPDF):
    """Pages of one document. `at_mm` is where the next line goes, from the top of the page."""

    def __init__(self, fonts: PdfFonts, paper: Paper) -> None:
        super().__init__(format=paper)
        # Its mark for the number of pages would be replaced in a customer's text, too.
        self.alias_nb_pages(cast("str", None))
        self.set_auto_page_break(auto=False)
        self.add_font(_FAMILY, "", fonts.regular)
        self.add_font(_FAMILY, "B", fonts.bold)
        self.at_mm = MARGIN
        # Asking the library for each width takes three quarters of the time of a long invoice.
        self._widths = {bold: _widths(self.fonts[_FAMILY + "B" * bold]) for bold in (False, True)}

    def close_fonts(self) -> None:
        """Closes the fonts' files, which the library reads from until the very end."""
        for font in self.fonts.values():
            cast("Any", font).close()

    @property
    def right_mm(self) -> float:
        """Where the right margin begins."""
        return self.w - MARGIN

    @property
    def inner_mm(self) -> float:
        """The width between the margins."""
        return self.w - 2 * MARGIN

    def make_room(self, height_mm: float) -> None:
        """Goes on to another page where less than that is left on this one."""
        if self.at_mm + height_mm > self.h - FOOT:
            self.at_mm = MARGIN
            self.add_page()

    def put(
        self,
        left_mm: float,
        text: str,
        *,
        size: float,
        width_mm: float,
        bold: bool = False,
        colour: Colour = INK,
        right: bool = False,
    ) -> None:
        """One line at `at_mm`, from the left or to the right of its column, made to fit in width."""
        shown = self._visual(text, bold=bold)
        taken = self.width_of(shown, size, bold=bold)
        if taken > width_mm:
            size *= width_mm / taken
            taken = width_mm
        self.set_font(_FAMILY, "B" * bold, size)
        self.set_text_color(*colour)
        start = left_mm + width_mm - taken if right else left_mm
        self.text(start, self.at_mm + size * _POINT, shown)

    def wrapped(
        self, text: str, width_mm: float, size: float, *, bold: bool = False
    ) -> tuple[str, ...]:
        """The lines that the text takes; a word that is wider than the column is cut."""
        lines: list[str] = []
        line = ""
        for word in text.split():
            longer = f"{line} {word}" if line else word
            if self.fits(longer, width_mm, size, bold=bold):
                line = longer
                continue
            if line:
                lines.append(line)
            *cut, line = self._cut(word, width_mm, size, bold=bold)
            lines += cut
        return (*lines, line)

    def _cut(self, word: str, width_mm: float, size: float, *, bold: bool) -> list[str]:
        parts = [""]
        for letter in word:
            if parts[-1] and not self.fits(parts[-1] + letter, width_mm, size, bold=bold):
                parts.append("")
            parts[-1] += letter
        return parts

    def fits(self, text: str, width_mm: float, size: float, *, bold: bool = False) -> bool:
        """Whether the text, as it is drawn, is no wider than that."""
        return self.width_of(self._drawable(text, bold=bold), size, bold=bold) <= width_mm

    def width_of(self, text: str, size: float, *, bold: bool = False) -> float:
        """How wide a text is that the font can draw."""
        return sum(map(self._widths[bold].__getitem__, text)) * size * _POINT

    def _drawable(self, text: str, *, bold: bool) -> str:
        known = self._widths[bold]
        if known.keys() >= set(text):
            return text
        unknown = _UNKNOWN if _UNKNOWN in known else "?"
        return "".join(one if one in known else unknown for one in text)

    def _visual(self, text: str, *, bold: bool) -> str:
        shown = self._drawable(text, bold=bold)
        if any(unicodedata.bidirectional(one) in _FROM_THE_RIGHT for one in shown):
            return _from_the_right(shown)
        return shown

    def rule(self, left_mm: float, right_mm: float, colour: Colour, width_mm: float = 0.2) -> None:
        """A line across the page at `at_mm`."""
        self.set_draw_color(*colour)
        self.set_line_width(width_mm)
        self.line(left_mm, self.at_mm, right_mm, self.at_mm)

    def fill(self, left_mm: float, width_mm: float, height_mm: float, colour: Colour) -> None:
        """A box from `at_mm` downwards."""
        self.set_fill_color(*colour)
        self.rect(left_mm, self.at_mm, width_mm, height_mm, style="F")

    def watermark(self, text: str) -> None:
        """A word across the whole page, under whatever is put on it later."""
        size = 110.0
        self.set_font(_FAMILY, "B", size)
        self.set_text_color(*PALE)
        width = self.get_string_width(text)
        middle = (self.w / 2, self.h / 2)
        with self.rotation(35, *middle):
            self.text(middle[0] - width / 2, middle[1] + size * _POINT / 3, text)

    def number_pages(self, left: str) -> None:
        """Puts what fits of `left`, and `Page 1 of 3`, at the foot of every page, once all of them are there."""
        last = len(self.pages)
        for number in range(1, last + 1):
            self.page = number
            self.current_font_is_set_on_page = False
            self.at_mm = self.h - FOOT + 6
            # The library leaves out what it set last, though that was on another page.
            self.rule(MARGIN, MARGIN, INK, 0.1)
            self.rule(MARGIN, self.right_mm, LINE)
            self.at_mm += 2
            half = self.inner_mm / 2
            shown = self.wrapped(left, half, 7.5)[0]
            self.put(MARGIN, shown, size=7.5, width_mm=half, colour=SOFT)
            page = f"Page {number} of {last}"
            self.put(MARGIN + half, page, size=7.5, width_mm=half, colour=SOFT, right=True)
        self.page = last


def _from_the_right(text: str) -> str:
    """The letters from left to right as they are to be drawn; brackets look the way they are read."""
    ordered = BidiParagraph(text=text).get_reordered_characters()
    return "".join(
        one.character.translate(_MIRRORED) if one.embedding_level % 2 else one.character
        for one in ordered
    )


def _widths(font: Any) -> dict[str, float]:
    """How wide each letter of a font is, in parts of its size."""
    return {chr(code): font.cw[code] / 1000 for code in font.cmap}
