"""What a tenant's records are, as far as was answered: kept outside of any database, and compared by count and sum. Not the records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import uuid4

from sqlalchemy import Connection, Table, insert, select

from control_plane.data.collection import SAMPLES, Collection, load_collection
from control_plane.data.tables import APPLIED, UNDO, collection_table
from control_plane.errors import Refused
from tests.support.house import fresh_key
from tests.support.onboarding import contact
from tests.unwind.lifecycles import Asked

if TYPE_CHECKING:
    from tests.unwind.site import Site

ORDERS: Final = """
name: orders
description: What the tenant's contacts have ordered, one after the other.
fields:
  number:
    kind: integer
    unique: true
  contact:
    kind: reference
    collection: contacts
  after:
    kind: reference
    collection: orders
    nullable: true
  currency:
    kind: reference
    collection: currencies
  amount:
    kind: decimal
    precision: 8
    scale: 2
"""
"""A collection that the sample lacks: it counts, and refers to others and to itself."""

Sums: TypeAlias = tuple[tuple[str, int, str], ...]
"""By table: how many rows, and a sum over all of them that is the same in whichever order they come."""
MASKED: Final = frozenset({"email"})
_BESIDE: Final = frozenset({"tenant_id", "created_at"})
_BITS: Final = 256
_EURO: Final = str(
    next(
        row["id"]
        for row in load_collection(SAMPLES / "currencies.yaml").reference_rows()
        if row["code"] == "EUR"
    )
)


@dataclass(frozen=True)
class Told:
    """The rows of one place: those of the collections, and the keys of what we keep beside them."""

    records: Sums
    beside: Sums


@dataclass
class Ledger:
    """The records by collection and id, as they were given and answered `done`, or committed."""

    contacts: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    orders: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    def copy(self) -> Ledger:
        """As it stands now."""
        return Ledger(dict(self.contacts), dict(self.orders))

    def sums(self, without: frozenset[str] = frozenset()) -> Sums:
        """What a place that holds just these records says of them."""
        return (
            _summed("contacts", self.contacts.values(), without),
            _summed("orders", self.orders.values(), without),
        )

    def next_order(self) -> dict[str, Any]:
        """The values of the order that comes next: it counts on, and refers to the one before."""
        last = max(self.orders.values(), key=lambda one: one["number"], default=None)
        return {
            "number": 1 if last is None else last["number"] + 1,
            "contact": next(reversed(self.contacts)),
            "after": None if last is None else last["id"],
            "currency": _EURO,
            "amount": "12.50",
        }


def write_by_call(site: Site, tenant: str, ledger: Ledger) -> None:
    """One more contact and order, by calls that must succeed."""
    for name, rows in (("contacts", ledger.contacts), ("orders", ledger.orders)):
        values = contact() if name == "contacts" else ledger.next_order()
        asked = {"tenant": tenant, "collection": name, "values": values}
        asked["idempotency_key"] = fresh_key()
        answered: Any = site.call(Asked("record_create", asked), site.support_face).answer()
        assert answered["outcome"] == "done", answered
        made = str(answered["result"]["record"]["id"])
        rows[made] = {**values, "id": made, "version": 1}


def write_directly(site: Site, tenant: str, ledger: Ledger) -> bool:
    """One more order where the tenant stands, past us; False, and nothing, where it may only be read."""
    standing = site.tenant(tenant)
    assert standing is not None
    home, values = standing.home, {**ledger.next_order(), "id": str(uuid4()), "version": 1}
    (table,) = (collection_table(one) for one in site.collections if one.name == "orders")
    typed = {**values, "amount": Decimal(values["amount"]), "created_at": datetime.now(UTC)}
    try:
        with site.servers.at(home).transaction(tenant, home.isolation) as connection:
            connection.execute(insert(table).values(tenant_id=tenant, **typed))
    except Refused as error:
        if error.code != "fenced":
            raise
        return False
    ledger.orders[str(values["id"])] = values
    return True


def told_by(
    connection: Connection,
    collections: Sequence[Collection],
    tenant: str,
    without: frozenset[str] = frozenset(),
) -> Told:
    """What a place says of its rows; of what we keep beside them only the keys, and of a masked one none."""

    def rows(table: Table) -> list[Mapping[str, Any]]:
        mine = select(table).where(table.c.tenant_id == tenant)
        return [dict(one) for one in connection.execute(mine).mappings()]

    records: list[tuple[str, int, str]] = []
    for one in sorted(collections, key=lambda one: one.name):
        if not one.reference:
            told = rows(collection_table(one))
            records.append(_summed(one.name, told, without | _BESIDE))
    kept = () if without else (APPLIED, UNDO)
    keys = {one.name: [{"key": row["call_id"]} for row in rows(one)] for one in kept}
    beside = tuple(_summed(name, every, frozenset()) for name, every in keys.items())
    return Told(tuple(records), beside)


def _summed(
    name: str, rows: Iterable[Mapping[str, Any]], without: frozenset[str]
) -> tuple[str, int, str]:
    count, total = 0, 0
    for row in rows:
        said = {key: _plain(value) for key, value in row.items() if key not in without}
        line = json.dumps(said, sort_keys=True).encode()
        count, total = count + 1, total + int.from_bytes(hashlib.sha256(line).digest(), "big")
    return name, count, f"{total % 2**_BITS:064x}"


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, int) else str(value)
