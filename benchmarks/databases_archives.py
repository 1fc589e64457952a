"""How fast a tenant's rows are backed up and restored, beside the engine's own tools. Asserts nothing.

An archive of ours is sealed, signed in its manifest and summed up row by row, and its rows are looked
at again as they come back. The engine's own tools do none of that. What a place takes to be made is
in neither: it stands before the clock starts.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from databases_bare import (
    TENANT,
    BarePostgres,
    BareSqlite,
    bare_postgres,
    copy_file,
    filled_postgres,
)
from databases_place import Places, places, with_rows
from databases_told import Row, Sheet, took_ms
from many_tickets import TICKETS

from control_plane.data.archive import Summary, load_tenant
from control_plane.databases.archives import ArchiveFolder
from control_plane.databases.migration import rows_that_stand
from control_plane.databases.postgres_programs import DumpPrograms, find_programs
from control_plane.domain.backup_manifest import ArchiveKind
from control_plane.domain.backup_record import Backup
from control_plane.domain.home import Home
from control_plane.domain.isolation import Isolation
from control_plane.handlers.backup_proof import Wanted, lines_of, taken
from control_plane.handlers.handler import Work
from server.clock import SystemClock
from tests.support.postgres import Postgres, installed_postgres
from tests.support.sealing import UNTIL, ArchiveBench

_FORMS: dict[str, tuple[tuple[ArchiveKind, Isolation], ...]] = {
    "SQLite": (
        ("canonical", "silo"),
        ("canonical", "bridge"),
        ("canonical", "pooled"),
        ("sqlite", "silo"),
        ("sqlite", "bridge"),
    ),
    "Postgres": (
        ("canonical", "silo"),
        ("canonical", "bridge"),
        ("canonical", "pooled"),
        ("postgres", "silo"),
        ("postgres", "bridge"),
    ),
}
_MIB = 1024 * 1024
_S_MAX = 600


@dataclass(frozen=True)
class Cycle:
    """A backup and a restore: milliseconds of each, and the bytes between them."""

    out_ms: float
    back_ms: float
    size_bytes: int


def archived(postgres: Postgres, folder: Path, rounds: int, rows: int) -> list[Row]:
    """By engine, model and form; within a round each beside the engine's own tool on the same rows."""
    sheet = Sheet("engine", "model", "form")
    programs = _programs()
    with places(postgres, folder / "ours") as held, bare_postgres(held.server) as bare:
        for kind, forms in _FORMS.items():
            for form, model in forms:
                if form == "canonical":  # one of every model
                    with_rows(held.sources[kind], TENANT, model, rows)
        tools: dict[str, Callable[[int], Cycle]] = {
            "SQLite": _by_backup(folder, rows),
            "Postgres": _by_dump(bare, folder, rows, programs),
        }
        work = _work(folder / "archives", programs)
        for number in range(rounds):
            for kind, forms in _FORMS.items():
                theirs = tools[kind](number)
                for form, model in forms:
                    mine = _cycle(work, held, kind, model, form)
                    _tell(sheet, (kind, model, form), rows, mine, theirs)
    return sheet.rows(
        {
            "backup, tool : ours": ("tool backs up, rows/s", "backup, rows/s"),
            "restore, tool : ours": ("tool restores, rows/s", "restore, rows/s"),
        }
    )


def _tell(sheet: Sheet, row: tuple[str, str, str], rows: int, mine: Cycle, theirs: Cycle) -> None:
    sheet.add(row, "backup, rows/s", rows / mine.out_ms * 1_000)
    sheet.add(row, "tool backs up, rows/s", rows / theirs.out_ms * 1_000)
    sheet.add(row, "restore, rows/s", rows / mine.back_ms * 1_000)
    sheet.add(row, "tool restores, rows/s", rows / theirs.back_ms * 1_000)
    sheet.add(row, "MiB", mine.size_bytes / _MIB)
    sheet.add(row, "MiB of the tool", theirs.size_bytes / _MIB)


# Ours ------------------------------------------------------------------------------------------


def _cycle(work: Work, held: Places, kind: str, model: Isolation, form: ArchiveKind) -> Cycle:
    source, target = held.sources[kind], held.targets[kind]
    made: list[Backup] = []
    loaded: list[Summary] = []

    def back_up() -> None:
        with source.reading(TENANT, model) as seen:
            made.append(taken(work, seen, [TICKETS], Wanted("bench", Home(model), UNTIL, form)))

    def restore() -> None:
        with (
            rows_that_stand(),
            target.transaction(TENANT, model) as into,
            lines_of(work, made[0], [TICKETS]) as lines,
        ):
            loaded.append(load_tenant(into, [TICKETS], TENANT, lines))

    out_ms = took_ms(back_up)
    target.create(TENANT, model, [TICKETS], 1)
    back_ms = took_ms(restore)
    if Summary.model_validate(made[0].contents) != loaded[0]:
        raise SystemExit("what was restored is not what was backed up")
    target.drop(TENANT, model, 2)
    return Cycle(out_ms, back_ms, made[0].bytes)


def _work(root: Path, programs: DumpPrograms) -> Work:
    """As much of a run as a backup and a restore ask of one; keys lie in memory."""
    root.mkdir(parents=True)
    archives = ArchiveFolder(root, ArchiveBench(root).sealing(), lambda _: programs)
    ports = SimpleNamespace(
        archives=archives, clock=SystemClock(), catalog=SimpleNamespace(digest="0" * 64)
    )
    return Work(
        run=cast("Any", SimpleNamespace(id="bench", tenant=TENANT)),
        command=cast("Any", None),
        ports=cast("Any", ports),
        epoch=1,
        should_stop=lambda: False,
        asker=cast("Any", None),
    )


# The engines' own ------------------------------------------------------------------------------


def _programs() -> DumpPrograms:
    beside = [str(one) for one in installed_postgres().glob("pginstall*/bin")]
    return find_programs(None, os.pathsep.join(beside), 0)


def _by_backup(folder: Path, rows: int) -> Callable[[int], Cycle]:
    source = BareSqlite(folder / "bare").filled(rows)

    def cycle(number: int) -> Cycle:
        copy, back = (folder / f"{name}-{number}.db" for name in ("copy", "back"))
        out_ms = took_ms(lambda: copy_file(source, copy))
        back_ms = took_ms(lambda: copy_file(copy, back))
        size_bytes = copy.stat().st_size
        for path in (copy, back):
            path.unlink()
        return Cycle(out_ms, back_ms, size_bytes)

    return cycle


def _by_dump(
    bare: BarePostgres, folder: Path, rows: int, programs: DumpPrograms
) -> Callable[[int], Cycle]:
    source = filled_postgres(bare, rows)
    owner = bare.server.root
    environment = {"PGHOST": str(owner.query["host"]), "PGUSER": str(owner.username)}

    def run(*argv: str | Path) -> None:
        _run([*argv], environment)

    def cycle(number: int) -> Cycle:
        dump, target = folder / f"{number}.dump", f"{source}_{number}"
        out_ms = took_ms(lambda: run(programs.dump, "-Fc", "-f", dump, source))
        bare.make_empty(target)
        back_ms = took_ms(lambda: run(programs.restore, "-d", target, dump))
        bare.drop(target)
        size_bytes = dump.stat().st_size
        dump.unlink()
        return Cycle(out_ms, back_ms, size_bytes)

    return cycle


def _run(argv: Sequence[str | Path], environment: dict[str, str]) -> None:
    subprocess.run(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=_S_MAX,
        check=True,
    )
