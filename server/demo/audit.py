"""The act of the audit log: verified by the command that an auditor uses. Verifies nothing itself."""

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
