"""The sizes: how long a file or a function may be. Not how good it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

_FILE_LINES_MAX = 400
_FUNCTION_LINES_MAX = 70
_FUNCTION_LINES_USUAL = 30
_USUAL_PERCENT_MIN = 90


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Name and length in lines of every function, its decorators left out."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_file_is_longer_than_400_lines(modules: dict[Path, str]) -> None:
    lengths = {str(path): len(source.splitlines()) for path, source in modules.items()}
    assert {path: lines for path, lines in lengths.items() if lines > _FILE_LINES_MAX} == {}


def test_no_function_is_longer_than_70_lines(modules: dict[Path, str]) -> None:
    long = {
        f"{path}:{name}": lines
        for path, source in modules.items()
        for name, lines in functions(source)
        if lines > _FUNCTION_LINES_MAX
    }
    assert long == {}


def test_nine_functions_in_ten_have_at_most_30_lines(modules: dict[Path, str]) -> None:
    lengths = [lines for source in modules.values() for _name, lines in functions(source)]
    usual = sum(lines <= _FUNCTION_LINES_USUAL for lines in lengths)
    assert usual * 100 >= len(lengths) * _USUAL_PERCENT_MIN


def test_a_function_is_measured_from_def_to_its_last_line() -> None:
    source = "@cache\ndef outer():\n    def inner():\n        return 1\n\n    return inner\n"
    assert dict(functions(source)) == {"outer": 5, "inner": 2}
