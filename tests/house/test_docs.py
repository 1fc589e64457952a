"""The documents name what stands. Not whether they are well written.

The notation: in backticks, `room/file.py` names a file, `room/` a folder, and
`room/file.py:Class.method` or `room/file.py:function` what that file defines at its top.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from server.cli.app import app

_FIRST = r"(?:paybill|server|tools|graphs|policies|control_plane|tests|docs|\.ci)"
# MCP's own methods look like paths of ours.
_METHOD = r"(?!tools/(?:call|list)`)"
_NAMED = re.compile(rf"`{_METHOD}({_FIRST}/[\w./-]*?)(?::([A-Za-z_][\w.]*))?`")
_LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def missing(root: Path, text: str) -> list[str]:
    """The files, folders and functions that the text names and the checkout does not hold."""
    found = _NAMED.findall(text)
    return [
        f"{path}:{name}" if name else path for path, name in found if not _stands(root, path, name)
    ]


def broken_links(folder: Path, text: str) -> list[str]:
    """The relative links that lead nowhere, seen from the folder of the document."""
    prose = _FENCED.sub("", text)
    return [link for link in _LINK.findall(prose) if not (folder / link).exists()]


def _stands(root: Path, path: str, name: str) -> bool:
    target = root / path
    if not name:
        return target.is_dir() if path.endswith("/") else target.is_file()
    return target.is_file() and _defines(ast.parse(target.read_text()), name.split("."))


def _defines(scope: ast.AST, names: list[str]) -> bool:
    if not names:
        return True
    body: list[ast.stmt] = getattr(scope, "body", [])
    return any(_name_of(node) == names[0] and _defines(node, names[1:]) for node in body)


def _name_of(node: ast.stmt) -> str | None:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    return None


def _documents(texts: dict[Path, str]) -> dict[Path, str]:
    ours = {path: text for path, text in texts.items() if path.suffix == ".md"}
    return {path: text for path, text in ours.items() if not path.parts[0].startswith(".")}


def test_everything_that_a_document_names_stands(root: Path, texts: dict[Path, str]) -> None:
    gone = {
        str(path): found
        for path, text in _documents(texts).items()
        if (found := missing(root, text))
    }
    assert gone == {}


def test_every_relative_link_leads_somewhere(root: Path, texts: dict[Path, str]) -> None:
    broken = {
        str(path): found
        for path, text in _documents(texts).items()
        if (found := broken_links((root / path).parent, text))
    }
    assert broken == {}


def test_the_walk_of_a_call_names_functions_of_every_room_on_its_way(root: Path) -> None:
    text = (root / "docs" / "architecture.md").read_text()
    walk = text.split("## One call through the files")[1].split("\n## ")[0]
    rooms = {path.split("/")[0] for path, name in _NAMED.findall(walk) if name}
    assert rooms == {"server", "tools", "graphs", "policies", "control_plane"}


def test_every_decision_of_architecture_is_numbered_once(root: Path) -> None:
    numbers = sorted(path.name[:4] for path in (root / "docs" / "adr").glob("*.md"))
    assert numbers == [f"{index:04}" for index in range(1, len(numbers) + 1)]
    assert numbers


def test_the_readme_gives_both_commands_of_the_set_up(root: Path) -> None:
    lines = {line.strip() for line in (root / "README.md").read_text().splitlines()}
    assert {"uv run paybill demo", "uv run pytest"} <= lines


def test_the_readme_lists_every_command_and_no_other(root: Path) -> None:
    rows = re.findall(r"^\| `paybill ([\w-]+)", (root / "README.md").read_text(), re.MULTILINE)
    commands = {one.name for one in app.registered_commands}
    groups = {one.name for one in app.registered_groups}
    assert set(rows) == (commands | groups) - {"version"}


@pytest.mark.parametrize(
    "named",
    [
        "graphs/no_such_file.py",
        "no_such_room/",
        "tests/house/test_docs.py:no_such_function",
        "tests/house/conftest.py:root.inner",
    ],
)
def test_a_planted_name_that_does_not_stand_is_found(root: Path, named: str) -> None:
    path = named if named[0] != "n" else f"graphs/{named}"
    assert missing(root, f"see `{path}` for it") == [path]


def test_a_name_that_stands_is_not_missing(root: Path) -> None:
    text = "`tests/house/` `tests/house/test_docs.py` `tests/house/test_docs.py:missing`"
    assert missing(root, text) == []


def test_a_planted_link_that_leads_nowhere_is_found(root: Path) -> None:
    text = "[a](docs/none.md) [b](docs/adr) [c](https://example.com/x)\n```\n[d](none)\n```\n"
    assert broken_links(root, text) == ["docs/none.md"]
