"""The fence row of a tenant, for who makes, closes and removes databases. Not for who writes rows."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from control_plane.data.tables import COUNT, FENCE
from control_plane.errors import NotFound, Refused


def is_deserted(connection: Connection) -> bool:
    """Whether no tenant is in the place; the connection must see all that are."""
    return connection.execute(select(FENCE.c.tenant_id).limit(1)).first() is None


def fence_epoch(connection: Connection, tenant: str) -> int | None:
    """The epoch that the tenant stands at, or None; its row is held for the transaction."""
    return connection.execute(
        select(FENCE.c.epoch).where(FENCE.c.tenant_id == tenant).with_for_update()
    ).scalar_one_or_none()


def set_fence(connection: Connection, tenant: str, epoch: int, *, is_open: bool) -> None:
    """Open or close at `epoch`, which never falls. Raises NotFound, Refused (`fenced`)."""
    known = fence_epoch(connection, tenant)
    _require_not_later(known, epoch)
    connection.execute(
        update(FENCE).where(FENCE.c.tenant_id == tenant).values(epoch=epoch, open=is_open)
    )


def advance(connection: Connection, tenant: str, epoch: int) -> None:
    """Stand at `epoch`, open or closed as before. Raises NotFound, Refused (`fenced`)."""
    known = fence_epoch(connection, tenant)
    _require_not_later(known, epoch)
    if known != epoch:
        connection.execute(update(FENCE).where(FENCE.c.tenant_id == tenant).values(epoch=epoch))


def _require_not_later(known: int | None, epoch: int) -> None:
    if known is None:
        raise NotFound
    if epoch < known:
        raise Refused("A later run holds the tenant.", code="fenced", rule="epoch")


def admit(connection: Connection, tenant: str, epoch: int) -> None:
    """Let the tenant in at `epoch`, open; a second time at the same one changes nothing."""
    known = fence_epoch(connection, tenant)
    if known is None:
        connection.execute(insert(COUNT).values(tenant_id=tenant, records=0))
        connection.execute(insert(FENCE).values(tenant_id=tenant, epoch=epoch, open=True))
    elif known != epoch:
        set_fence(connection, tenant, epoch, is_open=True)
