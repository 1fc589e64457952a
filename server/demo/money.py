"""The act of money: a paid plan, an upgrade with its proration, a declined payment and its recovery. Not a real charge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from control_plane.domain.canonical import Json
from server.demo.ledger import Seen
from server.demo.scenario import SUPPORT_BOT, Ask
from server.demo.stage import Stage, result_of

TENANT: Final = "wonka"
_MONTHS: Final = 3
_GOOD: Final[Mapping[str, Json]] = {"provider": "sandbox", "reference": "sandbox_ok"}
_BAD: Final[Mapping[str, Json]] = {"provider": "sandbox", "reference": "sandbox_declined"}
_OVER: Final = frozenset(
    {"applied", "discarded", "canceled", "compensated", "compensation_failed", "failed"}
)


async def pay(stage: Stage) -> None:
    """A tenant pays, grows, fails to pay, and recovers; then time travels on a copy."""
    voice = stage.voice
    voice.say("wonka takes a plan with a price; the sandbox of payments collects the first month.")
    run = await _run(stage, _onboarding())
    stage.check("wonka is onboarded, and paid", {"state": "applied"}, run)
    await stage.expect(
        "its invoice has a number and is paid",
        _read("invoice_list"),
        {"outcome": "done", "result": {"invoices": [{"state": "paid", "total_minor": 7600}]}},
    )
    await _upgraded(stage)
    await _declined(stage)
    await _foreseen(stage)


async def _upgraded(stage: Stage) -> None:
    voice = stage.voice
    voice.say("More seats: what is unused is credited, what is new is charged for the rest only.")
    seen = await stage.expect(
        "a preview names the instant that counts, to the cent",
        _preview(seats=5),
        {"outcome": "done", "result": {"applies": "when_paid"}},
    )
    told = result_of(seen)
    _lines(stage, told)
    run = await _run(stage, _change("seats", seats=5, proration_at=told["proration_at"]))
    stage.check("committed with that instant, it comes to the same", {"state": "applied"}, run)


async def _declined(stage: Stage) -> None:
    stage.voice.say("A method that is declined: nothing is had that is not paid.")
    await _run(stage, _method("bad", _BAD))
    run = await _run(stage, _change("declined", seats=6))
    stage.check("the upgrade fails, and is undone", {"reason": "payment_declined"}, run)
    await stage.expect(
        "five seats are still paid for, and nothing is owed",
        _read("subscription_get"),
        {
            "outcome": "done",
            "result": {"state": "active", "terms": {"seats": 5}, "billing_level": "clear"},
        },
    )
    stage.voice.say("With a method that works, the same is done.")
    await _run(stage, _method("good", _GOOD))
    run = await _run(stage, _change("recovered", seats=6))
    stage.check("six seats, once they are paid", {"state": "applied"}, run)


async def _foreseen(stage: Stage) -> None:
    stage.voice.say("What if nobody paid any more? Time travels on a copy, and nothing is written.")
    seen = await stage.expect(
        "read only after two weeks, closed after three, at its end after thirty days",
        _read("subscription_simulate", months=_MONTHS, payments="fail"),
        {"outcome": "done", "result": {"final": {"state": "canceled"}}},
    )
    gates = result_of(seen)["gates"]
    assert isinstance(gates, list), "a forecast lists its gates"
    shown = [(str(one["level"]), str(one["since"])[:10]) for one in gates if isinstance(one, dict)]
    stage.voice.table(("gate", "from"), shown)


def _lines(stage: Stage, told: Mapping[str, Json]) -> None:
    lines = told["lines"]
    assert isinstance(lines, list), "a preview lists its lines"
    shown = [
        (str(one["kind"]), str(one["reference"]), str(one["amount_minor"]))
        for one in lines
        if isinstance(one, dict)
    ]
    stage.voice.table(("line", "of", "minor units"), [*shown, ("due", "", str(told["due_minor"]))])


async def _run(stage: Stage, asked: Ask) -> Seen:
    proposed = await stage.shown(asked)
    return await stage.followed(SUPPORT_BOT, str(proposed.get("run_id")), until=_OVER)


def _onboarding() -> Ask:
    return Ask(
        SUPPORT_BOT,
        "tenant_onboard",
        {
            "tenant": TENANT,
            "display_name": "Wonka",
            "plan": "business",
            "isolation": "pooled",
            "subscription": {"currency": "EUR", "seats": 3, "method": dict(_GOOD)},
            "idempotency_key": f"demo-onboard-{TENANT}",
        },
    )


def _preview(**wanted: Json) -> Ask:
    return _read("subscription_preview_change", plan="business", **wanted)


def _change(key: str, **wanted: Json) -> Ask:
    return _ask("subscription_change", key, plan="business", **wanted)


def _method(key: str, method: Mapping[str, Json]) -> Ask:
    return _ask("payment_method_set", key, **method)


def _read(tool: str, **arguments: Json) -> Ask:
    return Ask(SUPPORT_BOT, tool, {"tenant": TENANT, **arguments})


def _ask(tool: str, key: str, **arguments: Json) -> Ask:
    named = f"demo-{tool.replace('_', '-')}-{key}"
    return Ask(SUPPORT_BOT, tool, {"tenant": TENANT, **arguments, "idempotency_key": named})
