"""Tokens over HTTP: what does not hold is refused alike, and the log alone says why."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import anyio
import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from typer.testing import CliRunner, Result

from control_plane.secrets import signer
from server import grants, keys, tokens
from server.cli.app import app
from server.clock import SystemClock
from tests.support.agents import answer, connected
from tests.support.house import House, Token, build_house
from tests.support.http_faces import (
    AUDIENCE,
    FOR_HTTP,
    HttpFace,
    http_face,
    legacy_headers,
    modern_headers,
    modern_request,
    post,
)
from tests.support.waiting import until

CHALLENGE = (
    'resource_metadata="https://paybill.test/.well-known/oauth-protected-resource/mcp", '
    'scope="paybill"'
)
NOT_VALID = (
    f'Bearer error="invalid_token", error_description="the token is not valid here", {CHALLENGE}'
)


@pytest.fixture(scope="module")
def served(shared: House) -> Iterator[HttpFace]:
    with http_face(shared) as face:
        yield face


@pytest.fixture(scope="module")
def good(shared: House) -> Token:
    return shared.issue("viewer", "acme", bound=FOR_HTTP)


def _segment(value: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _claims(token: Token) -> dict[str, Any]:
    text = token.text.split(".")[1]
    found: dict[str, Any] = json.loads(_decoded(text))
    return found


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _altered_signature(house: House, token: Token) -> str:
    head, _, signature = token.text.rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def _altered_claims(house: House, token: Token) -> str:
    head, _, signature = token.text.split(".")
    return f"{head}.{_segment({**_claims(token), 'sub': 'mallory'})}.{signature}"


def _alg_none(house: House, token: Token) -> str:
    return f"{_segment({'typ': 'at+jwt', 'alg': 'none'})}.{_segment(_claims(token))}."


def _hs256_with_the_public_key(house: House, token: Token) -> str:
    public = keys.load_public(house.workspace.keys).issuer_bytes
    header = {"typ": "at+jwt", "alg": "HS256"}
    return jwt.encode(header, _claims(token), OctKey.import_key(public), algorithms=["HS256"])


def _of_another_key(house: House, token: Token) -> str:
    with house.store() as store, store.read() as connection:
        grant = grants.read(connection, token.grant_id)
    assert grant is not None
    return tokens.sign(signer.new_seed(), house.workspace.id, grant, FOR_HTTP)


def _for_another_audience(house: House, token: Token) -> str:
    return house.issue("viewer", "acme", bound=tokens.Bound("https://other.test/mcp")).text


def _for_stdio(house: House, token: Token) -> str:
    return house.issue("viewer", "acme").text


def _of_the_house(house: House, token: Token) -> str:
    with house.store() as store, store.read() as connection:
        grant = grants.read(connection, token.grant_id)
    assert grant is not None
    named = {"id": "house:billing", "principal": "house:billing", "actor": "house:billing"}
    public = keys.load_public(house.workspace.keys)
    seed = keys.load_issuer(house.workspace.keys, public)
    return tokens.sign(seed, house.workspace.id, grant.model_copy(update=named), FOR_HTTP)


def _not_a_token(house: House, token: Token) -> str:
    return "not-a-token"


def _too_long(house: House, token: Token) -> str:
    return token.text + "A" * 4000


@pytest.mark.parametrize(
    ("forge", "code"),
    [
        (_altered_signature, "token_signature"),
        (_altered_claims, "token_signature"),
        (_alg_none, "token_signature"),
        (_hs256_with_the_public_key, "token_signature"),
        (_of_another_key, "token_signature"),
        (_for_another_audience, "token_audience"),
        (_for_stdio, "token_audience"),
        (_of_the_house, "grant_absent"),
        (_not_a_token, "token_signature"),
        (_too_long, "token_malformed"),
    ],
    ids=lambda value: value.__name__ if callable(value) else value,
)
def test_a_token_that_does_not_hold_is_refused_with_the_same_words(
    shared: House,
    served: HttpFace,
    good: Token,
    forge: Callable[[House, Token], str],
    code: str,
) -> None:
    found = post(served, forge(shared, good))
    assert found.status_code == 401
    assert found.headers["www-authenticate"] == NOT_VALID
    assert found.json() == {"error": "token_invalid"}
    until(lambda: f"refused: {code}" in served.told(), "the log has the code")


def test_a_token_that_holds_is_taken(served: HttpFace, good: Token) -> None:
    assert post(served, good).status_code == 200


def test_without_a_token_the_client_is_told_where_to_get_one(served: HttpFace) -> None:
    found = post(served, None)
    assert (found.status_code, found.headers["www-authenticate"]) == (401, f"Bearer {CHALLENGE}")


@pytest.mark.parametrize("scheme", ["Basic", "DPoP", "Token"])
def test_a_token_under_another_scheme_is_refused(
    served: HttpFace, good: Token, scheme: str
) -> None:
    found = post(served, None, headers={"authorization": f"{scheme} {good.text}"})
    assert found.status_code == 401


def test_a_token_in_the_query_is_no_token(served: HttpFace, good: Token) -> None:
    assert post(served, None, path=f"/mcp?access_token={good.text}").status_code == 401


def test_a_token_in_the_query_beside_one_in_the_header_is_refused(
    served: HttpFace, good: Token
) -> None:
    found = post(served, good, path=f"/mcp?access_token={good.text}")
    assert (found.status_code, found.json()) == (400, {"error": "token_in_query"})
    assert good.text not in served.told()


def test_two_tokens_are_refused(served: HttpFace, good: Token) -> None:
    twice = [("authorization", f"Bearer {good.text}")] * 2
    headers = [*modern_headers("tools/list").items(), *twice]
    found = httpx2.post(served.local_url, headers=headers, json={}, trust_env=False)
    assert (found.status_code, found.json()) == (400, {"error": "header_twice"})


def test_an_expired_token_is_refused_and_its_holder_told(shared: House, served: HttpFace) -> None:
    found = post(served, shared.expired("viewer", "acme", FOR_HTTP))
    assert (found.status_code, found.json()) == (401, {"error": "token_expired"})


@pytest.mark.long
def test_a_token_that_expires_while_it_is_remembered_is_refused(
    shared: House, served: HttpFace
) -> None:
    nearly = SystemClock().now() - timedelta(seconds=57)
    token = shared.issue("viewer", "acme", ttl="1m", now=nearly, bound=FOR_HTTP)
    assert post(served, token).status_code == 200
    until(lambda: post(served, token).status_code == 401, "the token's time is over")


def test_a_token_of_another_workspace_for_the_same_server_is_refused(
    served: HttpFace, cerbos_binary: Any, tmp_path: Any
) -> None:
    other = build_house(tmp_path / "other", cerbos_binary)
    assert post(served, other.issue("viewer", "acme", bound=FOR_HTTP)).status_code == 401


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {"name": "whoami", "arguments": {}}),
        ("tools/list", {}),
        ("server/discover", {}),
    ],
)
def test_a_revoked_token_is_refused_on_the_next_request_whatever_it_asks(
    shared: House, served: HttpFace, method: str, params: dict[str, Any]
) -> None:
    token = shared.issue("viewer", "acme", bound=FOR_HTTP)
    headers = modern_headers(method, params.get("name"))
    content = json.dumps(modern_request(method, **params)).encode()
    first = post(served, token, headers=headers, content=content)
    assert first.status_code == 200, first.text
    shared.revoke(token)
    second = post(served, token, headers=headers, content=content)
    assert (second.status_code, second.json()) == (401, {"error": "grant_revoked"})


@pytest.mark.parametrize("method", ["initialize", "tools/list", "ping"])
def test_a_revoked_token_opens_nothing_in_the_older_era(
    shared: House, served: HttpFace, method: str
) -> None:
    token = shared.issue("viewer", "acme", bound=FOR_HTTP)
    told: dict[str, Any] = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "bare", "version": "1"},
    }
    params: dict[str, Any] = told if method == "initialize" else {}
    content = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    first = post(served, token, headers=legacy_headers(), content=content)
    assert "result" in first.json()
    shared.revoke(token)
    assert post(served, token, headers=legacy_headers(), content=content).status_code == 401


@pytest.mark.anyio
async def test_a_token_for_http_opens_nothing_over_stdio(shared: House, good: Token) -> None:
    with anyio.fail_after(60):
        async with connected(shared, good) as client:
            told = answer(await client.call_tool("whoami", {}))
    assert (told["outcome"], told["code"]) == ("refused", "token_invalid")


def test_two_callers_of_one_server_are_told_apart(shared: House, served: HttpFace) -> None:
    for principal in ("vera", "walt", "vera"):
        token = shared.issue("viewer", "acme", principal=principal, bound=FOR_HTTP)
        told = post(served, token).json()["result"]["structuredContent"]
        assert told["result"]["principal"] == principal


def test_a_token_never_stands_in_the_log(served: HttpFace, good: Token) -> None:
    assert post(served, good).status_code == 200
    assert good.text.rpartition(".")[2] not in served.told()


@pytest.mark.parametrize("path", ["", "/mcp"])
def test_the_metadata_names_the_resource(served: HttpFace, path: str) -> None:
    url = served.local_url.removesuffix("/mcp") + "/.well-known/oauth-protected-resource" + path
    told = httpx2.get(url, trust_env=False).json()
    assert told["resource"] == AUDIENCE
    assert told["bearer_methods_supported"] == ["header"]


def test_a_server_over_http_needs_its_audience(shared: House) -> None:
    with (
        pytest.raises(AssertionError, match="--audience: is needed"),
        http_face(shared, audience=""),
    ):
        pytest.fail("it must not serve")


# the command that issues them ------------------------------------------------------------------

WHO = ("--principal", "carol", "--roles", "viewer", "--tenants", "acme")


def issued(house: House, *options: str) -> Result:
    return CliRunner().invoke(app, ["token", "issue", *WHO, *options], env=house.environment)


def test_a_token_is_issued_for_a_server_over_http(shared: House, served: HttpFace) -> None:
    told = post(served, issued(shared, "--audience", AUDIENCE).stdout.strip())
    assert told.json()["result"]["structuredContent"]["result"]["principal"] == "carol"
    assert post(served, issued(shared).stdout.strip()).status_code == 401


def test_a_grant_may_be_made_without_a_token(shared: House) -> None:
    grant_id = issued(shared, "--no-token").stdout.strip()
    with shared.store() as store, store.read() as connection:
        grant = grants.read(connection, grant_id)
    assert grant is not None
    assert grant.principal == "carol"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--dpop-thumbprint", "A" * 43), "--dpop-thumbprint: is for a token with --audience"),
        (("--dpop-thumbprint", "x", "--audience", AUDIENCE), "--dpop-thumbprint: must be"),
        (("--audience", "http://paybill.test/mcp"), "--audience: must be https"),
    ],
)
def test_a_token_that_could_not_hold_is_not_issued(
    shared: House, options: tuple[str, ...], named: str
) -> None:
    ran = issued(shared, *options)
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert named in ran.stderr
