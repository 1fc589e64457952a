"""What every engine of tenants' databases can do, as one Protocol. Not an engine, nor a choice."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final, Literal, Protocol, TypeAlias

from sqlalchemy import Connection

from control_plane.data.collection import Collection
from control_plane.data.moving_ends import MovingEnd
from control_plane.databases.altering import Altering
from control_plane.databases.migration import MigrationPhase
from control_plane.domain.handover import Access, Address, Half
from control_plane.domain.home import Home
from control_plane.domain.isolation import Isolation
from control_plane.errors import BadInput

Probe: TypeAlias = Literal["ready", "absent", "differs"]

_TENANT: Final = re.compile(r"[a-z][a-z0-9-]{1,38}[a-z0-9]")


class DatabaseEngine(Protocol):
    """Creates, reaches and removes the databases of tenants.

    Every method may raise BadInput (`tenant`, `model`), Unavailable (busy, unreadable) and Failed
    (`disk_full`); none says what the engine said. Every change carries the epoch of the run that
    makes it: Refused (`fenced`) when a later run has been there.
    """

    def create(
        self, tenant: str, model: Isolation, collections: Sequence[Collection], epoch: int
    ) -> None:
        """Make the tenant's database, whole or not at all, open at `epoch`; again changes nothing.

        Raises Refused (`schema_differs`) when what is there was made of other collections, and
        some tenant is in it: a shared place that all have left is made anew.
        """
        ...

    def probe(self, tenant: str, model: Isolation, collections: Sequence[Collection]) -> Probe:
        """Connect, compare the schema, write and roll back."""
        ...

    def exists(self, tenant: str, model: Isolation) -> bool:
        """Whether the tenant has a database (pooled: a place in it)."""
        ...

    def found(self) -> list[tuple[str, Isolation]]:
        """Every tenant that has a place here, by what stands; for when our own rows are lost.

        Failed (`not_the_worker`) where who asks may not see that.
        """
        ...

    def drop(self, tenant: str, model: Isolation, epoch: int) -> None:
        """Close the tenant and remove all it has, and nothing of others; again changes nothing."""
        ...

    def migrate(
        self,
        tenant: str,
        model: Isolation,
        before: Sequence[Collection],
        after: Sequence[Collection],
        phase: MigrationPhase,
        epoch: int,
    ) -> None:
        """Make one phase of a change of declarations, whole or not at all; again changes nothing.

        After `expand` the database serves calls under `before` and under `after`, and a probe of
        either is `ready`; after `contract` it is as one made of `after`. `retract` goes back from
        `expand`. Where tenants share tables, the first one's call makes it for all. The tenant
        stands at `epoch` afterwards, open or closed as before.

        Raises NotFound; Refused: `evolution_refused` (see `evolve`), `rows_do_not_fit` (`fact`
        names collection and field, the text counts rows and tenants; no fact where a new computed
        field cannot hold what its formula makes of a row), `not_expanded`,
        `schema_differs` (it was made of other collections, or is on its way to others).
        """
        ...

    def require_fit(
        self,
        tenant: str,
        model: Isolation,
        before: Sequence[Collection],
        after: Sequence[Collection],
    ) -> None:
        """Raise what `contract` would be refused with for rows that stand; changes nothing.

        Where tenants share tables all their rows are looked at, so that one tenant's answer is the
        answer for all. A database that serves `after` alone has nothing left to fit. Calls go on
        meanwhile, and may write what does not fit after all.

        Raises NotFound; Refused: `rows_do_not_fit`, `evolution_refused`, `not_expanded` and
        `schema_differs` as `migrate` does.
        """
        ...

    def altering(self, tenant: str, model: Isolation) -> AbstractContextManager[Altering]:
        """The owner's hand on the tables of the tenant's place, which nobody else alters meanwhile.

        Raises NotFound; Failed (`not_the_worker`).
        """
        ...

    def fence(self, tenant: str, model: Isolation, epoch: int, *, open: bool) -> None:
        """Open or close the tenant for writes at `epoch`, which never falls. Raises NotFound."""
        ...

    def open_at(self, tenant: str, model: Isolation) -> int | None:
        """The epoch at which the tenant stands open for writes; None while closed or absent."""
        ...

    def transaction(self, tenant: str, model: Isolation) -> AbstractContextManager[Connection]:
        """A write transaction: commits at the end, rolls back on any error. Raises NotFound.

        Raises Unknown (`commit_unknown`) when the engine cannot say whether it committed.
        """
        ...

    def scratch(
        self, tenant: str, model: Isolation, collections: Sequence[Collection]
    ) -> AbstractContextManager[Connection]:
        """An empty database of the same kind and schema, for a trial restore: gone at the end.

        Nobody else sees it, and what a killed trial left is swept by the next one.
        """
        ...

    def moving(self, tenant: str, model: Isolation, epoch: int) -> MovingEnd:
        """The tenant's place as one end of a move, for the run that holds the tenant at `epoch`."""
        ...

    def reading(self, tenant: str, model: Isolation) -> AbstractContextManager[Connection]:
        """A snapshot that cannot write. Raises NotFound."""
        ...

    def grant_direct(
        self, tenant: str, model: Isolation, half: Half, password: str, access: Access
    ) -> None:
        """Let the tenant's own services in by that half of its credentials, under the password.

        They reach its collections and no other tenant's, and nothing that we keep beside them. Who
        is in already stays, until `limit_direct` or `revoke_direct`. Raises NotFound; Refused
        (`server_prepares`) where a right once given could not be taken away.
        """
        ...

    def limit_direct(
        self, tenant: str, model: Isolation, access: Access, patience_s: float
    ) -> None:
        """Let the tenant's services do that, and no more, by whichever half.

        A statement that begins afterwards is refused at once. Returns when no session can do more:
        what is at work has `patience_s` to end, and is ended then; with `none` every session is.
        """
        ...

    def revoke_direct(self, tenant: str, model: Isolation, half: Half) -> None:
        """Let nobody in by that half any more, and end its sessions; again changes nothing."""
        ...

    def try_direct(self, tenant: str, model: Isolation, half: Half, password: str) -> None:
        """Log in as the tenant's services do, and read. Raises Failed (`credential_refused`)."""
        ...

    def direct_halves(self, tenant: str, model: Isolation) -> Mapping[Half, Access]:
        """By which halves the tenant's services are let in, and what each may."""
        ...

    def direct_address(self, tenant: str, model: Isolation, half: Half) -> Address:
        """Where the tenant's services reach it by that half; nothing of it need be there."""
        ...

    def close(self) -> None:
        """Close every connection that is not in use."""
        ...


class DatabaseServer(Protocol):
    """One server of tenants' databases, which has for each tenant and model as many places as slots."""

    def slot(self, number: int) -> DatabaseEngine:
        """The engine that sees the places of one slot."""
        ...

    def close(self) -> None:
        """Close every connection that is not in use."""
        ...


class DatabaseServers(Protocol):
    """Every server that tenants' databases may stand on, by name."""

    @property
    def names(self) -> tuple[str, ...]:
        """The servers that there are, the workspace's own first."""
        ...

    @property
    def main(self) -> DatabaseEngine:
        """The first places of the workspace's own server: where a tenant begins."""
        ...

    def at(self, home: Home) -> DatabaseEngine:
        """The engine that sees a home. Raises Unavailable (`server_unknown`)."""
        ...

    def close(self) -> None:
        """Close every connection that is not in use."""
        ...


def check_tenant(tenant: str) -> str:
    """The id, if it has the form of one: it becomes part of a name in the engine."""
    if _TENANT.fullmatch(tenant) is None:
        raise BadInput("tenant", "must be 3 to 40 of a-z, 0-9 and -, from a letter to no dash")
    return tenant
