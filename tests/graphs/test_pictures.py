"""The pictures in the docs are the compiled machines."""

from __future__ import annotations

from pathlib import Path

from graphs.pictures import pictures

PAGE = Path(__file__).parents[2] / "docs" / "machines" / "graphs.md"


def test_the_page_of_machines_is_what_is_compiled() -> None:
    assert PAGE.read_text() == pictures(), "regenerate it with graphs.pictures.pictures()"


def test_a_picture_is_drawn_the_same_each_time() -> None:
    assert pictures() == pictures()
