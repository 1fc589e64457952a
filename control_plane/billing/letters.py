"""Webhooks that go out as their operator looks at them: what became of which message, and why. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, RowMapping, func, select

from control_plane.domain.canonical import instant
from control_plane.domain.delivery import Delivery
from control_plane.store.rows import parse
from control_plane.store.webhook_tables import webhook_delivery, webhook_message

LETTERS_MAX: Final = 1_000

_D: Final = webhook_delivery.c
_LETTER: Final = select(webhook_delivery, webhook_message.c.kind).join(
    webhook_message, webhook_message.c.id == _D.message
)


class Letter(NamedTuple):
    """A message on its way to one endpoint; `fault` says in a word why no answer came."""

    delivery: Delivery
    kind: str
    fault: str | None


def find(connection: Connection, delivery_id: str) -> Letter | None:
    """The letter of that delivery, or None."""
    row = connection.execute(_LETTER.where(_D.id == delivery_id)).mappings().first()
    return None if row is None else _letter(row)


def newest(connection: Connection, endpoint_id: str, count: int) -> list[Letter]:
    """What became of an endpoint's letters, those that moved last first; at most `count`."""
    wanted = _LETTER.where(_D.endpoint == endpoint_id).order_by(_D.changed_at.desc(), _D.id)
    rows = connection.execute(wanted.limit(_bounded(count))).mappings()
    return [_letter(row) for row in rows]


def dead(
    connection: Connection,
    endpoint_id: str | None = None,
    since: datetime | None = None,
    count: int = LETTERS_MAX,
) -> list[Letter]:
    """Dead letters in the order in which their messages were made; at most `count`.

    Of one endpoint, or of all; with `since`, of what happened at that aware instant or later.
    """
    wanted = _LETTER.where(_D.state == "dead_lettered")
    if endpoint_id is not None:
        wanted = wanted.where(_D.endpoint == endpoint_id)
    if since is not None:
        wanted = wanted.where(webhook_message.c.made_at >= instant(since))
    wanted = wanted.order_by(webhook_message.c.made_at, _D.id).limit(_bounded(count))
    return [_letter(row) for row in connection.execute(wanted).mappings()]


def dead_counts(connection: Connection) -> Mapping[str, int]:
    """How many dead letters each endpoint has; those without any are left out."""
    wanted = (
        select(_D.endpoint, func.count()).where(_D.state == "dead_lettered").group_by(_D.endpoint)
    )
    return {str(endpoint): int(count) for endpoint, count in connection.execute(wanted)}


def _bounded(count: int) -> int:
    return max(0, min(count, LETTERS_MAX))


def _letter(row: RowMapping) -> Letter:
    return Letter(parse(Delivery, {**row}), row["kind"], row["last_fault"])
