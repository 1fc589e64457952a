"""The facts of a run that policy decides on. Not its plan."""

from __future__ import annotations

from typing import ClassVar

from control_plane.facts.base import Facts


class RunFacts(Facts):
    """Kind ``run``: ``own`` says that this very caller (human and actor) asked for it."""

    kind: ClassVar[str] = "run"

    exists: bool
    member: bool
    own: bool
    state: str = ""
    cancelable: bool = False
