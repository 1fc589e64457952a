"""Where a tenant's records are, and what is decided on before any row is read. No row, and no right to one."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from control_plane.data.collection import Collection, Verb
from control_plane.domain.home import Home
from control_plane.domain.tenant import Tenant
from control_plane.errors import NotFound, Refused
from control_plane.facts.load import record_facts, tenant_row
from control_plane.handlers.handler import Ports, Subject, View
from control_plane.handlers.record_sight import group_actions
from control_plane.store import tables


class Place(NamedTuple):
    """Where a tenant's data is, and the epoch at which it stands open."""

    home: Home
    epoch: int

    def reading(self, ports: Ports, tenant: str) -> AbstractContextManager[Connection]:
        """A snapshot of the tenant's rows that cannot write. Raises NotFound."""
        return ports.databases.at(self.home).reading(tenant, self.home.isolation)

    def transaction(self, ports: Ports, tenant: str) -> AbstractContextManager[Connection]:
        """A write transaction in the tenant's rows. Raises NotFound."""
        return ports.databases.at(self.home).transaction(tenant, self.home.isolation)


_DATA_EPOCH = select(tables.fence.c.data_epoch).where(tables.fence.c.tenant == bindparam("tenant"))


def record_subject(view: View, tenant: str, collection: str, act: str) -> Subject:
    """The collection of the tenant, there or not; `act` is what is to be decided on it."""
    facts, found = record_facts(
        view.connection, view.caller, tenant, collection, view.ports.clock.now()
    )
    declared = view.ports.catalog.collections.get(collection)
    # A collection that is not declared is as absent as a tenant that is not there.
    known = {"exists": False} if declared is None else {"reference": declared.reference}
    return Subject(
        id=f"{tenant}/{collection}",
        facts=facts.model_copy(update=known),
        reads=("read",),
        acts=(act,),
        extras=() if declared is None else group_actions(declared),
        tenant=tenant,
        loaded=_place(view.connection, tenant, found),
    )


def place_of(connection: Connection, tenant: str) -> Place | None:
    """Where the tenant's data is now; None while it has none."""
    return _place(connection, tenant, tenant_row(connection, tenant))


def located(subject: Subject) -> Place:
    """Where the subject's data is. Raises Refused (`no_database`)."""
    if not isinstance(subject.loaded, Place):
        raise Refused("The tenant has no database yet.", code="no_database", fact="tenant_state")
    return subject.loaded


def offered(ports: Ports, name: str, verb: Verb) -> Collection:
    """The declared collection. Raises NotFound, or Refused (`verb_not_offered`)."""
    found = ports.catalog.collections.get(name)
    if found is None:
        raise NotFound
    if verb not in found.offered_verbs:
        raise Refused(
            "The collection does not offer this.", code="verb_not_offered", rule="collection.verbs"
        )
    return found


def _place(connection: Connection, tenant: str, found: Tenant | None) -> Place | None:
    epoch = connection.execute(_DATA_EPOCH, {"tenant": tenant}).scalar()
    if found is None or epoch is None:
        return None
    return Place(found.home, int(epoch))
