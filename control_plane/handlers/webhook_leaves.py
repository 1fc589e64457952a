"""The leaves of what ends a webhook's endpoint without its operator: a receiver's 410, a tenant's end. Not the operator's acts."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select

from control_plane.audit.recorder import guard, guards_now
from control_plane.billing import outbox, webhook_endpoints
from control_plane.billing.delivery import Answer, verdict
from control_plane.domain.canonical import Json
from control_plane.domain.delivery import Delivery
from control_plane.ports import Recorder
from control_plane.store.webhook_tables import webhook_endpoint

TABLE: Final = webhook_endpoint.name


def settled_with_leaf(
    recorder: Recorder,
    connection: Connection,
    begun: Delivery,
    answer: Answer,
    now: datetime,
    fault: str | None,
) -> Delivery:
    """`outbox.settle`, with a leaf where the answer disables the endpoint. An attempt else has none."""
    standing = None
    if verdict(answer.status) == "gone":
        standing = webhook_endpoints.find(connection, begun.endpoint)
    if standing is None or not standing.enabled:
        return outbox.settle(connection, begun, answer, now, fault)
    found = guard(connection, TABLE, standing.id)
    ended = outbox.settle(connection, begun, answer, now, fault)
    payload: dict[str, Json] = {"endpoint": standing.id, "cause": "gone"}
    recorder.record(
        connection,
        "webhook.disabled",
        standing.tenant,
        payload,
        ((TABLE, standing.id),),
        (found,),
    )
    return ended


@contextmanager
def forgotten_with_leaf(connection: Connection, recorder: Recorder, tenant: str) -> Generator[None]:
    """Inside, the tenant's endpoints are deleted; afterwards a leaf says so, where there were any."""
    mine = select(webhook_endpoint.c.id).where(webhook_endpoint.c.tenant == tenant)
    ids = [*connection.execute(mine.order_by(webhook_endpoint.c.id)).scalars()]
    named = tuple((TABLE, one) for one in ids)
    found = tuple(guards_now(connection, named))
    yield
    if named:
        recorder.record(
            connection, "webhook.forgotten", tenant, {"endpoints": [*ids]}, named, found
        )
