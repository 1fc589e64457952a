"""What a run tells of its resources while it is at work, kept for whoever follows it. Decides and moves nothing."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from sqlalchemy import func, insert, select

from control_plane.domain.canonical import instant
from control_plane.domain.run_record import Run
from control_plane.errors import Unavailable, Unknown
from control_plane.ports import Clock, Store
from control_plane.provisioning.progress import Progress
from control_plane.store.infrastructure_tables import run_event

EVENTS_MAX: Final = 5_000
"""How much one run may tell; what is beyond is left out."""


class Telling:
    """Called for each step that a resource takes; each is kept at once, in its order."""

    def __init__(self, store: Store, clock: Clock, run: Run) -> None:
        self._store = store
        self._clock = clock
        self._run = run

    def __call__(self, progress: Progress) -> None:
        """Keep one event, where the store takes it: for want of a word no apply is broken off."""
        with suppress(Unavailable, Unknown):
            self._keep(progress)

    def _keep(self, progress: Progress) -> None:
        told = run_event.c
        last = select(func.coalesce(func.max(told.position), 0)).where(told.run_id == self._run.id)
        with self._store.write(self._run.tenant or None) as connection:
            position = int(connection.execute(last).scalar_one()) + 1
            if position > EVENTS_MAX:
                return
            row = {
                "run_id": self._run.id,
                "position": position,
                "at": instant(self._clock.now()),
                **progress.model_dump(),
            }
            connection.execute(insert(run_event), row)
