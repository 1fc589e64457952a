"""An invoice or credit note as a page of HTML. Not what it says, and not the PDF.

The page stands alone: no script, no font, picture or style from elsewhere. Every text is escaped.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from control_plane.billing.invoice_document import COLUMNS, InvoiceDocument

_TEMPLATES: Final = Path(__file__).parent / "templates"


def render_page(document: InvoiceDocument) -> str:
    """The whole page; the same text for the same document."""
    return _template().render(document=document, columns=COLUMNS)


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("invoice.html")
