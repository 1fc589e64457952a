"""Terraform at work on one stack, in one private folder: its few steps. It decides nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from control_plane.domain.canonical import canonical
from control_plane.errors import Failed
from control_plane.provisioning import module, stacks, workspace
from control_plane.provisioning.arguments import Arguments
from control_plane.provisioning.binary import Terraform
from control_plane.provisioning.reason import Reason, classify
from control_plane.provisioning.runner import Finished, Runner, RunnerSettings

_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
NO_CHANGES, CHANGES = 0, 2


@dataclass
class Operation:
    """One private folder with a stack's module in it, and the commands that may run there."""

    terraform: Terraform
    runner: Runner
    folder: workspace.Folder
    state: Path
    variables: Path
    should_stop: Callable[[], bool]
    _step: int = field(default=0)

    def init(self) -> None:
        """Make the folder ready. Raises Failed."""
        locked = (self.folder.module / module.LOCK_FILE).is_file()
        self._must("init", self._arguments().init(locked=locked))

    def plan(self, out: Path | None, *, destroy: bool) -> bool:
        """Plan into `out`; whether anything would change. Raises Failed."""
        words = self._arguments().plan(self.variables, out, destroy=destroy)
        finished = self.run("plan", words)
        if finished.rc not in {NO_CHANGES, CHANGES}:
            raise self.failed("plan", finished)
        return finished.rc == CHANGES

    def show(self, plan: Path) -> dict[str, Any]:
        """A saved plan as JSON; fractions are Decimal. Raises Failed."""
        return self._answer(self._must("show", self._arguments().show(plan)))

    def apply(self, plan: Path) -> Finished:
        """Apply a saved plan; how it ended is for the caller to judge."""
        return self.run("apply", self._arguments().apply(plan))

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs by name, sensitive ones too. Raises Failed."""
        said = self._answer(self._must("output", self._arguments().output()))
        return {name: one["value"] for name, one in said.items()}

    def is_empty(self) -> bool:
        """Whether the state holds no resource. Raises Failed."""
        finished = self.run("state list", self._arguments().state_list())
        if finished.rc != 0:
            if classify(finished.error_path).code == "no_state":
                return True
            raise self.failed("state list", finished)
        return not finished.log_path.read_text(encoding="utf-8").strip()

    def state_digest(self) -> str:
        """The SHA-256 of the state file, or nothing: tells whether a command changed it."""
        if not self.state.is_file():
            return ""
        return hashlib.sha256(self.state.read_bytes()).hexdigest()

    def run(self, step: str, words: tuple[str, ...]) -> Finished:
        """Run one command. Raises Failed(stopped) when it is not even to be started."""
        if self.should_stop():
            raise Failed(f"stopped before {step}", retryable=True, code="stopped")
        self._step += 1
        log_path = self.folder.home / f"{self._step}.log"
        return self.runner.run(
            (*self.terraform.argv, *words),
            self.folder.module,
            log_path,
            should_stop=self.should_stop,
            keep_fds=(self.folder.lock_fd,),
        )

    @staticmethod
    def failed(step: str, finished: Finished, reason: Reason | None = None) -> Failed:
        """The error of a command after which nothing has changed."""
        if finished.interrupted:
            return Failed(f"{step} was stopped", retryable=True, code="stopped")
        if finished.rc < 0:
            return Failed(f"{step} was killed", retryable=True, code="killed")
        reason = reason or classify(finished.error_path)
        return Failed(f"{step}: {reason.text}", retryable=reason.retryable, code=reason.code)

    def _arguments(self) -> Arguments:
        return Arguments(self.folder.home)

    def _must(self, step: str, words: tuple[str, ...]) -> Finished:
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


@contextmanager
def opened(
    terraform: Terraform,
    settings: RunnerSettings,
    root: Path,
    request: stacks.StackRequest,
    files: dict[Path, bytes],
    should_stop: Callable[[], bool],
) -> Generator[Operation]:
    """An initialised operation over `files`, in a folder that is removed at the end."""
    with workspace.operation(root, request.tenant) as folder:
        state = workspace.state_path(root, request)
        workspace.private_folder(state.parent)
        module.copy(files, folder.module)
        # An override also serves modules without a backend: their state would go with the folder.
        backend = {"terraform": {"backend": {"local": {"path": str(state)}}}}
        (folder.module / module.OVERRIDE_FILE).write_bytes(canonical(backend))
        variables = folder.home / "paybill.tfvars.json"
        stacks.write_variables(request, variables)
        runner = Runner(settings, _environment(settings, root, folder.home))
        operation = Operation(terraform, runner, folder, state, variables, should_stop)
        operation.init()
        yield operation


def _environment(settings: RunnerSettings, root: Path, home: Path) -> dict[str, str]:
    """All that a child sees of the world: nothing is inherited."""
    cli_config = home / "terraform.rc"
    cli_config.write_text(settings.cli_config, encoding="utf-8")
    return {
        "PATH": settings.search_path,
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        "CHECKPOINT_DISABLE": "1",
        "TF_CLI_CONFIG_FILE": str(cli_config),
        "TF_PLUGIN_CACHE_DIR": str(workspace.private_folder(root / ".plugins")),
    }
