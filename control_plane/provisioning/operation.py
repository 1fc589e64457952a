"""Terraform at work on one stack, in one private folder: its few steps. It decides nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from control_plane.domain.canonical import Json, canonical, digest, plain
from control_plane.errors import Failed
from control_plane.provisioning import module, stacks, workspace
from control_plane.provisioning.arguments import Arguments
from control_plane.provisioning.binary import Terraform
from control_plane.provisioning.progress import Following, Told, untold
from control_plane.provisioning.reason import Reason, classify
from control_plane.provisioning.runner import Finished, Runner, RunnerSettings
from control_plane.provisioning.site import Site, cli_config
from control_plane.provisioning.state_backend import ends_with_its_session
from control_plane.provisioning.state_lock import lock_in
from control_plane.provisioning.state_view import (
    NO_STATE,
    StateView,
    begin_state,
    read_state,
    read_state_file,
)

_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
_UNSAVED: Final = "errored.tfstate"
_EMPTY: Final = "empty.tfstate"
NO_CHANGES, CHANGES = 0, 2


@dataclass
class Operation:
    """One private folder with a stack's module in it, and the commands that may run there."""

    terraform: Terraform
    runner: Runner
    folder: workspace.Folder
    site: Site
    variables: Path
    arguments: Arguments
    should_stop: Callable[[], bool]
    tell: Told = untold
    _step: int = field(default=0)
    _reused: Path | None = None

    def init(self, kept: Path) -> None:
        """Make the folder ready: with what an operation like it has left in `kept`, or anew.

        Raises Failed.
        """
        self._init(kept)
        if ends_with_its_session(self.site.backend):
            self._begin_elsewhere()

    def _init(self, kept: Path) -> None:
        lock = self.folder.module / module.LOCK_FILE
        given = lock.read_bytes() if lock.is_file() else None
        if workspace.reuse(kept, self.folder.module, module.LOCK_FILE, given):
            self._reused = kept
            return
        self._must("init", self.arguments.init(locked=given is not None))
        made = [self.folder.module / ".terraform", lock]
        workspace.keep([one for one in made if one.exists()], kept)

    def _begin_elsewhere(self) -> None:
        # Of a state that is not there yet Postgres knows no lock of its own: whoever makes it, and
        # applies for an hour, would hold up every other state of that database.
        if self.state() != NO_STATE:
            return
        empty = self.folder.home / _EMPTY
        begin_state(empty, self.terraform.version, str(self.folder.home).encode())
        self._must("state push", self.arguments.state_push(empty))

    def plan(self, out: Path | None, *, destroy: bool = False, refresh_only: bool = False) -> bool:
        """Plan into `out`; whether anything would change. Raises Failed."""
        words = self.arguments.plan(self.variables, out, destroy=destroy, refresh_only=refresh_only)
        finished = self.run("plan", words)
        if finished.rc not in {NO_CHANGES, CHANGES} and self._broke_lock(finished):
            finished = self.run("plan", words)
        if self.site.state is not None:
            # Of a state that it cannot read Terraform says that it is locked; of a lost one, nothing.
            read_state_file(self.site.state)
        if finished.rc not in {NO_CHANGES, CHANGES}:
            raise self._spoiled(self.failed("plan", finished))
        return finished.rc == CHANGES

    def _spoiled(self, error: Failed) -> Failed:
        """The same error; where what was reused is to blame, it is dropped, and another try may succeed."""
        if self._reused is None or error.code != "provider_changed":
            return error
        workspace.drop_kept(self._reused)
        return Failed(str(error), retryable=True, code=error.code)

    def show(self, plan: Path) -> dict[str, Any]:
        """A saved plan as JSON; fractions are Decimal. Raises Failed."""
        return self._answer(self._must("show", self.arguments.show(plan)))

    def begin(self, plan: Path) -> StateView:
        """The state that a plan is to change; one that is a file here is made. Raises Failed."""
        if self.site.state is not None:
            workspace.require_room(self.site.state.parent)
            begin_state(self.site.state, self.terraform.version, plan.read_bytes())
        return self.state()

    def apply(self, plan: Path) -> Finished:
        """Apply a saved plan, telling how far it is; how it ended is for the caller to judge."""
        finished = self.run("apply", self.arguments.apply(plan), tell=self.tell)
        if finished.rc > 0 and self._broke_lock(finished):
            finished = self.run("apply", self.arguments.apply(plan), tell=self.tell)
        return finished

    def adopt(self, address: str, import_id: str) -> None:
        """Have the state know a resource that stands. Raises Failed."""
        self._must("import", self.arguments.import_(self.variables, address, import_id))

    def state(self) -> StateView:
        """The state as it lies in its backend. Raises Failed."""
        if self.site.state is not None:
            return read_state_file(self.site.state)
        pulled = self._must("state pull", self.arguments.state_pull()).log_path
        try:
            return read_state(pulled.read_bytes())
        finally:
            pulled.unlink()

    def rescue_state(self) -> bool:
        """Write a state that Terraform had to leave in the folder where it belongs; whether there was one.

        Where that fails again, what stands is found by its labels. Raises Failed (`stopped`).
        """
        left = self.folder.module / _UNSAVED
        if left.exists() and self.site.state is None:
            words = self.arguments.state_push(left)
            if self._broke_lock(self.run("state push", words)):
                self.run("state push", words)
        return left.exists()

    def run(self, step: str, words: tuple[str, ...], *, tell: Told = untold) -> Finished:
        """Run one command. Raises Failed(stopped) when it is not even to be started."""
        if self.should_stop():
            raise Failed(f"stopped before {step}", retryable=True, code="stopped")
        self._step += 1
        log_path = self.folder.home / f"{self._step}.log"
        following = Following(log_path, tell)

        def poll() -> bool:
            following.read()
            return self.should_stop()

        finished = self.runner.run(
            (*self.terraform.argv, *words),
            self.folder.module,
            log_path,
            should_stop=self.should_stop if tell is untold else poll,
            keep_fds=(self.folder.lock_fd,),
        )
        if tell is not untold:
            following.read()
        return finished

    @staticmethod
    def failed(step: str, finished: Finished, reason: Reason | None = None) -> Failed:
        """The error of a command after which nothing has changed."""
        if finished.interrupted:
            return Failed(f"{step} was stopped", retryable=True, code="stopped")
        if finished.rc < 0:
            return Failed(f"{step} was killed", retryable=True, code="killed")
        reason = reason or classify(finished.log_path, finished.error_path)
        return Failed(f"{step}: {reason.text}", retryable=reason.retryable, code=reason.code)

    def _broke_lock(self, finished: Finished) -> bool:
        """Whether the state was locked by one that is gone, and no longer is."""
        held = lock_in(finished.log_path, finished.error_path)
        if held is None or not held.is_ours or ends_with_its_session(self.site.backend):
            return False
        if workspace.has_others(self.folder):
            return False
        return self.run("force-unlock", self.arguments.force_unlock(held.id)).rc == 0

    def _must(self, step: str, words: tuple[str, ...]) -> Finished:
        finished = self.run(step, words)
        if finished.rc > 0 and self._broke_lock(finished):
            finished = self.run(step, words)
        if finished.rc != 0:
            raise self.failed(step, finished)
        return finished

    @staticmethod
    def _answer(finished: Finished) -> dict[str, Any]:
        if finished.log_path.stat().st_size > _ANSWER_BYTES_MAX:
            raise Failed("Terraform's answer is too large", code="answer_too_large")
        said: dict[str, Any] = json.loads(finished.log_path.read_bytes(), parse_float=Decimal)
        return said


@dataclass(frozen=True)
class Opening:
    """What every operation of a provisioner is opened with; `secrets` go to Terraform's variables."""

    terraform: Terraform
    settings: RunnerSettings
    root: Path
    mirror: Path | None
    providers: frozenset[str]


@contextmanager
def opened(
    opening: Opening,
    site: Site,
    request: stacks.StackRequest,
    files: dict[Path, bytes],
    should_stop: Callable[[], bool],
    secrets: Mapping[str, str],
    tell: Told = untold,
) -> Generator[Operation]:
    """An initialised operation over `files`, in a folder that is removed at the end."""
    with workspace.operation(opening.root, request.tenant) as folder:
        if site.state is not None:
            workspace.private_folder(site.state.parent)
        module.copy(files, folder.module)
        (folder.module / module.OVERRIDE_FILE).write_bytes(canonical(_override(site, files)))
        variables = folder.home / "paybill.tfvars.json"
        stacks.write_variables(request, variables, site.shared)
        settings = opening.settings
        operation = Operation(
            opening.terraform,
            Runner(settings, _environment(opening, site, folder, secrets)),
            folder,
            site,
            variables,
            Arguments(folder.home, settings.lock_timeout_s),
            should_stop,
            tell,
        )
        operation.init(_kept(opening, site, request, files))
        yield operation


def _override(site: Site, files: Mapping[Path, bytes]) -> dict[str, Json]:
    """What the module is overridden with: where its state lies, and how its provider is set."""
    # It also serves modules without a backend: their state would go with the folder.
    found: dict[str, Json] = {"terraform": {"backend": site.backend}}
    if site.provider is not None:
        name, settings = site.provider
        aliases = module.provider_aliases(files, name)
        blocks = [{**settings, "alias": one} if one else settings for one in aliases]
        if blocks:
            found["provider"] = {name: plain(blocks)}
    return found


def _kept(
    opening: Opening, site: Site, request: stacks.StackRequest, files: Mapping[Path, bytes]
) -> Path:
    """Where operations of this very stack, with the same files and versions, keep what `init` made."""
    without_lock = {path: one for path, one in files.items() if path.name != module.LOCK_FILE}
    same = {
        "terraform": [opening.terraform.version, *opening.terraform.argv],
        "module": module.digest_of(without_lock),
        "backend": site.backend,
        "mirror": str(opening.mirror),
        "providers": sorted(site.providers | opening.providers),
    }
    return opening.root / request.tenant / ".initialised" / digest(same)


def _environment(
    opening: Opening, site: Site, folder: workspace.Folder, secrets: Mapping[str, str]
) -> dict[str, str]:
    """All that a child sees of the world: nothing is inherited."""
    configuration = folder.home / "terraform.rc"
    configuration.write_bytes(
        canonical(cli_config(opening.mirror, site.providers | opening.providers))
    )
    return {
        **site.environment,
        **{f"TF_VAR_{name}": value for name, value in secrets.items()},
        "PATH": opening.settings.search_path,
        "HOME": str(folder.home),
        "TMPDIR": str(folder.sockets),
        "LANG": "C.UTF-8",
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        "CHECKPOINT_DISABLE": "1",
        "TF_CLI_CONFIG_FILE": str(configuration),
        "TF_PLUGIN_CACHE_DIR": str(workspace.private_folder(opening.root / ".plugins")),
    }
