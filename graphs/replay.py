"""A recorded call decided and planned again: the same digests, or not. Changes nothing, and reads no store.

What was observed is taken from the record: a plan artifact cannot be made twice. Everything that
follows from the catalog, the call and the facts is made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import ConfigDict, Field, ValidationError

from control_plane.commands import Command
from control_plane.domain.call import Call
from control_plane.domain.canonical import Json, digest
from control_plane.domain.plan import Plan
from control_plane.domain.record import Record
from control_plane.errors import Failed, PaybillError
from control_plane.facts.base import Facts
from control_plane.facts.schema import FACT_CLASSES
from control_plane.handlers.handler import Change, Lifecycle, Ports, Subject
from graphs.evidence import answer
from graphs.gatekeeper import Gate
from policies.errors import GateError
from policies.request import Principal, Resource

Finding = Literal["same", "differs", "none"]
_FACTS: Final[Mapping[str, type[Facts]]] = {one.kind: one for one in FACT_CLASSES}


class _Asked(Record):
    kind: str
    id: str
    attr: dict[str, Json]
    actions: tuple[str, ...]


class _Principal(Record):
    id: str
    roles: tuple[str, ...]
    attr: dict[str, Json]


class _Evidence(Record):
    bundle: str
    principal: _Principal
    resources: tuple[_Asked, ...] = Field(min_length=1)
    answers: tuple[Json, ...]
    digest: str


class Recorded(Record):
    """What a leaf's payload must hold to be replayed; what else it says is left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    evidence: _Evidence
    row_evidence: tuple[_Evidence, ...] = ()
    seen: dict[str, Json] = Field(default_factory=dict[str, Json])
    call_id: str
    principal: str
    actor: str
    arguments: dict[str, Json] = Field(default_factory=dict[str, Json])
    command: str = ""
    tool: str = ""
    grant_id: str = ""
    as_of: str = ""
    seed: str = ""
    catalog: str = ""
    dry_run: bool = False
    plan_digest: str | None = None
    plan: Plan | None = None
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Replayed:
    """How a replay came out; ``none`` where the record has no plan. ``detail`` says what differs."""

    decision: Finding
    plan: Finding
    detail: str = ""

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return "differs" not in (self.decision, self.plan)


def recorded(payload: Mapping[str, Json], tenant: str) -> Recorded | None:
    """The replayable record in a payload of a tenant's leaf, or None where it holds no decision.

    Raises Failed (`record_unreadable`).
    """
    if payload.get("evidence") is None:
        return None
    try:
        return Recorded.model_validate({**payload, "tenant": tenant})
    except ValidationError:
        raise Failed("The record does not read.", code="record_unreadable") from None


class Replay:
    """Replays against the bundle and the catalog that each record names."""

    def __init__(
        self,
        gate_of: Callable[[str], Gate],
        ports_of: Callable[[str], Ports],
        changes: Mapping[str, Change],
        lifecycles: Mapping[str, Lifecycle],
    ) -> None:
        self._gate_of = gate_of
        self._ports_of = ports_of
        self._changes = changes
        self._lifecycles = lifecycles

    def again(self, record: Recorded) -> Replayed:
        """Decide and plan again. Raises what stands in the way: a bundle or catalog that is gone."""
        decision, told = self._all_decided((record.evidence, *record.row_evidence))
        try:
            made = self._planned(record)
        except (PaybillError, ValidationError, ValueError) as error:
            code = error.code if isinstance(error, PaybillError) else type(error).__name__
            return Replayed(decision, "differs", told or f"the plan is not made again: {code}")
        wanted = record.plan_digest if record.plan is None else record.plan.digest
        if made is None or not wanted:
            return Replayed(decision, "none", told)
        if made.digest == wanted and wanted == (record.plan_digest or wanted):
            return Replayed(decision, "same", told)
        return Replayed(decision, "differs", told or f"the plan's digest is {made.digest[:16]}")

    # deciding --------------------------------------------------------------------------------

    def _all_decided(self, questions: tuple[_Evidence, ...]) -> tuple[Finding, str]:
        found: tuple[Finding, str] = ("same", "")
        for evidence in questions:
            found = self._decided(evidence)
            if found[0] != "same":
                break
        return found

    def _decided(self, evidence: _Evidence) -> tuple[Finding, str]:
        if digest(evidence.answers) != evidence.digest:
            return "differs", "the recorded answer is not the one that its digest names"
        try:
            decisions = self._gate_of(evidence.bundle).check(
                _principal(evidence), [_resource(one) for one in evidence.resources]
            )
        except GateError as error:
            raise Failed("The policy engine does not answer.", code=error.code) from error
        answers = [answer(one) for one in decisions]
        if digest(answers) == evidence.digest:
            return "same", ""
        return "differs", f"the decision's digest is {digest(answers)[:16]}"

    # planning --------------------------------------------------------------------------------

    def _planned(self, record: Recorded) -> Plan | None:
        if record.plan is not None:
            return self._of_run(record, record.plan)
        handler = self._changes.get(record.command)
        if handler is None or not record.plan_digest:
            return None
        asked = record.evidence.resources[-1]
        facts = _facts(asked)
        subject = Subject(id=asked.id, facts=facts, tenant=record.tenant)
        command = _command(handler.command_type, record.arguments)
        ports = self._ports_of(record.catalog)
        parts = handler.parts(command, _call(record), subject, ports, record.seen)
        return Plan(
            command=record.command,
            tenant=record.tenant,
            as_of=record.as_of,
            catalog=record.catalog,
            bundle=record.evidence.bundle,
            facts={asked.kind: facts.values_digest()},
            parts=parts,
        )

    def _of_run(self, record: Recorded, plan: Plan) -> Plan:
        handler = self._lifecycles[plan.command]
        asked = record.evidence.resources[-1]
        command = _command(handler.command_type, record.arguments)
        pure = handler.pure_parts(command, self._ports_of(plan.catalog))
        return plan.model_copy(
            update={
                "bundle": record.evidence.bundle,
                "facts": {asked.kind: _facts(asked).values_digest()},
                "parts": {**plan.parts, **pure},
            }
        )


def _command(kind: type[Command], arguments: Mapping[str, Json]) -> Command:
    return kind.restored(arguments)


def _facts(asked: _Asked) -> Facts:
    return _FACTS[asked.kind].model_validate(asked.attr)


def _principal(evidence: _Evidence) -> Principal:
    told = evidence.principal
    return Principal(id=told.id, roles=told.roles, attr=told.attr)


def _resource(asked: _Asked) -> Resource:
    return Resource(kind=asked.kind, id=asked.id, attr=asked.attr, actions=asked.actions)


def _call(record: Recorded) -> Call:
    # The key and the arguments' HMAC are no part of any plan, and the leaf keeps neither.
    return Call(
        id=record.call_id,
        principal=record.principal,
        actor=record.actor,
        grant_id=record.grant_id,
        tool=record.tool,
        command=record.command,
        arguments_hmac="",
        as_of=record.as_of,
        seed=record.seed,
        catalog=record.catalog,
        bundle=record.evidence.bundle,
        dry_run=record.dry_run,
    )
