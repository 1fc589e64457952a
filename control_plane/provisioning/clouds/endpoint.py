"""The addresses of a cloud's services that an account's settings name. Not where they are by themselves."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from control_plane.errors import BadInput
from control_plane.provisioning.accounts import CloudAccount


def endpoints(account: CloudAccount, services: Collection[str]) -> dict[str, str | None]:
    """By service: `https://host…`, or `http://` to this machine alone; None where none is named.

    Raises BadInput for any other address, since credentials are sent there, and for a service that
    is not asked, since what was meant would be asked elsewhere.
    """
    for service, address in account.endpoints.items():
        if service not in services:
            raise BadInput(f"endpoints.{service}", "is no service that is asked")
        if not _may_be_asked(address):
            raise BadInput(
                f"endpoints.{service}", "must be https://host, or http:// to this machine alone"
            )
    found = {service: account.endpoints.get(service) for service in services}
    return {service: address and address.rstrip("/") for service, address in found.items()}


def _may_be_asked(address: str) -> bool:
    parts = urlsplit(address)
    bare = not (parts.username or parts.password or parts.query or parts.fragment)
    plain = parts.scheme == "http" and _is_loopback(parts.hostname or "")
    return bool(bare and parts.hostname and (parts.scheme == "https" or plain))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
