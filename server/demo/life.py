"""The act of a tenant's whole life: suspended, resumed, offboarded, restored. Not its onboarding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from control_plane.domain.canonical import Json
from server.demo.ledger import Expected, Seen
from server.demo.scenario import SUPPORT_BOT, Ask, Command
from server.demo.stage import Stage, result_of, told

TENANT: Final = "hooli"
_PLAN_LINES = 10
_RECORD: Final[Mapping[str, Json]] = {
    "number": 1918,
    "first_name": "Katherine",
    "last_name": "Johnson",
    "city": "White Sulphur Springs",
    "country": "USA",
    "email": "katherine@example.com",
    "account_manager": "alice",
}
_CITY: Final = "Hampton"
_SAME: Final[Expected] = {
    "outcome": "done",
    "result": {"records": [{"full_name": "Katherine Johnson", "city": _CITY}]},
}


async def live(stage: Stage) -> None:
    """Everything that can happen to a tenant after it has come into being."""
    stage.voice.say("hooli is a bridge: its own place, and reference tables that all may read.")
    await stage.expect(
        "shared reference rows are read from within the tenant",
        _query("currencies", limit=1, sort="code"),
        {"outcome": "done", "result": {"records": [{"code": "AUD"}]}},
    )
    writing = _ask("customers_create", values=_RECORD)
    await _changed(stage, await stage.expect("a record of its own", writing, {"outcome": "done"}))
    await _suspended(stage)
    await _offboarded(stage)
    await _restored(stage)


async def _changed(stage: Stage, seen: Seen) -> None:
    record = result_of(seen)["record"]
    assert isinstance(record, dict), "what was made is answered"
    change: dict[str, Json] = {
        "id": record["id"],
        "version": record["version"],
        "values": {"city": _CITY},
    }
    await stage.expect(
        "a change shows its before and after first",
        _ask("customers_update", **change, dry_run=True),
        {"outcome": "planned", "result": {"rows": {"before": {"city": _RECORD["city"]}}}},
    )
    changed: Expected = {"outcome": "done", "result": {"record": {"city": _CITY, "version": 2}}}
    await stage.expect("and is made", _ask("customers_update", **change), changed)
    await stage.expect(
        "of a version that is past it is refused",
        _ask("customers_update", "-late", **change | {"values": {"city": "Newport"}}),
        {"outcome": "refused", "code": "stale"},
    )


async def _suspended(stage: Stage) -> None:
    voice = stage.voice
    voice.say("Suspended: the very next call is refused, with no sweep in between.")
    await _run(stage, _ask("tenant_suspend", reason="operator", access="none"), "is suspended")
    await stage.expect(
        "its records are closed",
        _query("customers"),
        {"outcome": "refused", "code": "access_suspended", "fact": "access_mode"},
    )
    await _run(stage, _ask("tenant_resume", reason="operator"), "is resumed")
    await stage.expect("and they are served again", _query("customers"), _SAME)


async def _offboarded(stage: Stage) -> None:
    voice = stage.voice
    voice.say("Offboarded: not while it is protected, not without a human, not without a backup")
    voice.say("that was restored to prove it.")
    asked = _ask("tenant_offboard", cancel_subscription=True)
    await stage.expect(
        "it is protected against deletion",
        asked,
        {"outcome": "refused", "code": "deletion_protected", "fact": "deletion_protection"},
    )
    lifting = Command(("tenant", "protection", TENANT, "--deletion-protection", "off"), {})
    seen = await stage.do(lifting)
    voice.lines([told(lifting)], style="cyan")
    stage.check("a human at the server lifts that, no agent can", {"exit": 0}, seen)
    proposed = await stage.shown(asked)
    run = await stage.followed(SUPPORT_BOT, str(proposed.get("run_id")))
    stage.check("its end waits for a human", {"state": "awaiting_approval"}, run)
    await stage.approved(str(run["approval_id"]), str(run["plan_digest"]), lines_max=_PLAN_LINES)
    run = await stage.followed(SUPPORT_BOT, str(run["run_id"]), until=_OVER)
    _steps(stage, run)
    stage.check("hooli is offboarded", {"state": "applied"}, run)
    await stage.expect(
        "nothing of it is served",
        _query("customers"),
        {"outcome": "refused", "fact": "access_mode"},
    )


async def _restored(stage: Stage) -> None:
    stage.voice.say("Restored from that backup, within its time.")
    await _run(stage, _ask("tenant_restore"), "is restored")
    await stage.expect("the same record is there", _query("customers"), _SAME)


async def _run(stage: Stage, asked: Ask, about: str) -> Seen:
    proposed = await stage.shown(asked)
    run = await stage.followed(SUPPORT_BOT, str(proposed.get("run_id")), until=_OVER)
    stage.check(f"{TENANT} {about}", {"state": "applied"}, run)
    return run


def _steps(stage: Stage, run: Seen) -> None:
    steps = run["steps"]
    assert isinstance(steps, list), "a run lists its steps"
    shown = [(str(one["name"]), str(one["state"])) for one in steps if isinstance(one, dict)]
    stage.voice.table(("step", "state"), shown)


def _query(collection: str, **more: Json) -> Ask:
    return Ask(SUPPORT_BOT, f"{collection}_query", {"tenant": TENANT, **more})


def _ask(tool: str, once_more: str = "", /, **arguments: Json) -> Ask:
    key = f"demo-{tool.replace('_', '-')}-{TENANT}{once_more}"
    return Ask(SUPPORT_BOT, tool, {"tenant": TENANT, **arguments, "idempotency_key": key})


_OVER: Final = frozenset(
    {"applied", "discarded", "canceled", "compensated", "compensation_failed", "failed"}
)
