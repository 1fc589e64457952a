"""What the control plane needs of the world: small protocols. Not one adapter."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from sqlalchemy import Connection

from control_plane.audit.leaf import Guard
from control_plane.databases.port import DatabaseEngine
from control_plane.domain.canonical import Json
from control_plane.domain.permit import Permit
from control_plane.domain.plan import Plan
from control_plane.domain.run_record import Run
from control_plane.engine.port import JobEngine
from control_plane.provisioning.port import Provisioner

__all__ = [
    "Artifacts",
    "Clock",
    "DatabaseEngine",
    "Ids",
    "JobEngine",
    "Provisioner",
    "Recorder",
    "Regate",
    "Settled",
    "Store",
]


@dataclass(frozen=True)
class Settled:
    """What the enforcement point says of a whole plan: the plan over fresh facts, and the word.

    ``allowed`` is False when only an approval is missing.
    """

    plan: Plan
    allowed: bool
    rule: Literal["two_people", "own_hand"]


class Clock(Protocol):
    """The time. Aware, in UTC."""

    def now(self) -> datetime:
        """This instant."""
        ...


class Ids(Protocol):
    """Randomness: seeds of calls and ids of what no call makes."""

    def seed(self) -> str:
        """A fresh random UUID, as text."""
        ...

    def new(self) -> str:
        """A fresh random id of 32 hexadecimal digits."""
        ...


class Store(Protocol):
    """Transactions over our own store."""

    def write(self, scope: str | None = None) -> AbstractContextManager[Connection]:
        """A transaction that may write; what it reads within its scope cannot change under it.

        ``scope`` is the tenant whose rows it is about; None is the whole store. Writers of two
        scopes do not wait for each other where the engine allows it.
        """
        ...

    def append(self) -> AbstractContextManager[Connection]:
        """A transaction that only adds rows which stand for themselves: it waits for no writer."""
        ...

    def read(self) -> AbstractContextManager[Connection]:
        """A transaction that reads one state."""
        ...

    def close(self) -> None:
        """Let go of every connection."""
        ...


class Artifacts(Protocol):
    """Sealed plan artifacts; they die on expiry."""

    def put(self, connection: Connection, run_id: str, content: bytes, expires_at: str) -> str:
        """Seal and keep; returns the reference."""
        ...

    def get(self, reference: str, now: str) -> bytes:
        """Open; Refused with code ``artifact_missing`` or ``artifact_expired``."""
        ...

    def drop(self, connection: Connection, reference: str) -> None:
        """Forget; nothing happens when it is gone already."""
        ...


class Recorder(Protocol):
    """Writes audit leaves in the transaction that is given."""

    def record(
        self,
        connection: Connection,
        kind: str,
        tenant: str,
        payload: Mapping[str, Json],
        guards: tuple[tuple[str, str], ...] = (),
        found: tuple[Guard, ...] = (),
    ) -> str:
        """Write one leaf with its sealed payload; ``guards`` are (table, key). Returns its id.

        ``found`` are guards that were taken before the change, of rows that stood then.
        """
        ...


class Regate(Protocol):
    """The only arrow upward: the worker asks the enforcement point to decide again."""

    def settle(self, connection: Connection, run: Run) -> Settled:
        """Plan again over fresh facts and decide ``apply``; Refused when it may not be.

        The run carries what was observed; pure parts are made anew.
        """
        ...

    def permit(self, run: Run, step: str, epoch: int) -> Permit:
        """Decide again for one step, over fresh facts; Refused when it may no longer be."""
        ...
