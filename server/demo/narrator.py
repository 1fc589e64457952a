"""How the demo speaks: parts, lines and tables on a terminal. Not what happens."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text

from server.cli.show import plain

_JSON_CHARS_MAX = 1200


class Narrator:
    """Everything is shown as text, never as markup: an answer must not be able to style itself."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def part(self, number: int, title: str) -> None:
        """Begin a part."""
        self._console.print()
        self._console.rule(Text(f"{number}. {title}", style="bold"), align="left")

    def say(self, text: str, style: str = "") -> None:
        """One sentence of the commentary."""
        self._console.print(Text(plain(text), style=style))

    def lines(self, lines: Iterable[str], style: str = "dim") -> None:
        """What another program printed, set in."""
        for line in lines:
            self._row("", line, style)

    def exchange(self, asked: str, seen: object) -> None:
        """What was asked, and exactly what came back."""
        self._row("asks", asked, "cyan")
        self._row("sees", compact(seen), "")

    def verdict(self, held: bool, text: str) -> None:
        """Whether an expectation held."""
        mark, style = ("ok", "green") if held else ("NOT AS EXPECTED", "bold red")
        self._row(mark, text, style)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A small table."""
        shown = Table(header_style="bold")
        for column in columns:
            shown.add_column(column, overflow="fold")
        for row in rows:
            shown.add_row(*(Text(plain(cell)) for cell in row))
        self._console.print(shown)

    @contextmanager
    def waiting(self, text: str) -> Generator[Callable[[str], None]]:
        """A line that moves while something takes its time, and how to change its text.

        Nothing is shown where there is no terminal.
        """
        with self._console.status(Text(plain(text))) as status:
            yield lambda changed: status.update(Text(plain(changed)))

    def _row(self, label: str, text: str, style: str) -> None:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=max(6, len(label)), justify="right")
        grid.add_column(overflow="fold")
        grid.add_row(Text(label, style=style), Text(plain(text), style=style))
        self._console.print(grid)


def compact(value: object) -> str:
    """JSON on one line, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _JSON_CHARS_MAX else f"{text[:_JSON_CHARS_MAX]}…"
