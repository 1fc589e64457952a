"""The gate as the steps use it: facts in, verdicts or refusals out. No transaction, no effect."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Protocol, cast

from control_plane.domain.caller import Caller
from control_plane.errors import Failed, NotFound, Refused
from control_plane.facts.base import Facts
from control_plane.facts.tool import ToolFacts
from control_plane.handlers.handler import Subject
from graphs.errors import Unlisted
from graphs.evidence import Evidence
from graphs.passage import Verdict
from policies.decision import ActionDecision, Decision
from policies.errors import BadFacts, GateError
from policies.request import Attribute, Principal, Resource
from policies.rows import RowPlan

_PAGE_RESOURCES_MAX = 200
Witness = Callable[[Evidence], None]
"""Is shown question and answer before anybody acts on them: a refusal leaves them too."""


def unwitnessed(_: Evidence) -> None:
    """Nobody keeps it."""


class Gate(Protocol):
    """Decides; ``version`` names the bundle that it decides by."""

    @property
    def version(self) -> str:
        """The stamp of the bundle."""
        ...

    def check(self, principal: Principal, resources: Sequence[Resource]) -> tuple[Decision, ...]:
        """One decision a resource, in order; raises GateError."""
        ...

    def plan(
        self,
        principal: Principal,
        kind: str,
        attr: Mapping[str, Attribute],
        actions: Sequence[str],
    ) -> RowPlan:
        """The objects of a kind on which all actions are allowed; raises GateError."""
        ...


class Gatekeeper:
    """Asks the gate in the control plane's words. Fails closed, and says which way it failed."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    @property
    def bundle(self) -> str:
        """The bundle that decisions are made by."""
        return self._gate.version

    def listed(self, caller: Caller, tools: Mapping[str, ToolFacts]) -> frozenset[str]:
        """The tools that this caller may list, in one request.

        Tools with the same facts are one resource in it: no rule knows a tool by its name.
        """
        alike: dict[ToolFacts, list[str]] = {}
        for name, facts in tools.items():
            alike.setdefault(facts, []).append(name)
        resources = [_tool(names[0], facts, ("list",)) for facts, names in alike.items()]
        decisions = self._check(caller, resources)
        return frozenset(
            name
            for names, decision in zip(alike.values(), decisions, strict=True)
            if decision.allows("list")
            for name in names
        )

    def admit(self, caller: Caller, tool: str, tool_facts: ToolFacts) -> None:
        """Only whether the tool exists for the caller: for arguments that did not parse."""
        decisions = self._check(caller, [_tool(tool, tool_facts, ("list", "call"))])
        self._admitted(decisions[0])

    def decide(
        self,
        caller: Caller,
        tool: str,
        tool_facts: ToolFacts,
        subject: Subject,
        witness: Witness = unwitnessed,
    ) -> tuple[Verdict, dict[str, ActionDecision]]:
        """Tool and subject in one request. Raises Unlisted, NotFound, or Refused by the tool.

        The actions of the subject are returned undecided on: whether ``acts`` must hold is the
        step's to say, since a repeated call is only read.
        """
        resources = [
            _tool(tool, tool_facts, ("list", "call")),
            _resource(subject.id, subject.facts, subject.actions),
        ]
        tool_decision, decision = self._check(caller, resources, witness)
        self._admitted(tool_decision)
        if not all(decision.allows(action) for action in subject.reads):
            raise NotFound
        may = frozenset(action for action in subject.actions if decision.allows(action))
        verdict = Verdict(may, decision.decision_id, subject.facts.values_digest())
        return verdict, dict(decision.actions)

    def decide_object(
        self, caller: Caller, subject: Subject
    ) -> tuple[Verdict, dict[str, ActionDecision]]:
        """The subject alone, for what is not asked through a tool. Decides on nothing itself."""
        (decision,) = self._check(caller, [_resource(subject.id, subject.facts, subject.actions)])
        may = frozenset(action for action in subject.actions if decision.allows(action))
        verdict = Verdict(may, decision.decision_id, subject.facts.values_digest())
        return verdict, dict(decision.actions)

    def readable(self, caller: Caller, page: list[Subject]) -> list[Subject]:
        """The members of a page that the caller may read, in one request."""
        if not page:
            return []
        if len(page) > _PAGE_RESOURCES_MAX:
            raise Refused("The page is too large to decide on.", code="page_too_large")
        resources = [_resource(one.id, one.facts, one.reads) for one in page]
        decisions = self._check(caller, resources)
        return [
            one
            for one, decision in zip(page, decisions, strict=True)
            if all(decision.allows(action) for action in one.reads)
        ]

    def planned(self, caller: Caller, kind: str, actions: tuple[str, ...]) -> RowPlan:
        """Which objects of a kind the caller may do all of ``actions`` on."""
        with _failing_closed():
            return self._gate.plan(_principal(caller), kind, {}, actions)

    def judged(
        self, caller: Caller, resources: list[Resource], witness: Witness = unwitnessed
    ) -> dict[str, frozenset[str]]:
        """Of each object, by its id, what the caller may do with it, in one request."""
        decisions = self._check(caller, resources, witness)
        return {
            decision.id: frozenset(name for name in decision.actions if decision.allows(name))
            for decision in decisions
        }

    def _admitted(self, decision: Decision) -> None:
        if not decision.allows("list"):
            raise Unlisted
        if not decision.allows("call"):
            raise refusal(decision.actions["call"])

    def _check(
        self, caller: Caller, resources: list[Resource], witness: Witness = unwitnessed
    ) -> tuple[Decision, ...]:
        principal = _principal(caller)
        with _failing_closed():
            decisions = self._gate.check(principal, resources)
        witness(Evidence(self.bundle, principal, resources, decisions))
        return decisions


@contextmanager
def _failing_closed() -> Generator[None]:
    try:
        yield
    except BadFacts as error:
        raise Refused(
            "The facts do not fit the policy's schema.", code=error.code, fact=error.part
        ) from error
    except GateError as error:
        raise Refused(
            "The policy engine does not answer; nothing was done.", code=error.code
        ) from error


def _principal(caller: Caller) -> Principal:
    return Principal(
        id=caller.principal,
        roles=tuple(caller.roles),
        attr={"actor_kind": caller.actor_kind, "actor": caller.actor},
    )


def require(acts: Iterable[str], actions: dict[str, ActionDecision]) -> bool:
    """Whether all of ``acts`` are allowed; False when only an approval is missing; else Refused."""
    missing = [actions[action] for action in acts if not actions[action].allowed]
    for decision in missing:
        if not decision.needs_approval:
            raise refusal(decision)
    return not missing


def require_now(subject: Subject, actions: dict[str, ActionDecision]) -> None:
    """Refused, or Failed where only an approval is missing: who asks here cannot wait for one."""
    if not require(subject.acts, actions):
        raise Failed("This call cannot wait for an approval.", code="approval_not_possible")


# What no rule of a role's keeps from them: who may read the object is told what would lift it.
_TOLD: Final[Mapping[str, str]] = {
    "billing_read_only": "What is overdue closes changes; they open again once it is paid.",
    "billing_suspended": "What is overdue closes the tenant; it opens again once that is paid.",
    "payment_overdue": "What is overdue must be paid first.",
    "frozen": "Runs are frozen: none begins until an operator lifts it.",
}


def refusal(decision: ActionDecision) -> Refused:
    """The policy's own reason, where it gave one."""
    if decision.refusals:
        first = decision.refusals[0]
        told = _TOLD.get(first.code, "The policy does not allow this.")
        return Refused(told, code=first.code, rule=first.rule, fact=first.fact)
    return Refused("The policy does not allow this.", code="denied", rule=decision.policy)


def _tool(name: str, facts: ToolFacts, actions: tuple[str, ...]) -> Resource:
    return _resource(name, facts, actions)


def _resource(identity: str, facts: Facts, actions: tuple[str, ...]) -> Resource:
    attributes = cast("dict[str, Attribute]", facts.attributes())
    return Resource(kind=facts.kind, id=identity, attr=attributes, actions=actions)
