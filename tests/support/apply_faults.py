"""A local stack whose apply can be struck at each of its steps, and what of it really stands. Not the tests.

Three resources, one behind the other. Each runs a program at its making and at its removal, which
writes a line to a log: that log is the cloud. Where a program finds itself armed, it says that it
was struck and then waits, fails, or stops its Terraform. It is armed by a file outside the module,
so the module's digest, and with it a saved plan, stays the same.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from control_plane.provisioning import module
from control_plane.provisioning.stacks import StackRequest, module_path

STEPS: Final = ("first", "second", "third")
Fault: TypeAlias = Literal[
    "kill", "crash", "interrupt", "hang", "freeze", "fail", "full", "short", "empty"
]
"""SIGKILL to Terraform; the end of worker and Terraform; SIGINT; a program that never ends; a
Terraform that no longer answers; a program that fails; no space on the disk; a limit on the size of
files, which cuts the state off; the same, which leaves nothing of it."""
_LIMITS: Final = {"short": 100, "empty": 0}
_SCRIPT: Final = """\
armed="$FOLDER/armed.$1.$2"
if [ -e "$armed" ]; then
  how=$(cat "$armed")
  rm "$armed"
  echo $PPID > "$FOLDER/struck.part"
  mv "$FOLDER/struck.part" "$FOLDER/struck"
  case $how in
    fail) exit 3 ;;
    full) cat /dev/zero > "$DISK/filled" 2> /dev/null ;;
    freeze) kill -STOP $PPID ;;
  esac
  case $how in
    full) ;;
    *) read line < "$FOLDER/fifo" ;;
  esac
fi
echo "$1 $2" >> "$FOLDER/cloud.log"
"""


@dataclass(frozen=True)
class Struck:
    """A stack's module and its log. `disk` is what is filled where the disk is to be full."""

    folder: Path
    disk: Path
    modules: Path

    @property
    def module(self) -> Path:
        """The module of a pooled stack."""
        return self.modules / "local" / "pooled"

    @property
    def admitted(self) -> str:
        """The digest that admits it."""
        return module.tree_digest(self.module)

    def arm(self, step: str, fault: Fault, word: str = "made") -> None:
        """Have a step's program strike, once."""
        self.folder.joinpath(f"armed.{word}.{step}").write_text(fault)

    def is_struck(self) -> bool:
        """Whether a program said so."""
        return self.folder.joinpath("struck").exists()

    def terraform(self) -> int:
        """The process that the struck program belongs to."""
        return int(self.folder.joinpath("struck").read_text())

    def stands(self) -> frozenset[str]:
        """The steps whose effects stand."""
        return frozenset(step for step, words in self._said().items() if words[-1] == "made")

    def twice(self) -> list[str]:
        """The steps whose effects were made while they stood already."""
        return [step for step, words in self._said().items() if "made made" in " ".join(words)]

    def _said(self) -> dict[str, list[str]]:
        log = self.folder / "cloud.log"
        said: dict[str, list[str]] = {}
        for line in log.read_text().splitlines() if log.exists() else []:
            word, step = line.split()
            said.setdefault(step, []).append(word)
        return said

    def mend(self) -> None:
        """Let go of what was armed, and give back the space."""
        for path in (*self.folder.glob("armed.*"), self.folder / "struck", self.disk / "filled"):
            path.unlink(missing_ok=True)


def struck_module(folder: Path, disk: Path) -> Struck:
    """Write the module below `folder`."""
    made = Struck(folder, disk, folder / "modules")
    request = StackRequest(
        tenant="any", run_id="any", cloud="local", isolation="pooled", plan="any", region="any"
    )
    shutil.copytree(module_path(request, {}), made.module)
    os.mkfifo(folder / "fifo")
    script = folder / "step.sh"
    script.write_text(_SCRIPT)
    blocks = "".join(_step(made, number, name) for number, name in enumerate(STEPS))
    made.module.joinpath("steps.tf").write_text(blocks)
    return made


def _step(made: Struck, number: int, name: str) -> str:
    before = f"  depends_on = [terraform_data.{STEPS[number - 1]}]\n" if number else ""
    return (
        f'resource "terraform_data" "{name}" {{\n  input = var.tenant_id\n{before}'
        + _program(made, "made", name, "")
        + _program(made, "gone", name, "    when = destroy\n")
        + "}\n"
    )


def _program(made: Struck, word: str, name: str, when: str) -> str:
    # Read in, not run: so the parent of the program's shell is Terraform.
    command = f"set -- {word} {name}; . {made.folder}/step.sh"
    return (
        f'  provisioner "local-exec" {{\n{when}    command = {json.dumps(command)}\n'
        f"    environment = {{\n      FOLDER = {json.dumps(str(made.folder))}\n"
        f"      DISK   = {json.dumps(str(made.disk))}\n    }}\n  }}\n"
    )


class Crashed(BaseException):
    """The worker died here: nothing below may catch it."""


def blow(struck: Struck, fault: Fault) -> Callable[[], bool]:
    """What a worker that asks whether to stop is told, or what happens to it, once a program was struck."""

    def should_stop() -> bool:
        if not struck.is_struck():
            return False
        if fault == "crash":
            raise Crashed
        if fault == "kill":
            os.kill(struck.terraform(), signal.SIGKILL)
        if fault in _LIMITS:
            _limit(struck, _LIMITS[fault])
        return fault in {"interrupt", "freeze"}

    return should_stop


def _limit(struck: Struck, size_bytes: int) -> None:
    """Let Terraform write nothing beyond a few bytes, and let the program go on."""
    resource.prlimit(struck.terraform(), resource.RLIMIT_FSIZE, (size_bytes, size_bytes))
    struck.folder.joinpath("struck").unlink()
    struck.folder.joinpath("fifo").write_text("go\n")
