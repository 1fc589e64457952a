"""A Provisioner that keeps its stacks in memory, for tests and demonstrations. It makes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from control_plane.domain.canonical import Json, digest, plain
from control_plane.errors import Failed, NotFound, Refused
from control_plane.provisioning import artifact as artifacts
from control_plane.provisioning.drift import Drift, Drifted
from control_plane.provisioning.plan_facts import PlanFacts
from control_plane.provisioning.port import Applied, ObservedPlan, Settled, Standing
from control_plane.provisioning.progress import Told, untold
from control_plane.provisioning.runner import never
from control_plane.provisioning.scan import BUILTIN
from control_plane.provisioning.stacks import StackRequest, variables

_VERSION = "memory"
_ADDRESSES = ("terraform_data.database",)
_NO_MODULE = "0" * 64


class MemoryProvisioner:
    """Stacks in a dictionary, under the same contract as the real one."""

    def __init__(self) -> None:
        self._stacks: dict[tuple[str, str], dict[str, Json]] = {}

    def observe(
        self,
        request: StackRequest,
        *,
        destroy: bool = False,
        should_stop: Callable[[], bool] = never,
    ) -> ObservedPlan:
        """Plan and change nothing."""
        _assert_wanted(should_stop)
        before = self._stacks.get(_key(request))
        after = None if destroy else variables(request)
        projected: dict[str, Json] = {"before": before, "after": after}
        plan = digest(projected).encode()
        kept = artifacts.ArtifactFacts(
            request_digest=digest(request),
            module_digest=_NO_MODULE,
            site_digest=_NO_MODULE,
            plan_sha256=hashlib.sha256(plan).hexdigest(),
            terraform_version=_VERSION,
            destroy=destroy,
        )
        return ObservedPlan(
            projection=projected,
            digest=digest(projected),
            facts=_facts(request, before, after),
            artifact=artifacts.pack(artifacts.Artifact(facts=kept, plan=plan, lock=b"")),
            no_changes=before == after,
        )

    def apply(
        self,
        request: StackRequest,
        artifact: bytes,
        *,
        should_stop: Callable[[], bool] = never,
        tell: Told = untold,
    ) -> Applied:
        """Do what the artifact says, if it still fits."""
        _assert_wanted(should_stop)
        kept = artifacts.unpack(artifact)
        after = None if kept.facts.destroy else variables(request)
        before = self._stacks.get(_key(request))
        fits = kept.plan == digest({"before": before, "after": after}).encode()
        if kept.facts.request_digest != digest(request) or not (fits or before == after):
            raise Refused("the saved plan no longer fits", code="stale_plan", rule="saved_plan")
        if after is None:
            self._stacks.pop(_key(request), None)
            return Applied(outputs={}, resources=())
        self._stacks[_key(request)] = after
        return Applied(outputs=self.outputs(request), resources=_ADDRESSES)

    def settle(self, request: StackRequest, *, should_stop: Callable[[], bool] = never) -> Settled:
        """How the stack stands against the request."""
        _assert_wanted(should_stop)
        stands = self._stacks.get(_key(request))
        if stands is None:
            return "absent"
        return "present" if stands == variables(request) else "differs"

    def look(self, request: StackRequest, *, should_stop: Callable[[], bool] = never) -> Standing:
        """The same, with what stands."""
        settled = self.settle(request, should_stop=should_stop)
        if settled == "absent":
            return Standing(settled="absent")
        return Standing(settled=settled, resources=_ADDRESSES, outputs=self.outputs(request))

    def drift(self, request: StackRequest, *, should_stop: Callable[[], bool] = never) -> Drift:
        """Of a stack in memory: only what was asked for otherwise."""
        settled = self.settle(request, should_stop=should_stop)
        if settled == "absent":
            raise NotFound("there is no such stack")
        if settled == "present":
            return Drift(resources=(), reported=())
        before = self._stacks[_key(request)]
        names = tuple(sorted(k for k, v in variables(request).items() if before.get(k) != v))
        drifted = Drifted(address=_ADDRESSES[0], actions=("update",), attributes=names)
        return Drift(resources=(drifted,), reported=(drifted,))

    def destroy(
        self,
        request: StackRequest,
        *,
        should_stop: Callable[[], bool] = never,
        tell: Told = untold,
    ) -> None:
        """Remove the stack; an absent one is fine."""
        _assert_wanted(should_stop)
        self._stacks.pop(_key(request), None)

    def outputs(self, request: StackRequest) -> dict[str, Json]:
        """What the stack says of itself. Raises NotFound when there is none."""
        if _key(request) not in self._stacks:
            raise NotFound("there is no such stack")
        name = "pooled" if request.isolation == "pooled" else request.tenant
        database = {
            "engine": "sqlite",
            "model": request.isolation,
            "name": f"{name}.sqlite3",
        }
        return {"database": plain(database)}


def _key(request: StackRequest) -> tuple[str, str]:
    return (request.tenant, request.isolation)


def _facts(request: StackRequest, before: object, after: object) -> PlanFacts:
    gone = before is not None and after is None
    stateful = gone and request.isolation != "pooled"
    return PlanFacts(
        creates=int(before is None and after is not None),
        updates=int(before is not None and after is not None and before != after),
        replaces=0,
        deletes=int(gone),
        stateful_deletes=("terraform_data.database",) if stateful else (),
        local_exec=False,
        resource_types=() if before == after else ("terraform_data",),
        providers=(BUILTIN,),
    )


def _assert_wanted(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise Failed("stopped before it began", retryable=True, code="stopped")
