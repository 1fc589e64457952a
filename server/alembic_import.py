"""Alembic revisions as migration files: rendered in a child process, written with a header. Not checked here.

Opening a catalog never runs Python of a team's; this does, and so only the team's own call starts it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from control_plane.errors import BadInput, Failed
from control_plane.fleet.migration_file import DIALECTS, FILES_MAX, migration_names

_DEADLINE_S: Final = 120
_WORDS_MAX: Final = 60
_NUMBER_MAX: Final = 9_999
HEADER: Final = (
    "-- phase: expand\n-- transactional: true\n-- lock_timeout_ms: 2000\n"
    "-- statement_timeout_ms: 60000\n\n"
)


@dataclass(frozen=True, slots=True)
class Imported:
    """A file that was written, or why one could not be."""

    revision: str
    file: str
    error: str = ""


def import_alembic(alembic: Path, into: Path) -> list[Imported]:
    """Write a file for each revision behind those that are there; nothing is written over.

    A file for each engine, or one where both are alike. Raises BadInput (`alembic`), Failed.
    """
    if not (alembic / "versions").is_dir():
        raise BadInput("alembic", "must be the folder of Alembic's scripts, with versions/ in it")
    rendered = _rendered(alembic.resolve())
    into.mkdir(exist_ok=True)
    names = migration_names([path.name for path in into.iterdir()])
    number = max((int(name[:4]) for name in names if name[:4].isdigit()), default=0)
    told: list[Imported] = []
    for place, first in enumerate(rendered["postgres"]):
        sides = {dialect: rendered[dialect][place] for dialect in DIALECTS}
        wrong = [one for one in DIALECTS if "error" in sides[one]]
        if wrong:
            cause = ", ".join(f"{one}: {sides[one]['error']}" for one in wrong)
            told.append(Imported(first["revision"], "", cause))
            continue
        if not first["sql"].strip():
            continue
        number += 1
        if number > min(_NUMBER_MAX, FILES_MAX):
            raise Failed("There are too many migrations.", code="too_many_migrations")
        told += _written(into, f"{number:04}_{_slug(first['words'])}", sides)
    return told


def _written(into: Path, stem: str, sides: dict[Any, dict[str, str]]) -> list[Imported]:
    texts = {dialect: one["sql"] for dialect, one in sides.items()}
    revision = sides["postgres"]["revision"]
    alike = len({" ".join(text.split()) for text in texts.values()}) == 1
    files = (
        {f"{stem}.sql": texts["postgres"]}
        if alike
        else {f"{stem}.{dialect}.sql": text for dialect, text in texts.items()}
    )
    for name, text in files.items():
        with (into / name).open("x", encoding="utf-8") as file:
            file.write(f"{HEADER}{text.strip()}\n")
    return [Imported(revision, name) for name in files]


def _rendered(folder: Path) -> dict[str, list[dict[str, str]]]:
    command = [sys.executable, "-m", "server.alembic_rendering", str(folder), *DIALECTS]
    try:
        ran = subprocess.run(  # noqa: S603 - our own module, and no shell
            command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False
        )
        if ran.returncode != 0:
            raise Failed("Alembic could not read the revisions.", code="alembic_unreadable")
        found: dict[str, list[dict[str, str]]] = json.loads(ran.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise Failed("Alembic could not read the revisions.", code="alembic_unreadable") from error
    return found


def _slug(words: str) -> str:
    parts = re.findall(r"[a-z0-9]+", words.lower())
    return "_".join(parts)[:_WORDS_MAX].strip("_") or "revision"
