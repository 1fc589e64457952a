"""Every leaf of a workspace's log with its payload, in the order in which they were written. Verifies nothing."""

from __future__ import annotations

from collections.abc import Iterator

from control_plane.store.log import StoredLog
from control_plane.store.snapshot import snapshot
from server import keys
from server.auditing import Entry, _opened
from tests.support.house import House

_LEAVES_MAX = 100_000


def opened_leaves(house: House) -> Iterator[Entry]:
    """The oldest first."""
    private = keys.load(house.workspace.keys).seal_private
    with house.store() as store, snapshot(store) as one:
        found = StoredLog(one).newest(_LEAVES_MAX)
        assert len(found) < _LEAVES_MAX
        for stored in reversed(found):
            yield _opened(one.connection, stored, private)
