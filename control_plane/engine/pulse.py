"""A run's sign of life while a long step works, and its order to stop. Starts no thread of its own."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select

from control_plane.domain.canonical import instant
from control_plane.domain.run_record import Run
from control_plane.ports import Clock, Store
from control_plane.store import rows, tables

_BEAT_S = 1.0


class Pulse:
    """Called often by whoever waits: beats at most once a second, and says when to stop."""

    def __init__(self, store: Store, clock: Clock, run: Run) -> None:
        self._store = store
        self._clock = clock
        self._run = run
        self._next_beat: datetime | None = None
        self._stopped = False

    def should_stop(self) -> bool:
        """Whether the run was asked to stop, or is past its deadline."""
        now = self._clock.now()
        if self._stopped or (self._next_beat is not None and now < self._next_beat):
            return self._stopped
        self._next_beat = now + timedelta(seconds=_BEAT_S)
        table = tables.run
        mine = table.c.id == self._run.id
        with self._store.write(self._run.tenant or None) as connection:
            rows.change(connection, table, mine, heartbeat_at=instant(now))
            asked = connection.execute(select(table.c.cancel_requested).where(mine)).scalar()
        deadline_at = self._run.deadline_at
        late = deadline_at is not None and instant(now) >= deadline_at
        self._stopped = bool(asked) or late
        return self._stopped
