"""What is kept of a tenant that is gone: nothing but what its invoices need. Not its databases: those go before.

An offboarded tenant can be restored for a while, with its seats, its meters and its webhooks as they
were. Once that is over, whatever could tell of a person goes: its archives, and the keys that would
open a copy of one. Invoices and the ledger stay.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    Table,
    cast,
    delete,
    exists,
    func,
    or_,
    select,
)

from control_plane.domain.canonical import instant
from control_plane.handlers.backup_expiry import expire, kept_of, nothing_kept
from control_plane.handlers.billing_moves import closed_by_itself, opened
from control_plane.handlers.handler import Ports
from control_plane.handlers.webhook_leaves import forgotten_with_leaf
from control_plane.store import tables
from control_plane.store.billing_tables import billing_account
from control_plane.store.database_tables import data_key
from control_plane.store.seat_tables import seat
from control_plane.store.usage_tables import (
    reservation,
    soft_limit_passed,
    usage_event,
    usage_tally,
)
from control_plane.store.webhook_tables import (
    webhook_delivery,
    webhook_endpoint,
    webhook_message,
)

BATCH_MAX: Final = 100
# A delivery names an endpoint and a message: it goes first.
_OF_TENANT: Final[tuple[Table, ...]] = (
    seat,
    usage_event,
    usage_tally,
    reservation,
    soft_limit_passed,
    webhook_delivery,
    webhook_endpoint,
    webhook_message,
)
_ACCOUNT: Final = billing_account.c
# A column of JSON may hold the word null.
_PERSONAL: Final[ColumnElement[bool]] = or_(
    _ACCOUNT.method_set_at.is_not(None),
    func.coalesce(cast(_ACCOUNT.buyer, String), "null") != "null",
)


def forget(ports: Ports) -> int:
    """Forget the tenants that can be restored no more, at most 100; how many it was.

    One under a legal hold keeps everything. Backups of any tenant whose time is over go as well.
    """
    expire(ports)
    with ports.store.read() as connection:
        found = _over(connection, ports)
    for tenant in found:
        with ports.store.write(tenant) as connection:
            # A restore may have begun meanwhile.
            if tenant in _over(connection, ports, tenant):
                _forget(connection, ports, tenant)
    if ports.data_keys is not None:
        ports.data_keys.settle()
    return len(found)


def _over(connection: Connection, ports: Ports, tenant: str | None = None) -> list[str]:
    table, now = tables.tenant, instant(ports.clock.now())
    known: list[ColumnElement[bool]] = [
        exists().where(one.c.tenant == table.c.id) for one in _OF_TENANT
    ]
    wanted = select(table.c.id).where(
        table.c.state == "deprovisioned",
        table.c.restorable_until <= now,
        table.c.legal_hold.is_(False),
        or_(*known, *_shreddable(ports), exists().where(_ACCOUNT.tenant == table.c.id, _PERSONAL)),
    )
    if tenant is not None:
        wanted = wanted.where(table.c.id == tenant)
    return list(connection.execute(wanted.order_by(table.c.id).limit(BATCH_MAX)).scalars())


def _shreddable(ports: Ports) -> list[ColumnElement[bool]]:
    """A tenant with a living key and no archive that it must still open; only the worker can tell."""
    if ports.data_keys is None:
        return []
    living = exists().where(
        data_key.c.tenant == tables.tenant.c.id, data_key.c.wrapped.is_not(None)
    )
    return [living & ~kept_of(tables.tenant.c.id)]


def _forget(connection: Connection, ports: Ports, tenant: str) -> None:
    if ports.data_keys is not None and nothing_kept(connection, tenant):
        ports.data_keys.shred(connection, tenant)
    with forgotten_with_leaf(connection, ports.recorder, tenant):
        for table in _OF_TENANT:
            connection.execute(delete(table).where(table.c.tenant == tenant))
    personal = select(_ACCOUNT.tenant).where(_ACCOUNT.tenant == tenant, _PERSONAL)
    if connection.execute(personal).first() is None:
        return
    book = opened(connection, ports, tenant)
    book.revise(method=None, method_set_at=None, buyer=None)
    closed_by_itself(connection, ports, book)
