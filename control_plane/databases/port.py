"""What every engine of tenants' databases can do, as one Protocol. Not an engine, nor a choice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Final, Literal, Protocol, TypeAlias

from sqlalchemy import Connection

from control_plane.data.collection import Collection
from control_plane.databases.migration import MigrationPhase
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

    def reading(self, tenant: str, model: Isolation) -> AbstractContextManager[Connection]:
        """A snapshot that cannot write. Raises NotFound."""
        ...

    def close(self) -> None:
        """Close every connection that is not in use."""
        ...


def check_tenant(tenant: str) -> str:
    """The id, if it has the form of one: it becomes part of a name in the engine."""
    if _TENANT.fullmatch(tenant) is None:
        raise BadInput("tenant", "must be 3 to 40 of a-z, 0-9 and -, from a letter to no dash")
    return tenant
