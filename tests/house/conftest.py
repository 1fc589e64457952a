"""The house as its tests see it: where it stands and which files are its own. Not a rule itself."""

from __future__ import annotations

from pathlib import Path

import pytest

import paybill

_ROOM_NAMES = ("paybill", "server", "tools", "graphs", "policies", "control_plane")
_SKIPPED = {"__pycache__", ".terraform"}


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(paybill.__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def room_files(root: Path) -> tuple[Path, ...]:
    """Every file in every room, relative to the checkout."""
    found = (path for room in _ROOM_NAMES for path in (root / room).rglob("*") if path.is_file())
    relative = (path.relative_to(root) for path in found)
    return tuple(sorted(path for path in relative if not _SKIPPED & set(path.parts)))


@pytest.fixture(scope="session")
def modules(root: Path, room_files: tuple[Path, ...]) -> dict[Path, str]:
    """The source of every module in every room, by its path relative to the checkout."""
    return {path: (root / path).read_text() for path in room_files if path.suffix == ".py"}


@pytest.fixture(scope="session")
def texts(root: Path, room_files: tuple[Path, ...]) -> dict[Path, str]:
    """Every text that the project publishes, but what a tool wrote (the lock file) or a lawyer."""
    beside = [
        path
        for folder in ("tests", "docs", "examples", ".ci")
        for path in (root / folder).rglob("*")
    ]
    top = [path for path in root.iterdir() if path.name not in {"uv.lock", "LICENSE", ".git"}]
    paths = {*room_files, *(path.relative_to(root) for path in (*beside, *top) if path.is_file())}
    kept = (path for path in paths if not _SKIPPED & set(path.parts))
    return {path: text for path in sorted(kept) if (text := _text(root / path)) is not None}


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return None
