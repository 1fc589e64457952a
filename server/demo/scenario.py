"""The eight forbidden things as data: what is tried, by whom, and what must come back. Tries nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from control_plane.domain.canonical import Json
from server.demo.ledger import Expected, Holding

SUPPORT_BOT: Final = "support-bot"
BILLING_BOT: Final = "billing-bot"

UNKNOWN_TOOL: Final[Expected] = {"error": {"code": -32602, "message": "Unknown tool"}}
NO_SUCH_OBJECT: Final[Expected] = {
    "outcome": "not_found",
    "code": "not_found",
    "message": "There is no such object.",
}


@dataclass(frozen=True)
class Ask:
    """An agent calls a tool."""

    by: str
    tool: str
    arguments: Mapping[str, Json]


@dataclass(frozen=True)
class Listing:
    """An agent lists its tools."""

    by: str


@dataclass(frozen=True)
class Command:
    """Somebody runs `paybill`; ``secret`` gives a passphrase by an option that names a descriptor."""

    arguments: tuple[str, ...]
    secret: Mapping[str, bytes]


Deed: TypeAlias = Ask | Listing | Command


@dataclass(frozen=True)
class Try:
    """One deed, what it is good for, and what must be seen."""

    about: str
    deed: Deed
    expects: Expected


@dataclass(frozen=True)
class Forbidden:
    """One thing that must not work, with the tries that show it."""

    title: str
    tries: tuple[Try, ...]


@dataclass(frozen=True)
class Known:
    """What the demo has learned so far and the forbidden things are aimed at."""

    globex_record: str
    alices_run: str
    approval: str
    confirm: str
    agent_token: str
    approver_secret: bytes
    used_key: str
    used_values: Mapping[str, Json]
    bobs_grant: str


def forbidden(known: Known) -> tuple[Forbidden, ...]:
    """The eight, in the order in which they are shown."""
    return (
        _row_by_id(known),
        _row_by_filter(),
        _smuggled_argument(known),
        _tool_of_another_role(),
        _run_of_another(known),
        _approval_by_agent(known),
        _key_with_other_arguments(known),
        _revoked_token(known),
    )


def _by_id(tenant: str, record: str) -> Ask:
    return _query(tenant, {"op": "eq", "field": "id", "value": record})


def _query(tenant: str, condition: Mapping[str, Json]) -> Ask:
    return Ask(SUPPORT_BOT, "customers_query", {"tenant": tenant, "filter": dict(condition)})


def _create(values: Mapping[str, Json], key: str, **more: Json) -> Ask:
    arguments: dict[str, Json] = {
        "tenant": "acme",
        "values": dict(values),
        "idempotency_key": key,
    }
    return Ask(SUPPORT_BOT, "customers_create", arguments | more)


def _row_by_id(known: Known) -> Forbidden:
    record = known.globex_record
    there: Expected = {"outcome": "done", "result": {"records": [{"id": record}]}}
    nothing: Expected = {"outcome": "done", "result": {"records": []}}
    return Forbidden(
        "Another tenant's row, by its id",
        (
            Try("the record is there, in globex", _by_id("globex", record), there),
            Try("reading acme, it is not", _by_id("acme", record), nothing),
        ),
    )


def _row_by_filter() -> Forbidden:
    asked = _query("acme", {"op": "eq", "field": "tenant_id", "value": "globex"})
    return Forbidden(
        "Another tenant's rows, by a filter",
        (
            Try(
                "the tenant is no field that a filter may name",
                asked,
                {"is_error": True, "text": Holding("filter.field")},
            ),
        ),
    )


def _smuggled_argument(known: Known) -> Forbidden:
    values = dict(known.used_values)
    beside = _create(values, "demo-smuggle-1", tenant_id="globex")
    within = _create({**values, "tenant_id": "globex"}, "demo-smuggle-2")
    return Forbidden(
        "A tenant smuggled into the arguments",
        (
            Try(
                "beside the arguments",
                beside,
                {"is_error": True, "text": Holding("tenant_id: is not an argument of this tool")},
            ),
            Try(
                "within the record's values",
                within,
                {"is_error": True, "text": Holding("values.tenant_id")},
            ),
        ),
    )


def _tool_of_another_role() -> Forbidden:
    arguments: dict[str, Json] = {
        "tenant": "umbrella",
        "display_name": "Umbrella",
        "plan": "free",
        "isolation": "pooled",
        "idempotency_key": "demo-umbrella",
    }
    return Forbidden(
        "A tool outside the caller's role",
        (
            Try("a viewer onboards", Ask(BILLING_BOT, "tenant_onboard", arguments), UNKNOWN_TOOL),
            Try(
                "a tool that nobody has answers the same",
                Ask(BILLING_BOT, "tenant_destroy_everything", {}),
                UNKNOWN_TOOL,
            ),
        ),
    )


def _run_of_another(known: Known) -> Forbidden:
    return Forbidden(
        "Another caller's run, by its id",
        (
            Try(
                "bob's agent reads alice's run",
                Ask(BILLING_BOT, "run_get", {"run_id": known.alices_run}),
                NO_SUCH_OBJECT,
            ),
            Try(
                "a run that does not exist answers the same",
                Ask(BILLING_BOT, "run_get", {"run_id": "0" * 32}),
                NO_SUCH_OBJECT,
            ),
        ),
    )


def _approval_by_agent(known: Known) -> Forbidden:
    command = Command(
        (
            "approvals",
            "approve",
            known.approval,
            "--confirm",
            known.confirm,
            "--token-file",
            known.agent_token,
        ),
        {"--passphrase-fd": known.approver_secret},
    )
    return Forbidden(
        "An approval by an agent",
        (
            Try(
                "there is no such tool",
                Ask(SUPPORT_BOT, "approval_approve", {"approval_id": known.approval}),
                UNKNOWN_TOOL,
            ),
            Try(
                "at the approver's terminal, with alice's passphrase but the agent's token",
                command,
                {"exit": 1, "stderr": Holding("The policy does not allow this.")},
            ),
        ),
    )


def _key_with_other_arguments(known: Known) -> Forbidden:
    other = {**known.used_values, "first_name": "Somebody Else"}
    return Forbidden(
        "An idempotency key again, with other arguments",
        (
            Try(
                "with the same arguments it is the same call",
                _create(known.used_values, known.used_key),
                {"outcome": "done"},
            ),
            Try(
                "with others it is refused",
                _create(other, known.used_key),
                {"outcome": "refused", "code": "idempotency_key_reused"},
            ),
        ),
    )


def _revoked_token(known: Known) -> Forbidden:
    return Forbidden(
        "A revoked token",
        (
            Try(
                "bob's grant is revoked while his agent is connected",
                Command(("token", "revoke", known.bobs_grant), {}),
                {"exit": 0},
            ),
            Try(
                "the agent's next call",
                Ask(BILLING_BOT, "whoami", {}),
                {"outcome": "refused", "code": "grant_revoked"},
            ),
            Try("and what it may list", Listing(BILLING_BOT), {"tools": []}),
        ),
    )
