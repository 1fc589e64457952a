"""A debt over real faces, stdio and HTTP: closed on the next call, told to whoever may read it, lifted on the call after a payment."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

import pytest
from mcp import Client

from server.tokens import UNBOUND
from tests.support.agents import call
from tests.support.elapsed import Past, live
from tests.support.house import House, fresh_key, fresh_name, write_token
from tests.support.http_faces import FOR_HTTP, HttpFace, http_face
from tests.support.onboarding import contact, onboard
from tests.support.waiting import reached

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
Ask: TypeAlias = Callable[..., Awaitable[dict[str, Any]]]

# Who may pay, who may only read what is owed, and who has no business here.
PEOPLE = {
    "pat": ("operator,support", True),
    "sue": ("support", True),
    "eve": ("operator,support", False),
}
READS = {"invoice_list", "subscription_get"}
PAYS = {"payment_retry", "payment_method_set"}


@pytest.fixture(scope="module")
def served(shared: House) -> Iterator[HttpFace]:
    """A server over HTTP on the shared workspace."""
    with http_face(shared) as face:
        yield face


@dataclass(frozen=True)
class Stage:
    """A tenant without a debt, and for each transport how somebody asks something about it."""

    house: House
    tenant: str
    ways: Mapping[str, Ask]


@pytest.fixture
async def stage(shared: House, served: HttpFace, agent: Agent) -> AsyncGenerator[Stage]:
    """Everybody is connected, and has been answered, before there is any debt."""
    tenant = fresh_name("owing")
    with shared.face(shared.issue("operator", tenant)) as face:
        onboard(face, tenant)
    local, remote = (
        {
            who: shared.issue(
                roles, tenant if ours else "globex", principal=who, actor="bot", bound=bound
            )
            for who, (roles, ours) in PEOPLE.items()
        }
        for bound in (UNBOUND, FOR_HTTP)
    )
    # The face reads its token anew on each call: one child serves everybody.
    file = shared.folder / f"bearer-{tenant}"
    write_token(file, local["pat"].text)
    async with AsyncExitStack() as stack:
        near = await stack.enter_async_context(agent(shared, file))
        far = {
            who: await stack.enter_async_context(shared.http(served, token))
            for who, token in remote.items()
        }

        async def over_stdio(who: str, tool: str, **asked: Any) -> dict[str, Any]:
            write_token(file, local[who].text)
            return await call(near, tool, tenant=tenant, **asked)

        async def over_http(who: str, tool: str, **asked: Any) -> dict[str, Any]:
            return await call(far[who], tool, tenant=tenant, **asked)

        yield Stage(shared, tenant, {"stdio": over_stdio, "http": over_http})


async def written(ask: Ask, who: str) -> dict[str, Any]:
    """The answer to one more record."""
    key = fresh_key()
    given = {"collection": "contacts", "values": contact(), "idempotency_key": key}
    return await ask(who, "record_create", **given)


async def read(ask: Ask, who: str) -> dict[str, Any]:
    """The answer to a page of records."""
    return await ask(who, "record_query", collection="contacts")


async def access(ask: Ask, who: str = "sue") -> tuple[str, list[str]]:
    """The tenant's access mode, and why it is so."""
    told = (await ask(who, "tenant_get"))["result"]
    return told["access_mode"], told["suspend_reasons"]


async def assert_open(stage: Stage) -> None:
    """The next call is served, whatever it is and over whichever transport."""
    for ask in stage.ways.values():
        assert (await written(ask, "pat"))["outcome"] == "done"
        assert (await read(ask, "sue"))["outcome"] == "done"
        assert await access(ask) == ("full", [])


async def assert_refused(
    stage: Stage, asked: Callable[[Ask, str], Awaitable[dict[str, Any]]], code: str
) -> None:
    """The next call is refused with its reason, and with what lifts it to whoever may do so."""
    for ask in stage.ways.values():
        told = await asked(ask, "pat")
        assert (told["outcome"], told["code"]) == ("refused", code)
        assert told["fact"] == "billing_access"
        assert "paid" in told["message"]
        assert set(told["next_tools"]) >= READS | PAYS

        less = await asked(ask, "sue")
        assert (less["outcome"], less["code"]) == ("refused", code)
        assert set(less["next_tools"]) >= READS
        assert not set(less["next_tools"]) & PAYS

        nothing = await asked(ask, "eve")
        absent = {"outcome": "not_found", "code": "not_found", "message": nothing["message"]}
        assert nothing == absent


async def owed(stage: Stage) -> str:
    """The one invoice on which something is due."""
    told = await stage.ways["http"]("sue", "invoice_list")
    (found,) = [one["id"] for one in told["result"]["invoices"] if one["due_minor"]]
    return str(found)


async def paid(ask: Ask, invoice: str) -> None:
    """Wait until nothing is due on the invoice."""

    async def settled() -> bool:
        told = await ask("sue", "invoice_get", invoice=invoice)
        return not told["result"]["due_minor"]

    await reached(settled, "the invoice is paid")


@pytest.mark.long
async def test_a_debt_of_two_weeks_leaves_reads_open_until_the_invoice_is_paid(
    stage: Stage,
) -> None:
    await assert_open(stage)
    # Its ninth attempt at an invoice succeeds, and the ladder has eight: nobody else tries it.
    live(
        stage.house,
        stage.tenant,
        Past("business", began=timedelta(days=46), then="sandbox_declined_8"),
    )
    await assert_refused(stage, written, "billing_read_only")
    for ask in stage.ways.values():
        assert (await read(ask, "sue"))["outcome"] == "done"
        assert await access(ask) == ("read_only", ["billing"])

    ask, invoice = stage.ways["stdio"], await owed(stage)
    began = await ask("pat", "payment_retry", invoice=invoice, idempotency_key=fresh_key())
    assert began["outcome"] == "running", began
    await paid(ask, invoice)
    await assert_open(stage)


@pytest.mark.long
async def test_a_debt_of_three_weeks_leaves_nothing_open_until_another_method_pays_it(
    stage: Stage,
) -> None:
    await assert_open(stage)
    live(
        stage.house, stage.tenant, Past("business", began=timedelta(days=53), then="sandbox_stolen")
    )
    await assert_refused(stage, written, "billing_suspended")
    await assert_refused(stage, read, "billing_suspended")
    for ask in stage.ways.values():
        assert await access(ask) == ("none", ["billing"])

    ask, invoice = stage.ways["http"], await owed(stage)
    method = {"provider": "sandbox", "reference": "sandbox_ok", "idempotency_key": fresh_key()}
    assert (await ask("pat", "payment_method_set", **method))["outcome"] == "running"

    # What is overdue is tried by the worker's clock as soon as there is another method.
    await paid(ask, invoice)
    await assert_open(stage)
