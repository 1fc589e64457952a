"""Who calls: without a token that holds, a face lists nothing and refuses everything, and says why."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from mcp import Client

from control_plane.domain.caller import Grant
from control_plane.secrets.signer import new_seed
from control_plane.store import rows, tables
from server import keys, tokens
from tests.support.agents import call
from tests.support.house import House, Token, build_house, write_token
from tests.support.onboarding import ask, onboarding

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
Issue = Callable[..., Token]

NOT_VALID = ("token_invalid", "the token is not valid here")


async def refused_everything(client: Client) -> tuple[str, str]:
    """The one code and message that every call is refused with; fails when one is not."""
    assert (await client.list_tools()).tools == []
    said = {
        (found["outcome"], found["code"], found["message"])
        for found in [
            await call(client, "whoami"),
            await call(client, "tenant_onboard", **onboarding("acme")),
            await call(client, "tenant_get", tenant=7),
            await call(client, "nothing_of_that_name"),
        ]
    }
    ((outcome, code, message),) = said
    assert outcome == "refused"
    return code, message


def a_file(folder: Path, text: str) -> Path:
    """A token file with any text."""
    file = folder / "token"
    write_token(file, text)
    return file


async def test_without_a_token_the_server_starts_and_refuses(shared: House, agent: Agent) -> None:
    async with agent(shared, None) as client:
        assert await refused_everything(client) == ("token_absent", "a token is needed")


async def test_a_token_in_the_environment_is_used(
    shared: House, agent: Agent, issue: Issue
) -> None:
    token = issue("viewer", "acme")
    async with agent(shared.with_environment(PAYBILL_TOKEN=token.text), None) as client:
        assert (await call(client, "whoami"))["result"]["principal"] == "alice"


def test_a_token_file_that_is_not_there_is_an_absent_token(
    shared: House, issue: Issue, tmp_path: Path
) -> None:
    with shared.face(replace(issue("operator", "acme"), file=tmp_path / "nowhere")) as face:
        assert face.front.listed() == []
        assert ask(face, "whoami")["code"] == "token_absent"


def test_an_expired_token_is_refused(shared: House) -> None:
    with shared.face(shared.expired("operator", "acme")) as face:
        assert face.front.listed() == []
        said = ask(face, "whoami")
    assert (said["outcome"], said["code"]) == ("refused", "token_expired")
    assert said["message"] == "the token has expired; ask for a new one"


async def test_a_token_is_refused_from_the_call_after_its_revocation(
    shared: House, agent: Agent, issue: Issue
) -> None:
    token = issue("operator", "acme")
    async with agent(shared, token) as client:
        assert (await call(client, "whoami"))["outcome"] == "done"
        shared.revoke(token)
        assert await refused_everything(client) == ("grant_revoked", "the token was revoked")


def forged(house: House, token: Token) -> str:
    """The same claims under another key."""
    with house.store() as store, store.read() as connection:
        grant = rows.first(connection, tables.grant, Grant, tables.grant.c.id == token.grant_id)
    assert grant is not None
    return tokens.sign(new_seed(), house.workspace.id, grant)


def of_the_house(house: House, token: Token) -> str:
    """A token that the workspace's own key has signed, and that names the house."""
    with house.store() as store, store.read() as connection:
        grant = rows.first(connection, tables.grant, Grant, tables.grant.c.id == token.grant_id)
    assert grant is not None
    named = {"id": "house:billing", "principal": "house:billing", "actor": "house:billing"}
    seed = keys.load_issuer(house.workspace.keys, keys.load_public(house.workspace.keys))
    return tokens.sign(seed, house.workspace.id, grant.model_copy(update=named))


def unsigned(token: Token) -> str:
    """The same token without its signature."""
    return token.text.rsplit(".", 1)[0] + "."


def test_nothing_but_a_token_of_this_workspace_is_a_token(
    shared: House, issue: Issue, tmp_path: Path, cerbos_binary: Path
) -> None:
    token = issue("platform_admin", "*")
    stranger = build_house(tmp_path / "stranger", cerbos_binary).issue("platform_admin", "*")
    texts = {
        "foreign": stranger.text,
        "forged": forged(shared, token),
        "unsigned": unsigned(token),
        "the house's": of_the_house(shared, token),
        "garbage": "garbage",
        "dots": "a.b.c",
        "not ascii": "tökén",
        "long": "x" * 10_000,
        "doubled": token.text + token.text,
        "html": "<html>" + token.text,
    }
    file = a_file(tmp_path, token.text)
    with shared.face(replace(token, file=file)) as face:
        assert ask(face, "whoami")["outcome"] == "done"
        for name, text in texts.items():
            write_token(file, text)
            assert face.front.listed() == [], name
            said = ask(face, "whoami")
            assert (said["outcome"], said["code"], said["message"]) == ("refused", *NOT_VALID), name


@pytest.mark.long
async def test_a_token_file_is_read_again_when_it_changes(
    shared: House, agent: Agent, issue: Issue, tmp_path: Path, cerbos_binary: Path
) -> None:
    stranger = build_house(tmp_path / "stranger", cerbos_binary).issue("operator", "acme")
    file = a_file(tmp_path, "garbage")
    async with agent(shared, file) as client:
        assert await refused_everything(client) == NOT_VALID
        write_token(file, stranger.text)
        assert await refused_everything(client) == NOT_VALID
        write_token(file, forged(shared, issue("operator", "acme")))
        assert await refused_everything(client) == NOT_VALID
        write_token(file, issue("viewer", "acme").text)
        assert (await call(client, "whoami"))["result"]["roles"] == ["viewer"]
        write_token(file, issue("operator", "acme", principal="bert").text)
        assert (await call(client, "whoami"))["result"]["principal"] == "bert"
        listed = {tool.name for tool in (await client.list_tools()).tools}
        assert "tenant_onboard" in listed
        file.unlink()
        assert (await refused_everything(client))[0] == "token_absent"


def test_a_token_file_that_others_may_read_is_not_used(
    shared: House, issue: Issue, tmp_path: Path
) -> None:
    token = issue("operator", "acme")
    token.file.chmod(0o644)
    with shared.face(token) as face:
        assert face.front.listed() == []
        assert ask(face, "whoami")["code"] == "not_private"


def test_a_grant_reaches_its_own_tenants_alone(shared: House, issue: Issue) -> None:
    with shared.face(issue("viewer", "acme")) as face:
        listed = ask(face, "tenant_list")["result"]["tenants"]
        assert [one["tenant"] for one in listed] == ["acme"]
        assert ask(face, "tenant_get", tenant="globex")["outcome"] == "not_found"


def test_an_actor_is_never_more_than_its_ceiling(shared: House, issue: Issue) -> None:
    token = issue("operator,viewer", "acme", ceiling="viewer")
    with shared.face(token) as face:
        assert ask(face, "whoami")["result"]["roles"] == ["viewer"]
        assert "tenant_onboard" not in {tool.name for tool in face.front.listed()}
