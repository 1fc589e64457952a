"""The port to a durable job engine. Not an engine, and it knows no run: only names and job ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol, TypeAlias

from control_plane.errors import BadInput

JobStatus: TypeAlias = Literal["absent", "waiting", "working", "done", "failed"]
Routine: TypeAlias = Callable[[str], str]

ID_CHARS_MAX = 200
WORD_CHARS_MAX = 64


class JobEngine(Protocol):
    """Calls a named routine at least once for every job, one at a time within a partition.

    After a crash a routine is called again from the top, so it must find in our own rows what it
    has done already. What it returns is one short word (at most 64 characters) and nothing else is
    kept. An exception ends the job as `failed`: the engine never tries again by itself.
    """

    def launch(self, routines: Mapping[str, Routine]) -> None:
        """Start to call `routines` (name → callable of a job id). Unavailable: it cannot start.

        Jobs that wait are taken up at once; those that a dead predecessor held need `recover`.
        """
        ...

    def enqueue(self, name: str, job_id: str, partition: str) -> None:
        """Have routine `name` called with `job_id`, after the jobs before it in `partition`.

        The same id twice is one job, also when it has ended. BadInput: a name that was not
        launched, or an id or partition that is empty or longer than 200 characters.
        """
        ...

    def status(self, job_id: str) -> JobStatus:
        """Tell where the job is; a canceled one is `failed`, an unknown one `absent`."""
        ...

    def cancel(self, job_id: str) -> None:
        """See to it that a waiting job is never called.

        A working job goes on, and keeps its partition: its routine must find out from our own rows
        that it is not wanted. A job that is absent or has ended stays as it is.
        """
        ...

    def recover(self) -> int:
        """Queue again what nobody works on, in its own partition; returns how many jobs.

        That is what a dead predecessor held: the caller is the workspace's only worker, so whoever
        else held jobs is dead. May be called again and again.
        """
        ...

    def stop(self, grace_s: float) -> None:
        """Call nothing more, wait `grace_s` seconds at most for routines at work, then let go.

        A routine still at work after that is left to itself: its job stays `working` until a
        successor recovers it, and Python's exit waits for its thread. A second stop does nothing.
        """
        ...


def check_text(field: str, value: str) -> None:
    """Refuse an id, name or partition that is empty, blank or longer than 200 characters."""
    if not value.strip() or len(value) > ID_CHARS_MAX:
        raise BadInput(field, f"must have 1 to {ID_CHARS_MAX} characters")


def check_word(word: object) -> str:
    """Return what a routine returned if it is a short word; BadInput otherwise."""
    if not isinstance(word, str) or len(word) > WORD_CHARS_MAX:
        raise BadInput("routine", f"must return a word of at most {WORD_CHARS_MAX} characters")
    return word
