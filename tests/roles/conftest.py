"""The scene of the role tests: tenants, runs and approvals on both sides of a grant, and who asks about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select

from control_plane.audit.recorder import LeafRecorder
from control_plane.data.tables import schema_digest
from control_plane.domain.backup_record import Backup
from control_plane.domain.caller import ROLES
from control_plane.domain.canonical import instant
from control_plane.domain.invoice import Invoice, InvoiceLine, allocate, finalize, line_id
from control_plane.domain.run_record import Run
from control_plane.domain.tenant import Tenant
from control_plane.handlers.backups import own_id
from control_plane.store import billing_tables, rows, tables
from server import keys
from server.catalog import load_applied
from server.clock import SystemClock
from server.face_process import verifier
from server.ids import RandomIds
from server.protection import protect
from server.token_source import TokenSource
from server.tokens import UNBOUND
from server.wiring import Face
from tests.support.house import House, fresh_key, fresh_name
from tests.support.http_faces import FOR_HTTP
from tests.support.onboarding import ask, contact, follow, onboard, onboarding
from tests.support.ways import Person, Way, every_way
from tools.registry import TOOLS

MAKER = ("maker", "maker-bot")
_NOBODYS = {"op": "eq", "field": "company", "value": "nobody's"}
_METER = "unmetered"
_USED = {
    "source": "roles",
    "id": "1",
    "meter": _METER,
    "quantity": 1,
    "occurred_at": "2026-01-01T00:00:00Z",
}
INVOICE = "invoice_of_roles"
START, FAR = "2020-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"


@dataclass
class Cast:
    """People and their faces by role and column, and the objects that they ask about."""

    house: House
    own: str
    foreign: str
    shut: str
    gone: str
    paying: str
    ending: str
    owed: str
    runs: dict[str, dict[str, Any]]
    names: dict[str, str]
    records: dict[str, str]
    since: str
    faces: dict[tuple[str, str], Face] = field(default_factory=dict[tuple[str, str], Face])
    people: dict[tuple[str, str], Person] = field(default_factory=dict[tuple[str, str], Person])
    _arguments: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict[Any, Any])

    def face(self, role: str, column: str) -> Face:
        """The face of a role in this process; in the column ``made``, of the maker with that role."""
        return self.faces[role, "made" if column == "made" else "own"]

    def person(self, role: str, column: str) -> Person:
        """The same one, for a face elsewhere."""
        return self.people[role, "made" if column == "made" else "own"]

    def arguments(self, role: str, tool: str, column: str) -> dict[str, Any]:
        """The arguments of one cell: the same each time, so that whoever asks again asks the same."""
        cell = (role, tool, column)
        if cell not in self._arguments:
            self._arguments[cell] = self._made(*cell)
        return self._arguments[cell]

    def _made(self, role: str, tool: str, column: str) -> dict[str, Any]:
        if column == "wrong":
            unfit = {"surplus": 1, "tenant": 7, "limit": "many"}
            return unfit if TOOLS[tool].arguments.model_fields else {"surplus": 1}
        inside = column != "foreign"
        tenant = self.own if inside else self.foreign
        pays = self.paying if inside else self.foreign
        run = self.runs["foreign" if not inside else "read"]
        # Only the first cancellation of a run is done: whoever may cancel has one of their own.
        canceled = self.runs.get(role if column == "own" else "", run)
        # A change is good for one version: whoever may make one has a record of their own.
        changed = self.records.get(role, self.records["read"])
        return {
            "tenant_get": {"tenant": tenant},
            "subscription_get": {"tenant": tenant},
            "run_list": {"tenant": tenant},
            "approval_list": {"tenant": tenant},
            # The log grows with every call: only what was there before the first one stays.
            "audit_search": {"tenant": tenant, "until": self.since},
            "tenant_onboard": onboarding(self.names[role] if inside else "outside", dry_run=True),
            "tenant_suspend": _dry(tenant, reason="quota"),
            "tenant_resume": _dry(self.shut if inside else tenant, reason="quota"),
            "tenant_offboard": _dry(self.shut if inside else tenant, cancel_subscription=True),
            "tenant_restore": _dry(self.gone if inside else tenant),
            "run_get": {"run_id": run["run_id"]},
            "run_cancel": {
                "run_id": self._cancelable(canceled, column),
                "idempotency_key": fresh_key(),
            },
            "approval_get": {"approval_id": run["approval_id"]},
            "collection_describe": {"collection": "contacts"},
            "record_query": _contacts(tenant),
            "record_get": _contacts(tenant, id=self.records["read"]),
            # Of none: how many there are changes with every cell that makes one.
            "record_aggregate": _contacts(
                tenant,
                measures=[{"op": "count"}],
                filter=_NOBODYS,
            ),
            "record_create": _changing(tenant, values=contact()),
            "record_update": _changing(tenant, id=changed, version=1, values={"balance": 7}),
            "record_delete": _changing(tenant, id=self.records["deleted"], version=1),
            "record_bulk_update": _changing(
                tenant, filter=_NOBODYS, values={"balance": 7}, dry_run=True
            ),
            "record_bulk_delete": _changing(tenant, filter=_NOBODYS, dry_run=True),
            "record_undo": _dry(
                tenant, run_id=self.runs["undone" if inside else "foreign"]["run_id"]
            ),
            "seat_list": {"tenant": tenant},
            # One holder for all: who assigns it again, or releases what is free, is answered alike.
            "seat_assign": _seated(tenant),
            "seat_release": _seated(tenant),
            # A meter that no plan has: whoever records it anew is answered alike.
            "usage_record": {"tenant": tenant, "events": [_USED], "idempotency_key": fresh_key()},
            "quota_reserve": {
                "tenant": pays,
                "feature": "api_calls",
                "resource": fresh_key(),
                "quantity": 1,
                "idempotency_key": fresh_key(),
            },
            "quota_release": {
                "tenant": tenant,
                "feature": _METER,
                "resource": "nothing",
                "idempotency_key": fresh_key(),
            },
            "usage_summary": {"tenant": tenant},
            "entitlement_check": {"tenant": tenant, "feature": "sso"},
            # Less from the period's end on: no amount of it hangs on the instant of the call.
            "subscription_preview_change": {"tenant": pays, "plan": "free"},
            "subscription_change": _dry(pays, plan="enterprise"),
            "subscription_cancel": _dry(pays, ends="now"),
            "subscription_pause": _dry(pays, until=FAR),
            "subscription_resume": _dry(self.ending if inside else tenant),
            "payment_method_set": _dry(pays, provider="sandbox", reference="sandbox_ok"),
            "billing_details_set": _dry(pays, country="DE"),
            "payment_retry": _dry(pays, invoice=self.owed),
            "payment_record": _dry(pays, invoice=self.owed, amount_minor=1, reference="b-1"),
            "credit_note_issue": _dry(
                pays, invoice=self.owed, amount_minor=1, kind="reduction", reason="mistake"
            ),
            "invoice_list": {"tenant": tenant},
            "invoice_get": {"tenant": tenant, "invoice": INVOICE},
            "subscription_simulate": {"tenant": tenant, "months": 1},
            # Of one tenant: every cell that onboards another would be in the list.
            "infrastructure_list": {"tenant": tenant},
            "run_plan": {"run_id": run["run_id"]},
            "run_log": {"run_id": run["run_id"]},
            "cost_estimate": {"run_id": run["run_id"]},
            "drift_check": _dry(tenant),
            "drift_repair": _dry(tenant),
            "database_list": {"tenant": tenant},
            "database_get": {"tenant": tenant},
            "database_backup": _dry(tenant),
            "database_restore": _dry(tenant, backup="0" * 32),
            "database_clone": _dry(tenant),
            "database_migrate": _dry(tenant),
            "backup_list": {"tenant": tenant},
            "database_rotate_credentials": _dry(tenant),
            "connection_get": {"tenant": tenant},
            "connection_acknowledge": _dry(tenant, version=1),
            "tenant_move": _dry(tenant, isolation="bridge"),
            "tenant_move_finalise": _dry(tenant, database="0" * 32),
            "fleet_migration_start": _dry_of_all(),
            "fleet_migration_status": {"tenant": tenant},
            "fleet_migration_pause": _dry_of_all(),
            "fleet_migration_abort": _dry_of_all(),
        }.get(tool, {})

    def _cancelable(self, run: dict[str, Any], column: str) -> str:
        return str(self.runs["over"]["run_id"] if column == "made" else run["run_id"])


def _dry(tenant: str, **more: Any) -> dict[str, Any]:
    return {"tenant": tenant, "dry_run": True, "idempotency_key": fresh_key(), **more}


def _dry_of_all() -> dict[str, Any]:
    return {"dry_run": True, "idempotency_key": fresh_key()}


def _seated(tenant: str) -> dict[str, Any]:
    return {"tenant": tenant, "holder": "ada@example.com", "idempotency_key": fresh_key()}


def _contacts(tenant: str, **more: Any) -> dict[str, Any]:
    return {"tenant": tenant, "collection": "contacts", **more}


def _changing(tenant: str, **more: Any) -> dict[str, Any]:
    return _contacts(tenant, idempotency_key=fresh_key(), **more)


def _record(face: Face, tenant: str) -> str:
    made = ask(face, "record_create", **_changing(tenant, values=contact()))
    return str(made["result"]["record"]["id"])


def _changed(face: Face, tenant: str, record: str) -> dict[str, Any]:
    """A run that has changed one record, which can be taken back."""
    this = {"op": "eq", "field": "id", "value": record}
    asked = _changing(tenant, filter=this, values={"balance": 3})
    run_id = ask(face, "record_bulk_update", **asked)["run_id"]
    return follow(face, run_id, {"applied"})


def _paying(face: Face, tenant: str) -> str:
    """A tenant on a plan with a price; its first invoice, which waits for a transfer."""
    terms = {"currency": "EUR", "collection": "by_invoice"}
    asked = _propose(face, tenant, plan="business", subscription=terms)
    follow(face, asked, {"applied"})
    table = billing_tables.invoice
    with face.store.read() as connection:
        found = select(table.c.id).where(table.c.tenant == tenant)
        return str(connection.execute(found).scalar_one())


def _leaving(face: Face, tenant: str) -> None:
    asked = {"tenant": tenant, "ends": "period_end", "idempotency_key": fresh_key()}
    follow(face, ask(face, "subscription_cancel", **asked)["run_id"], {"applied"})


def _ending(face: Face, tenant: str) -> dict[str, Any]:
    """A run that would end a subscription at once: it waits for a human."""
    asked = {"tenant": tenant, "ends": "now", "idempotency_key": fresh_key()}
    return follow(face, ask(face, "subscription_cancel", **asked)["run_id"], {"awaiting_approval"})


def _recorder(house: House) -> LeafRecorder:
    public = keys.load_public(house.workspace.keys)
    return LeafRecorder(public.seal_bytes, SystemClock(), RandomIds())


def _shut(house: House, face: Face, tenant: str) -> dict[str, Any]:
    """A suspended tenant that nothing protects any more; the run that brought it into being."""
    over = onboard(face, tenant)
    with face.store.write() as connection:
        protect(connection, _recorder(house), tenant, deletion_protection=False)
    asked = {"tenant": tenant, "reason": "quota", "idempotency_key": fresh_key()}
    follow(face, ask(face, "tenant_suspend", **asked)["run_id"], {"applied"})
    return over


def _gone(house: House, face: Face, tenant: str) -> None:
    """An offboarded tenant, written as its offboarding would have left it."""
    with face.store.read() as connection:
        catalog = load_applied(connection, house.workspace.catalogs)
    collections = tuple(catalog.collections.values())
    made_by = Run(
        id=(run_id := RandomIds().new()),
        principal=MAKER[0],
        actor=MAKER[1],
        tenant=tenant,
        kind="offboard",
        state="applied",
        dry_run=False,
        created_at=START,
        updated_at=START,
        tool="tenant_offboard",
        call_id=RandomIds().new(),
        grant_id=RandomIds().new(),
        command={"tenant": tenant},
        as_of=START,
        seed=RandomIds().seed(),
        plan={"catalog": catalog.digest},
    )
    backup = Backup(
        id=own_id(run_id),
        tenant=tenant,
        run_id=run_id,
        isolation="pooled",
        made_at=START,
        digest="0" * 64,
        bytes=1,
        contents={"schema_digest": schema_digest(collections), "tables": {}},
        schema_digest=schema_digest(collections),
        verified_at=START,
        keep_until=FAR,
    )
    away = Tenant(
        id=tenant,
        display_name="Gone",
        state="deprovisioned",
        isolation="pooled",
        plan="free",
        region="local",
        restorable_until=FAR,
    )
    with face.store.write() as connection:
        rows.put(connection, tables.tenant, away)
        rows.put(connection, tables.run, made_by)
        rows.put(connection, tables.backup, backup)
        guards = (("tenant", tenant), ("backup", backup.id))
        _recorder(house).record(connection, "run.applied", tenant, {}, guards)


def _billed(house: House, face: Face, tenant: str) -> None:
    """An invoice of a tenant's that is paid."""
    at = datetime.fromisoformat(START)
    line = InvoiceLine(
        id=line_id(INVOICE, "base", "plan"),
        invoice=INVOICE,
        kind="base",
        reference="plan",
        description="A plan",
        amount_minor=700,
        currency="EUR",
    )
    draft = Invoice(id=INVOICE, tenant=tenant, currency="EUR", lines=(line,), total_minor=700)
    paid = allocate(finalize(draft, "INV-900001", at, at), 700)
    with face.store.write(tenant) as connection:
        rows.put(connection, billing_tables.invoice, paid)
        _recorder(house).record(connection, "billing.moved", tenant, {}, (("invoice", INVOICE),))


def _propose(face: Face, tenant: str, **changed: Any) -> str:
    answered = ask(face, "tenant_onboard", **onboarding(tenant, **changed))
    assert answered["outcome"] == "running", answered
    return str(answered["run_id"])


@pytest.fixture(scope="session")
def cast(shared: House) -> Iterator[Cast]:
    """Everything stands; the runs were asked for by one maker, and by another one outside."""
    mine = {name: fresh_name(name) for name in ("read", "operator", "admin")}
    theirs, shut, gone = fresh_name("theirs"), fresh_name("shut"), fresh_name("gone")
    names: dict[str, str] = {role: fresh_name("new") for role in ROLES}
    paying, ending = fresh_name("paying"), fresh_name("ending")
    inside = ",".join(["acme", shut, gone, paying, ending, *mine.values(), *names.values()])
    silo = {"plan": "team", "isolation": "silo"}
    with ExitStack() as stack:
        base = stack.enter_context(shared.face(None))
        knows = verifier(shared.workspace, base.store)

        def face(roles: str, principal: str, actor: str | None, tenants: str = inside) -> Face:
            token = shared.issue(roles, tenants, principal=principal, actor=actor)
            source = TokenSource(knows, SystemClock(), shared.settings, token.file)
            return replace(base, front=base.front_for(source.caller))

        def person(role: str, principal: str, actor: str | None) -> Person:
            local, over_http = (
                shared.issue(role, inside, principal=principal, actor=actor, bound=bound)
                for bound in (UNBOUND, FOR_HTTP)
            )
            return Person(local, over_http)

        maker = face("operator", *MAKER)
        outside = face("operator", "stranger", "stranger-bot", f"globex,{theirs}")
        asked = {name: (maker, _propose(maker, tenant, **silo)) for name, tenant in mine.items()}
        asked["foreign"] = (outside, _propose(outside, theirs, **silo))
        runs = {
            name: follow(by, run_id, {"awaiting_approval"}) for name, (by, run_id) in asked.items()
        }
        runs["over"] = _shut(shared, maker, shut)
        runs["platform_admin"] = runs.pop("admin")
        _gone(shared, maker, gone)
        _billed(shared, maker, "acme")
        keeper = face("support", "keeper", "keeper-bot")
        records = {
            name: _record(keeper, "acme")
            for name in ("read", "support", "platform_admin", "deleted", "undone")
        }
        runs["undone"] = _changed(keeper, "acme", records["undone"])
        since = instant(SystemClock().now())
        owed = _paying(maker, paying)
        _paying(maker, ending)
        _leaving(maker, ending)
        named = ("acme", "globex", shut, gone, paying, ending, owed)
        made = Cast(shared, *named, runs, names, records, since)
        for role in ROLES:
            # An agent is never an approver: that one is the human alone.
            actor = None if role == "approver" else f"{role}-bot"
            for column, who in (("own", (role, actor)), ("made", MAKER)):
                made.faces[role, column] = face(role, *who)
                made.people[role, column] = person(role, *who)
        made.faces["operator", "own"] = maker
        made.people["operator", "own"] = made.people["operator", "made"]
        # Support asks for runs where a change of records must wait.
        heavy = _changing("acme", values=contact(balance=2_000_000))
        asked_for = ask(made.face("support", "own"), "record_create", **heavy)["run_id"]
        waits = follow(made.face("support", "own"), asked_for, {"awaiting_approval"})
        made.runs["support"] = waits
        made.runs["billing"] = _ending(made.face("billing", "own"), "acme")
        yield made


@pytest.fixture(scope="session")
def ways(shared: House) -> Iterator[dict[str, Way]]:
    """Every transport in every era, over faces of the same workspace."""
    with every_way(shared) as made:
        yield made
