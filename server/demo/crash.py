"""The act of the kill: a worker dies between an effect and its record. Not how a run recovers."""

from __future__ import annotations

import json
import signal
from typing import Any, Final

from control_plane.domain.canonical import Json
from server.demo.ledger import Seen
from server.demo.scenario import SUPPORT_BOT, Ask
from server.demo.stage import Stage

# Terraform has applied and nothing says so yet: the instant at which a repeat would do it twice.
BOUNDARY: Final = "onboard.provision.done"
_DEATH_DEADLINE_S = 60.0
_OVER = frozenset(
    {"applied", "discarded", "canceled", "compensated", "compensation_failed", "failed"}
)


async def kill_and_resume(stage: Stage, waiting: dict[str, Json]) -> None:
    """Approve a waiting run under a worker that dies half-way, then let another one finish it."""
    worker, voice = stage.place.worker, stage.voice
    tenant, run_id = str(waiting["tenant"]), str(waiting["run_id"])
    voice.say(f"A worker that kills itself (SIGKILL) at {BOUNDARY}: Terraform has applied, and")
    voice.say("no row says so yet. alice approves, and the worker begins.")
    worker.stop()
    state = await worker.start("--failpoints", f"{BOUNDARY}:1:kill")
    await stage.approved(str(waiting["approval_id"]), str(waiting["plan_digest"]))
    with voice.waiting(f"worker {state.pid} works …"):
        status = await worker.death(_DEATH_DEADLINE_S)
    stage.check(f"worker {state.pid} was killed", {"status": -signal.SIGKILL}, {"status": status})
    before = _infrastructure(stage, tenant)
    await stage.expect(
        "without worker and policy engine nothing is answered: it fails closed",
        Ask(SUPPORT_BOT, "run_get", {"run_id": run_id}),
        {"outcome": "refused", "code": "policy_engine_unavailable"},
    )
    state = await worker.start()
    voice.say(f"Worker {state.pid} is started. It looks at what stands before it does anything.")
    run = await stage.followed(SUPPORT_BOT, run_id, until=_OVER)
    _check_once(stage, run, before, _infrastructure(stage, tenant))
    await stage.expect(
        "one tenant of that name",
        Ask(SUPPORT_BOT, "tenant_list", {}),
        {
            "outcome": "done",
            "result": {
                "tenants": [
                    {"tenant": one} for one in ("acme", "globex", "hooli", "initech", "wonka")
                ]
            },
        },
    )


def _check_once(stage: Stage, run: Seen, before: Seen, after: Seen) -> None:
    steps = run["steps"]
    assert isinstance(steps, list), "a run lists its steps"
    shown = [(str(one["name"]), str(one["state"])) for one in steps if isinstance(one, dict)]
    stage.voice.table(("step", "state"), shown)
    done = [{"name": name, "state": "succeeded"} for name in _STEPS]
    stage.check("the run is finished, each step once", {"state": "applied", "steps": done}, run)
    stage.voice.lines([f"Terraform's state: {json.dumps(after)}"])
    stage.check(
        "Terraform applied once: its state is the one that the dead worker left", before, after
    )


def _infrastructure(stage: Stage, tenant: str) -> Seen:
    path = stage.place.workspace.terraform / tenant / "silo" / "terraform.tfstate"
    state: dict[str, Any] = json.loads(path.read_bytes())
    resources = sorted(f"{one['type']}.{one['name']}" for one in state["resources"])
    return {"lineage": state["lineage"], "serial": state["serial"], "resources": list(resources)}


_STEPS = ("register", "collect", "provision", "database", "verify", "hand_over", "activate")
