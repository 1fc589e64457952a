"""The outcomes of a call, one closed union for every tool. Not exceptions: errors.py has those."""

from __future__ import annotations

from typing import Literal

from control_plane.domain.canonical import Json
from control_plane.domain.record import Record

OutcomeName = Literal[
    "done",
    "running",
    "awaiting_approval",
    "planned",
    "refused",
    "not_found",
    "conflict",
    "failed",
    "unknown",
]


class Outcome(Record):
    """What a caller learns. Fields that do not belong to an outcome are absent from the answer.

    ``result`` stands with done and planned; ``run_id`` with running, awaiting_approval, conflict,
    failed and unknown when a run exists; ``code``, ``rule``, ``fact`` and ``next_tools`` with
    refused; ``retryable`` with failed, and ``retry_after_s`` where it is known when.
    """

    outcome: OutcomeName
    message: str = ""
    result: dict[str, Json] | None = None
    run_id: str | None = None
    approval_id: str | None = None
    plan_digest: str | None = None
    code: str | None = None
    rule: str | None = None
    fact: str | None = None
    retryable: bool | None = None
    retry_after_s: int | None = None
    next_tools: tuple[str, ...] = ()
    replayed: bool = False

    def answer(self) -> dict[str, Json]:
        """The structured content of the tool's answer (``replayed`` travels in ``_meta``)."""
        kept = self.model_dump(exclude={"replayed"}, exclude_none=True)
        if not self.next_tools:
            kept.pop("next_tools")
        else:
            kept["next_tools"] = list(self.next_tools)
        if not self.message:
            kept.pop("message")
        return kept


NOT_FOUND = Outcome(outcome="not_found", message="There is no such object.", code="not_found")
