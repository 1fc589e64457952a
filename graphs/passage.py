"""One call on its way through a machine: what was asked, and what each step added. Holds no logic."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID, uuid5

from sqlalchemy import Connection

from control_plane.commands import Command
from control_plane.domain.call import Call
from control_plane.domain.caller import Caller
from control_plane.domain.canonical import Json, instant
from control_plane.domain.house import Cause
from control_plane.domain.outcome import Outcome
from control_plane.domain.run_record import Run
from control_plane.facts.tool import ToolFacts
from control_plane.handlers.handler import Subject
from control_plane.ports import Settled
from graphs.evidence import Evidence


@dataclass(frozen=True)
class Asked:
    """A parsed call: the caller is known, the arguments are a command."""

    caller: Caller
    tool: str
    tool_facts: ToolFacts
    command: Command
    arguments_hmac: str
    idempotency_key: str | None = None
    dry_run: bool = False
    cause: Cause | None = None
    """Why the house asks; a run keeps it until it ends for a reason of its own."""

    def recorded(self, *, seed: str, now: datetime, catalog: str, bundle: str) -> Call:
        """The call's record as of the aware instant `now`; its own id follows from the seed, too."""
        return Call(
            id=uuid5(UUID(seed), "call").hex,
            principal=self.caller.principal,
            actor=self.caller.actor,
            grant_id=self.caller.grant_id,
            tool=self.tool,
            command=self.command.name,
            arguments_hmac=self.arguments_hmac,
            as_of=instant(now),
            seed=seed,
            catalog=catalog,
            bundle=bundle,
            idempotency_key=self.idempotency_key,
            dry_run=self.dry_run,
        )


@dataclass(frozen=True)
class Verdict:
    """What the gate allowed on the subject, and the id under which it said so."""

    may: frozenset[str]
    decision_id: str
    facts_digest: str


@dataclass
class Passage:
    """The state of a machine: one channel, so that a node costs as little as it can."""

    asked: Asked
    call: Call
    subject: Subject | None = None
    verdict: Verdict | None = None
    evidence: Evidence | None = None
    row_evidence: list[Evidence] = field(default_factory=list[Evidence])
    seen: dict[str, Json] = field(default_factory=dict[str, Json])
    parts: dict[str, Json] = field(default_factory=dict[str, Json])
    plan_digest: str = ""
    must_ask: bool = False
    outcome: Outcome | None = None

    def witness(self, evidence: Evidence) -> None:
        """Keep what the gate was asked and said, for the leaf."""
        self.evidence = evidence

    def witness_rows(self, evidence: Evidence) -> None:
        """Keep what it was asked of rows; a page that is only read is not kept."""
        self.row_evidence.append(evidence)

    def finished(self) -> Outcome:
        """The outcome; a machine that ends without one is a fault of ours."""
        assert self.outcome is not None, "every path of a machine ends in an outcome"
        return self.outcome


@dataclass
class Settling:
    """A run on its way through the worker's entry of the lifecycle machine."""

    connection: Connection
    run: Run
    settled: Settled | None = None
    parked: bool = False

    def finished(self) -> Settled:
        """What was settled."""
        assert self.settled is not None, "settle decides, or raises"
        return self.settled
