"""Proofs that a token's holder has its key (DPoP, RFC 9449): each good for one request. Not the token."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Literal

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.jose import header_of
from server.tokens import Unauthenticated

ALGORITHMS: Final = ("Ed25519", "EdDSA", "ES256")
PROOF_BYTES_MAX: Final = 2048
AGE_S_MAX: Final = 60.0
SEEN_MAX: Final = 100_000
_TYPE: Final = "dpop+jwt"


@dataclass(frozen=True, slots=True)
class Proof:
    """What one request brings, and what it must fit: method, hash of its token, thumbprint of the key."""

    text: bytes
    method: str
    token_hash: bytes
    thumbprint: str
    url: str = ""
    """Where it was asked; empty for the server's own URL."""


class _Key(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    kty: Literal["OKP", "EC"]
    crv: Literal["Ed25519", "P-256"]
    x: str
    y: str | None = None
    d: None = None


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    typ: Literal["dpop+jwt"]
    alg: Literal["Ed25519", "EdDSA", "ES256"]
    jwk: _Key


class _Claims(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)

    jti: str = Field(min_length=8, max_length=128)
    htm: str
    htu: str
    iat: int | float
    ath: str


class DpopProofs:
    """Verifies proofs for one server, and remembers each until it would be too old."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._seen: OrderedDict[str, float] = OrderedDict()

    def require(self, proof: Proof, now_s: float) -> None:
        """Raise Unauthenticated (`dpop_proof`) unless the proof is for this request, and new."""
        try:
            claims = self._verified(proof)
        except (ValidationError, JoseError, ValueError, TypeError, KeyError, RecursionError):
            raise Unauthenticated("dpop_proof") from None
        ath = urlsafe_b64encode(proof.token_hash).rstrip(b"=").decode()
        fits = (claims.htm, claims.htu, claims.ath) == (proof.method, proof.url or self._url, ath)
        if not fits or abs(now_s - claims.iat) > AGE_S_MAX:
            raise Unauthenticated("dpop_proof")
        self._once(f"{proof.thumbprint}.{claims.jti}", now_s)

    def _verified(self, proof: Proof) -> _Claims:
        if not 0 < len(proof.text) <= PROOF_BYTES_MAX:
            raise ValueError
        text = proof.text.decode("ascii")
        header = _Header.model_validate(header_of(text))
        named = header.jwk.model_dump(exclude_none=True)
        key = OKPKey.import_key(named) if header.jwk.kty == "OKP" else ECKey.import_key(named)
        if key.thumbprint() != proof.thumbprint:
            raise ValueError
        decoded = jwt.decode(text, key, algorithms=[header.alg])
        return _Claims.model_validate_json(json.dumps(decoded.claims))

    def _once(self, name: str, now_s: float) -> None:
        # Twice the age: a proof may be dated as far ahead as it may lie behind.
        while self._seen and next(iter(self._seen.values())) < now_s - 2 * AGE_S_MAX:
            self._seen.popitem(last=False)
        # Full of proofs that are still good: refusing is the only way to remember all of them.
        if name in self._seen or len(self._seen) >= SEEN_MAX:
            raise Unauthenticated("dpop_proof")
        self._seen[name] = now_s
