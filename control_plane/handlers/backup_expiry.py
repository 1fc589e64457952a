"""Backups whose time is over: the archive goes, its row stays and says so. Not how long one is kept, nor the keys.

None goes while its tenant is under a legal hold, or a run is at work on it.
"""

from __future__ import annotations

import logging
from typing import Final

from sqlalchemy import ColumnElement, Connection, Exists, exists, select

from control_plane.audit.recorder import guard
from control_plane.domain.backup_record import Backup
from control_plane.domain.canonical import Json, instant
from control_plane.domain.run import RUN_ACTIVE
from control_plane.errors import PaybillError
from control_plane.handlers.handler import Ports
from control_plane.ports import Archives
from control_plane.store import rows, tables

_LOG = logging.getLogger("paybill.worker")
BATCH_MAX: Final = 100
_TABLE: Final = tables.backup


def expire(ports: Ports) -> int:
    """Remove the archives that need be kept no longer, at most 100; how many it was."""
    if ports.archives is None:
        return 0
    with ports.store.read() as connection:
        found = _over(connection, ports)
    gone = 0
    for backup in found:
        try:
            with ports.store.write(backup.tenant) as connection:
                # It may have been taken over, or held, meanwhile.
                if backup.id in {one.id for one in _over(connection, ports, backup.tenant)}:
                    _remove(connection, ports, ports.archives, backup)
                    gone += 1
        except PaybillError as error:
            # One that cannot be removed now must not keep the others, nor what comes after it.
            _LOG.warning("a backup whose time is over stays for now: %s", error.code)
    return gone


def kept_of(tenant: ColumnElement[str]) -> Exists:
    """Whether an archive of a tenant is still there."""
    return exists().where(_TABLE.c.tenant == tenant, _TABLE.c.removed_at.is_(None))


def nothing_kept(connection: Connection, tenant: str) -> bool:
    """Whether no archive of the tenant is left to open."""
    kept = select(_TABLE.c.id).where(_TABLE.c.tenant == tenant, _TABLE.c.removed_at.is_(None))
    return connection.execute(kept.limit(1)).first() is None


def _over(connection: Connection, ports: Ports, tenant: str | None = None) -> list[Backup]:
    owner, run = tables.tenant, tables.run
    held = exists().where(owner.c.id == _TABLE.c.tenant, owner.c.legal_hold.is_(True))
    at_work = exists().where(run.c.tenant == _TABLE.c.tenant, run.c.state.in_(sorted(RUN_ACTIVE)))
    over = (
        _TABLE.c.removed_at.is_(None)
        & (_TABLE.c.keep_until <= instant(ports.clock.now()))
        & ~held
        & ~at_work
    )
    if tenant is not None:
        over &= _TABLE.c.tenant == tenant
    return rows.every(
        connection, _TABLE, Backup, over, order_by=_TABLE.c.keep_until, limit=BATCH_MAX
    )


def _remove(connection: Connection, ports: Ports, archives: Archives, backup: Backup) -> None:
    # The file goes first: a row that says so of one that is still there would never be looked at.
    archives.drop(backup.tenant, backup.id)
    found = guard(connection, _TABLE.name, backup.id)
    now = instant(ports.clock.now())
    rows.change(connection, _TABLE, _TABLE.c.id == backup.id, removed_at=now)
    payload: dict[str, Json] = {"backup_id": backup.id, "keep_until": backup.keep_until}
    ports.recorder.record(
        connection,
        "backup.removed",
        backup.tenant,
        payload,
        ((_TABLE.name, backup.id),),
        (found,),
    )
