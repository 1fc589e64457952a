"""The act of the audit log: verified and replayed by the commands of an auditor. Verifies nothing itself."""

from __future__ import annotations

from server.demo.scenario import Command
from server.demo.stage import Stage, told


async def verify(stage: Stage) -> None:
    """Prove the log intact, and every guarded row as its last leaf says."""
    stage.voice.say("An auditor kept a checkpoint from before the kill: the log must extend it.")
    kept = str(stage.place.checkpoint)
    command = Command(("audit", "verify", "--checkpoint", kept), {})
    # A worker that stops gives the last leaves their places and signs them.
    stage.place.worker.stop()
    seen = await stage.do(command)
    stage.voice.lines([told(command)], style="cyan")
    stage.voice.lines(str(seen["stdout"]).splitlines())
    stage.voice.lines(str(seen["stderr"]).splitlines())
    stage.check("the audit log is whole and signed", {"exit": 0}, seen)


async def replay(stage: Stage) -> None:
    """Decide and plan the recorded calls again."""
    stage.voice.say("The recorded calls are decided and planned again, under the policies of then.")
    command = Command(("audit", "replay", "--limit", "1000"), {})
    seen = await stage.do(command)
    stage.voice.lines([told(command)], style="cyan")
    stage.voice.lines(str(seen["stdout"]).splitlines()[-1:])
    stage.check("every one comes to the same digests", {"exit": 0}, seen)
