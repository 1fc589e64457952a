"""The words: what every module says first, and what no text of the project says. Not spelling."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

# Put together here, so that this file does not hold what it looks for.
_HOSTS = [
    r"\bpypi" + r"\.org",
    "python" + "hosted",
    "npm" + r"js\.(org|com)",
    r"conda" + r"\.anaconda",
    r"proxy\.golang" + r"\.org",
]
_MACHINE = [
    r"(?<![\w.])/ro" + r"ot/",
    r"(?<![\w.])/wo" + r"rk/(main|shared)",
    r"(?<![\w.])/Us" + r"ers/\w",
    r"(?<![\w.])/ho" + r"me/(?!you\b|alice\b|bob\b|paybill\b)\w",
    r"bash" + r"_jobs",
]
_UNFINISHED = [r"\bTO" + r"DO\b", r"\bFIX" + r"ME\b", r"\bX" + r"XX\b", "NotImpl" + "ementedError"]
_FOREIGN = re.compile("|".join([*_HOSTS, *_MACHINE, *_UNFINISHED]))


def foreign_words(text: str) -> list[str]:
    """Lines that name a package registry's host, this machine, or work that is not finished."""
    return [line for line in text.splitlines() if _FOREIGN.search(line)]


def calls(source: str, names: set[str]) -> list[int]:
    """The lines that call one of these built-in functions."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
    ]


def shells(source: str) -> list[int]:
    """The lines that ask for a shell."""
    return [
        keyword.value.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "shell"
    ]


def has_future_import(source: str) -> bool:
    """Whether annotations are postponed."""
    return any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__"
        for node in ast.parse(source).body
    )


def _is_bare(source: str) -> bool:
    return not ast.parse(source).body


def test_no_room_prints_evaluates_or_asks_the_terminal(modules: dict[Path, str]) -> None:
    names = {"print", "eval", "exec", "input", "breakpoint"}
    assert {
        str(path): lines for path, text in modules.items() if (lines := calls(text, names))
    } == {}


def test_no_room_asks_for_a_shell(modules: dict[Path, str]) -> None:
    assert {str(path): lines for path, text in modules.items() if (lines := shells(text))} == {}


def test_every_module_says_what_it_is(modules: dict[Path, str]) -> None:
    silent = [
        str(path)
        for path, source in modules.items()
        if not (path.name == "__init__.py" and _is_bare(source))
        and not ast.get_docstring(ast.parse(source))
    ]
    assert silent == []


def test_every_module_postpones_its_annotations(modules: dict[Path, str]) -> None:
    lacking = [
        str(path)
        for path, source in modules.items()
        if len(ast.parse(source).body) > 1 and not has_future_import(source)
    ]
    assert lacking == []


def test_no_text_names_a_registry_this_machine_or_unfinished_work(texts: dict[Path, str]) -> None:
    assert len(texts) > len({path.parts[0] for path in texts})
    assert {
        str(path): found for path, text in texts.items() if (found := foreign_words(text))
    } == {}


@pytest.mark.parametrize(
    "line",
    [
        "see https://py" + "pi.org/simple",
        "path = '/ro" + "ot/.cache'",
        "cd /wo" + "rk/main",
        "# TO" + "DO: later",
        "raise NotImpl" + "ementedError",
    ],
)
def test_a_planted_word_is_found(line: str) -> None:
    assert foreign_words(f"first\n{line}\nlast") == [line]


def test_what_only_looks_alike_is_left_alone() -> None:
    plain = "registry.terraform.io/hashicorp/null\n~/work/\nthe root/leaf of a tree\n"
    assert foreign_words(plain) == []


def test_a_planted_call_is_found() -> None:
    assert calls("console.print(1)\nprint(1)\n", {"print"}) == [2]
    assert shells("run('ls', shell=True)\nrun(['ls'])\n") == [1]
    assert not has_future_import("import os\n")
