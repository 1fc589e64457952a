"""Sends one webhook over one connection of its own, to an address that was checked. Not when, nor what an answer means.

A name is resolved once for an attempt; each address it led to must be public, and the connection goes
to such an address itself, never to the name. Nobody can lead it elsewhere between check and connection:
no second resolution, no redirect, no proxy and no other setting of the environment. The certificate is
verified by the endpoint's name. No connection is shared: two endpoints may have one address.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from ipaddress import IPv6Address, ip_address
from typing import Annotated, Any, Final, NamedTuple, Self, TypeAlias

import httpx2
from pydantic import BaseModel, ConfigDict, Field

from control_plane.billing.delivery import Answer
from control_plane.billing.outbox import Parcel
from control_plane.billing.public_address import (
    PORTS,
    Address,
    Network,
    PublicUrl,
    require_all_public,
    require_public,
    require_url,
)
from control_plane.billing.webhooks import sign
from control_plane.errors import BadInput, Refused

Resolve: TypeAlias = Callable[[str, int], Sequence[str]]
"""The addresses of a name, for a port; OSError where it has none. It keeps its own deadline."""

USER_AGENT: Final = "Paybill-Webhooks/1"
ADDRESSES_TRIED_MAX: Final = 3
AT_ONCE: Final = 8

_RETRY_AFTER = re.compile(r"[0-9]{1,9}")
_OPENED = frozenset({"connection.connect_tcp.complete", "connection.start_tls.complete"})


class Reach(BaseModel):
    """Where a sender goes, and how long it waits, in seconds: to connect, for a part, and in all.

    `allow_loopback` lets it come to this machine's own services: for tests, and for nothing else.
    `refused` are networks that are public and yet not to be reached.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    ports: frozenset[int] = PORTS
    refused: tuple[Network, ...] = ()
    allow_loopback: bool = False
    connect_s: Annotated[float, Field(gt=0, le=30)] = 5.0
    part_s: Annotated[float, Field(gt=0, le=30)] = 10.0
    whole_s: Annotated[float, Field(gt=0, le=30)] = 15.0


class Sent(NamedTuple):
    """What came of an attempt; `fault` says in a word why there was no answer, for whoever looks."""

    answer: Answer
    fault: str | None = None


class Sender:
    """Makes the attempts of deliveries. `tls` is the machine's trusted authorities by default."""

    def __init__(
        self, resolve: Resolve, reach: Reach | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._resolve = resolve
        self._reach = reach or Reach()
        self._tls = tls or httpx2.create_ssl_context(trust_env=False)

    def send(self, parcel: Parcel, now: datetime) -> Sent:
        """Make one attempt, signed as of `now` (aware).

        No answer is no error: its fault is `unresolved`, `address_not_public`, `bad_url`, `timeout`
        or `unreachable`. The answer's body is not read. BadInput for a malformed secret.
        """
        message = sign(parcel.secrets, parcel.delivery.message, now, parcel.body)
        try:
            url = require_url(parcel.url, self._reach.ports, self._reach.refused)
            return self._answer(url, self._addresses(url), message, parcel.body)
        except Refused as refused:
            return Sent(Answer(), refused.code)
        except BadInput:
            return Sent(Answer(), "bad_url")
        except (OSError, UnicodeError):
            return Sent(Answer(), "unresolved")
        except httpx2.TimeoutException:
            return Sent(Answer(), "timeout")
        except httpx2.HTTPError:
            return Sent(Answer(), "unreachable")

    def send_all(self, parcels: Sequence[Parcel], clock: Callable[[], datetime]) -> list[Sent]:
        """Make the attempts of a batch, eight at a time; in the order of the parcels."""
        if not parcels:
            return []

        def attempt(parcel: Parcel) -> Sent:
            return self.send(parcel, clock())

        with ThreadPoolExecutor(min(AT_ONCE, len(parcels)), "webhook") as threads:
            return list(threads.map(attempt, parcels))

    def _addresses(self, url: PublicUrl) -> tuple[Address, ...]:
        if url.address is not None:
            return (require_public(url.address, self._reach.refused),)
        found = self._resolve(url.host, url.port)
        if not found:
            raise OSError("the name has no address")
        if self._reach.allow_loopback and all(ip_address(one).is_loopback for one in found):
            return tuple(ip_address(one) for one in found)
        return require_all_public(found, self._reach.refused)

    def _answer(
        self,
        url: PublicUrl,
        addresses: Sequence[Address],
        message: Mapping[str, str],
        body: bytes,
    ) -> Sent:
        # Of a name with several addresses some may be out of reach from here; until a connection
        # stands nothing was sent, so the next one is tried.
        with _Watch(self._reach.whole_s) as watch:
            tried = addresses[:ADDRESSES_TRIED_MAX]
            for address in tried[:-1]:
                with suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
                    return self._post(url, address, message, body, watch)
            return self._post(url, tried[-1], message, body, watch)

    def _post(
        self,
        url: PublicUrl,
        address: Address,
        message: Mapping[str, str],
        body: bytes,
        watch: _Watch,
    ) -> Sent:
        headers = {
            **message,
            "host": _authority(url),
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "accept-encoding": "identity",
            "connection": "close",
        }
        with (
            watch.named(),
            self._client() as client,
            client.stream(
                "POST",
                f"https://{_bracketed(str(address))}:{url.port}{url.path}",
                content=body,
                headers=headers,
                extensions={"sni_hostname": url.host, "trace": partial(watch.see, address)},
            ) as answer,
        ):
            given = answer.headers.get("retry-after", "").strip()
            after_s = int(given) if _RETRY_AFTER.fullmatch(given) else 0
            return Sent(Answer(status=answer.status_code, retry_after_s=after_s))

    def _client(self) -> httpx2.Client:
        reach = self._reach
        return httpx2.Client(
            transport=httpx2.HTTPTransport(verify=self._tls, trust_env=False, retries=0),
            timeout=httpx2.Timeout(reach.part_s, connect=reach.connect_s),
            follow_redirects=False,
            trust_env=False,
        )


class _Watch:
    """Ends a connection that takes too long as a whole, however steadily it drips."""

    def __init__(self, whole_s: float) -> None:
        self._timer = threading.Timer(whole_s, self._end)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._over = False

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()

    def see(self, address: Address, event: str, info: Mapping[str, Any]) -> None:
        """Take note of the socket of a connection that has just been opened."""
        if event not in _OPENED:
            return
        opened: socket.socket = info["return_value"].get_extra_info("socket")
        if ip_address(opened.getpeername()[0]) != address:
            raise httpx2.ConnectError("the connection leads elsewhere")
        with self._lock:
            self._socket = opened
            if self._over:
                raise httpx2.ReadTimeout("the attempt took too long")

    @contextmanager
    def named(self) -> Generator[None]:
        """Call by its name what breaks off because the time is over."""
        try:
            yield
        except httpx2.HTTPError:
            if self._over:
                raise httpx2.ReadTimeout("the attempt took too long") from None
            raise

    def _end(self) -> None:
        with self._lock:
            self._over = True
            if self._socket is not None:
                # Not the method of a TLS socket, which would take its state from who is reading. A
                # socket in its handshake is another's by now, and has the connection's deadline.
                with suppress(OSError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def system_resolve(host: str, port: int) -> Sequence[str]:
    """The addresses that this machine's resolver gives, in its order, each once."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def _authority(url: PublicUrl) -> str:
    return f"{_bracketed(url.host)}:{url.port}"


def _bracketed(host: str) -> str:
    with suppress(ValueError):
        if isinstance(ip_address(host), IPv6Address):
            return f"[{host}]"
    return host
