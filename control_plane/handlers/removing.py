"""Takes a tenant's stack away, as its removal was approved. Not the step that asks for it, nor a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from control_plane.domain.canonical import Json, canonical, plain
from control_plane.errors import Failed, Refused
from control_plane.handlers import stack_home, stack_steps
from control_plane.handlers.handler import Work
from control_plane.provisioning.port import ObservedPlan
from control_plane.provisioning.stacks import StackRequest


def destroy_stack(work: Work, request: StackRequest) -> None:
    """Apply the saved plan that was approved; what is left of it after a kill, planned anew.

    The server that it has made is forgotten before. Raises as `stack_home.leave` does.

    Raises Refused (`stale_plan`) where more is left than was approved, Failed (`stack_remains`).
    """
    provisioner, beat = stack_steps.provisioner_of(work), stack_steps.beating(work)
    stack_home.leave(work, request)
    if provisioner.settle(request, should_stop=beat) == "absent":
        return
    try:
        saved = stack_steps.saved_plan(work)
        provisioner.apply(request, saved, should_stop=beat, tell=work.tell)
    except Refused as error:
        if error.code not in ("stale_plan", "artifact_expired"):
            raise
        rest = provisioner.observe(request, destroy=True, should_stop=beat)
        _assert_approved(work, rest)
        provisioner.apply(request, rest.artifact, should_stop=beat, tell=work.tell)
    if provisioner.settle(request, should_stop=beat) != "absent":
        raise Failed("Some resources are still there.", code="stack_remains", retryable=True)


def _assert_approved(work: Work, rest: ObservedPlan) -> None:
    # What was approved covers any part of itself: every change left must be one of its changes.
    parts = _mapping((work.run.plan or {}).get("parts"))
    approved = _mapping(parts.get("infrastructure"))
    if rest.digest == approved.get("digest"):
        return
    known = {canonical(one) for one in _changes(_mapping(approved.get("changes")))}
    left = [canonical(plain(one)) for one in _changes(rest.projection)]
    if not left or not set(left) <= known:
        raise Refused(
            "What is left is not what was approved.", code="stale_plan", rule="saved_plan"
        )


def _changes(projection: Mapping[str, object]) -> Sequence[object]:
    found = projection.get("resource_changes")
    return cast("Sequence[object]", found) if isinstance(found, list | tuple) else ()


def _mapping(value: object) -> Mapping[str, Json]:
    return cast("Mapping[str, Json]", value) if isinstance(value, Mapping) else {}
