"""A pool of a tenant's services that query its database directly and follow what they are told. Holds no test."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import psycopg

from control_plane.domain.handover import Handover
from control_plane.store import rows
from control_plane.store.database_tables import handover
from tests.support.approval_world import TENANT
from tests.support.handing import ADD, Served, Session

_POLL_S = 0.02
_JOIN_S = 30.0


class Services:
    """So many sessions, which together make `calls_per_s`; each goes over to a later version by itself.

    Once all have, the version is acknowledged.
    """

    def __init__(self, served: Served, sessions: int, calls_per_s: float) -> None:
        self._served = served
        self._pause_s = sessions / calls_per_s
        self._known = served.handed
        self._followed = [0] * sessions
        self._over = threading.Event()
        self.calls = 0
        self.failures: list[str] = []
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._serve, args=(number,), daemon=True)
            for number in range(sessions)
        ]
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    @contextmanager
    def at_work(self) -> Generator[None]:
        """They work for as long as the block, and end their last call."""
        for one in (self._watcher, *self._threads):
            one.start()
        try:
            yield
        finally:
            self._over.set()
            for one in (self._watcher, *self._threads):
                one.join(_JOIN_S)
                assert not one.is_alive()

    def _watch(self) -> None:
        # What the long poll of the integration API gives them.
        while not self._over.wait(_POLL_S):
            known = self._served.handed
            self._known = known
            if known.acked_version < known.version == min(self._followed):
                with self._served.bench.world.store.write() as connection:
                    same = (handover.c.tenant == TENANT) & (handover.c.version == known.version)
                    rows.change(connection, handover, same, acked_version=known.version)

    def _serve(self, number: int) -> None:
        try:
            while not self._over.is_set():
                self._by(number, self._known)
        except Exception as error:  # noqa: BLE001 - told to the test
            self.failures.append(f"{type(error).__name__}: {error}")

    def _by(self, number: int, known: Handover) -> None:
        with self._served.service(known) as raw:
            self._followed[number] = known.version
            while self._known.version == known.version and not self._over.is_set():
                began_s = time.monotonic()
                try:
                    self._call(raw, number)
                except psycopg.Error as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
                    return
                self._over.wait(max(0.0, self._pause_s - (time.monotonic() - began_s)))

    def _call(self, raw: Session, number: int) -> None:
        key = f"s{number}-{time.monotonic_ns()}"
        with raw.transaction():
            raw.execute(ADD, [TENANT, key, key])
            found = raw.execute("SELECT count(*) FROM contacts WHERE id = %s", [key]).fetchone()
            assert found == (1,)
            raw.execute("DELETE FROM contacts WHERE id = %s", [key])
        with self._lock:
            self.calls += 1
