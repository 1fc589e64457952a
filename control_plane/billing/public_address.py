"""Where a webhook may go: public addresses, over https. Not a resolver, and it opens no connection.

A name is no evidence: it may lead elsewhere at the next question. So the address is checked that is
really connected to, resolved once, and the check of the form only spares a customer a late surprise.
A network that translates IPv6 under a prefix of its own cannot be known from here: its operator
names it, with any public range of its own, in `refused`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Annotated, Final, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from control_plane.errors import BadInput, Refused

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

HTTPS_PORT: Final = 443
PORTS: Final[frozenset[int]] = frozenset({HTTPS_PORT, 8443})
ADDRESSES_MAX: Final = 32
URL_CHARS_MAX: Final = 2_048

# A list of its own, since what the standard library calls global changes from version to version.
# Source: IANA's registries of special-purpose addresses, for IPv4 and IPv6.
_SPECIAL: tuple[Network, ...] = tuple(
    ip_network(one)
    for one in (
        "0.0.0.0/8",  # this network, and the unspecified address
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; a cloud's metadata too
        "127.0.0.0/8",
        "168.63.129.16/32",  # public, but Azure answers a machine's own questions there
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; a cloud's metadata too
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",  # reserved, and broadcast
        "2001::/23",  # protocol assignments, Teredo and benchmarks among them
        "2001:db8::/32",
        "2002::/16",  # 6to4, which holds an IPv4 address
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
# All that is routed lies in here. Outside lie loopback, link-local, unique local and multicast, and
# the forms that hold an IPv4 address: mapped, compatible, translated, NAT64.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# The middle of an interface id that ISATAP made out of an IPv4 address, whatever its prefix.
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})
_ISATAP_SHIFT, _ISATAP_MASK = 32, 0xFFFF_FFFF

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})+")
# A label by which a lenient resolver takes the name for a number: 127.1, 0x7f.1.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_URL = re.compile(
    r"https://"
    r"(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?)"
)


class PublicUrl(BaseModel):
    """A URL in the parts that a connector needs, so that nobody parses it a second time.

    `host` is a lower-case name or an address without brackets; `path` begins with a slash and holds
    the query.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    host: Annotated[str, Field(min_length=1, max_length=253)]
    port: Annotated[int, Field(ge=1, le=65_535)]
    path: Annotated[str, Field(pattern=r"^/", max_length=URL_CHARS_MAX)]

    @property
    def address(self) -> Address | None:
        """The address, where the URL holds one in place of a name."""
        return _parsed(self.host)


def require_public(ip: str | Address, refused: Iterable[Network] = ()) -> Address:
    """The address, if it is one of the public internet; else Refused (`address_not_public`).

    For the connector: to be asked about the very address that it connects to. `refused` are further
    networks. An address with a zone, or a text that is no canonical address, is refused as well.
    """
    address = _parsed(ip) if isinstance(ip, str) else ip
    if address is None or not _is_public(address) or any(address in one for one in refused):
        # The same words for each reason: they would tell how a network looks from inside.
        raise Refused(
            "the address is not one of the public internet",
            code="address_not_public",
            rule="webhook.address",
            fact="address",
        )
    return address


def require_all_public(
    answers: Sequence[str], refused: Iterable[Network] = ()
) -> tuple[Address, ...]:
    """The addresses that a name was resolved to, once, if each is public; else Refused.

    One that is not spoils all: such a name is set up to lead inside now and then. BadInput for none
    or more than 32.
    """
    if not 1 <= len(answers) <= ADDRESSES_MAX:
        raise BadInput("addresses", f"must be 1 to {ADDRESSES_MAX}")
    networks = tuple(refused)
    return tuple(require_public(one, networks) for one in answers)


def require_url(
    url: str, ports: frozenset[int] = PORTS, refused: Iterable[Network] = ()
) -> PublicUrl:
    """The parts of an endpoint's URL, for the form in which a customer enters it.

    BadInput for anything but https to a full name or an address, on a port of `ports`, without user,
    password or fragment; Refused (`address_not_public`) for an address that is not public.
    """
    match = _URL.fullmatch(url) if len(url) <= URL_CHARS_MAX else None
    if match is None:
        raise BadInput(
            "url", "must be https://host[:port]/path in ASCII, without user, password or fragment"
        )
    port = int(match["port"] or HTTPS_PORT)
    if port not in ports:
        raise BadInput("url", f"must have one of the ports {', '.join(map(str, sorted(ports)))}")
    path = match["path"]
    return PublicUrl(
        host=_host(match["host"].lower(), refused),
        port=port,
        path=path if path.startswith("/") else f"/{path}",
    )


def _host(host: str, refused: Iterable[Network]) -> str:
    bare = host.removeprefix("[").removesuffix("]")
    address = _parsed(bare)
    is_bracketed = bare != host
    if address is not None and is_bracketed is isinstance(address, IPv6Address):
        return str(require_public(address, refused))
    if not _NAME.fullmatch(host) or _NUMBER.fullmatch(host.rsplit(".", 1)[-1]):
        raise BadInput("url", "must have a full domain name or an address for its host")
    return host


def _parsed(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address):
        if address.scope_id is not None or address not in _GLOBAL_UNICAST:
            return False
        if int(address) >> _ISATAP_SHIFT & _ISATAP_MASK in _ISATAP:
            return False
    return not any(address in network for network in _SPECIAL)
