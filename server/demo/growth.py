"""The act of a tenant that grows: backed up, proved, and moved to a schema of its own while it goes on working. Not its bill."""

from __future__ import annotations

from typing import Final

import anyio

from control_plane.domain.canonical import Json
from server.demo.ledger import Expected, Seen
from server.demo.scenario import SUPPORT_BOT, Ask
from server.demo.stage import Stage

TENANT: Final = "wonka"
_PLAN_LINES: Final = 8
_OVER: Final = frozenset(
    {"applied", "discarded", "canceled", "compensated", "compensation_failed", "failed"}
)
_CUSTOMER: Final[dict[str, Json]] = {
    "first_name": "Mary",
    "last_name": "Jackson",
    "city": "Hampton",
    "country": "USA",
    "account_manager": "alice",
}


async def grow(stage: Stage) -> None:
    """A backup that is proved, a move under calls that go on, and what is left behind."""
    voice = stage.voice
    voice.say(
        "wonka works in the pool that it shares. First a backup, restored on trial to prove it."
    )
    await stage.expect("it has a record", _record(1), {"outcome": "done"})
    run = await _run(stage, _ask("database_backup"))
    stage.check("the backup is made and proved", {"state": "applied"}, run)
    await stage.expect(
        "it says until when it can be restored",
        _read("backup_list"),
        {"outcome": "done", "result": {"backups": [{"state": "verified", "records": 1}]}},
    )
    await _moved(stage)
    await stage.expect(
        "what it has left is kept, closed, as the way back",
        _read("database_list"),
        {
            "outcome": "done",
            "result": {
                "databases": [
                    {"purpose": "serving", "isolation": "bridge"},
                    {"purpose": "former", "isolation": "pooled"},
                ]
            },
        },
    )


async def _moved(stage: Stage) -> None:
    voice = stage.voice
    voice.say("Then it moves to a schema of its own: rows, stack and limits in one plan for alice.")
    proposed = await stage.shown(_ask("tenant_move", isolation="bridge", max_freeze_s=20))
    run = await stage.followed(SUPPORT_BOT, str(proposed.get("run_id")))
    stage.check("a move always waits for a human", {"state": "awaiting_approval"}, run)
    await stage.approved(str(run["approval_id"]), str(run["plan_digest"]), lines_max=_PLAN_LINES)
    made: list[int] = []
    async with anyio.create_task_group() as group:
        group.start_soon(_working, stage, made, group.cancel_scope)
        run = await stage.followed(SUPPORT_BOT, str(run["run_id"]), until=_OVER)
        group.cancel_scope.cancel()
    _steps(stage, run)
    stage.check("wonka is moved, and worked meanwhile", {"state": "applied"}, run)
    voice.lines([f"{len(made)} records were made while it moved"])
    expected: Expected = {
        "outcome": "done",
        "result": {"groups": [{"rows": 1 + len(made)}]},
    }
    await stage.expect(
        "every record that was answered is there", _read("customers_aggregate", **_COUNT), expected
    )


_COUNT: Final[dict[str, Json]] = {"measures": [{"op": "count"}]}


async def _working(stage: Stage, made: list[int], scope: anyio.CancelScope) -> None:
    """Make records for as long as the tenant moves; one that is refused was not made."""
    number = 2
    while not scope.cancel_called:
        with anyio.CancelScope(shield=True):  # what was asked is answered
            seen = await stage.do(_record(number))
            if seen.get("outcome") == "done":
                made.append(number)
        number += 1
        await anyio.sleep(0.05)


def _steps(stage: Stage, run: Seen) -> None:
    steps = run["steps"]
    assert isinstance(steps, list), "a run lists its steps"
    shown = [(str(one["name"]), str(one["state"])) for one in steps if isinstance(one, dict)]
    stage.voice.table(("step", "state"), shown)


async def _run(stage: Stage, asked: Ask) -> Seen:
    proposed = await stage.shown(asked)
    return await stage.followed(SUPPORT_BOT, str(proposed.get("run_id")), until=_OVER)


def _record(number: int) -> Ask:
    values: dict[str, Json] = {
        **_CUSTOMER,
        "number": number,
        "email": f"mary.{number}@example.com",
    }
    return _ask("customers_create", str(number), values=values)


def _read(tool: str, **arguments: Json) -> Ask:
    return Ask(SUPPORT_BOT, tool, {"tenant": TENANT, **arguments})


def _ask(tool: str, key: str = "1", /, **arguments: Json) -> Ask:
    named = f"demo-growth-{tool.replace('_', '-')}-{key}"
    return Ask(SUPPORT_BOT, tool, {"tenant": TENANT, **arguments, "idempotency_key": named})
