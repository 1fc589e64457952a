"""Access tokens of outside issuers, verified and mapped to a grant of this workspace. The grant holds the rights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from control_plane.domain.caller import Caller
from control_plane.ports import Clock, Store
from server.http_visits import Forbidden, Proven
from server.issuers import Issuer
from server.jose import header_of, payload_of
from server.jwks import KeyFile, KeyUrl, PublicKey, SigningKeys
from server.tokens import THUMBPRINT, Unauthenticated, caller_of

TOKEN_CHARS_MAX: Final = 8192
LEEWAY_S: Final = 60.0
REMEMBERED_S: Final = 300.0
# What an ID token carries and an access token never does.
_ID_TOKEN_CLAIMS: Final = ("nonce", "at_hash", "c_hash")
_MALFORMED: Final = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    alg: str
    kid: str = Field(min_length=1, max_length=200)
    typ: str | None = None
    crit: None = None


class _Confirmation(BaseModel):
    # Another binding than to a DPoP key is one that we cannot prove.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    jkt: str = Field(pattern=THUMBPRINT)


class _Claims(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)

    iss: str
    aud: str | list[str]
    exp: int | float
    iat: int | float | None = None
    nbf: int | float | None = None
    scope: str = ""
    cnf: _Confirmation | None = None


class IssuedOutside:
    """Every outside issuer of one face; each has its own keys, algorithms and mappings."""

    def __init__(
        self, issuers: Sequence[Issuer], audience: str, store: Store, clock: Clock
    ) -> None:
        self._issuers = {one.url: (one, _keys(one)) for one in issuers}
        self._audience = audience
        self._store = store
        self._clock = clock

    @property
    def urls(self) -> tuple[str, ...]:
        """The issuers' names."""
        return tuple(self._issuers)

    async def warm(self) -> None:
        """Fetch every issuer's keys; one that does not answer is tried again when it is needed."""
        for _, keys in self._issuers.values():
            await keys.refresh()

    def close(self) -> None:
        """Stop what is being fetched."""
        for _, keys in self._issuers.values():
            keys.close()

    def knows(self, token: str) -> bool:
        """Whether the token names one of these issuers. Nothing is verified."""
        if len(token) > TOKEN_CHARS_MAX:
            return False
        try:
            return payload_of(token).get("iss") in self._issuers
        except _MALFORMED:
            return False

    async def proven(self, token: str) -> Proven:
        """The token, verified. Raises Unauthenticated; Forbidden; Unavailable."""
        try:
            issuer, keys = self._issuers[payload_of(token)["iss"]]
            header = _Header.model_validate(header_of(token))
        except (ValidationError, *_MALFORMED):
            raise Unauthenticated("token_malformed") from None
        if header.alg not in issuer.algorithms:
            raise Unauthenticated("token_signature")
        if not _typed(header.typ, issuer.typ):
            raise Unauthenticated("token_malformed")
        key = await keys.find(header.kid, header.alg)
        if key is None:
            raise Unauthenticated("token_signature")
        claims = _verified(token, key, header.alg)
        now_s = self._clock.now().timestamp()
        self._require(claims, issuer, now_s)
        return self._mapped(claims, issuer, now_s)

    def _require(self, claims: _Claims, issuer: Issuer, now_s: float) -> None:
        if claims.iss != issuer.url:
            raise Unauthenticated("token_issuer")
        named = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        if self._audience not in named or any(_has(claims, name) for name in _ID_TOKEN_CLAIMS):
            raise Unauthenticated("token_audience")
        begin_s = now_s if claims.iat is None else claims.iat
        too_early = max(begin_s, claims.nbf or 0) > now_s + LEEWAY_S
        if too_early or claims.exp <= now_s or claims.exp - begin_s > issuer.lifetime_s_max:
            raise Unauthenticated("token_expired")
        if issuer.scope is not None and issuer.scope not in claims.scope.split(" "):
            raise Forbidden("The token lacks the scope that is needed.", code="token_scope")

    def _mapped(self, claims: _Claims, issuer: Issuer, now_s: float) -> Proven:
        extra: Mapping[str, Any] = claims.model_dump()
        grants = {one.grant for one in issuer.mapping if extra.get(one.claim) == one.equals}
        if len(grants) != 1:
            # None, or more than one: which right was meant is not ours to guess.
            raise Forbidden("The token opens nothing here.", code="token_unmapped")
        grant_id = grants.pop()
        return Proven(
            holder=f"grant\n{grant_id}",
            # Not until the token's end: a key that its issuer takes back must stop to count.
            expires_s=min(claims.exp, now_s + REMEMBERED_S),
            caller=partial(_caller, self._store, grant_id, claims.exp),
            thumbprint=None if claims.cnf is None else claims.cnf.jkt,
        )


def _caller(store: Store, grant_id: str, expires_s: float, now: datetime) -> Caller:
    if expires_s <= now.timestamp():
        raise Unauthenticated("token_expired")
    return caller_of(store, grant_id, now)


def _verified(token: str, key: PublicKey, algorithm: str) -> _Claims:
    try:
        decoded = jwt.decode(token, key, algorithms=[algorithm])
    except JoseError:
        raise Unauthenticated("token_signature") from None
    except _MALFORMED:
        raise Unauthenticated("token_malformed") from None
    try:
        return _Claims.model_validate_json(json.dumps(decoded.claims))
    except (ValidationError, ValueError):
        raise Unauthenticated("token_malformed") from None


def _typed(said: str | None, needed: str) -> bool:
    told = (said or "").lower().removeprefix("application/")
    # A proof of possession, or a logout token, may be signed by the same key.
    return told == needed.lower() or (needed == "JWT" and told in ("", "at+jwt"))


def _has(claims: _Claims, name: str) -> bool:
    return name in (claims.model_extra or {})


def _keys(issuer: Issuer) -> SigningKeys:
    if issuer.jwks_url is not None:
        return SigningKeys(KeyUrl(issuer.jwks_url), issuer.algorithms)
    assert issuer.jwks_file is not None
    return SigningKeys(KeyFile(Path(issuer.jwks_file)), issuer.algorithms)
