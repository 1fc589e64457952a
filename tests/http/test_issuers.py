"""Tokens of outside issuers: verified by published keys, mapped to a grant, which alone holds rights."""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from control_plane.errors import BadInput, Unavailable
from server.issuers import read_issuers
from server.jwks import FRESH_S, RETRY_S, STALE_S, SigningKeys, parse_keys
from tests.support.house import House, Token
from tests.support.http_faces import (
    HttpFace,
    bearer,
    http_face,
    modern_headers,
    modern_request,
    post,
)
from tests.support.issuer_server import ISSUER, OutsideIssuer, outside_issuer
from tests.support.waiting import until

pytestmark = pytest.mark.slice_of(3)

TEXT = """
[[issuer]]
url = "{issuer}"
jwks_url = "{keys}"
algorithms = {algorithms}
{more}
[[issuer.mapping]]
claim = "sub"
equals = "u-1"
grant = "{grant}"
[[issuer.mapping]]
claim = "team"
equals = "red"
grant = "{other}"

[[issuer.mapping]]
claim = "team"
equals = "meters"
grant = "{service}"
"""


@pytest.fixture(scope="module")
def issuer() -> Iterator[OutsideIssuer]:
    with outside_issuer() as made:
        made.new_key("es", "ES256")
        made.new_key("rs", "RS256", use="sig", alg="RS256")
        made.new_key("ed", "Ed25519")
        made.new_key("enc", "ES256", use="enc")
        made.new_key("ps", "RS256", alg="PS256")
        yield made


@pytest.fixture(scope="module")
def grant(shared: House) -> Token:
    return shared.issue("viewer", "acme", principal="outer", actor="app")


@pytest.fixture(scope="module")
def served(shared: House, issuer: OutsideIssuer, grant: Token) -> Iterator[HttpFace]:
    with serving(shared, issuer, grant) as face:
        yield face


@contextmanager
def serving(
    house: House,
    issuer: OutsideIssuer,
    grant: Token,
    more: str = "",
    algorithms: tuple[str, ...] = ("ES256", "RS256", "Ed25519"),
) -> Generator[HttpFace]:
    """A server that takes the tokens of this issuer."""
    other = house.issue("viewer", "globex", principal="outer", actor="red")
    file = house.folder / f"issuers-{grant.grant_id}-{len(list(house.folder.glob('issuers-*')))}"
    file.touch(mode=0o600)
    file.write_text(
        TEXT.format(
            issuer=ISSUER,
            keys=issuer.url,
            algorithms=json.dumps(algorithms),
            more=more,
            grant=grant.grant_id,
            other=other.grant_id,
            service=house.issue_service("entitlement_read", "acme").grant_id,
        )
    )
    with http_face(house, "--issuers", str(file)) as face:
        yield face


def told(found: Any) -> dict[str, Any]:
    assert found.status_code == 200, found.text
    answer: dict[str, Any] = found.json()["result"]["structuredContent"]
    return answer


def tenant_get(served: HttpFace, token: str, tenant: str) -> dict[str, Any]:
    body = modern_request("tools/call", name="tenant_get", arguments={"tenant": tenant})
    headers = modern_headers("tools/call", "tenant_get")
    return told(post(served, token, headers=headers, content=json.dumps(body).encode()))


@pytest.mark.parametrize("kid", ["es", "rs", "ed"])
def test_a_mapped_token_acts_with_the_rights_of_its_grant_and_no_others(
    served: HttpFace, issuer: OutsideIssuer, kid: str
) -> None:
    token = issuer.token(kid, roles=["platform_admin"], tenants=["*"])
    assert told(post(served, token))["result"]["principal"] == "outer"
    assert tenant_get(served, token, "acme")["outcome"] == "done"
    assert tenant_get(served, token, "globex")["outcome"] == "not_found"
    body = json.dumps(modern_request("tools/list")).encode()
    listed = post(served, token, headers=modern_headers("tools/list"), content=body).json()
    names = {tool["name"] for tool in listed["result"]["tools"]}
    assert {"tenant_get", "whoami"} <= names
    assert not {"tenant_onboard", "tenant_onboarding_start"} & names


def test_another_claim_may_stand_for_another_grant(served: HttpFace, issuer: OutsideIssuer) -> None:
    token = issuer.token("es", sub="u-2", team="red")
    assert tenant_get(served, token, "globex")["outcome"] == "done"
    assert tenant_get(served, token, "acme")["outcome"] == "not_found"


def test_a_mapped_token_of_a_service_opens_the_integration_api_alone(
    served: HttpFace, issuer: OutsideIssuer
) -> None:
    token = issuer.token("es", sub="u-3", team="meters")
    refused = post(served, token)
    assert (refused.status_code, refused.json()) == (403, {"error": "not_for_services"})
    base = served.local_url.removesuffix("/mcp")
    found = httpx2.get(
        f"{base}/v1/entitlements/acme/sso", headers=bearer(token), timeout=30.0, trust_env=False
    )
    assert (found.status_code, found.json()["outcome"]) == (200, "done")


def test_a_mapped_token_ends_with_its_grant(shared: House, issuer: OutsideIssuer) -> None:
    grant = shared.issue("viewer", "acme", principal="outer", actor="app")
    with serving(shared, issuer, grant) as face:
        token = issuer.token("es")
        assert told(post(face, token))["outcome"] == "done"
        shared.revoke(grant)
        found = post(face, token)
        assert (found.status_code, found.json()) == (401, {"error": "grant_revoked"})


Forge = Callable[[OutsideIssuer], str]


def _ago(seconds: float) -> int:
    return int(time.time() - seconds)


def _unsigned(issuer: OutsideIssuer) -> str:
    _, payload, _ = issuer.token("es").split(".")
    return f"{_segment({'typ': 'at+jwt', 'alg': 'none', 'kid': 'es'})}.{payload}."


def _hmac(issuer: OutsideIssuer) -> str:
    _, payload, _ = issuer.token("rs").split(".")
    signed = f"{_segment({'typ': 'at+jwt', 'alg': 'HS256', 'kid': 'rs'})}.{payload}"
    # By hand: a library would not take a public key for a secret.
    public = issuer.private("rs").as_pem(private=False)
    return f"{signed}.{_base64url(hmac.digest(public, signed.encode(), 'sha256'))}"


def _segment(value: dict[str, Any]) -> str:
    return _base64url(json.dumps(value).encode())


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _altered(issuer: OutsideIssuer) -> str:
    first, second = issuer.token("es").split("."), issuer.token("es", sub="u-9").split(".")
    return f"{second[0]}.{first[1]}.{second[2]}"


REFUSED: dict[str, tuple[Forge, str]] = {
    "expired": (lambda one: one.token("es", iat=_ago(400), exp=_ago(1)), "token_expired"),
    "without an end": (lambda one: one.token("es", exp=None), "token_malformed"),
    "an endless end": (lambda one: one.token("es", exp=float("inf")), "token_malformed"),
    "an end that is no number": (lambda one: one.token("es", exp=float("nan")), "token_malformed"),
    "a life too long": (lambda one: one.token("es", exp=_ago(-90_000)), "token_expired"),
    "not yet issued": (lambda one: one.token("es", iat=_ago(-120)), "token_expired"),
    "not yet good": (lambda one: one.token("es", nbf=_ago(-120)), "token_expired"),
    "for another": (lambda one: one.token("es", aud="https://other.test/mcp"), "token_audience"),
    "for nobody": (lambda one: one.token("es", aud=None), "token_malformed"),
    "an ID token": (lambda one: one.token("es", nonce="n-1"), "token_audience"),
    "a JWT of no type": (lambda one: one.token("es", {"typ": "JWT"}), "token_malformed"),
    "a logout token": (lambda one: one.token("es", {"typ": "logout+jwt"}), "token_malformed"),
    "a key unknown": (lambda one: one.token("es", {"kid": "other"}), "token_signature"),
    "a key not named": (lambda one: one.token("es", {"kid": ""}), "token_malformed"),
    "a key for encryption": (lambda one: one.token("enc"), "token_signature"),
    "a key of another algorithm": (lambda one: one.token("ps"), "token_signature"),
    "the name of another key": (lambda one: one.token("es", {"kid": "rs"}), "token_signature"),
    "critical": (
        lambda one: one.token("es", {"crit": ["b64"], "b64": True}),
        "token_malformed",
    ),
    "none": (_unsigned, "token_signature"),
    "an HMAC by the public key": (_hmac, "token_signature"),
    "an altered claim": (_altered, "token_signature"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_outside_token_that_does_not_hold_is_refused(
    served: HttpFace, issuer: OutsideIssuer, name: str
) -> None:
    forge, code = REFUSED[name]
    found = post(served, forge(issuer))
    assert found.status_code == 401
    assert found.json()["error"] in ("token_invalid", "token_expired")
    until(lambda: f"refused: {code}" in served.told(), "the log has the code")


@pytest.mark.parametrize("claims", [{"sub": "u-2"}, {"team": "red"}, {"sub": None}])
def test_a_good_token_that_no_mapping_or_more_than_one_fits_opens_nothing(
    served: HttpFace, issuer: OutsideIssuer, claims: dict[str, Any]
) -> None:
    found = post(served, issuer.token("es", **claims))
    assert (found.status_code, found.json()) == (403, {"error": "token_unmapped"})


def test_a_token_of_an_issuer_that_is_not_in_the_file_is_refused(
    served: HttpFace, issuer: OutsideIssuer
) -> None:
    assert post(served, issuer.token("es", iss="https://evil.test")).status_code == 401


@pytest.mark.sweep
def test_a_scope_may_be_asked_for(shared: House, issuer: OutsideIssuer, grant: Token) -> None:
    with serving(shared, issuer, grant, more='scope = "paybill"\ntyp = "JWT"') as face:
        found = post(face, issuer.token("es", {"typ": "JWT"}, scope="openid"))
        assert (found.status_code, found.json()) == (403, {"error": "token_scope"})
        assert 'error="insufficient_scope"' in found.headers["www-authenticate"]
        good = issuer.token("es", {"typ": "JWT"}, scope="openid paybill")
        assert told(post(face, good))["outcome"] == "done"


def test_the_metadata_names_the_issuers(served: HttpFace) -> None:
    url = served.local_url.removesuffix("/mcp") + "/.well-known/oauth-protected-resource/mcp"
    assert httpx2.get(url, trust_env=False).json()["authorization_servers"] == [ISSUER]


# the server of keys ----------------------------------------------------------------------------


@pytest.mark.long
def test_a_new_key_is_found_and_a_flood_of_unknown_ones_asks_once(
    shared: House, grant: Token
) -> None:
    with outside_issuer() as issuer:
        issuer.new_key("old")
        with serving(shared, issuer, grant) as face:
            assert told(post(face, issuer.token("old")))["outcome"] == "done"
            asked = issuer.asked
            for number in range(20):
                token = issuer.token("old", {"kid": f"unknown-{number}"})
                assert post(face, token).status_code == 401
            assert issuer.asked <= asked + 1


@pytest.mark.sweep
def test_a_rotated_key_is_fetched_when_it_is_first_seen(shared: House, grant: Token) -> None:
    with outside_issuer() as issuer:
        issuer.new_key("old")
        issuer.status = 503
        with serving(shared, issuer, grant) as face:
            until(lambda: issuer.asked, "the keys were asked for")
            assert post(face, issuer.token("old")).status_code == 503
            issuer.status = 200
            issuer.new_key("new")
            until(
                lambda: post(face, issuer.token("new")).status_code == 200,
                "the keys are asked for again",
            )
            assert told(post(face, issuer.token("old")))["outcome"] == "done"


def test_keys_that_were_read_serve_on_while_their_server_is_down(
    shared: House, grant: Token
) -> None:
    with outside_issuer() as issuer:
        issuer.new_key("es")
        with serving(shared, issuer, grant) as face:
            assert told(post(face, issuer.token("es")))["outcome"] == "done"
            issuer.status = 500
            assert told(post(face, issuer.token("es", jti="another")))["outcome"] == "done"


@pytest.mark.sweep
@pytest.mark.parametrize("fault", ["redirect", "huge", "packed", "gone"])
def test_keys_that_come_otherwise_than_agreed_are_not_taken(
    shared: House, grant: Token, fault: str
) -> None:
    with outside_issuer() as good, outside_issuer() as issuer:
        issuer.new_key("es")
        good.keys = issuer.keys
        if fault == "redirect":
            issuer.status, issuer.headers = 302, {"location": good.url}
        elif fault == "huge":
            issuer.padding = 300_000
        elif fault == "packed":
            issuer.headers = {"content-encoding": "gzip"}
        else:
            issuer.status = 404
        with serving(shared, issuer, grant) as face:
            found = post(face, issuer.token("es"))
            assert (found.status_code, found.json()) == (503, {"error": "issuer_unavailable"})
            assert good.asked == 0


class Published:
    """A source of keys that can be counted and stopped."""

    def __init__(self, *kids: str) -> None:
        self.kids = list(kids)
        self.asked = 0
        self.up = True

    async def text(self) -> bytes:
        self.asked += 1
        if not self.up:
            raise OSError
        return json.dumps({"keys": [_es256(kid=kid) for kid in self.kids]}).encode()


class Hand:
    """The hand of a clock."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.anyio
async def test_a_new_key_is_fetched_when_it_is_first_named_and_at_most_once_a_minute() -> None:
    source, hand = Published("old"), Hand()
    keys = SigningKeys(source, ("ES256",), hand)
    assert await keys.find("old", "ES256") is not None
    source.kids.append("new")
    for _ in range(50):
        assert await keys.find("new", "ES256") is None
    assert source.asked == 1
    hand.now_s += RETRY_S
    assert await keys.find("new", "ES256") is not None
    assert source.asked == 2


@pytest.mark.anyio
async def test_a_key_that_is_taken_back_is_gone_soon() -> None:
    source, hand = Published("old", "stolen"), Hand()
    keys = SigningKeys(source, ("ES256",), hand)
    assert await keys.find("stolen", "ES256") is not None
    source.kids = ["old"]
    hand.now_s += FRESH_S + 1
    assert await keys.find("old", "ES256") is not None
    await keys.refresh()
    assert await keys.find("stolen", "ES256") is None


@pytest.mark.anyio
async def test_keys_too_old_are_not_used_when_their_server_stays_down() -> None:
    source, hand = Published("old"), Hand()
    keys = SigningKeys(source, ("ES256",), hand)
    assert await keys.find("old", "ES256") is not None
    source.up = False
    hand.now_s += STALE_S - 1
    assert await keys.find("old", "ES256") is not None
    hand.now_s += 2
    with pytest.raises(Unavailable):
        await keys.find("old", "ES256")


@pytest.mark.anyio
async def test_many_who_wait_for_a_key_cause_one_fetch() -> None:
    source = Published("old")
    keys = SigningKeys(source, ("ES256",), Hand())
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(keys.find, "old", "ES256")
    assert source.asked == 1


# the file and the keys, by themselves ----------------------------------------------------------


def _es256(**more: Any) -> dict[str, Any]:
    issuer = OutsideIssuer()
    issuer.new_key("a", "ES256")
    return {**issuer.keys[0], **more}


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "HS256"},
        _es256(use="enc"),
        _es256(alg="ES384"),
        _es256(kty="RSA"),
        _es256(crv="P-384"),
        _es256(d="c2VjcmV0"),
        _es256(key_ops=["encrypt"]),
        _es256(kid=""),
        _es256(kid=7),
        _es256(x="AA"),
        {"kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB"},
        "text",
        None,
    ],
    # Two processes must find the same names, whatever keys they make.
    ids=[f"key-{number}" for number in range(13)],
)
def test_a_key_that_is_not_for_this_is_passed_over(key: Any) -> None:
    text = json.dumps({"keys": [key, {**_es256(), "kid": "b"}]}).encode()
    assert set(parse_keys(text, ("ES256", "RS256"))) == {("b", "ES256")}


def test_two_keys_of_one_name_are_both_passed_over() -> None:
    text = json.dumps({"keys": [_es256(), _es256()]}).encode()
    assert parse_keys(text, ("ES256",)) == {}


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"keys": {}}', b"[" * 100_000])
def test_what_is_no_set_of_keys_is_refused(text: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        parse_keys(text, ("ES256",))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"ES256"', '"none"'),
        ('"ES256"', '"HS256"'),
        ("https://keys.test/", "http://keys.test/"),
        ("https://keys.test/", "file:///etc/passwd"),
        ("jwks_url", "jwks_uri"),
        ("[[issuer.mapping]]", "[[issuer.other]]"),
        ('grant = "', 'grant = "x'),
        ("[[issuer]]", "secret = 'planted'\n[[issuer]]"),
        ("algorithms =", 'jwks_file = "/keys"\nalgorithms ='),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused_without_its_values(
    tmp_path: Path, old: str, new: str
) -> None:
    text = TEXT.format(
        issuer=ISSUER,
        keys="https://keys.test/",
        algorithms='["ES256"]',
        more="",
        grant="a" * 32,
        other="b" * 32,
        service="c" * 32,
    )
    file = tmp_path / "issuers.toml"
    file.touch(mode=0o600)
    file.write_text(text)
    assert read_issuers(file).issuer[0].url == ISSUER
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(BadInput) as told_of:
        read_issuers(file)
    assert "planted" not in str(told_of.value)
    assert "passwd" not in str(told_of.value)
