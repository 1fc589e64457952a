"""The act of the help desk: rows loaded, hidden, masked, added up and changed. Not the rules, nor the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from control_plane.domain.canonical import Json
from server.demo.ledger import ABSENT, Expected
from server.demo.scenario import SUPPORT_BOT, Ask, Command
from server.demo.stage import Stage, result_of, told
from server.sample import Row, chosen_rows

TENANT: Final = "acme"
LOADER: Final = "loader"
_ROWS_MAX: Final = 15
_SHOWN: Final = 3


async def show(stage: Stage) -> None:
    """Load a help desk's rows by the command, then see them as alice's agent does."""
    rows = chosen_rows(_ROWS_MAX)
    await _load(stage, {name: len(one) for name, one in rows.items()})
    await _masked(stage)
    await _hidden(stage, rows["tickets"])
    await _added_up(stage, rows["orders"])
    await _taken(stage)


async def _load(stage: Stage, counts: Mapping[str, int]) -> None:
    stage.voice.say("An administrator of the shop fills acme's help desk: each row is a call, too.")
    words = ("sample", "load", "--tenant", TENANT, "--rows-max", str(_ROWS_MAX))
    command = Command((*words, "--token-file", str(stage.place.token_file(LOADER))), {})
    with stage.voice.waiting("rows are made, one call each …"):
        seen = await stage.do(command)
    stage.voice.lines([told(command)], style="cyan")
    stage.voice.lines(f"{seen['stdout']}{seen['stderr']}".splitlines())
    said = ", ".join(f"{count} {name}" for name, count in counts.items())
    stage.check("they are there", {"exit": 0, "stdout": f"{TENANT}: {said}"}, seen)


async def _masked(stage: Stage) -> None:
    others: Json = {"op": "ne", "field": "account_manager", "value": "alice"}
    masked: Expected = {"email": ABSENT, "full_name": ABSENT}
    await stage.expect(
        "how to reach a customer is for their account manager: for others the fields are absent",
        _ask("customers_query", filter=others, limit=_SHOWN),
        {"outcome": "done", "result": {"records": [masked] * _SHOWN}},
    )


async def _hidden(stage: Stage, tickets: Sequence[Row]) -> None:
    free = [one for one in tickets if one["assignee"] == "unassigned"]
    stage.voice.say(
        f"Of {len(tickets)} tickets {len(tickets) - len(free)} are assigned to others: a policy on"
    )
    stage.voice.say("rows hides those from alice, in pages and in sums, and all notes among staff.")
    await stage.expect(
        "a page of tickets: what strangers wrote is named as untrusted",
        _ask("tickets_query", limit=_SHOWN, sort="number"),
        {
            "outcome": "done",
            "result": {
                "records": [
                    {"number": one["number"], "assignee": "unassigned", "internal_note": ABSENT}
                    for one in free[:_SHOWN]
                ],
                "untrusted_fields": ["body"],
            },
        },
    )
    await stage.expect(
        "how many there are for alice",
        _ask("tickets_aggregate", measures=[{"op": "count"}]),
        {"outcome": "done", "result": {"groups": [{"values": {"count": len(free)}}]}},
    )


async def _added_up(stage: Stage, orders: Sequence[Row]) -> None:
    sums: dict[str, int] = {}
    for one in orders:
        amount = int(str(one["quantity"])) * int(str(one["unit_price"]))
        sums[str(one["month"])] = sums.get(str(one["month"]), 0) + amount
    groups = [
        {"by": {"month": month}, "values": {"sum_total": sums[month]}} for month in sorted(sums)
    ]
    await stage.expect(
        "revenue by month, in cents",
        _ask("orders_aggregate", measures=[{"op": "sum", "field": "total"}], group_by=["month"]),
        {"outcome": "done", "result": {"groups": groups}},
    )


async def _taken(stage: Stage) -> None:
    seen = await stage.do(_ask("tickets_query", limit=1, sort="number"))
    records = result_of(seen)["records"]
    assert isinstance(records, list), "a page holds a list"
    (one,) = (one for one in records if isinstance(one, dict))
    known: dict[str, Json] = {"id": one["id"], "version": one["version"]}
    taking: dict[str, Json] = {**known, "values": {"assignee": "alice", "status": "pending"}}
    await stage.expect(
        "alice may take a ticket; first its row before and after",
        _change("demo-take-ticket", **taking, dry_run=True),
        {
            "outcome": "planned",
            "result": {
                "rows": {"before": {"assignee": "unassigned"}, "after": {"assignee": "alice"}}
            },
        },
    )
    await stage.expect(
        "and takes it",
        _change("demo-take-ticket", **taking),
        {"outcome": "done", "result": {"record": {"assignee": "alice", "version": 2}}},
    )
    handing: dict[str, Json] = {**known, "version": 2, "values": {"assignee": "steve"}}
    await stage.expect(
        "but not hand it to steve: the row as it would be is not hers",
        _change("demo-hand-ticket", **handing),
        {"outcome": "refused", "code": "row_denied"},
    )


def _ask(tool: str, **arguments: Json) -> Ask:
    return Ask(SUPPORT_BOT, tool, {"tenant": TENANT, **arguments})


def _change(key: str, **arguments: Json) -> Ask:
    return _ask("tickets_update", **arguments, idempotency_key=key)
