"""The server over HTTP: both protocol eras, each caller's own rights, revocation on the next call."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest

from tests.support.agents import ERAS, answer, call
from tests.support.house import House
from tests.support.http_faces import FOR_HTTP, HttpFace, http_face, post


@pytest.fixture(scope="module")
def served(shared: House) -> Iterator[HttpFace]:
    with http_face(shared) as face:
        yield face


@pytest.mark.anyio
@pytest.mark.parametrize("era", ERAS)
async def test_a_client_of_each_era_lists_and_calls(
    shared: House, served: HttpFace, era: str
) -> None:
    token = shared.issue("operator", "acme", bound=FOR_HTTP)
    with anyio.fail_after(60):
        async with shared.http(served, token, mode=era) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} > {"whoami"}
            told = answer(await client.call_tool("whoami", {}))
            assert (told["outcome"], told["result"]["principal"]) == ("done", "alice")
            assert (await call(client, "tenant_get", tenant="acme"))["outcome"] == "done"
            assert (await call(client, "tenant_get", tenant="globex"))["outcome"] == "not_found"


def test_a_bare_call(shared: House, served: HttpFace) -> None:
    found = post(served, shared.issue("operator", "acme", bound=FOR_HTTP))
    assert found.status_code == 200, found.text
    assert found.json()["result"]["structuredContent"]["outcome"] == "done"
