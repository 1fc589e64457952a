"""What a role cannot list does not exist for it, whatever it sends; and it lists what it could call."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.domain.caller import AGENT_CEILING, ROLES, Caller, Grant
from control_plane.facts.approval import ApprovalFacts
from control_plane.facts.base import Facts
from control_plane.facts.connection import ConnectionFacts
from control_plane.facts.database import DatabaseFacts
from control_plane.facts.entitlement import EntitlementFacts
from control_plane.facts.fleet import FleetFacts
from control_plane.facts.invoice import InvoiceFacts
from control_plane.facts.record import RecordFacts
from control_plane.facts.run import RunFacts
from control_plane.facts.seat import SeatFacts
from control_plane.facts.subscription import SubscriptionFacts
from control_plane.facts.tenant import TenantFacts
from control_plane.facts.tool import ToolFacts
from control_plane.facts.usage import UsageFacts
from control_plane.facts.workspace import WorkspaceFacts
from control_plane.handlers.handler import Subject
from graphs.errors import Unlisted
from graphs.gatekeeper import Gatekeeper
from tests.roles.conftest import Cast
from tests.roles.table import TABLE
from tools.registry import TOOLS

UNLISTED = [
    (role, tool)
    for role, tools in TABLE.items()
    for tool, columns in tools.items()
    if "unlisted" in columns.values()
]
CALLS = [100, pytest.param(1000, marks=pytest.mark.sweep)]

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)
_NAMES = st.sampled_from(
    sorted({name for tool in TOOLS.values() for name in tool.arguments.model_fields})
)


@pytest.mark.parametrize("calls", CALLS)
def test_an_unlisted_tool_is_unlisted_whatever_is_sent(cast: Cast, calls: int) -> None:
    @settings(
        max_examples=calls,
        derandomize=True,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(
        which=st.sampled_from(UNLISTED),
        noise=st.dictionaries(_NAMES | st.text(max_size=8), _JSON, max_size=4),
        sound=st.booleans(),
    )
    def sent(which: tuple[str, str], noise: dict[str, Any], sound: bool) -> None:
        role, tool = which
        arguments = {**cast.arguments(role, tool, "own"), **noise} if sound else noise
        with pytest.raises(Unlisted):
            cast.face(role, "own").front.call(tool, arguments)

    sent()


@pytest.mark.parametrize("name", ["", "whoami ", "WHOAMI", "who\x00ami", "x" * 10_000, "../whoami"])
def test_a_name_that_no_tool_bears_is_unlisted_for_everyone(cast: Cast, name: str) -> None:
    for role in ROLES:
        with pytest.raises(Unlisted):
            cast.face(role, "own").front.call(name, {})


# What each tool's call asks of its object, from the design; the states in which it may be.
OBJECTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "whoami": ("workspace", ("read",)),
    "plan_list": ("workspace", ("read",)),
    "tenant_list": ("workspace", ("read",)),
    "tenant_get": ("tenant", ("read",)),
    "subscription_get": ("subscription", ("read",)),
    "subscription_preview_change": ("subscription", ("read",)),
    "subscription_change": ("subscription", ("read", "propose")),
    "subscription_cancel": ("subscription", ("read", "propose")),
    "subscription_pause": ("subscription", ("read", "propose")),
    "subscription_resume": ("subscription", ("read", "propose")),
    "payment_method_set": ("subscription", ("read", "propose")),
    "billing_details_set": ("subscription", ("read", "propose")),
    "payment_retry": ("subscription", ("read", "propose")),
    "payment_record": ("subscription", ("read", "propose")),
    "credit_note_issue": ("subscription", ("read", "propose")),
    "tenant_onboard": ("tenant", ("register", "propose")),
    "tenant_suspend": ("tenant", ("read", "propose")),
    "tenant_resume": ("tenant", ("read", "propose")),
    "tenant_offboard": ("tenant", ("read", "propose")),
    "tenant_restore": ("tenant", ("read", "propose")),
    "run_get": ("run", ("read",)),
    "run_list": ("workspace", ("read",)),
    "approval_list": ("workspace", ("read",)),
    "audit_search": ("workspace", ("read",)),
    "run_cancel": ("run", ("read", "cancel")),
    "approval_get": ("approval", ("read",)),
    "collection_describe": ("workspace", ("read",)),
    "record_query": ("record", ("read", "query")),
    "record_get": ("record", ("read", "query")),
    "record_aggregate": ("record", ("read", "aggregate")),
    "record_create": ("record", ("read", "create")),
    "record_update": ("record", ("read", "update")),
    "record_delete": ("record", ("read", "delete")),
    "record_bulk_update": ("record", ("read", "bulk_update")),
    "record_bulk_delete": ("record", ("read", "bulk_delete")),
    "record_undo": ("record", ("read", "undo")),
    "seat_list": ("seat", ("read",)),
    "seat_assign": ("seat", ("read", "assign")),
    "seat_release": ("seat", ("read", "release")),
    "usage_record": ("usage", ("read", "record")),
    "quota_reserve": ("usage", ("read", "record")),
    "quota_release": ("usage", ("read", "record")),
    "usage_summary": ("usage", ("read",)),
    "entitlement_check": ("entitlement", ("read",)),
    "invoice_list": ("invoice", ("read",)),
    "invoice_get": ("invoice", ("read",)),
    "subscription_simulate": ("invoice", ("read",)),
    "infrastructure_list": ("workspace", ("read",)),
    "stack_list": ("workspace", ("read",)),
    "run_plan": ("run", ("read",)),
    "run_log": ("run", ("read",)),
    "cost_estimate": ("run", ("read",)),
    "drift_check": ("tenant", ("read", "propose")),
    "drift_repair": ("tenant", ("read", "propose")),
    "database_list": ("workspace", ("read",)),
    "database_get": ("database", ("read",)),
    "database_backup": ("database", ("read", "propose")),
    "database_restore": ("database", ("read", "propose")),
    "database_clone": ("database", ("read", "propose")),
    "database_migrate": ("database", ("read", "propose")),
    "backup_list": ("tenant", ("read",)),
    "database_rotate_credentials": ("database", ("read", "propose")),
    "connection_get": ("connection", ("read",)),
    "connection_acknowledge": ("connection", ("read", "acknowledge")),
    "tenant_move": ("tenant", ("read", "propose")),
    "tenant_move_finalise": ("tenant", ("read", "propose")),
    "fleet_migration_start": ("fleet", ("read", "propose")),
    "fleet_migration_status": ("fleet", ("read",)),
    "fleet_migration_pause": ("fleet", ("read", "pause")),
    "fleet_migration_abort": ("fleet", ("read", "abort")),
}
# Where it is there and a member asks, most is open: the search ends soonest from there.
_BOTH = (True, False)
_MODES = ("full", "read_only", "none")


_SETS: dict[str, tuple[type[Facts], dict[str, tuple[object, ...]]]] = {
    "workspace": (WorkspaceFacts, {}),
    "tenant": (
        TenantFacts,
        {
            "access_mode": _MODES,
            "operation": ("", "onboard", "suspend", "resume", "offboard", "restore"),
            "state": ("pending", "active", "suspended", "deprovisioned"),
            "proposed_isolation": ("pooled", "silo"),
            "plan_isolations": (("pooled",),),
            "restorable": (True,),
            "subscription_ended": (True,),
            "stage": ("propose",),
        },
    ),
    "subscription": (
        SubscriptionFacts,
        {
            "state": ("active",),
            "plan": ("free",),
            "operation": ("change", "record_payment"),
            "stage": ("propose",),
        },
    ),
    "database": (
        DatabaseFacts,
        {
            "state": ("available",),
            "tenant_state": ("active",),
            "operation": ("backup", "restore", "clone", "rotate", "migrate"),
            "backup_verified": (True,),
            "stage": ("propose",),
        },
    ),
    "connection": (ConnectionFacts, {}),
    "fleet": (FleetFacts, {"operation": ("migrate", "pause", "abort", "read")}),
    "run": (RunFacts, {"own": _BOTH, "cancelable": _BOTH, "state": ("pending",)}),
    "approval": (
        ApprovalFacts,
        {"own": _BOTH, "state": ("pending",), "rule": ("own_hand",), "requester": ("maker",)},
    ),
    "record": (
        RecordFacts,
        {"collection": ("contacts",), "access_mode": _MODES, "tenant_state": ("", "active")},
    ),
    "seat": (SeatFacts, {"access_mode": _MODES, "tenant_state": ("", "active")}),
    "usage": (UsageFacts, {"access_mode": _MODES, "tenant_state": ("", "active")}),
    "entitlement": (EntitlementFacts, {"feature": ("sso",), "access_mode": _MODES}),
    "invoice": (InvoiceFacts, {"state": ("", "open"), "overdue": _BOTH}),
}


def states(kind: str) -> Iterator[Facts]:
    """The enumerated states of an object."""
    model, values = _SETS[kind]
    varied = {"exists": _BOTH, "member": _BOTH, **values}
    for chosen in itertools.product(*varied.values()):
        yield model.model_validate(dict(zip(varied, chosen, strict=True)))


def caller_of(*roles: str) -> Caller:
    """A caller with exactly these roles."""
    human = not set(roles) <= set(AGENT_CEILING)
    grant = Grant.model_validate(
        {
            "id": "0" * 32,
            "principal": "ann",
            "actor": "ann" if human else "bot",
            "actor_kind": "human" if human else "agent",
            "roles": roles,
            "ceiling": ROLES,
            "tenants": ("acme",),
            "issued_at": "",
            "expires_at": "",
        }
    )
    return Caller.of(grant)


def callable_in_some_state(keeper: Gatekeeper, caller: Caller, tool: str) -> bool:
    """Whether any enumerated state lets the call through."""
    kind, actions = OBJECTS[tool]
    for facts in states(kind):
        subject = Subject(id="x", facts=facts, acts=actions, reads=())
        try:
            verdict, _ = keeper.decide(caller, tool, TOOLS[tool].facts, subject)
        except Unlisted:
            return False
        if set(actions) <= verdict.may:
            return True
    return False


def test_every_tool_says_what_it_asks_of_its_object() -> None:
    assert set(OBJECTS) == set(TOOLS)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_lists_exactly_the_tools_that_some_state_lets_it_call(cast: Cast, role: str) -> None:
    keeper = Gatekeeper(cast.face(role, "own").generations.gate)
    caller = caller_of(role)
    listed = keeper.listed(caller, {name: tool.facts for name, tool in TOOLS.items()})
    assert listed == {name for name in TOOLS if callable_in_some_state(keeper, caller, name)}


@pytest.mark.parametrize("pair", list(itertools.combinations(ROLES, 2)), ids="+".join)
def test_two_roles_list_what_either_lists(cast: Cast, pair: tuple[str, str]) -> None:
    keeper = Gatekeeper(cast.face(pair[0], "own").generations.gate)
    tools = {name: tool.facts for name, tool in TOOLS.items()}
    one, other = (keeper.listed(caller_of(role), tools) for role in pair)
    assert keeper.listed(caller_of(*pair), tools) == one | other


def test_a_caller_without_a_role_lists_nothing(cast: Cast) -> None:
    keeper = Gatekeeper(cast.face("viewer", "own").generations.gate)
    assert keeper.listed(caller_of(), {name: tool.facts for name, tool in TOOLS.items()}) == set()


@pytest.mark.parametrize("role", ROLES)
def test_a_tool_of_any_kind_may_be_called_exactly_where_it_may_be_listed(
    cast: Cast, role: str
) -> None:
    keeper = Gatekeeper(cast.face(role, "own").generations.gate)
    domains = ["workspace", "tenant", "run", "approval", "record", "subscription", "seat", "audit"]
    domains += ["usage", "entitlement", "invoice", "billing", "else"]
    for risk, domain in itertools.product(("read", "write", "destructive"), domains):
        facts = ToolFacts.model_validate({"risk": risk, "domain": domain})
        listed = keeper.listed(caller_of(role), {"any": facts})
        try:
            keeper.admit(caller_of(role), "any", facts)
        except Unlisted:
            assert not listed, (risk, domain)
        else:
            assert listed, (risk, domain)
