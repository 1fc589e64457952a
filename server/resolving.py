"""Names of other machines to their addresses, within a deadline that the system's resolver does not know. Connects nowhere."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from typing import Final

from control_plane.billing.sender import Resolve, system_resolve

DEADLINE_S: Final = 5.0


def resolve(
    host: str, port: int, deadline_s: float = DEADLINE_S, ask: Resolve = system_resolve
) -> Sequence[str]:
    """The addresses of a name, in the system's order. OSError where it has none, or none in time."""
    answers: queue.SimpleQueue[Sequence[str] | Exception] = queue.SimpleQueue()

    def wait() -> None:
        try:
            answers.put(ask(host, port))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    # Nothing ends a question that hangs: its thread must not keep the process.
    threading.Thread(target=wait, name="resolve", daemon=True).start()
    try:
        answered = answers.get(timeout=deadline_s)
    except queue.Empty:
        raise OSError("the name was not resolved in time") from None
    if isinstance(answered, Exception):
        raise answered
    return answered
