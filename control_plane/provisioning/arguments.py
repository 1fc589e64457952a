"""The argument lists of the Terraform commands that may run. Not a runner; no free arguments.

python-terraform turns options into words; nothing else of it is used, because its own running
copies the environment, knows no deadline and logs what Terraform says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol, cast

import python_terraform

_FLAG: Final = cast("object", python_terraform.IsFlagged)


class _Words(Protocol):
    def generate_cmd_string(self, cmd: str, *args: str, **kwargs: object) -> list[str]: ...


class Arguments:
    """Argument lists without the executable; `folder` must hold no state file of its own.

    The folder is named because the library reads `terraform.tfstate` from it when it is made.
    """

    def __init__(self, folder: Path, lock_timeout_s: int) -> None:
        self._lock_timeout = f"{lock_timeout_s}s"
        self._words = cast("_Words", python_terraform.Terraform(working_dir=str(folder)))

    def init(self, *, locked: bool) -> tuple[str, ...]:
        """`init`; with a lock file it may not change a provider."""
        return self._list("init", input=False, lockfile="readonly" if locked else None)

    def plan(
        self,
        variables: Path,
        out: Path | None,
        *,
        destroy: bool = False,
        refresh_only: bool = False,
    ) -> tuple[str, ...]:
        """`plan -detailed-exitcode`, kept in `out` when it is to be applied or shown."""
        return self._list(
            "plan",
            input=False,
            detailed_exitcode=_FLAG,
            lock_timeout=self._lock_timeout,
            var_file=str(variables),
            out=None if out is None else str(out),
            destroy=_FLAG if destroy else None,
            refresh_only=_FLAG if refresh_only else None,
        )

    def show(self, plan: Path) -> tuple[str, ...]:
        """`show -json` of a saved plan."""
        return self._list("show", str(plan), json=_FLAG)

    def apply(self, plan: Path) -> tuple[str, ...]:
        """`apply` of a saved plan: there is no other way to change anything."""
        return self._list(
            "apply", str(plan), json=_FLAG, input=False, lock_timeout=self._lock_timeout
        )

    def state_pull(self) -> tuple[str, ...]:
        """`state pull`: the state as it lies in its backend."""
        return self._list("state pull", colored=True)

    def state_push(self, state: Path) -> tuple[str, ...]:
        """`state push` of one that Terraform could not write where it belongs; never by force."""
        return self._list("state push", str(state), colored=True, lock_timeout=self._lock_timeout)

    def force_unlock(self, lock_id: str) -> tuple[str, ...]:
        """`force-unlock` of one lock, which nobody holds any more."""
        return self._list("force-unlock", lock_id, colored=True, force=_FLAG)

    def import_(self, variables: Path, address: str, import_id: str) -> tuple[str, ...]:
        """`import` of a resource that stands and that the state does not know."""
        return self._list(
            "import",
            address,
            import_id,
            input=False,
            lock_timeout=self._lock_timeout,
            var_file=str(variables),
        )

    def _list(
        self, command: str, *positional: str, colored: bool = False, **options: object
    ) -> tuple[str, ...]:
        # A positional word with a dash would become an option, a dict a file of values.
        if any(word.startswith("-") for word in positional):
            raise ValueError("a positional argument may not start with a dash")
        if any(isinstance(value, dict) for value in options.values()):
            raise ValueError("an option may not be a mapping")
        if not colored:  # `state list` knows no -no-color
            options = {"no_color": _FLAG, **options}
        return tuple(self._words.generate_cmd_string(command, *positional, **options)[1:])
