"""The server of a tenant's stack while it is not there: nothing stands on it. It makes nothing, and no server is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from sqlalchemy import Connection

from control_plane.data.collection import Collection
from control_plane.data.moving_ends import MovingEnd
from control_plane.databases.altering import Altering
from control_plane.databases.migration import MigrationPhase
from control_plane.databases.port import DatabaseEngine, Probe
from control_plane.domain.handover import Access, Address, Half
from control_plane.domain.isolation import Isolation
from control_plane.errors import NotFound, Unavailable


class UnmadeServer:
    """DatabaseEngine of a stack's server that was never made, or went with its stack.

    It answers as any engine where the tenant has no place. For a trial it takes `main`.
    """

    def __init__(self, main: DatabaseEngine) -> None:
        self._main = main

    def create(
        self, tenant: str, model: Isolation, collections: Sequence[Collection], epoch: int
    ) -> None:
        """Never: its stack makes it first. Raises Unavailable (`server_unknown`)."""
        raise Unavailable("The stack's server is not there.", code="server_unknown")

    def probe(self, tenant: str, model: Isolation, collections: Sequence[Collection]) -> Probe:
        """It is absent."""
        return "absent"

    def exists(self, tenant: str, model: Isolation) -> bool:
        """Nothing is there."""
        return False

    def found(self) -> list[tuple[str, Isolation]]:
        """Nobody has a place here."""
        return []

    def drop(self, tenant: str, model: Isolation, epoch: int) -> None:
        """It is gone already."""

    def migrate(
        self,
        tenant: str,
        model: Isolation,
        before: Sequence[Collection],
        after: Sequence[Collection],
        phase: MigrationPhase,
        epoch: int,
    ) -> None:
        """Raises NotFound."""
        raise NotFound

    def require_fit(
        self,
        tenant: str,
        model: Isolation,
        before: Sequence[Collection],
        after: Sequence[Collection],
    ) -> None:
        """Raises NotFound."""
        raise NotFound

    def altering(self, tenant: str, model: Isolation) -> AbstractContextManager[Altering]:
        """Raises NotFound."""
        raise NotFound

    def fence(self, tenant: str, model: Isolation, epoch: int, *, open: bool) -> None:
        """Raises NotFound."""
        raise NotFound

    def open_at(self, tenant: str, model: Isolation) -> int | None:
        """Nothing stands open."""
        return None

    def transaction(self, tenant: str, model: Isolation) -> AbstractContextManager[Connection]:
        """Raises NotFound."""
        raise NotFound

    def scratch(
        self, tenant: str, model: Isolation, collections: Sequence[Collection]
    ) -> AbstractContextManager[Connection]:
        """A trial needs a server that is there."""
        return self._main.scratch(tenant, model, collections)

    def moving(self, tenant: str, model: Isolation, epoch: int) -> MovingEnd:
        """Raises NotFound."""
        raise NotFound

    def reading(self, tenant: str, model: Isolation) -> AbstractContextManager[Connection]:
        """Raises NotFound."""
        raise NotFound

    def grant_direct(
        self, tenant: str, model: Isolation, half: Half, password: str, access: Access
    ) -> None:
        """Raises NotFound."""
        raise NotFound

    def limit_direct(
        self, tenant: str, model: Isolation, access: Access, patience_s: float
    ) -> None:
        """Nobody is let in."""

    def revoke_direct(self, tenant: str, model: Isolation, half: Half) -> None:
        """Nobody is let in."""

    def try_direct(self, tenant: str, model: Isolation, half: Half, password: str) -> None:
        """Raises NotFound."""
        raise NotFound

    def direct_halves(self, tenant: str, model: Isolation) -> Mapping[Half, Access]:
        """Nobody is let in."""
        return {}

    def direct_address(self, tenant: str, model: Isolation, half: Half) -> Address:
        """Nowhere, and nobody logs in there."""
        return Address("postgres", "")

    def close(self) -> None:
        """Nothing is open."""
