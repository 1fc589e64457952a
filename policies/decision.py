"""The gate's answer: per resource and action, allowed or not, and why. Not the policy or outcome.

What a policy may put out, one object with exactly one of the two keys (null says nothing):

    {"refusal": {"code": "read_only", "fact": "access_mode"}}   from a DENY rule that was activated
    {"obligation": "approval", ...data}                         from an ALLOW rule that was not met

Precedence: a refusal voids the obligations, since meeting them would not help. An ALLOW that
carries either is a contradiction and is never passed on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias, cast

from policies.errors import BadFacts
from policies.request import Attribute, is_name

OBLIGATION_KINDS = frozenset({"approval"})


@dataclass(frozen=True, slots=True)
class Obligation:
    """Something that must be had before the action can be allowed."""

    kind: str
    data: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])


@dataclass(frozen=True, slots=True)
class Refusal:
    """A stable reason code, the name of the failing fact, and the rule that said so."""

    code: str
    fact: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class ActionDecision:
    """The answer for one action. `policy` is empty when no rule matched."""

    allowed: bool
    policy: str
    obligations: tuple[Obligation, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    @property
    def needs_approval(self) -> bool:
        """Tell whether an approval is all that is missing."""
        return any(obligation.kind == "approval" for obligation in self.obligations)


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer for one resource: `decision_id` names the engine's call, `bundle` the version."""

    kind: str
    id: str
    actions: Mapping[str, ActionDecision]
    decision_id: str
    bundle: str

    def allows(self, action: str) -> bool:
        """Tell whether `action` was asked and allowed."""
        found = self.actions.get(action)
        return found is not None and found.allowed


@dataclass(frozen=True, slots=True)
class Output:
    """One output of one rule for one action, as it came from the policy engine."""

    src: str
    action: str
    value: object
    error: str = ""


Finding: TypeAlias = "Obligation | Refusal"


def decide_action(
    *, allowed: bool, policy: str, outputs: Iterable[Output], part: str
) -> ActionDecision:
    """Combine an effect with the outputs of that action. Raises `BadFacts` naming `part`."""
    distinct = {output.src: output for output in outputs}  # a second role repeats the same output
    findings = [_finding(distinct[src], part) for src in sorted(distinct)]
    refusals = tuple(found for found in findings if isinstance(found, Refusal))
    obligations = tuple(found for found in findings if isinstance(found, Obligation))
    if allowed and (refusals or obligations):
        raise BadFacts(part, "the policy both allows and objects")
    return ActionDecision(allowed, policy, () if refusals else obligations, refusals)


def _finding(output: Output, part: str) -> Finding | None:
    if output.error:
        raise BadFacts(part, f"output of {output.src} failed")
    if output.value is None:
        return None
    said = output.value
    if not isinstance(said, Mapping):
        raise BadFacts(part, f"output of {output.src} is not an object")
    value = cast("Mapping[str, Attribute]", said)
    if set(value) == {"refusal"}:
        return _refusal(value["refusal"], output.src, part)
    kind = value.get("obligation")
    if "refusal" in value or not isinstance(kind, str) or kind not in OBLIGATION_KINDS:
        raise BadFacts(part, f"output of {output.src} is no known refusal or obligation")
    data = {name: item for name, item in value.items() if name != "obligation"}
    return Obligation(kind, MappingProxyType(data))


def _refusal(value: Attribute, src: str, part: str) -> Refusal:
    if isinstance(value, Mapping) and set(value) == {"code", "fact"}:
        code, fact = value["code"], value["fact"]
        if isinstance(code, str) and isinstance(fact, str) and is_name(code) and is_name(fact):
            return Refusal(code, fact, src)
    raise BadFacts(part, f"output of {src} is no refusal with code and fact")
