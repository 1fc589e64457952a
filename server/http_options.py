"""What `paybill serve --http` was asked for, read strictly. Binds nothing and serves nobody."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from control_plane.errors import BadInput

MCP_PATH: Final = "/mcp"
NAMES_MAX: Final = 32
URL_CHARS_MAX: Final = 500
_LOCALHOST: Final = "localhost"
_PORT_MAX: Final = 65_535
_HOST: Final = re.compile(
    r"^(?:[a-z0-9](?:[a-z0-9.-]{0,252})|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?$"
)
_PRINTED: Final = re.compile(r"^[!-~]+$")
_SCHEME_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Bind:
    """An IP address and a port; port 0 takes a free one."""

    address: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        return ipaddress.ip_address(self.address).is_loopback


@dataclass(frozen=True)
class Tls:
    """The certificate's chain and its key, as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class HttpOptions:
    """Everything of one HTTP face. Empty `hosts` or `origins`: the names of the loopback address."""

    bind: Bind
    audience: str
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    tls: Tls | None = None
    issuers: Path | None = None
    address_file: Path | None = None
    connections_max: int = 64

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return "http" if self.tls is None else "https"


def parse_bind(text: str) -> Bind:
    """`127.0.0.1:8080`, `localhost:0` or `[::1]:8080`. Raises BadInput naming `--http`."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > _PORT_MAX:
        raise BadInput("--http", "must be HOST:PORT, as 127.0.0.1:8080")
    named = "127.0.0.1" if host == _LOCALHOST else host.removeprefix("[").removesuffix("]")
    try:
        address = ipaddress.ip_address(named)
    except ValueError:
        raise BadInput("--http", "must name an IP address or localhost") from None
    if isinstance(address, ipaddress.IPv6Address) != host.startswith("["):
        raise BadInput("--http", "must have an IPv6 address in brackets, and no other")
    return Bind(str(address), int(port))


def parse_audience(text: str | None) -> str:
    """The URL under which clients know this server. Raises BadInput naming `--audience`."""
    if not text:
        raise BadInput(
            "--audience", "is needed: the URL of this server, as https://paybill.example.com/mcp"
        )
    return require_url("--audience", text)


def require_url(field: str, text: str) -> str:
    """An absolute https URL without query or fragment; http for loopback alone. Raises BadInput."""
    if len(text) > URL_CHARS_MAX or not _PRINTED.match(text) or '"' in text or "\\" in text:
        raise BadInput(field, f"must be a plain URL of at most {URL_CHARS_MAX} characters")
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        raise BadInput(field, "must be an absolute URL") from None
    if parts.scheme not in _SCHEME_PORTS or not host:
        raise BadInput(field, "must be an absolute URL")
    if parts.query or parts.fragment or parts.username is not None:
        raise BadInput(field, "must have no query, fragment or user")
    if parts.scheme == "http" and not is_loopback(host):
        raise BadInput(field, "must be https, but for a loopback address")
    return text


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    if host == _LOCALHOST:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_hosts(values: Sequence[str]) -> tuple[str, ...]:
    """Values of the header Host, each exact. Raises BadInput naming `--allowed-host`."""
    _require_few("--allowed-host", values)
    for value in values:
        if not _HOST.match(value):
            raise BadInput("--allowed-host", "must be a host or host:port in small letters, exact")
    return tuple(values)


def parse_origins(values: Sequence[str]) -> tuple[str, ...]:
    """Values of the header Origin, each exact. Raises BadInput naming `--allowed-origin`."""
    _require_few("--allowed-origin", values)
    for value in values:
        scheme, _, host = value.partition("://")
        if scheme not in _SCHEME_PORTS or not _HOST.match(host):
            raise BadInput(
                "--allowed-origin", "must be an exact origin, as https://app.example.com"
            )
    return tuple(values)


def parse_tls(certificate: Path | None, key: Path | None) -> Tls | None:
    """Both files or none. Raises BadInput naming the one that is missing."""
    if certificate is None and key is None:
        return None
    if certificate is None:
        raise BadInput("--tls-cert", "is needed with --tls-key")
    if key is None:
        raise BadInput("--tls-key", "is needed with --tls-cert")
    return Tls(certificate, key)


def require_closed(options: HttpOptions, *, behind_proxy: bool) -> None:
    """What an address that others can reach must have. Raises BadInput naming the option."""
    if options.bind.loopback:
        return
    if not options.hosts:
        raise BadInput("--allowed-host", "is needed on an address that is not loopback")
    if options.tls is None and not behind_proxy:
        raise BadInput(
            "--tls-cert", "is needed on an address that is not loopback, or --behind-proxy"
        )


def bound_names(scheme: str, port: int) -> tuple[str, ...]:
    """The names of a loopback address: what Host may say when nothing was configured."""
    bare = ("127.0.0.1", _LOCALHOST, "[::1]")
    named = tuple(f"{name}:{port}" for name in bare)
    # Clients leave the scheme's own port out.
    return (*named, *bare) if port == _SCHEME_PORTS[scheme] else named


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts: SplitResult = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def path_of(url: str) -> str:
    """The path of a URL; empty for the root."""
    path = urlsplit(url).path
    return "" if path == "/" else path


def _require_few(field: str, values: Sequence[str]) -> None:
    if len(values) > NAMES_MAX:
        raise BadInput(field, f"may be given at most {NAMES_MAX} times")
