"""Azure resources by their type, in Terraform's words, and by what outputs name. Not what they are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from control_plane.provisioning.clouds.eyes import Part, name_of
from control_plane.provisioning.clouds.port import Found
from control_plane.provisioning.stacks import StackRequest

GROUP: Final = "Microsoft.Resources/resourceGroups"
TYPES: Final[Mapping[Part, str]] = {
    "network": "Microsoft.Network/virtualNetworks",
    "key": "Microsoft.KeyVault/vaults",
    "identity": "Microsoft.ManagedIdentity/userAssignedIdentities",
    "storage": "Microsoft.Storage/storageAccounts",
    "secret": "Microsoft.KeyVault/vaults",
    "database": "Microsoft.DBforPostgreSQL/flexibleServers",
}
TERRAFORM: Final = {
    GROUP: "azurerm_resource_group",
    "Microsoft.Network/virtualNetworks": "azurerm_virtual_network",
    "Microsoft.Network/networkSecurityGroups": "azurerm_network_security_group",
    "Microsoft.Network/privateDnsZones": "azurerm_private_dns_zone",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": (
        "azurerm_private_dns_zone_virtual_network_link"
    ),
    "Microsoft.Network/privateEndpoints": "azurerm_private_endpoint",
    "Microsoft.KeyVault/vaults": "azurerm_key_vault",
    "Microsoft.ManagedIdentity/userAssignedIdentities": "azurerm_user_assigned_identity",
    "Microsoft.Storage/storageAccounts": "azurerm_storage_account",
    "Microsoft.DBforPostgreSQL/flexibleServers": "azurerm_postgresql_flexible_server",
}
_BY_LOWER: Final = {name.lower(): kind for name, kind in TERRAFORM.items()}


def found_of(one: Any, kind: str) -> Found:
    """A resource or group as the SDK's model gives it; it imports by its id."""
    return Found(
        type=_BY_LOWER.get(kind.lower(), ""),
        import_id=str(one.id),
        name=str(one.name),
        region=str(one.location or ""),
        labels=dict(one.tags or {}),
    )


def names(request: StackRequest) -> tuple[tuple[Part, str], ...]:
    """What a silo's storage account and vault are called: unique in the world, short, no dashes."""
    if request.isolation != "silo":
        return ()
    short = f"pb{hashlib.sha256(name_of(request).encode()).hexdigest()[:20]}"
    return (("storage", short), ("key", short))


def named_by(part: Part, value: str) -> tuple[str, str, str]:
    """(type, name, id or empty) of what an output or setting names: an id, an address, a host, a name.

    What lies inside another resource, as a secret in its vault, is that resource.
    """
    if value.lower().startswith("/subscriptions/"):
        words = value.split("/")
        place = [word.lower() for word in words].index("providers")
        kind = f"{words[place + 1]}/{words[place + 2]}"
        return kind, words[place + 3], "/".join(words[: place + 4])
    host = urlsplit(value).hostname if value.startswith("https://") else value
    return TYPES[part], (host or "").split(".", 1)[0], ""
