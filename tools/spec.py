"""What a tool is: a name, typed input and output, a machine, a command. Not what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from control_plane.commands import Command
from control_plane.facts.tool import ToolFacts

Machine = Literal["query", "change", "lifecycle"]
Risk = Literal["read", "write", "destructive"]


class Arguments(BaseModel):
    """The base of every input: nothing unknown, nothing coerced."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Result(BaseModel):
    """The base of every output."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class ToolSpec:
    """One published tool. ``to_command`` turns parsed arguments into the command; it has no deeds."""

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    result: type[Result]
    risk: Risk
    domain: str
    machine: Machine
    to_command: Callable[[Any], Command]
    next_tools: tuple[str, ...] = ()
    """What may help after a refusal; a caller is told those that it may list."""

    @property
    def facts(self) -> ToolFacts:
        """What the policy knows of the tool."""
        return ToolFacts(risk=self.risk, domain=self.domain)

    @property
    def changing(self) -> bool:
        """Whether it takes an idempotency key."""
        return self.machine != "query"

    def input_schema(self) -> dict[str, Any]:
        """JSON Schema 2020-12 of the arguments."""
        return self.arguments.model_json_schema()

    def output_schema(self) -> dict[str, Any]:
        """JSON Schema of the structured answer: the outcome union over this tool's result."""
        result = self.result.model_json_schema(ref_template="#/$defs/{model}")
        definitions = result.pop("$defs", {})
        definitions["Result"] = result
        return {
            "type": "object",
            "properties": {
                "outcome": {"enum": list(_outcomes(self.machine))},
                "message": {"type": "string"},
                "result": (
                    {"$ref": "#/$defs/Result"}
                    if self.machine == "query"
                    else {"anyOf": [{"$ref": "#/$defs/Result"}, {"type": "object"}]}
                ),
                "run_id": {"type": "string"},
                "approval_id": {"type": "string"},
                "plan_digest": {"type": "string"},
                "code": {"type": "string"},
                "rule": {"type": "string"},
                "fact": {"type": "string"},
                "retryable": {"type": "boolean"},
                "retry_after_s": {"type": "integer"},
                "next_tools": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["outcome"],
            "additionalProperties": False,
            "$defs": definitions,
        }


def _outcomes(machine: Machine) -> tuple[str, ...]:
    common = ("done", "refused", "not_found", "failed")
    if machine == "query":
        return common
    # A change, too, becomes a run where policy wants an approval for it.
    return (*common, "planned", "running", "awaiting_approval", "conflict", "unknown")
