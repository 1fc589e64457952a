"""Tokens: a signed name of a grant. Not a right: roles and tenants are read from the grant on each call."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection

from control_plane.domain.caller import Caller, Grant
from control_plane.domain.canonical import instant
from control_plane.domain.house import is_house
from control_plane.errors import Refused
from control_plane.ports import Recorder, Store
from control_plane.secrets.signer import public_bytes
from server import grants
from server.grants import NewGrant
from server.service_grants import NewServiceGrant

ISSUER: Final = "paybill"
# RFC 9864's name for EdDSA over Ed25519: it says the curve too, so nothing is left to choose.
ALGORITHM: Final = "Ed25519"
TOKEN_CHARS_MAX: Final = 2048
# The SHA-256 of a public key by RFC 7638: to it a token may be bound.
THUMBPRINT: Final = r"^[A-Za-z0-9_-]{43}$"
_HEADER: Final = {"typ": "at+jwt", "alg": ALGORITHM}

Reason = Literal[
    "token_absent",
    "token_malformed",
    "token_signature",
    "token_issuer",
    "token_audience",
    "token_expired",
    "grant_absent",
    "grant_mismatch",
    "grant_revoked",
    "grant_expired",
    "dpop_proof",
]
_NOT_VALID: Final = "the token is not valid here"
_OVER: Final = "the token has expired; ask for a new one"
# Only to who holds a token that this workspace signed is more said than "not valid".
_MESSAGES: Final[dict[Reason, str]] = {
    "token_absent": "a token is needed",
    "token_expired": _OVER,
    "grant_expired": _OVER,
    "grant_revoked": "the token was revoked",
}


class Unauthenticated(Refused):
    """Who calls is not known. `code` is for the log; the message says no more than the caller may know."""

    code = "unauthenticated"

    def __init__(self, reason: Reason) -> None:
        super().__init__(_MESSAGES.get(reason, _NOT_VALID), code=reason)
        self.told = reason if reason in _MESSAGES else "token_invalid"
        """The code that the caller may know."""


class _Actor(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sub: str = Field(min_length=1, max_length=120)


class _Confirmation(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    jkt: str = Field(pattern=THUMBPRINT)


class Claims(BaseModel):
    """RFC 7519; for the actor RFC 8693, for the holder's key RFC 9449."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    iss: str
    aud: str
    sub: str = Field(min_length=1, max_length=120)
    act: _Actor
    jti: str = Field(min_length=1, max_length=64)
    iat: int
    exp: int
    cnf: _Confirmation | None = None


def audience(workspace_id: str) -> str:
    """The audience of a workspace's tokens for stdio and socket. Over HTTP it is the server's URL."""
    return f"paybill:{workspace_id}"


@dataclass(frozen=True, slots=True)
class Bound:
    """For whom a token is: a server's URL in place of the workspace, and its holder's key if any."""

    audience: str | None = None
    thumbprint: str | None = None


UNBOUND: Final = Bound()


def issue(
    connection: Connection,
    issuer_seed: bytes,
    workspace_id: str,
    asked: NewGrant | NewServiceGrant,
    *,
    grant_id: str,
    now: datetime,
    recorder: Recorder,
    bound: Bound = UNBOUND,
) -> tuple[Grant, str]:
    """Keep a new grant in the transaction and sign the token that names it."""
    grant = asked.grant(grant_id, now)
    grants.keep(connection, grant, recorder)
    return grant, sign(issuer_seed, workspace_id, grant, bound)


def sign(issuer_seed: bytes, workspace_id: str, grant: Grant, bound: Bound = UNBOUND) -> str:
    """The token of a grant."""
    jkt = bound.thumbprint
    claims = Claims(
        iss=ISSUER,
        aud=bound.audience or audience(workspace_id),
        sub=grant.principal,
        act=_Actor(sub=grant.actor),
        jti=grant.id,
        iat=_seconds(grant.issued_at),
        exp=_seconds(grant.expires_at),
        cnf=None if jkt is None else _Confirmation(jkt=jkt),
    )
    key = OKPKey.import_key(_jwk(public_bytes(issuer_seed), issuer_seed))
    return jwt.encode(
        dict(_HEADER), claims.model_dump(exclude_none=True), key, algorithms=[ALGORITHM]
    )


class Identify:
    """Token in, caller out. Holds only the public half of the issuer's key."""

    def __init__(
        self, store: Store, issuer_public: bytes, workspace_id: str, url: str | None = None
    ) -> None:
        self._store = store
        self._key = OKPKey.import_key(_jwk(issuer_public))
        self._audience = url or audience(workspace_id)

    def verify(self, token: str, now: datetime) -> Caller:
        """The caller that the token's grant makes now. Raises Unauthenticated; Unavailable."""
        claims = self.claims(token)
        if claims.cnf is not None:
            # Only HTTP carries the proof that the holder has the key.
            raise Unauthenticated("dpop_proof")
        caller = self.caller(claims, now)
        if caller.actor_kind == "service":
            # Nothing but MCP and a human's own commands is reached this way.
            raise Unauthenticated("token_audience")
        return caller

    def claims(self, token: str) -> Claims:
        """What a token says that we signed for this audience. Its time and grant are not looked at."""
        claims = self._claims(token)
        if claims.iss != ISSUER:
            raise Unauthenticated("token_issuer")
        if claims.aud != self._audience:
            raise Unauthenticated("token_audience")
        return claims

    def caller(self, claims: Claims, now: datetime) -> Caller:
        """The caller of verified claims now. Raises Unauthenticated; Unavailable."""
        if not claims.iat <= now.timestamp() < claims.exp:
            raise Unauthenticated("token_expired")
        return caller_of(self._store, claims.jti, now, (claims.sub, claims.act.sub))

    def _claims(self, token: str) -> Claims:
        if not token:
            raise Unauthenticated("token_absent")
        if len(token) > TOKEN_CHARS_MAX or not token.isascii():
            raise Unauthenticated("token_malformed")
        try:
            decoded = jwt.decode(token, self._key, algorithms=[ALGORITHM])
            claims = Claims.model_validate(decoded.claims)
        except ValidationError:
            raise Unauthenticated("token_malformed") from None
        except JoseError:
            raise Unauthenticated("token_signature") from None
        # The header is anyone's until it is verified, and may have any shape.
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            raise Unauthenticated("token_malformed") from None
        if decoded.header != _HEADER:
            raise Unauthenticated("token_malformed")
        return claims


def caller_of(
    store: Store, grant_id: str, now: datetime, holder: tuple[str, str] | None = None
) -> Caller:
    """The caller that a grant makes now; with `holder` it must be this (principal, actor)'s.

    The row is read each time: a revocation holds on the next call. Raises Unauthenticated.
    """
    with store.read() as connection:
        grant = grants.read(connection, grant_id)
    if grant is None or is_house(grant.principal) or is_house(grant.actor):
        raise Unauthenticated("grant_absent")
    if holder is not None and holder != (grant.principal, grant.actor):
        raise Unauthenticated("grant_mismatch")
    if grant.revoked_at is not None:
        raise Unauthenticated("grant_revoked")
    if not grant.live(instant(now)):
        raise Unauthenticated("grant_expired")
    return Caller.of(grant)


def _seconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp())


def _jwk(public: bytes, seed: bytes | None = None) -> dict[str, str | list[str]]:
    key: dict[str, str | list[str]] = {"kty": "OKP", "crv": "Ed25519", "x": _base64url(public)}
    return key if seed is None else key | {"d": _base64url(seed)}


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
