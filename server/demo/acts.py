"""The acts in order: onboarding, records, forbidden things. Not the kill and not the audit log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from control_plane.domain.canonical import Json
from server.demo import desk
from server.demo.scenario import (
    BILLING_BOT,
    SUPPORT_BOT,
    Ask,
    Forbidden,
    Known,
    Listing,
    forbidden,
)
from server.demo.stage import Stage, result_of

ADA: dict[str, Json] = {
    "number": 1815,
    "first_name": "Ada",
    "last_name": "Lovelace",
    "city": "London",
    "country": "United Kingdom",
    "email": "ada@example.com",
    "account_manager": "alice",
}
GRACE: dict[str, Json] = {
    "number": 1906,
    "first_name": "Grace",
    "last_name": "Hopper",
    "city": "New York",
    "country": "USA",
    "email": "grace@example.com",
    "account_manager": "alice",
}
DESK_VERBS: Mapping[str, tuple[str, ...]] = {
    "customers": ("query", "get", "aggregate", "create", "update"),
    "invoices": ("query", "get", "aggregate", "create", "update"),
    "orders": ("query", "get", "aggregate", "create"),
    "tickets": ("query", "get", "aggregate", "create", "update"),
}
_ADAS_KEY = "demo-record-ada"
_PLAN_LINES = 10


def onboarding(tenant: str, plan: str, isolation: str) -> Ask:
    """The call that asks for a tenant."""
    return Ask(
        SUPPORT_BOT,
        "tenant_onboard",
        {
            "tenant": tenant,
            "display_name": tenant.capitalize(),
            "plan": plan,
            "isolation": isolation,
            "idempotency_key": f"demo-onboard-{tenant}",
        },
    )


async def onboard(stage: Stage) -> str:
    """Three tenants, one of each isolation model: two at once, one after a human approved.

    The first one's run.
    """
    voice = stage.voice
    await stage.expect(
        "the agent lists what alice's roles allow it, and nothing that approves",
        Listing(SUPPORT_BOT),
        {"tools": _SUPPORT_TOOLS},
    )
    voice.say("A pooled tenant: policy allows it, so the worker goes on by itself.")
    seen = await stage.expect(
        "the call answers at once; the worker does the work",
        onboarding("acme", "free", "pooled"),
        {"outcome": "running"},
    )
    acme_run = str(seen["run_id"])
    run = await stage.followed(SUPPORT_BOT, acme_run)
    stage.check("acme is onboarded", {"state": "applied"}, run)
    voice.say(
        "A bridge: a place of its own beside shared reference tables; it needs no human either."
    )
    seen = await stage.shown(onboarding("hooli", "team", "bridge"))
    run = await stage.followed(SUPPORT_BOT, str(seen["run_id"]))
    stage.check("hooli is onboarded", {"state": "applied"}, run)
    voice.say("A silo of its own: policy asks for a human, bound to exactly this plan.")
    run = await parked(stage, "globex")
    voice.say("alice reads what the server itself says of the plan, and types its digest's start.")
    await stage.approved(str(run["approval_id"]), str(run["plan_digest"]), lines_max=_PLAN_LINES)
    run = await stage.followed(
        SUPPORT_BOT, str(run["run_id"]), until=frozenset({"applied", "discarded", "failed"})
    )
    stage.check("globex is onboarded", {"state": "applied"}, run)
    return acme_run


async def parked(stage: Stage, tenant: str) -> dict[str, Json]:
    """Ask for a silo and follow it until it waits for a human."""
    seen = await stage.shown(onboarding(tenant, "team", "silo"))
    run = await stage.followed(SUPPORT_BOT, str(seen["run_id"]))
    stage.check(f"{tenant} waits for a human", {"state": "awaiting_approval"}, run)
    return dict(run)


async def records(stage: Stage) -> str:
    """A record in each of two tenants, then one tenant's help desk. The id of globex's record."""
    seen = await stage.expect(
        "a record in globex: alice looks after that customer, so the pii fields are shown",
        _create("globex", GRACE, "demo-record-grace"),
        {"outcome": "done", "result": {"record": {"full_name": "Grace Hopper"}}},
    )
    await stage.expect(
        "and one in acme",
        _create("acme", ADA, _ADAS_KEY),
        {"outcome": "done", "result": {"record": {"email": "ada@example.com"}}},
    )
    await stage.expect(
        "acme has its own record alone",
        Ask(SUPPORT_BOT, "customers_query", {"tenant": "acme"}),
        {"outcome": "done", "result": {"records": [{"full_name": "Ada Lovelace"}]}},
    )
    await desk.show(stage)
    record = result_of(seen)["record"]
    return str(record["id"]) if isinstance(record, dict) else ""


def _create(tenant: str, values: dict[str, Json], key: str) -> Ask:
    return Ask(
        SUPPORT_BOT,
        "customers_create",
        {"tenant": tenant, "values": values, "idempotency_key": key},
    )


async def try_forbidden(
    stage: Stage, *, globex_record: str, alices_run: str, waiting: dict[str, Json]
) -> None:
    """The eight, against what is there now; ``waiting`` is a run that waits for its approval."""
    known = Known(
        globex_record=globex_record,
        alices_run=alices_run,
        approval=str(waiting["approval_id"]),
        confirm=str(waiting["plan_digest"])[:8],
        agent_token=str(stage.place.token_file(SUPPORT_BOT)),
        approver_secret=stage.place.approver_secret,
        used_key=_ADAS_KEY,
        used_values=ADA,
        bobs_grant=stage.place.grants[BILLING_BOT],
    )
    await try_each(stage, forbidden(known))


async def try_each(stage: Stage, things: Sequence[Forbidden]) -> None:
    """Try each thing and say of each whether it was refused as it must be."""
    for number, thing in enumerate(things, start=1):
        stage.voice.say(f"\n{number}) {thing.title}".lstrip("\n"), style="bold")
        held = True
        for each in thing.tries:
            seen = await stage.shown(each.deed)
            held &= stage.check(each.about, each.expects, seen)
        said = "refused as it must be" if held else "NOT refused as it must be"
        stage.voice.say(f"   {number} of {len(things)} {said}: {thing.title}")


_SUPPORT_TOOLS = [
    "whoami",
    "plan_list",
    "tenant_list",
    "tenant_get",
    "subscription_get",
    "tenant_onboard",
    "tenant_suspend",
    "tenant_resume",
    "tenant_offboard",
    "tenant_restore",
    "run_get",
    "run_list",
    "run_cancel",
    "approval_get",
    "approval_list",
    "collection_describe",
    "record_undo",
    "seat_list",
    "seat_assign",
    "seat_release",
    "usage_record",
    "quota_reserve",
    "quota_release",
    "usage_summary",
    "entitlement_check",
    "subscription_preview_change",
    "subscription_change",
    "subscription_cancel",
    "subscription_pause",
    "subscription_resume",
    "payment_method_set",
    "billing_details_set",
    "payment_retry",
    "invoice_list",
    "invoice_get",
    "subscription_simulate",
    "infrastructure_list",
    "stack_list",
    "run_plan",
    "run_log",
    "cost_estimate",
    "drift_check",
    "drift_repair",
    "database_list",
    "database_get",
    "database_backup",
    "database_restore",
    "database_clone",
    "database_migrate",
    "backup_list",
    "database_rotate_credentials",
    "tenant_move",
    "tenant_move_finalise",
    "fleet_migration_start",
    "fleet_migration_status",
    "fleet_migration_pause",
    "fleet_migration_abort",
    "currencies_query",
    "currencies_get",
    "currencies_aggregate",
    *(f"{collection}_{verb}" for collection, verbs in DESK_VERBS.items() for verb in verbs),
]
