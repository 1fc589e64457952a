"""A tenant's write, at most once and only by who holds the fence. Not the write itself.

The proof that a call was applied commits with what it did, so that after a kill one look tells.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, select

from control_plane.data.tables import APPLIED, FENCE
from control_plane.errors import Refused

# Made once: to build a statement costs more than to run it.
_APPLIED_AS = select(APPLIED.c.digest).where(
    APPLIED.c.tenant_id == bindparam("tenant"), APPLIED.c.call_id == bindparam("call")
)
_FENCE_OF = (
    select(FENCE.c.epoch, FENCE.c.open)
    .where(FENCE.c.tenant_id == bindparam("tenant"))
    .with_for_update(read=True)
)


def apply_once(
    connection: Connection,
    tenant: str,
    epoch: int,
    call_id: str,
    digest: str,
    effect: Callable[[Connection], object],
    *,
    now: datetime,
) -> bool:
    """Run `effect` in the connection's transaction unless the call was applied: did it run?

    What the effect returns is not kept: an outcome is read back. An error leaves neither the proof
    nor any part of the effect. Raises Refused (`fenced`: the tenant is closed or another run holds
    it; `applied_differs`: the call stands with another digest).
    """
    require_fence(connection, tenant, epoch)
    standing = was_applied(connection, tenant, call_id)
    if standing is not None:
        if standing != digest:
            raise Refused(
                "This call was applied with another digest.", code="applied_differs", rule="digest"
            )
        return False
    # A savepoint, so that a caller who catches the error cannot commit the proof alone.
    with connection.begin_nested():
        proof = {"tenant_id": tenant, "call_id": call_id, "digest": digest, "applied_at": now}
        connection.execute(insert(APPLIED), proof)
        effect(connection)
    return True


def was_applied(connection: Connection, tenant: str, call_id: str) -> str | None:
    """The digest that the call was applied with, or None: recovery's one question."""
    found = connection.execute(_APPLIED_AS, {"tenant": tenant, "call": call_id})
    return found.scalar_one_or_none()


def require_fence(connection: Connection, tenant: str, epoch: int) -> None:
    """Raise Refused (`fenced`) unless the tenant is open at exactly this epoch.

    The row stays locked for the transaction, so that a suspension waits for it or refuses it.
    """
    row = connection.execute(_FENCE_OF, {"tenant": tenant}).one_or_none()
    if row is None or row.epoch != epoch or not row.open:
        raise Refused(
            "The tenant's data is closed, or another run holds it.", code="fenced", rule="epoch"
        )
