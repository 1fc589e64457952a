"""Leaves of reads and refusals, written in groups: one transaction for all that wait. Not the leaf of a change.

Such a leaf vouches for no row, so it need not stand in anybody's transaction. Whoever comes first
writes for all who came meanwhile; nobody is told that a leaf is kept before it is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Final

from control_plane.audit.recorder import LeafRecorder
from control_plane.domain.canonical import Json
from control_plane.errors import PaybillError, Unavailable
from control_plane.ports import Store
from control_plane.store import tables

_WAIT_S: Final = 10.0
_GROUP_MAX: Final = 256
_KEYS_MAX: Final = 4_096
_INSERT: Final = tables.audit_leaf.insert()


class _Waiting:
    """One leaf that is to be written, and how that came out."""

    __slots__ = ("error", "over", "values")

    def __init__(self, values: dict[str, object]) -> None:
        self.values = values
        self.over = False
        self.error: Exception | None = None


class LeafNotes:
    """Writes leaves for many threads at once; each `note` returns when its leaf is durable."""

    def __init__(self, recorder: LeafRecorder, store: Store) -> None:
        self._recorder = recorder
        self._store = store
        self._waiting: deque[_Waiting] = deque()
        self._turn = threading.Lock()
        self._keys: dict[str, bytes] = {}

    def note(
        self, kind: str, tenant: str, payload: Mapping[str, Json], *, own_key: bool = True
    ) -> None:
        """Write one leaf. Raises Unavailable as the store does, or when its turn does not come."""
        key = self._key(tenant if own_key else "")
        mine = _Waiting(self._recorder.prepared(kind, tenant, payload, key))
        self._waiting.append(mine)
        if not self._turn.acquire(timeout=_WAIT_S):
            raise Unavailable("The audit log cannot be written now.", code="store_locked")
        try:
            if not mine.over:
                self._write()
        finally:
            self._turn.release()
        if mine.error is not None:
            raise mine.error

    def _write(self) -> None:
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), _GROUP_MAX))]
        error: Exception | None = None
        try:
            with self._store.append() as connection:
                connection.execute(_INSERT, [one.values for one in group])
        except PaybillError as raised:
            error = raised
        except BaseException as raised:
            error = Unavailable("The audit log cannot be written now.", code="store_unavailable")
            error.__cause__ = raised
            raise
        finally:
            for one in group:
                one.error, one.over = error, True

    def _key(self, tenant: str) -> bytes:
        if not tenant:
            # Nothing to look up, so nothing is opened: an absent object costs no more than one
            # whose tenant's key is known here.
            return self._recorder.workspace_public
        known = self._keys.get(tenant)
        if known is not None:
            return known
        with self._store.read() as connection:
            found = self._recorder.known_key(connection, tenant)
        if found is None:
            # The tenant's first leaf makes its key.
            with self._store.append() as connection:
                found = self._recorder.public_key(connection, tenant)
        if found != self._recorder.workspace_public:
            if len(self._keys) >= _KEYS_MAX:
                self._keys.clear()
            # A key that is shredded later still seals: what is sealed to it is forgotten at once.
            self._keys[tenant] = found
        return found
