"""Bearer tokens over HTTP: proven once, remembered by their hash. Not the grant: that is read on each call."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from typing import Final, Protocol

from control_plane.ports import Clock
from server.dpop import DpopProofs, Proof
from server.http_visits import Proven
from server.tokens import Identify, Unauthenticated

REMEMBERED_MAX: Final = 4096
_BEARER: Final = b"bearer"
_DPOP: Final = b"dpop"


class OutsideTokens(Protocol):
    """Tokens of other issuers."""

    def knows(self, token: str) -> bool:
        """Whether the token says that one of these issuers signed it; nothing is verified."""
        ...

    async def proven(self, token: str) -> Proven:
        """Raises Unauthenticated; Forbidden; Unavailable."""
        ...


class Bearers:
    """Authorization header in, proven token out."""

    def __init__(
        self,
        own: Identify,
        outside: OutsideTokens | None,
        proofs: DpopProofs,
        clock: Clock,
    ) -> None:
        self._own = own
        self._outside = outside
        self._proofs = proofs
        self._clock = clock
        self._remembered: OrderedDict[bytes, Proven] = OrderedDict()

    async def proven(self, headers: Mapping[bytes, bytes], method: str, url: str = "") -> Proven:
        """The token of one request; `url` where it is not the server's own. Raises Unauthenticated; Forbidden; Unavailable."""
        scheme, _, rest = headers.get(b"authorization", b"").partition(b" ")
        scheme, token = scheme.lower(), rest.strip(b" ")
        if scheme not in (_BEARER, _DPOP) or not token:
            raise Unauthenticated("token_absent")
        hashed = sha256(token).digest()
        found = self._recall(hashed)
        if found is None:
            found = await self._prove(token)
            self._remember(hashed, found)
        if found.thumbprint is None and scheme == _BEARER:
            return found
        if found.thumbprint is None or scheme == _BEARER:
            raise Unauthenticated("dpop_proof")
        now_s = self._clock.now().timestamp()
        self._proofs.require(
            Proof(headers.get(b"dpop", b""), method, hashed, found.thumbprint, url), now_s
        )
        return found

    async def _prove(self, token: bytes) -> Proven:
        if not token.isascii():
            raise Unauthenticated("token_malformed")
        text = token.decode("ascii")
        if self._outside is not None and self._outside.knows(text):
            return await self._outside.proven(text)
        claims = self._own.claims(text)
        if claims.exp <= self._clock.now().timestamp():
            raise Unauthenticated("token_expired")
        return Proven(
            holder=f"{claims.sub}\n{claims.act.sub}",
            expires_s=claims.exp,
            caller=partial(self._own.caller, claims),
            thumbprint=None if claims.cnf is None else claims.cnf.jkt,
        )

    def _recall(self, hashed: bytes) -> Proven | None:
        found = self._remembered.get(hashed)
        if found is None:
            return None
        if found.expires_s <= self._clock.now().timestamp():
            del self._remembered[hashed]
            return None
        self._remembered.move_to_end(hashed)
        return found

    def _remember(self, hashed: bytes, proven: Proven) -> None:
        self._remembered[hashed] = proven
        if len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)
