"""The Provisioner over real Terraform: only a saved plan that still fits is applied. No gate."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from control_plane.domain.canonical import Json, digest, keyed_digest, plain
from control_plane.errors import Failed, NotFound, Refused, Unknown
from control_plane.provisioning import artifact as artifacts
from control_plane.provisioning import module, operation, stacks, workspace
from control_plane.provisioning.binary import Terraform
from control_plane.provisioning.clouds.checks import require
from control_plane.provisioning.drift import Drift, drift
from control_plane.provisioning.orphans import orphans
from control_plane.provisioning.plan_facts import plan_facts
from control_plane.provisioning.port import Applied, ObservedPlan, Settled, Standing
from control_plane.provisioning.progress import Told, untold
from control_plane.provisioning.projection import projection
from control_plane.provisioning.reason import OTHER_VERSION, STALE, classify
from control_plane.provisioning.runner import Finished, RunnerSettings, never
from control_plane.provisioning.site import Site, Sites
from control_plane.provisioning.stacks import Overrides, StackRequest

ShouldStop = Callable[[], bool]
_PLAN_FILE: Final = "plan.tfplan"
_ORPHANS_MAX: Final = 200
# Of a derived password: letters of both cases, digits and a sign, as each cloud asks for.
_PASSWORD_PREFIX, _PASSWORD_CHARS = "Pb1-", 24


class TerraformProvisioner:
    """Stacks by Terraform, below `root` and in the accounts of `sites`.

    hmac_key hides sensitive values in projections, and the passwords of new databases are derived
    from it. admitted_modules holds the digests of modules whose provisioners may run;
    module_overrides replaces shipped modules by (cloud, isolation), and so do the workspace's own; allowed_providers adds to those
    of the stack's cloud.
    """

    def __init__(  # noqa: PLR0913 - each is a rule or a means of its own
        self,
        terraform: Terraform,
        settings: RunnerSettings,
        root: Path,
        hmac_key: bytes,
        *,
        admitted_modules: frozenset[str] = frozenset(),
        module_overrides: Overrides | None = None,
        own_modules: Callable[[], Overrides] = dict,
        allowed_providers: frozenset[str] = frozenset(),
        sites: Sites | None = None,
    ) -> None:
        self._root = workspace.private_folder(root.absolute())
        self._sites = sites or Sites(self._root)
        self._opening = operation.Opening(
            terraform, settings, self._root, self._sites.mirror, allowed_providers
        )
        self._hmac_key = hmac_key
        self._admitted = admitted_modules
        self._overrides = dict(module_overrides or {})
        self._own_modules = own_modules

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
        site = self._sites.site(request)
        files = self._module(request, site)
        checks = () if destroy or site.adapter is None else site.adapter().preflight(request)
        require(checks, makes=False)
        with self._opened(site, request, files, should_stop) as work:
            saved = work.folder.home / _PLAN_FILE
            changes = work.plan(saved, destroy=destroy)
            plan_json = work.show(saved)
            lock = self._lock(work)
            content = saved.read_bytes()
        facts = plan_facts(plan_json)
        require(checks, makes=facts.creates > 0)
        module_digest = module.digest_of(files)
        if facts.local_exec and module_digest not in self._admitted:
            raise Refused("the plan holds a provisioner", code="provisioner_not_admitted")
        projected = projection(
            plan_json, hashlib.sha256(lock).hexdigest(), module_digest, self._hmac_key
        )
        projected |= {"site_digest": site.digest(self._hmac_key), **site.named()}
        kept = artifacts.ArtifactFacts(
            request_digest=digest(request),
            module_digest=module_digest,
            site_digest=site.digest(self._hmac_key),
            plan_sha256=hashlib.sha256(content).hexdigest(),
            terraform_version=self._opening.terraform.version,
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
        self,
        request: StackRequest,
        artifact: bytes,
        *,
        should_stop: ShouldStop = never,
        tell: Told = untold,
    ) -> Applied:
        """Do exactly what the artifact says; see port.Provisioner.apply for the errors."""
        kept = artifacts.unpack(artifact)
        site = self._sites.site(request)
        files = self._module(request, site)
        self._assert_fits(request, site, kept.facts, files)
        if kept.lock:
            files[Path(module.LOCK_FILE)] = kept.lock
        with self._opened(site, request, files, should_stop, tell) as work:
            saved = work.folder.home / _PLAN_FILE
            saved.write_bytes(kept.plan)
            before = work.begin(saved).digest
            finished = work.apply(saved)
            if finished.rc != 0:
                self._judge(work, finished, before, destroy=kept.facts.destroy)
            try:
                stands = work.state()
                return Applied(outputs=_plain(stands.outputs), resources=stands.addresses)
            except Failed as error:  # the effect stands, and only its outputs are missing
                raise Unknown("applied, but its outputs were not read") from error

    def settle(self, request: StackRequest, *, should_stop: ShouldStop = never) -> Settled:
        """How the stack stands against the request: the probe after a crash.

        What stands in the cloud and is missing in the state is adopted first.
        """
        return self.look(request, should_stop=should_stop).settled

    def drift(self, request: StackRequest, *, should_stop: ShouldStop = never) -> Drift:
        """What of the stack is no longer as it was applied. Raises NotFound, Failed."""
        site = self._sites.site(request)
        if _is_absent(site):
            raise _no_stack()
        with self._opened(site, request, self._module(request, site), should_stop) as work:
            saved = work.folder.home / _PLAN_FILE
            changes = work.plan(saved)
            if not work.state().addresses:
                raise _no_stack()
            planned = work.show(saved)
            # Most often there is nothing to tell of, and a refresh is as dear as a plan.
            refreshed = (
                work.show(saved) if changes and work.plan(saved, refresh_only=True) else None
            )
        return drift(planned, refreshed)

    def look(self, request: StackRequest, *, should_stop: ShouldStop = never) -> Standing:
        """The same, with what stands."""
        site = self._sites.site(request)
        if _is_absent(site) and site.adapter is None:
            return Standing(settled="absent")
        with self._opened(site, request, self._module(request, site), should_stop) as work:
            # The plan comes first: it waits for a Terraform that outlived its worker.
            changes = self._adopt(work, request) if site.adapter else work.plan(None)
            held = work.state()
        if not held.addresses:
            return Standing(settled="absent")
        said = _plain(held.outputs)
        stands = not changes and self._is_verified(site, request, said)
        return Standing(
            settled="present" if stands else "differs", resources=held.addresses, outputs=said
        )

    @staticmethod
    def _is_verified(site: Site, request: StackRequest, said: Mapping[str, Json]) -> bool:
        """Whether the cloud itself says that what the outputs name stands and bears our labels."""
        if site.adapter is None:
            return True
        return all(one.ok for one in site.adapter().verify(request, said))

    def destroy(
        self, request: StackRequest, *, should_stop: ShouldStop = never, tell: Told = untold
    ) -> None:
        """Remove the stack; an absent one is fine. Raises like apply."""
        site = self._sites.site(request)
        if site.adapter is None and _is_absent(site):
            return
        if site.adapter is not None and self.settle(request, should_stop=should_stop) == "absent":
            return
        observed = self.observe(request, destroy=True, should_stop=should_stop)
        self.apply(request, observed.artifact, should_stop=should_stop, tell=tell)

    def outputs(self, request: StackRequest) -> dict[str, Json]:
        """What the stack says of itself. Raises NotFound when there is none."""
        site = self._sites.site(request)
        if _is_absent(site):
            raise _no_stack()
        with self._opened(site, request, self._module(request, site), never) as work:
            held = work.state()
        if not held.addresses:
            raise _no_stack()
        return _plain(held.outputs)

    def _adopt(self, work: operation.Operation, request: StackRequest) -> bool:
        """Have the state know what stands and bears our labels; whether anything would change then."""
        saved = work.folder.home / _PLAN_FILE
        if not work.plan(saved):
            return False
        adapter = work.site.adapter
        assert adapter is not None, "asked for a site with one"
        mine = stacks.labels(request)["paybill_isolation"]
        found = [
            one
            for one in adapter().owned(request.workspace, request.tenant)
            if one.labels.get("paybill_isolation") == mine  # while a tenant moves it has two stacks
        ]
        missing = orphans(work.show(saved), found)[:_ORPHANS_MAX]
        for one in missing:
            try:
                work.adopt(one.address, one.import_id)
            except Failed as error:
                # A search by label may tell of what is just gone.
                if error.code != "no_such_resource":
                    raise
        return work.plan(None) if missing else True

    def _module(self, request: StackRequest, site: Site) -> dict[Path, bytes]:
        instead = {**self._own_modules(), **self._overrides}
        files = module.read(stacks.module_path(request, instead))
        module.check(files, self._admitted, site.providers | self._opening.providers)
        return files

    def _opened(
        self,
        site: Site,
        request: StackRequest,
        files: dict[Path, bytes],
        should_stop: ShouldStop,
        tell: Told = untold,
    ) -> AbstractContextManager[operation.Operation]:
        secrets = {"database_password": self._password(request)}
        return operation.opened(self._opening, site, request, files, should_stop, secrets, tell)

    def _password(self, request: StackRequest) -> str:
        """Of the stack's own database; always the same, so a saved plan is applied with it again."""
        place = [request.workspace, request.tenant, request.cloud, request.isolation]
        # A key of its own: what starts like this is no JSON, so no projection ever shows its HMAC.
        key = hmac.digest(self._hmac_key, b"\0database password", hashlib.sha256)
        return _PASSWORD_PREFIX + keyed_digest(key, place)[:_PASSWORD_CHARS]

    def _assert_fits(
        self,
        request: StackRequest,
        site: Site,
        kept: artifacts.ArtifactFacts,
        files: dict[Path, bytes],
    ) -> None:
        fits = {
            "request": kept.request_digest == digest(request),
            "module": kept.module_digest == module.digest_of(files),
            "site": kept.site_digest == site.digest(self._hmac_key),
            "terraform_version": kept.terraform_version == self._opening.terraform.version,
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
        reason = classify(finished.log_path, finished.error_path)
        if reason is OTHER_VERSION:
            raise _stale("terraform_version")
        if reason is STALE:
            # Someone changed the state since: perhaps this very plan, by a worker that died.
            if work.plan(None, destroy=destroy):
                raise _stale("state")
            return
        try:
            was_unsaved = work.rescue_state()
            changed = work.state().digest != before or was_unsaved
        except Failed as error:
            raise Unknown("apply: what it has changed cannot be read", code=error.code) from error
        if changed:
            raise Unknown(f"apply: {reason.text}, and a part of it stands", code="partial_apply")
        raise work.failed("apply", finished, reason)

    @staticmethod
    def _lock(work: operation.Operation) -> bytes:
        path = work.folder.module / module.LOCK_FILE
        return path.read_bytes() if path.is_file() else b""


def _no_stack() -> NotFound:
    return NotFound("there is no such stack")


def _is_absent(site: Site) -> bool:
    return site.state is not None and not site.state.is_file()


def _stale(fact: str) -> Refused:
    return Refused("the saved plan no longer fits", code="stale_plan", rule="saved_plan", fact=fact)


def _plain(outputs: Mapping[str, object]) -> dict[str, Json]:
    return {name: plain(value) for name, value in outputs.items()}
