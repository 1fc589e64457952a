"""What the HTTP face answers by itself: refusals, challenges, metadata. Not the protocol's own answers."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from typing import Final

from starlette.types import Send

from server.dpop import ALGORITHMS
from server.http_options import MCP_PATH, origin_of, path_of
from server.tokens import Unauthenticated

SCOPE: Final = "paybill"
WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
METADATA_S: Final = 300
_JSON: Final = (b"content-type", b"application/json")
_TOLD_S: Final = 1.0
_LOG = logging.getLogger("paybill.http")

Header = tuple[bytes, bytes]


class RefusalLog:
    """The codes of refusals in the log, each at most once a second: a flood must not fill a disk."""

    def __init__(self) -> None:
        self._next_s: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def tell(self, code: str) -> None:
        """Log one refusal, or count it for the next line. Codes are ours, so they are few."""
        now_s = time.monotonic()
        if now_s < self._next_s.get(code, 0.0):
            self._untold[code] = self._untold.get(code, 0) + 1
            return
        self._next_s[code] = now_s + _TOLD_S
        _LOG.warning("refused: %s (and %d before)", code, self._untold.pop(code, 0))


class Challenges:
    """What a client is told that has no token, or none that holds."""

    def __init__(self, audience: str) -> None:
        metadata = f"{origin_of(audience)}{WELL_KNOWN}{path_of(audience)}"
        self._where = f'resource_metadata="{metadata}", scope="{SCOPE}"'

    def headers(self, error: Unauthenticated) -> list[Header]:
        """The headers of a 401."""
        if error.code == "token_absent":
            return [(b"www-authenticate", f"Bearer {self._where}".encode())]
        if error.code == "dpop_proof":
            algs = " ".join(ALGORITHMS)
            told = f'DPoP algs="{algs}", error="invalid_dpop_proof", {self._where}'
            return [(b"www-authenticate", told.encode())]
        told = f'Bearer error="invalid_token", error_description="{error}", {self._where}'
        return [(b"www-authenticate", told.encode())]

    def forbidden(self) -> list[Header]:
        """The headers of a 403 for a token that is good."""
        told = f'Bearer error="insufficient_scope", {self._where}'
        return [(b"www-authenticate", told.encode())]


def metadata(audience: str, issuers: Sequence[str]) -> bytes:
    """The protected resource's metadata, RFC 9728."""
    told: dict[str, object] = {
        "resource": audience,
        "resource_name": "Paybill",
        "scopes_supported": [SCOPE],
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": list(ALGORITHMS),
    }
    if issuers:
        told["authorization_servers"] = list(issuers)
    return json.dumps(told).encode()


def metadata_paths(audience: str) -> frozenset[str]:
    """Where the metadata is served: for the URL that clients use, and for the path behind a proxy."""
    return frozenset({WELL_KNOWN, WELL_KNOWN + MCP_PATH, WELL_KNOWN + path_of(audience)})


async def answer(
    send: Send,
    status: int,
    *,
    error: str = "",
    body: bytes | None = None,
    headers: Sequence[Header] = (),
) -> None:
    """Send a whole answer: the body, or an object that names the error, or nothing."""
    content = body if body is not None else b""
    if error:
        content = json.dumps({"error": error}).encode()
    sent = [(b"content-length", str(len(content)).encode()), *headers]
    if content:
        sent.append(_JSON)
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": content, "more_body": False})
