"""An issuer's public keys, fetched within bounds and remembered for a while. Verifies no token."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final, Protocol, cast

import httpx2
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from control_plane.errors import PaybillError, Unavailable
from server.private_files import read_plain_file

BYTES_MAX: Final = 262_144
KEYS_MAX: Final = 64
FETCH_S: Final = 5.0
FRESH_S: Final = 600.0
STALE_S: Final = 3600.0
RETRY_S: Final = 60.0
RETRY_FAILED_S: Final = 10.0
WAITING_MAX: Final = 16
_KID_CHARS_MAX: Final = 200
_RSA_BITS_MIN: Final = 2048
_RSA_BITS_MAX: Final = 8192
_OK: Final = 200
_KINDS: Final = {
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
_LOG = logging.getLogger("paybill.http")

PublicKey = RSAKey | ECKey | OKPKey
Jwk = Mapping[str, object]


class KeySource(Protocol):
    """Where the text of a JWK set comes from."""

    async def text(self) -> bytes:
        """The text. Raises OSError, ValueError, TimeoutError, httpx2.HTTPError, PaybillError."""
        ...


class KeyFile:
    """A file on this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def text(self) -> bytes:
        """The file's bytes."""
        content, _ = read_plain_file(self._path, bytes_max=BYTES_MAX)
        return content


class KeyUrl:
    """An address. No redirect is followed, nothing is unpacked, and the environment is not asked."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def text(self) -> bytes:
        """The body of one answer, within its bounds of time and size."""
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        async with (
            asyncio.timeout(FETCH_S),
            httpx2.AsyncClient(
                timeout=FETCH_S, follow_redirects=False, trust_env=False, headers=headers
            ) as client,
            client.stream("GET", self._url) as answer,
        ):
            if answer.status_code != _OK or "content-encoding" in answer.headers:
                raise ValueError("the answer is no plain document")
            content = bytearray()
            async for part in answer.aiter_raw():
                content += part
                if len(content) > BYTES_MAX:
                    raise ValueError("the answer is too large")
            return bytes(content)


class SigningKeys:
    """One issuer's keys by id and algorithm. One fetch at a time, and never more often than a bound."""

    def __init__(
        self,
        source: KeySource,
        algorithms: Collection[str],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._monotonic_s = monotonic_s
        self._algorithms = algorithms
        self._keys: Mapping[tuple[str, str], PublicKey] = {}
        self._read_s: float | None = None
        self._next_try_s = 0.0
        self._fetch: asyncio.Task[None] | None = None
        self._waiting = 0

    async def find(self, kid: str, algorithm: str) -> PublicKey | None:
        """The key of that id for that algorithm; None when there is none. Raises Unavailable."""
        age_s = self._age_s()
        if age_s is None or age_s > STALE_S:
            await self.refresh()
            age_s = self._age_s()
            if age_s is None or age_s > STALE_S:
                raise Unavailable("The issuer's keys cannot be read.", code="issuer_unavailable")
        found = self._keys.get((kid, algorithm))
        if found is None:
            await self.refresh()
            return self._keys.get((kid, algorithm))
        if age_s > FRESH_S:
            self._begin()
        return found

    async def refresh(self) -> None:
        """Fetch anew, if it is time to, and wait for it, if not too many wait already."""
        fetch = self._begin()
        if fetch is None or self._waiting >= WAITING_MAX:
            return
        self._waiting += 1
        try:
            # Whoever stops waiting must not stop the fetch: others wait for it.
            await asyncio.wait({fetch})
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Stop what is under way."""
        if self._fetch is not None:
            self._fetch.cancel()

    def _begin(self) -> asyncio.Task[None] | None:
        if self._fetch is not None and not self._fetch.done():
            return self._fetch
        now_s = self._monotonic_s()
        if now_s < self._next_try_s:
            return None
        self._next_try_s = now_s + RETRY_S
        self._fetch = asyncio.create_task(self._read())
        return self._fetch

    async def _read(self) -> None:
        try:
            self._keys = parse_keys(await self._source.text(), self._algorithms)
        except (OSError, ValueError, RecursionError, httpx2.HTTPError, PaybillError) as error:
            self._next_try_s = self._monotonic_s() + RETRY_FAILED_S
            _LOG.warning("an issuer's keys cannot be read: %s", type(error).__name__)
            return
        self._read_s = self._monotonic_s()

    def _age_s(self) -> float | None:
        return None if self._read_s is None else self._monotonic_s() - self._read_s


def parse_keys(text: bytes, algorithms: Collection[str]) -> dict[tuple[str, str], PublicKey]:
    """The usable keys of a JWK set; every other key is passed over. Raises ValueError, RecursionError."""
    found: object = json.loads(text)
    listed = cast("Jwk", found).get("keys") if isinstance(found, dict) else None
    named = cast("list[object]", listed) if isinstance(listed, list) else None
    if named is None or len(named) > KEYS_MAX:
        raise ValueError("a JWK set is an object with a list of keys")
    usable: dict[tuple[str, str], PublicKey] = {}
    twice: set[tuple[str, str]] = set()
    for one in (cast("Jwk", each) for each in named if isinstance(each, dict)):
        for algorithm in algorithms:
            key = _key(one, algorithm)
            if key is not None:
                place = (str(one["kid"]), algorithm)
                twice |= {place} & usable.keys()
                usable[place] = key
    # Two keys of one name: which one was meant cannot be known.
    return {place: key for place, key in usable.items() if place not in twice}


def _key(one: Jwk, algorithm: str) -> PublicKey | None:
    if not _fits(one, algorithm):
        return None
    # Without its other members: `alg` and `use` have been looked at, and what else there is says nothing.
    names = ("kty", "crv", "x", "y", "n", "e")
    bare: dict[str, str | list[str]] = {
        name: value for name in names if isinstance(value := one.get(name), str)
    }
    try:
        if bare["kty"] == "RSA":
            bits = len(_decoded(str(bare["n"])).lstrip(b"\x00")) * 8
            return RSAKey.import_key(bare) if _RSA_BITS_MIN <= bits <= _RSA_BITS_MAX else None
        return (ECKey if bare["kty"] == "EC" else OKPKey).import_key(bare)
    except (JoseError, ValueError, TypeError, LookupError):
        return None


def _fits(one: Jwk, algorithm: str) -> bool:
    kty, crv = _KINDS[algorithm]
    kid, operations = one.get("kid"), one.get("key_ops")
    return (
        isinstance(kid, str)
        and 0 < len(kid) <= _KID_CHARS_MAX
        and one.get("kty") == kty
        and (crv is None or one.get("crv") == crv)
        and one.get("alg", algorithm) == algorithm
        and one.get("use", "sig") == "sig"
        and (operations is None or (isinstance(operations, list) and "verify" in operations))
        # A private key that is published is nobody's any more.
        and "d" not in one
    )


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
