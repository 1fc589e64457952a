"""The shapes a handler takes: query, change and lifecycle, and what each may see. No handler itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from sqlalchemy import Connection

from control_plane.billing.provider import PaymentProvider
from control_plane.commands import Command
from control_plane.domain.approval_record import Approval
from control_plane.domain.call import Call
from control_plane.domain.caller import Caller
from control_plane.domain.canonical import Json
from control_plane.domain.handover import HandoverTerms
from control_plane.domain.run_record import Run
from control_plane.facts.base import Facts
from control_plane.handlers.declared import Catalog
from control_plane.ports import (
    Archives,
    Artifacts,
    Asker,
    Catalogs,
    Clock,
    DatabaseServers,
    Ids,
    KeyShredder,
    Notes,
    Provisioner,
    Recorder,
    RowGate,
    Store,
)
from control_plane.provisioning.progress import Told, untold
from control_plane.provisioning.stack_servers import StackServers
from control_plane.secrets.secret_place import SecretPlace

Probe = Literal["present", "absent", "differs"]


@dataclass(frozen=True)
class Limits:
    """Bounds that hold for each caller; their defaults stand in the settings."""

    rows_max: int = 100
    statement_ms_max: int = 2000
    pending_approvals_max: int = 5


@dataclass(frozen=True)
class Ports:
    """Everything that handlers reach the world through."""

    store: Store
    clock: Clock
    ids: Ids
    recorder: Recorder
    notes: Notes
    catalog: Catalog
    databases: DatabaseServers
    cursor_key: bytes
    hmac_key: bytes
    root: tuple[str, bytes]
    """The root key's id and public half: every approver's enrolment leads to it."""
    limits: Limits = field(default_factory=Limits)
    workspace: str = "00000000"
    """The workspace's short id, which names what stands in a cloud."""
    handover: HandoverTerms = field(default_factory=HandoverTerms)
    # Only the worker holds these eight: a face that reached for them would find nothing.
    provisioner: Provisioner | None = None
    artifacts: Artifacts | None = None
    archives: Archives | None = None
    data_keys: KeyShredder | None = None
    catalogs: Catalogs | None = None
    payments: Mapping[str, PaymentProvider] | None = None
    secrets: SecretPlace | None = None
    stack_servers: StackServers | None = None


@dataclass(frozen=True)
class Subject:
    """The object that a call is about: its facts, and the actions to be decided on it.

    ``reads`` must all be allowed, or the object does not exist for this caller; ``acts`` must be
    allowed for the call to go on; ``extras`` only widen the answer (a field group, a next tool).
    """

    id: str
    facts: Facts
    reads: tuple[str, ...] = ("read",)
    acts: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    tenant: str = ""
    loaded: object = None

    @property
    def actions(self) -> tuple[str, ...]:
        """Every action to ask for, each once, in a fixed order."""
        return tuple(dict.fromkeys(self.reads + self.acts + self.extras))


@dataclass(frozen=True)
class View:
    """What a handler sees of one call."""

    connection: Connection
    caller: Caller
    ports: Ports
    rows: RowGate


class Query(Protocol):
    """A command that changes nothing."""

    def subject(self, command: Command, view: View) -> Subject:
        """Load the object."""
        ...

    def page(self, command: Command, view: View) -> list[Subject]:
        """The members of a listing, each to be decided; empty where the answer is no list."""
        ...

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The result, with only what ``may`` allows."""
        ...


class SingleAnswer:
    """The base of queries whose answer is one object: there is no page to decide on."""

    def page(self, command: Command, view: View) -> list[Subject]:
        """No list."""
        return []


Seen: TypeAlias = dict[str, Json]
"""What was read of rows for a plan; it stands in the leaf, so that the plan can be made again."""


class BlindChange:
    """The base of changes whose plan needs no row, and which no approval is asked for."""

    can_wait = False

    def look(
        self,
        command: Command,
        subject: Subject,
        ports: Ports,
        rows: RowGate,
        may: frozenset[str],
    ) -> Seen:
        """Nothing."""
        return {}

    def weighed(self, subject: Subject, seen: Seen) -> Subject | None:
        """Nothing more is known."""
        return None

    def as_run(self, command: Command, call: Call, seen: Seen) -> Command:
        """Never asked."""
        raise AssertionError("what cannot wait is no run")


class Change(Protocol):
    """A command that is carried out within one request.

    ``outside`` says that the effect is in a tenant's database: then ``affect`` runs between the
    intent and the outcome; else it runs in the store's transaction that is given. ``can_wait`` says
    that it becomes a run where policy asks for an approval.
    """

    outside: bool
    can_wait: bool
    command_type: type[Command]

    def subject(self, command: Command, view: View) -> Subject:
        """Load the object."""
        ...

    def look(
        self,
        command: Command,
        subject: Subject,
        ports: Ports,
        rows: RowGate,
        may: frozenset[str],
    ) -> Seen:
        """What the plan needs to know of a tenant's rows, once it is decided that it may be known."""
        ...

    def weighed(self, subject: Subject, seen: Seen) -> Subject | None:
        """The subject with what the rows add to its facts, to be decided again; None for nothing."""
        ...

    def as_run(self, command: Command, call: Call, seen: Seen) -> Command:
        """The same as a lifecycle's command; only asked where it can wait."""
        ...

    def parts(
        self, command: Command, call: Call, subject: Subject, ports: Ports, seen: Seen
    ) -> dict[str, Json]:
        """What would change: the parts of the plan. They follow from the arguments alone."""
        ...

    def affect(
        self,
        command: Command,
        call: Call,
        subject: Subject,
        ports: Ports,
        connection: Connection | None,
    ) -> Json:
        """Do it; returns what was made (an id, a version), never an answer."""
        ...

    def recover(self, call: Call, ports: Ports) -> Json:
        """What an intent whose outcome nobody wrote has made; None when nothing came of it.

        Only asked of an outside change. Raises Unavailable when that cannot be seen now.
        """
        ...

    def answer(
        self, effect: Json, command: Command, view: View, may: frozenset[str]
    ) -> dict[str, Json]:
        """The result as this caller may see it now."""
        ...


def _nothing(_connection: Connection, _table: str, _key: str) -> None:
    return None


@dataclass(frozen=True)
class Work:
    """One run in the worker's hands. ``asker`` decides anew who asks, and for what they may see."""

    run: Run
    command: Command
    ports: Ports
    epoch: int
    should_stop: Callable[[], bool]
    asker: Callable[[], Asker]
    vouch: Callable[[Connection, str, str], None] = _nothing
    """Names a guarded row (table, key) that an inside step is about to change."""
    tell: Told = untold
    """Hears how far a resource is while an apply is at work."""


def _no_undo(_work: Work, _connection: Connection | None) -> None:
    return None


def _never_there(_work: Work) -> Probe:
    return "absent"


def _still(_work: Work, _connection: Connection) -> None:
    return None


@dataclass(frozen=True)
class Step:
    """One side effect of a lifecycle, with its inverse.

    An inside step gets the store's transaction; an outside one gets None and must be idempotent:
    after a kill its ``probe`` says whether it stands, and it is done again only where it does not.
    ``still`` is asked in the transaction in which the first irreversible step begins, and raises
    where what the run was asked for is over.
    """

    name: str
    do: Callable[[Work, Connection | None], dict[str, Json]]
    undo: Callable[[Work, Connection | None], None] = _no_undo
    probe: Callable[[Work], Probe] = _never_there
    outside: bool = False
    irreversible: bool = False
    still: Callable[[Work, Connection], None] = _still


@dataclass(frozen=True)
class Observed:
    """What the worker saw when it planned: parts for the digest, facts for the gate, the sealed means.

    All empty where the plan is pure: then no artifact is kept, and the digest says that there is
    none.
    """

    parts: dict[str, Json] = field(default_factory=dict[str, Json])
    facts: dict[str, Json] = field(default_factory=dict[str, Json])
    artifact: bytes = b""


class TenantLifecycle:
    """The base of lifecycles of a tenant: they have it to themselves, and only the worker plans."""

    holds = True

    def look(
        self, command: Command, view: View, subject: Subject, may: frozenset[str]
    ) -> dict[str, Json] | None:
        """Nothing yet."""
        return None


class Lifecycle(Protocol):
    """A command that the worker executes as a run."""

    kind: str
    command_type: type[Command]
    steps: tuple[Step, ...]
    holds: bool
    """Whether no other run that holds may be about the same tenant until this one is over."""

    def subject(
        self,
        command: Command,
        view: View,
        run: Run | None,
        approval: Approval | None,
        step: str = "",
    ) -> Subject:
        """Load the object; with a run in hand, at stage ``apply`` and with its plan's facts.

        ``step`` is the one that is about to be done; empty when the whole plan is decided.
        """
        ...

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """The domain's own rules; raises Refused."""
        ...

    def look(
        self, command: Command, view: View, subject: Subject, may: frozenset[str]
    ) -> dict[str, Json] | None:
        """What it would do, shown to who asks, before any run; None where only the worker can tell.

        Raises what stands in the way: who asks learns it at once.
        """
        ...

    def observe(self, work: Work) -> Observed:
        """Plan against the world, changing nothing; the parts returned are the observed ones."""
        ...

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """The parts of the plan that follow from our own store and catalog: made anew each time."""
        ...

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """The result of a finished run."""
        ...
