"""The address of a cloud's service that an account's settings name. Not where the service is by itself."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from control_plane.errors import BadInput
from control_plane.provisioning.accounts import CloudAccount


def endpoint(account: CloudAccount, service: str) -> str | None:
    """`https://host…`, or `http://` to this machine alone; None where the settings name none.

    Raises BadInput for any other address: credentials are sent there.
    """
    address = account.endpoints.get(service)
    if address is None:
        return None
    parts = urlsplit(address)
    bare = not (parts.username or parts.password or parts.query or parts.fragment)
    plain = parts.scheme == "http" and _is_loopback(parts.hostname or "")
    if not (bare and parts.hostname and (parts.scheme == "https" or plain)):
        raise BadInput(
            f"endpoints.{service}", "must be https://host, or http:// to this machine alone"
        )
    return address.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
