"""Named faults at the boundaries of a run, armed only on a command line. Not a way to skip a step."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from control_plane.errors import BadInput, Failed

FaultKind = Literal["kill", "raise", "hang"]

_ARMED = re.compile(
    r"(?P<name>[a-z_]+(?:\.[a-z_]+)*):(?P<nth>[1-9][0-9]{0,3}):(?P<kind>kill|raise|hang)"
)
_HANG_S_MAX = 3600.0

RUN_BOUNDARIES = (
    "run.taken",
    "run.planning",
    "run.observed",
    "run.planned",
    "run.settled",
    "run.started",
    "run.verified",
    "run.compensating",
)
INSIDE_BOUNDARIES = ("before", "inside", "recorded")
OUTSIDE_BOUNDARIES = ("before", "dispatched", "done", "recorded")
UNDO_BOUNDARIES = ("undo_before", "undo_done", "undo_recorded")
BILLING_BOUNDARIES = ("billing.begun", "billing.asked", "billing.settled")
HOUSE_BOUNDARIES = ("house.due", "house.proposed")
FACE_BOUNDARIES = ("face.decided", "face.committed")


class Injected(Failed):
    """A fault that was armed on the command line."""

    code = "failpoint"


@dataclass(frozen=True)
class Armed:
    """One fault: at the nth time that the boundary is reached."""

    name: str
    nth: int
    kind: FaultKind


class Failpoints:
    """Counts how often each boundary was reached, and does what was armed."""

    def __init__(self, armed: Sequence[Armed] = ()) -> None:
        self._armed = tuple(armed)
        self._reached: dict[str, int] = {}
        self._lock = threading.Lock()

    def reach(self, name: str) -> None:
        """Pass a boundary. Does nothing where nothing is armed."""
        if not self._armed:
            return
        with self._lock:
            count = self._reached[name] = self._reached.get(name, 0) + 1
        for fault in self._armed:
            if (fault.name, fault.nth) == (name, count):
                _strike(fault.kind)


def _strike(kind: FaultKind) -> None:
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "raise":
        raise Injected("A fault was injected here.", retryable=True)
    threading.Event().wait(_HANG_S_MAX)


def parse_failpoints(texts: Sequence[str], known: Sequence[str]) -> tuple[Armed, ...]:
    """Read ``<boundary>:<nth>:<kill|raise|hang>``; BadInput for an unknown boundary or form."""
    armed: list[Armed] = []
    for text in texts:
        match = _ARMED.fullmatch(text)
        if match is None:
            raise BadInput("failpoints", "must be <boundary>:<nth>:<kill|raise|hang>")
        if match["name"] not in known:
            raise BadInput("failpoints", "names no boundary: paybill failpoints lists them")
        armed.append(Armed(match["name"], int(match["nth"]), cast("FaultKind", match["kind"])))
    return tuple(armed)
