"""Who waits over HTTP for a tenant's connection to change: few at a time, and one look at the store for all. Answers nobody."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Final

from sqlalchemy import select

from control_plane.ports import Store
from control_plane.store.database_tables import handover
from server.http_visits import TooManyRequests, VisitHop

WAITERS_MAX: Final = 64
WAITERS_OF_ONE_MAX: Final = 16
_PAUSE_S: Final = 0.25


class ConnectionWaits:
    """Holds requests until what a tenant's services are handed has a later version.

    While they wait nothing of theirs holds the store, nor a place among their caller's calls.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._holders: Counter[str] = Counter()
        self._tenants: Counter[str] = Counter()
        self._versions: Mapping[str, int] = {}
        self._read_s = 0.0
        self._lock = asyncio.Lock()

    async def later(self, holder: str, tenant: str, after: int, wait_s: float) -> bool:
        """Whether a version past `after` came within `wait_s`. Raises TooManyRequests."""
        ends_s = time.monotonic() + wait_s
        with self._waiting(holder, tenant):
            while time.monotonic() < ends_s:
                await self._look()
                if self._versions.get(tenant, 0) > after:
                    return True
                await asyncio.sleep(min(_PAUSE_S, max(0.0, ends_s - time.monotonic())))
        return False

    @contextmanager
    def _waiting(self, holder: str, tenant: str) -> Generator[None]:
        if self._holders.total() >= WAITERS_MAX or self._holders[holder] >= WAITERS_OF_ONE_MAX:
            raise TooManyRequests
        self._holders[holder] += 1
        self._tenants[tenant] += 1
        try:
            yield
        finally:
            for counts, key in ((self._holders, holder), (self._tenants, tenant)):
                counts[key] -= 1
                if not counts[key]:
                    del counts[key]

    async def _look(self) -> None:
        async with self._lock:
            if time.monotonic() - self._read_s < _PAUSE_S:
                return
            self._versions = await VisitHop().run(self._read, sorted(self._tenants))
            self._read_s = time.monotonic()

    def _read(self, tenants: list[str]) -> Mapping[str, int]:
        table = handover.c
        wanted = select(table.tenant, table.version).where(table.tenant.in_(tenants))
        with self._store.read() as connection:
            return {str(tenant): int(version) for tenant, version in connection.execute(wanted)}
