"""What the policy engine was asked and what it said, kept so that it can be asked again. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from control_plane.domain.canonical import Json, digest, plain
from policies.decision import ActionDecision, Decision
from policies.request import Principal, Resource


@dataclass(frozen=True, slots=True)
class Evidence:
    """One question to the gate and its answer, in the words of both."""

    bundle: str
    principal: Principal
    resources: Sequence[Resource]
    decisions: Sequence[Decision]

    def as_json(self) -> dict[str, Json]:
        """The question whole, the answer as text, and the answer's digest."""
        answers = [answer(decision) for decision in self.decisions]
        return {
            "bundle": self.bundle,
            "principal": {
                "id": self.principal.id,
                "roles": list(self.principal.roles),
                "attr": plain(self.principal.attr),
            },
            "resources": [_asked(resource) for resource in self.resources],
            "answers": answers,
            "digest": digest(answers),
        }


def answer(decision: Decision) -> dict[str, Json]:
    """What was said of one resource, action by action, without the id of the engine's call."""
    return {action: _said(one) for action, one in sorted(decision.actions.items())}


def _said(decision: ActionDecision) -> dict[str, Json]:
    return {
        "allowed": decision.allowed,
        "policy": decision.policy,
        "refusals": [[one.code, one.fact, one.rule] for one in decision.refusals],
        "obligations": [[one.kind, plain(one.data)] for one in decision.obligations],
    }


def _asked(resource: Resource) -> dict[str, Json]:
    attributes: Mapping[str, object] = resource.attr
    return {
        "kind": resource.kind,
        "id": resource.id,
        "attr": plain(attributes),
        "actions": list(resource.actions),
    }
