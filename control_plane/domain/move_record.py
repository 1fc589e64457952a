"""A tenant's move from one database to another, as it is kept. Not the moving."""

from __future__ import annotations

from typing import Literal, TypeAlias

from control_plane.domain.record import Record

MoveState: TypeAlias = Literal["moving", "observing", "finalised", "rolled_back", "aborted"]


class TenantMove(Record):
    """From ``source`` to ``target``, both ids of databases, by a run.

    ``records`` is how many the target held when it took over, ``frozen_ms`` for how long nobody could
    write. ``kept_until`` is when the source goes. Instants are RFC 3339 in UTC.
    """

    run_id: str
    tenant: str
    source: str
    target: str
    state: MoveState
    records: int = 0
    frozen_ms: int | None = None
    cutover_at: str | None = None
    kept_until: str | None = None
    changed_at: str
