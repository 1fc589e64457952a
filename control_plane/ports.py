"""What the control plane needs of the world: small protocols. Not one adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Literal, NamedTuple, Protocol

from sqlalchemy import Connection

from control_plane.audit.leaf import Guard
from control_plane.commands import Command
from control_plane.data.collection import Collection
from control_plane.databases.port import DatabaseEngine, DatabaseServers
from control_plane.databases.postgres_programs import DumpPrograms
from control_plane.domain.backup_manifest import BackupFacts, Manifest
from control_plane.domain.canonical import Json
from control_plane.domain.house import Cause
from control_plane.domain.outcome import Outcome
from control_plane.domain.permit import Permit
from control_plane.domain.plan import Plan
from control_plane.domain.plans import PlanCatalog
from control_plane.domain.run_record import Run
from control_plane.engine.port import JobEngine
from control_plane.facts.base import Facts
from control_plane.provisioning.port import Provisioner

__all__ = [
    "Archives",
    "Artifacts",
    "Asker",
    "Catalogs",
    "Clock",
    "Compared",
    "DatabaseEngine",
    "DatabaseServers",
    "Ids",
    "JobEngine",
    "KeptManifest",
    "KeyShredder",
    "Notes",
    "Proposal",
    "Proposer",
    "Provisioner",
    "Recorder",
    "Regate",
    "Settled",
    "Store",
]


@dataclass(frozen=True)
class Settled:
    """What the enforcement point says of a whole plan: the plan over fresh facts, and the word.

    ``allowed`` is False when only an approval is missing. ``evidence`` is what was asked of the
    policy engine and what it said, for the leaf.
    """

    plan: Plan
    allowed: bool
    rule: Literal["two_people", "own_hand"]
    evidence: Mapping[str, Json]


@dataclass(frozen=True)
class Proposal:
    """A run that the house asks for: by which tool, what, under which key, and why.

    The key is the same for as long as no run has come of it: asked twice, it is one run.
    """

    tool: str
    command: Command
    key: str
    cause: Cause


class Proposer(Protocol):
    """Asks as the house, by the way of every call: decided, planned, recorded."""

    def propose(self, proposal: Proposal) -> Outcome:
        """What came of asking. Raises CatalogMoved."""
        ...


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


@dataclass(frozen=True)
class KeptManifest:
    """What lies beside an archive: its manifest, or the code of why there is none to believe."""

    tenant: str
    backup_id: str
    manifest: Manifest | None
    code: str | None = None


class Archives(Protocol):
    """Archives of tenants' data, sealed, each with a signed manifest; only the worker has them.

    ``backup_id`` is a name of ours, as ids are made; an archive is whole or not there at all.
    """

    def put(self, facts: BackupFacts, write: Callable[[IO[bytes]], Mapping[str, Json]]) -> Manifest:
        """Keep what ``write`` writes, in place of what stood under the id. Its errors pass through.

        ``write`` gives what it wrote: by table, its ``rows`` and ``checksum``. Raises Failed
        (``disk_full``), Unavailable (``archive_unavailable``), and as ``DataKeys.current`` does.
        """
        ...

    def open(self, tenant: str, backup_id: str, digest: str) -> AbstractContextManager[IO[bytes]]:
        """What was written, to be read once from its start; ``digest`` is its manifest's.

        Raises Refused: ``archive_missing``; ``archive_altered``, also while it is read;
        ``archive_truncated``; ``archive_key_refused``; ``manifest_missing``, ``manifest_unreadable``,
        ``manifest_forged``, ``manifest_differs``; and as ``DataKeys.of_version`` does.
        """
        ...

    def prolong(self, tenant: str, backup_id: str, until: str) -> Manifest:
        """Say in its manifest that it is kept until another instant; again changes nothing."""
        ...

    def manifests(self) -> list[KeptManifest]:
        """Every archive there is, with its manifest; what is found where our rows are lost."""
        ...

    def dump_programs(self, major: int) -> DumpPrograms:
        """Postgres's own programs of that major version or newer; Unavailable (``pg_dump_missing``)."""
        ...

    def aside(self, tenant: str) -> AbstractContextManager[Path]:
        """An empty file for a while, private: gone at the end, and a killed one's with the next put."""
        ...

    def drop(self, tenant: str, backup_id: str) -> None:
        """Forget; nothing happens when it is gone already."""
        ...


class KeyShredder(Protocol):
    """Ends tenants' data keys; only the worker has it."""

    def shred(self, connection: Connection, tenant: str) -> tuple[str, ...]:
        """Forget every version, in the transaction that is given; the ids of what was forgotten."""
        ...

    def settle(self) -> None:
        """Remove what is left of shredded keys elsewhere; may be done at any time."""
        ...


@dataclass(frozen=True)
class Compared:
    """Two catalogs side by side: what a plan shows of their difference, and what policy is told of it."""

    parts: dict[str, Json]
    facts: dict[str, Json]


class Catalogs(Protocol):
    """Kept catalogs by their digests, and the way from the one in force to the next; a worker's own.

    Every method may raise Refused (`catalog_absent`) and Unavailable (`catalog_altered`).
    """

    def collections(self, digest: str) -> tuple[Collection, ...]:
        """What a kept catalog declares."""
        ...

    def plans(self, digest: str) -> PlanCatalog:
        """The plans that a kept catalog offers."""
        ...

    def compared(self, before: str, after: str) -> Compared:
        """What would change from one to the other; takes seconds, and changes nothing."""
        ...

    def ready(self, digest: str) -> None:
        """See that everything which decides and works by it stands by; again does nothing.

        Raises Unavailable where its policy engine does not answer.
        """
        ...

    def forget(self, digest: str) -> None:
        """Let go of what stands by for it, since it will not be gone over to; again does nothing."""
        ...

    def go_over(self, digest: str) -> None:
        """Decide and work by it from now on: it is in force. Again does nothing."""
        ...

    def leaving(self) -> bool:
        """Whether this worker is about to end: what waits lets go, and the next one takes it up."""
        ...

    def await_calls(self, digest: str, should_stop: Callable[[], bool]) -> None:
        """Wait until no call can be under way that was decided by an earlier one.

        Raises Failed (`catalog_moved`) where another is gone over to, or ``should_stop`` says so.
        """
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
        *,
        only_moved: bool = False,
    ) -> str:
        """Write one leaf with its sealed payload; ``guards`` are (table, key). Returns its id.

        ``found`` are guards that were taken before the change, of rows that stood then.
        """
        ...


class Notes(Protocol):
    """Writes the leaves of reads and refusals, which stand in nobody's transaction."""

    def note(
        self, kind: str, tenant: str, payload: Mapping[str, Json], *, own_key: bool = True
    ) -> None:
        """Write one leaf; durable when this returns. Raises Unavailable.

        Sealed to the tenant's key, or without looking for one to the workspace's.
        """
        ...


@dataclass(frozen=True)
class Restriction:
    """Which rows a policy leaves: a plain filter tree, or every row, or none of them."""

    filter: Mapping[str, Json] | None = None
    none: bool = False


class RowGate(Protocol):
    """An arrow upward: a handler that has rows in hand asks the enforcement point about them.

    It is bound to one caller. An image is a row as plain values by field, read or only proposed.
    """

    def ruled(self, collection: str) -> bool:
        """Whether the collection's rows have a policy of their own; without one nothing is asked."""
        ...

    def restriction(self, collection: str, actions: Sequence[str]) -> Restriction:
        """The rows on which all of ``actions`` are allowed. Raises Refused where it fails closed."""
        ...

    def judged(
        self, collection: str, images: Mapping[str, Mapping[str, Json]], actions: Sequence[str]
    ) -> Mapping[str, frozenset[str]]:
        """Of each image, by its id, which of ``actions`` are allowed; one question for all."""
        ...

    @property
    def holder(self) -> tuple[str, str]:
        """The principal and the actor of the caller that it is bound to."""
        ...

    def standing(self, subject_id: str, facts: Facts, actions: Sequence[str]) -> frozenset[str]:
        """Which of ``actions`` are allowed on an object as a whole, such as another collection."""
        ...


class Asker(NamedTuple):
    """Who asked for a run, as they stand now: the gate over rows, and what is allowed on the object."""

    rows: RowGate
    may: frozenset[str]


class Regate(Protocol):
    """An arrow upward: the worker asks the enforcement point to decide again."""

    def asker(self, run: Run) -> Asker:
        """Decide again whether the run may be asked for, and by whom; Refused when it may not."""
        ...

    def settle(self, connection: Connection, run: Run) -> Settled:
        """Plan again over fresh facts and decide ``apply``; Refused when it may not be.

        The run carries what was observed; pure parts are made anew.
        """
        ...

    def permit(self, run: Run, step: str, epoch: int) -> Permit:
        """Decide again for one step, over fresh facts; Refused when it may no longer be."""
        ...
