"""The Provisioner over real Terraform: only a saved plan that still fits is applied. No gate."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from control_plane.domain.canonical import Json, digest, plain
from control_plane.errors import Failed, NotFound, Refused, Unknown
from control_plane.provisioning import artifact as artifacts
from control_plane.provisioning import module, operation, scan, stacks, workspace
from control_plane.provisioning.binary import Terraform
from control_plane.provisioning.plan_facts import plan_facts
from control_plane.provisioning.port import Applied, ObservedPlan, Settled
from control_plane.provisioning.projection import projection
from control_plane.provisioning.reason import OTHER_VERSION, STALE, classify
from control_plane.provisioning.runner import Finished, RunnerSettings, never
from control_plane.provisioning.stacks import StackRequest

ShouldStop = Callable[[], bool]
_PLAN_FILE = "plan.tfplan"


class TerraformProvisioner:
    """Stacks by Terraform, with one local state per tenant and isolation model below `root`.

    hmac_key hides sensitive values in projections. admitted_modules holds the digests of modules
    whose provisioners may run; module_overrides replaces shipped modules by (cloud, isolation).
    """

    def __init__(
        self,
        terraform: Terraform,
        settings: RunnerSettings,
        root: Path,
        hmac_key: bytes,
        *,
        admitted_modules: frozenset[str] = frozenset(),
        module_overrides: Mapping[tuple[str, str], Path] | None = None,
        allowed_providers: frozenset[str] = frozenset({scan.BUILTIN}),
    ) -> None:
        self._terraform = terraform
        self._settings = settings
        self._root = workspace.private_folder(root.absolute())
        self._hmac_key = hmac_key
        self._admitted = admitted_modules
        self._overrides = dict(module_overrides or {})
        self._providers = allowed_providers

    def sweep(self) -> int:
        """Remove what killed workers left behind and no Terraform works in; how many folders."""
        return workspace.sweep_all(self._root)

    def observe(
        self,
        request: StackRequest,
        *,
        destroy: bool = False,
        should_stop: ShouldStop = never,
    ) -> ObservedPlan:
        """Plan and change nothing. Raises Refused for a module, Failed when there is no plan."""
        files = self._module(request)
        with self._opened(request, files, should_stop) as work:
            saved = work.folder.home / _PLAN_FILE
            changes = work.plan(saved, destroy=destroy)
            plan_json = work.show(saved)
            lock = self._lock(work)
            content = saved.read_bytes()
        facts = plan_facts(plan_json)
        module_digest = module.digest_of(files)
        if facts.local_exec and module_digest not in self._admitted:
            raise Refused("the plan holds a provisioner", code="provisioner_not_admitted")
        projected = projection(
            plan_json, hashlib.sha256(lock).hexdigest(), module_digest, self._hmac_key
        )
        kept = artifacts.ArtifactFacts(
            request_digest=digest(request),
            module_digest=module_digest,
            plan_sha256=hashlib.sha256(content).hexdigest(),
            terraform_version=self._terraform.version,
            destroy=destroy,
        )
        return ObservedPlan(
            projection=projected,
            digest=digest(projected),
            facts=facts,
            artifact=artifacts.pack(artifacts.Artifact(facts=kept, plan=content, lock=lock)),
            no_changes=not changes,
        )

    def apply(
        self, request: StackRequest, artifact: bytes, *, should_stop: ShouldStop = never
    ) -> Applied:
        """Do exactly what the artifact says; see port.Provisioner.apply for the errors."""
        kept = artifacts.unpack(artifact)
        files = self._module(request)
        self._assert_fits(request, kept.facts, files)
        if kept.lock:
            files[Path(module.LOCK_FILE)] = kept.lock
        with self._opened(request, files, should_stop) as work:
            saved = work.folder.home / _PLAN_FILE
            saved.write_bytes(kept.plan)
            before = work.state_digest()
            finished = work.apply(saved)
            if finished.rc != 0:
                self._judge(work, finished, before, destroy=kept.facts.destroy)
            try:
                return Applied(outputs=_plain(work.outputs()))
            except Failed as error:  # the effect stands, and only its outputs are missing
                raise Unknown("applied, but its outputs were not read") from error

    def settle(self, request: StackRequest, *, should_stop: ShouldStop = never) -> Settled:
        """How the stack stands against the request: the probe after a crash."""
        if not workspace.state_path(self._root, request).is_file():
            return "absent"
        with self._opened(request, self._module(request), should_stop) as work:
            # The plan comes first: it waits for a Terraform that outlived its worker.
            changes = work.plan(None, destroy=False)
            if work.is_empty():
                return "absent"
            return "differs" if changes else "present"

    def destroy(self, request: StackRequest, *, should_stop: ShouldStop = never) -> None:
        """Remove the stack; an absent one is fine. Raises like apply."""
        if self._state_is_absent(request):
            return
        observed = self.observe(request, destroy=True, should_stop=should_stop)
        self.apply(request, observed.artifact, should_stop=should_stop)

    def outputs(self, request: StackRequest) -> dict[str, Json]:
        """What the stack says of itself. Raises NotFound when there is none."""
        if self._state_is_absent(request):
            raise NotFound("there is no such stack")
        with self._opened(request, self._module(request), never) as work:
            if work.is_empty():
                raise NotFound("there is no such stack")
            return _plain(work.outputs())

    def _module(self, request: StackRequest) -> dict[Path, bytes]:
        files = module.read(stacks.module_path(request, self._overrides))
        module.check(files, self._admitted, self._providers)
        return files

    def _opened(
        self, request: StackRequest, files: dict[Path, bytes], should_stop: ShouldStop
    ) -> AbstractContextManager[operation.Operation]:
        return operation.opened(
            self._terraform, self._settings, self._root, request, files, should_stop
        )

    def _state_is_absent(self, request: StackRequest) -> bool:
        return not workspace.state_path(self._root, request).is_file()

    def _assert_fits(
        self,
        request: StackRequest,
        kept: artifacts.ArtifactFacts,
        files: dict[Path, bytes],
    ) -> None:
        fits = {
            "request": kept.request_digest == digest(request),
            "module": kept.module_digest == module.digest_of(files),
            "terraform_version": kept.terraform_version == self._terraform.version,
        }
        for fact, holds in fits.items():
            if not holds:
                raise _stale(fact)

    @staticmethod
    def _judge(
        work: operation.Operation, finished: Finished, before: str, *, destroy: bool
    ) -> None:
        """Return when it is so already; otherwise raise what a failed apply means."""
        if finished.interrupted or finished.rc < 0:
            raise Unknown("the apply was stopped before it ended")
        reason = classify(finished.error_path)
        if reason is OTHER_VERSION:
            raise _stale("terraform_version")
        if reason is STALE:
            # Someone changed the state since: perhaps this very plan, by a worker that died.
            if work.plan(None, destroy=destroy):
                raise _stale("state")
            return
        if work.state_digest() != before:
            raise Unknown(f"apply: {reason.text}, and a part of it stands", code="partial_apply")
        raise work.failed("apply", finished, reason)

    @staticmethod
    def _lock(work: operation.Operation) -> bytes:
        path = work.folder.module / module.LOCK_FILE
        return path.read_bytes() if path.is_file() else b""


def _stale(fact: str) -> Refused:
    return Refused("the saved plan no longer fits", code="stale_plan", rule="saved_plan", fact=fact)


def _plain(outputs: Mapping[str, object]) -> dict[str, Json]:
    return {name: plain(value) for name, value in outputs.items()}
