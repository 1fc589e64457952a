"""Tokens that are bound to a key: a stolen one, or a request that is sent again, opens nothing."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey

from server.dpop import AGE_S_MAX, DpopProofs, Proof
from server.tokens import Bound, Unauthenticated
from tests.support.house import House, Token
from tests.support.http_faces import AUDIENCE, FOR_HTTP, HttpFace, http_face, post

HOLDER = OKPKey.generate_key("Ed25519")


@pytest.fixture(scope="module")
def served(shared: House) -> Iterator[HttpFace]:
    with http_face(shared) as face:
        yield face


@pytest.fixture(scope="module")
def bound(shared: House) -> Token:
    return shared.issue("viewer", "acme", bound=Bound(AUDIENCE, HOLDER.thumbprint()))


def proof(
    token: str,
    key: OKPKey | ECKey = HOLDER,
    header: dict[str, Any] | None = None,
    **claims: Any,
) -> str:
    """A proof for one request; what is given stands in place of the usual, None leaves it out."""
    ath = urlsafe_b64encode(sha256(token.encode()).digest()).rstrip(b"=").decode()
    told = {"jti": str(uuid4()), "htm": "POST", "htu": AUDIENCE, "iat": int(time.time())}
    said = {name: one for name, one in {**told, "ath": ath, **claims}.items() if one is not None}
    algorithm = "ES256" if isinstance(key, ECKey) else "Ed25519"
    named = {"typ": "dpop+jwt", "alg": algorithm, "jwk": key.as_dict(private=False)}
    return jwt.encode({**named, **(header or {})}, said, key, algorithms=[algorithm])


def sent(token: Token, shown: str | None, scheme: str = "DPoP") -> dict[str, str]:
    headers = {"authorization": f"{scheme} {token.text}"}
    return headers if shown is None else {**headers, "dpop": shown}


def test_the_holder_of_the_key_is_served_each_time_with_a_new_proof(
    served: HttpFace, bound: Token
) -> None:
    for _ in range(2):
        found = post(served, None, headers=sent(bound, proof(bound.text)))
        assert found.status_code == 200, found.text


def test_a_request_that_is_sent_again_is_refused(served: HttpFace, bound: Token) -> None:
    headers = sent(bound, proof(bound.text))
    assert post(served, None, headers=headers).status_code == 200
    again = post(served, None, headers=headers)
    assert again.status_code == 401
    assert 'error="invalid_dpop_proof"' in again.headers["www-authenticate"]


def test_a_stolen_token_opens_nothing_without_its_key(served: HttpFace, bound: Token) -> None:
    thief = OKPKey.generate_key("Ed25519")
    assert post(served, bound).status_code == 401
    for headers in (
        sent(bound, None),
        sent(bound, proof(bound.text, thief)),
        sent(bound, proof(bound.text, thief, {"jwk": HOLDER.as_dict(private=False)})),
        sent(bound, proof(bound.text), "Bearer"),
    ):
        assert post(served, None, headers=headers).status_code == 401


def test_a_token_that_is_bound_to_no_key_is_none_for_proofs(
    served: HttpFace, shared: House
) -> None:
    token = shared.issue("viewer", "acme", bound=FOR_HTTP)
    assert post(served, None, headers=sent(token, proof(token.text))).status_code == 401


def test_a_bound_token_without_an_audience_opens_nothing_elsewhere(shared: House) -> None:
    token = shared.issue("viewer", "acme", bound=Bound(None, HOLDER.thumbprint()))
    with shared.face(token) as face:
        told = face.front.call("whoami", {}).outcome
    assert told is not None
    assert (told.outcome, told.code) == ("refused", "token_invalid")


@pytest.mark.parametrize(
    "claims",
    [
        {"htm": "GET"},
        {"htu": "https://other.test/mcp"},
        {"htu": "http://127.0.0.1/mcp"},
        {"ath": "A" * 43},
        {"ath": None},
        {"jti": None},
        {"jti": "short"},
        {"iat": int(time.time()) - 10_000},
        {"iat": int(time.time()) + 10_000},
        {"iat": float("nan")},
        {"iat": True},
        {"iat": None},
    ],
    # Two processes must find the same names, whatever the time.
    ids=[f"claims-{number}" for number in range(12)],
)
def test_a_proof_for_another_request_is_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        require(DpopProofs(AUDIENCE), proof("token", **claims))


@pytest.mark.parametrize(
    "header",
    [{"typ": "JWT"}, {"typ": ""}, {"kid": "x"}, {"jwk": {"kty": "oct", "k": "AAAA"}}],
    ids=str,
)
def test_a_proof_of_another_shape_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        require(DpopProofs(AUDIENCE), proof("token", header=header))


def test_a_proof_that_shows_its_private_key_is_refused() -> None:
    shown = proof("token", header={"jwk": HOLDER.as_dict(private=True)})
    with pytest.raises(Unauthenticated):
        require(DpopProofs(AUDIENCE), shown)


@pytest.mark.parametrize("shown", ["", "x", "a.b.c", "A" * 5000, "\xff", "[" * 1000])
def test_what_is_no_proof_is_refused(shown: str) -> None:
    with pytest.raises(Unauthenticated):
        require(DpopProofs(AUDIENCE), shown)


def test_a_proof_by_an_elliptic_curve_is_taken() -> None:
    key = ECKey.generate_key("P-256")
    proofs = DpopProofs(AUDIENCE)
    shown = proof("token", key)
    require(proofs, shown, key)
    with pytest.raises(Unauthenticated):
        require(proofs, shown, key)


def test_a_proof_is_forgotten_only_when_it_is_too_old_to_be_used_again() -> None:
    proofs, begun = DpopProofs(AUDIENCE), time.time()
    ahead = proof("token", iat=int(begun + AGE_S_MAX - 1))
    require(proofs, ahead, now_s=begun)
    for later in (1, AGE_S_MAX, 2 * AGE_S_MAX - 2, 2 * AGE_S_MAX + 1):
        with pytest.raises(Unauthenticated):
            require(proofs, ahead, now_s=begun + later)
    require(proofs, proof("token", iat=int(begun + 500)), now_s=begun + 500)
    assert len(proofs._seen) == 1


def require(
    proofs: DpopProofs, shown: str, key: OKPKey | ECKey = HOLDER, now_s: float | None = None
) -> None:
    hashed = sha256(b"token").digest()
    asked = Proof(shown.encode(), "POST", hashed, key.thumbprint())
    proofs.require(asked, time.time() if now_s is None else now_s)


def test_the_proofs_thumbprint_is_that_of_the_standard() -> None:
    key = OKPKey.import_key(
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        }
    )
    assert key.thumbprint() == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert json.loads(json.dumps(key.as_dict(private=False)))["kty"] == "OKP"
