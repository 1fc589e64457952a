"""A whole move in phases, that ends before any statement it is told to, and goes on from there. Holds no test."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, event, make_url
from sqlalchemy.engine import Connection

from control_plane.data.moving import catch_up, copy
from control_plane.databases.postgres import PostgresDatabases
from control_plane.databases.sqlite import SqliteDatabases
from control_plane.domain.isolation import Isolation
from tests.support.moving_spots import ALL, Spot

PHASES: Final = ("capture", "copy", "follow", "freeze", "settle", "release")
PATIENCE_MS: Final = 10_000


class Killed(BaseException):
    """What ends the course in this process: nothing catches it, and every transaction is rolled back."""


class Course:
    """The two places. `between` is called once before each phase, as somebody who writes."""

    def __init__(self, source: Spot, target: Spot, between: Callable[[str], object]) -> None:
        self.source = source
        self.target = target
        self._between = between
        self._told: set[str] = set()
        self.at = PHASES[0]

    def run(self, epoch: int) -> None:
        """From the phase that it was ended in, as the run that holds the tenant at `epoch`."""
        for phase in PHASES[PHASES.index(self.at) :]:
            self.at = phase
            if phase not in self._told:
                self._told.add(phase)
                self._between(phase)
            self._do(phase, epoch)

    def _do(self, phase: str, epoch: int) -> None:
        leaving, coming = self.source.end(epoch), self.target.end(epoch)
        if phase == "capture":
            leaving.capture(ALL)
        elif phase == "copy":
            copy(leaving, coming, self.source.moved_to(self.target))
        elif phase == "follow":
            catch_up(leaving, coming, self.source.moved_to(self.target))
        elif phase == "freeze":
            leaving.freeze(PATIENCE_MS)
        elif phase == "settle":
            whole = self.source.moved_to(self.target)
            settled = catch_up(leaving, coming, whole, check="all")
            assert settled.comparison is not None
            settled.comparison.require_equal()
        else:
            leaving.release()


@contextmanager
def statements(reached: Callable[[int], object]) -> Generator[Callable[[], int]]:
    """Calls before each statement of any engine's, with its number; gives how many there were."""
    number = 0

    def count(*_: object) -> None:
        nonlocal number
        number += 1
        reached(number)

    def counted(connection: Connection, cursor: Any, *_: object) -> None:
        count()

    event.listen(Engine, "before_cursor_execute", counted)
    event.listen(Engine, "commit", count)
    try:
        yield lambda: number
    finally:
        event.remove(Engine, "before_cursor_execute", counted)
        event.remove(Engine, "commit", count)


def child(
    kind: str, root: str, owner: str, face: str, prefix: str, model: Isolation, at: str
) -> None:
    """The same in a process of its own, which says `ready` before a statement and waits to be killed."""

    def wait(number: int) -> None:
        if number == int(at):
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            threading.Event().wait(60)

    databases = PostgresDatabases.opened(
        owner=make_url(owner), face=make_url(face), prefix=prefix, statement_ms_max=5_000
    )
    source = Spot(SqliteDatabases(Path(root), 2_000) if kind == "sqlite" else databases, model)
    course = Course(source, Spot(databases, "bridge"), lambda _: None)
    with statements(wait):
        course.run(2)
