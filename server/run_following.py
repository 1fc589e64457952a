"""A call that has become a run, followed for a client that asked to be told how far it is. It decides nothing.

Each look is a call of `run_log` by the same caller, decided and recorded like any other. At the end the
call is repeated under its own key, which answers with what has become of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import anyio

from graphs.errors import Unlisted
from server.dispatch import DeadlineExceeded, Hop
from server.front import Answer, Front
from server.run_watch import RESTING

FOLLOW_S: Final = 45.0
"""How long at most: most clients give up on a call after a minute."""
_LOOK_S: Final = 0.5
_LOOKS_MAX: Final = 1_000
_LOG, _EVENTS_MAX = "run_log", 100

Report = Callable[[float, str], Awaitable[None]]


class RunFollowing:
    """Follows runs on one connection."""

    def __init__(self, front: Front, dispatch: Hop, follow_s: float = FOLLOW_S) -> None:
        self._front = front
        self._dispatch = dispatch
        self._follow_s = follow_s

    async def follow(
        self, name: str, arguments: Mapping[str, Any], answer: Answer, report: Report
    ) -> Answer:
        """The answer of a call, and where it began a run, the one after that has been followed.

        Whatever keeps it from being followed leaves the first answer: the run goes on all the same.
        """
        run_id = _begun(answer)
        # A dry run keeps no key: to repeat it would be to plan it once more.
        if run_id is None or "idempotency_key" not in arguments or arguments.get("dry_run"):
            return answer
        with anyio.move_on_after(self._follow_s):
            if not await self._told_all(run_id, report):
                return answer
        try:
            return await self._dispatch.run(self._front.call, name, dict(arguments))
        except (Unlisted, DeadlineExceeded):
            return answer

    async def _told_all(self, run_id: str, report: Report) -> bool:
        """Report until the run rests; False where its log may not be read."""
        after = 0
        for _ in range(_LOOKS_MAX):
            asked = {"run_id": run_id, "after": after, "limit": _EVENTS_MAX}
            try:
                page = _page(await self._dispatch.run(self._front.call, _LOG, asked))
            except (Unlisted, DeadlineExceeded):
                return False
            if page is None:
                return False
            for event in page["events"]:
                said = f"{event['address']}: {event['doing']} {event['stage']}"
                await report(float(event["position"]), said)
            after = page["next_after"]
            if page["state"] in RESTING:
                return True
            if not page["events"]:
                await anyio.sleep(_LOOK_S)
        return True


def _begun(answer: Answer) -> str | None:
    outcome = answer.outcome
    return outcome.run_id if outcome is not None and outcome.outcome == "running" else None


def _page(answer: Answer) -> Mapping[str, Any] | None:
    outcome = answer.outcome
    if outcome is None or outcome.outcome != "done" or outcome.result is None:
        return None
    return outcome.result
