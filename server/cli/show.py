"""How the command line shows things: lines and tables, without control characters. Not what is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import typer

_LINE_CHARS_MAX = 1000
_COPIED = frozenset({"digest", "tenant"})


def plain(text: str) -> str:
    """Text of one line in which nothing steers a terminal or turns the reading direction."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def failed(text: str) -> None:
    """One clear line on stderr."""
    typer.echo(f"paybill: {plain(text)[:_LINE_CHARS_MAX]}", err=True)


def note(text: str) -> None:
    """A line for the reader on stderr: stdout is for what a program may read."""
    typer.echo(plain(text), err=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=title, title_justify="left", header_style="bold")
    for place, column in enumerate(columns):
        # The first names the row: it must stay whole, so that it can be copied.
        shown.add_column(column, overflow="fold", no_wrap=place == 0 or column in _COPIED)
    for row in rows:
        # As Text and not as markup: a cell must not be able to style or hide another.
        shown.add_row(*(Text(plain(cell)) for cell in row))
    Console().print(shown)
