"""What every act works with: place, agents, voice, ledger; and following a run to its end. No act."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anyio

from control_plane.domain.canonical import Json
from control_plane.errors import Failed
from server.demo.agents import Agent
from server.demo.ledger import Expected, Ledger, Seen
from server.demo.narrator import Narrator, compact
from server.demo.place import Place
from server.demo.scenario import Ask, Command, Deed, Listing

_PAUSE_S = 0.1
_RUN_DEADLINE_S = 60.0
_SETTLED = frozenset(
    {
        "awaiting_approval",
        "applied",
        "discarded",
        "canceled",
        "compensated",
        "compensation_failed",
        "failed",
    }
)


@dataclass(frozen=True)
class Stage:
    """The demo's means."""

    place: Place
    agents: Mapping[str, Agent]
    voice: Narrator
    ledger: Ledger

    async def do(self, deed: Deed) -> Seen:
        """Do one thing of the scenario; what its doer sees."""
        if isinstance(deed, Ask):
            return await self.agents[deed.by].ask(deed.tool, deed.arguments)
        if isinstance(deed, Listing):
            return await self.agents[deed.by].tools()
        return await self.place.command(*deed.arguments, secret=deed.secret)

    async def shown(self, deed: Deed) -> Seen:
        """Do it, and show question and answer."""
        seen = await self.do(deed)
        self.voice.exchange(told(deed), seen)
        return seen

    async def expect(self, about: str, deed: Deed, expected: Expected) -> Seen:
        """Do it, show it and hold it against what must be seen."""
        seen = await self.shown(deed)
        self.check(about, expected, seen)
        return seen

    def check(self, about: str, expected: Expected, seen: Seen) -> bool:
        """Hold something seen against what must be seen, and say whether it is so."""
        held = self.ledger.expect(about, expected, seen)
        self.voice.verdict(held, about)
        return held

    async def followed(self, by: str, run_id: str, until: frozenset[str] = _SETTLED) -> Seen:
        """Poll a run until it rests; the run as the agent reads it. Failed when it takes too long."""
        states: list[str] = []
        start_s = time.monotonic()
        with self.voice.waiting("run_get …") as tell:
            while time.monotonic() < start_s + _RUN_DEADLINE_S:
                run = result_of(await self.do(Ask(by, "run_get", {"run_id": run_id})))
                state = str(run["state"])
                if state not in states[-1:]:
                    states.append(state)
                tell(f"{run['tenant']}: {state}")
                if state in until:
                    took_s = time.monotonic() - start_s
                    self.voice.lines([f"{' → '.join(states)} ({took_s:.1f} s)"])
                    return run
                await anyio.sleep(_PAUSE_S)
        raise Failed(f"The run {run_id} took too long; it is {states[-1]}.", code="demo_run")

    async def approved(self, approval_id: str, digest: str, *, lines_max: int = 0) -> None:
        """Approve as alice does: own token, own passphrase, another channel than the agent's.

        ``lines_max`` says how much of the plan that she is shown is shown here, too. Failed when
        it was refused: nothing that follows could be.
        """
        command = Command(
            (
                "approvals",
                "approve",
                approval_id,
                "--confirm",
                digest[:8],
                "--token-file",
                str(self.place.token_file("alice")),
            ),
            {"--passphrase-fd": self.place.approver_secret},
        )
        seen = await self.do(command)
        self.voice.lines([told(command)], style="cyan")
        self.voice.lines(shortened(str(seen["stdout"]).splitlines(), lines_max))
        self.voice.lines(str(seen["stderr"]).splitlines(), style="")
        if not self.check("the approval is signed", {"exit": 0}, seen):
            raise Failed("Without the approval the demo cannot go on.", code="demo_approval")


def result_of(seen: Seen) -> Mapping[str, Json]:
    """The result of a call that must have been done. Failed when it was not: nothing can follow."""
    result = seen.get("result")
    if not isinstance(result, Mapping):
        raise Failed(f"A call that the demo builds on was answered: {compact(seen)}", code="demo")
    return result


def shortened(lines: Sequence[str], lines_max: int) -> list[str]:
    """The first lines and the last two, and how many stand between."""
    left_out = len(lines) - lines_max - 2
    if not lines_max:
        return []
    if left_out < 1:
        return list(lines)
    return [*lines[:lines_max], f"… {left_out} more lines …", *lines[-2:]]


def told(deed: Deed) -> str:
    """A deed as one reads it."""
    if isinstance(deed, Ask):
        given = ", ".join(f"{name}={compact(value)}" for name, value in deed.arguments.items())
        return f"{deed.by}: {deed.tool}({given})"
    if isinstance(deed, Listing):
        return f"{deed.by}: tools/list"
    return " ".join(("$ paybill", *deed.arguments, *(f"{option} …" for option in deed.secret)))
