"""What stands in an Azure subscription, through azure-identity and azure-mgmt-resource. It changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from control_plane.domain.isolation import Cloud
from control_plane.provisioning.accounts import CloudAccount
from control_plane.provisioning.clouds.adapter import Open
from control_plane.provisioning.clouds.azure_kinds import GROUP, TYPES, found_of, named_by
from control_plane.provisioning.clouds.endpoint import endpoint
from control_plane.provisioning.clouds.eyes import FOREIGN, Eyes, Foreign, Part, Room, Standing
from control_plane.provisioning.clouds.faults import malformed
from control_plane.provisioning.clouds.pages import read_all
from control_plane.provisioning.clouds.port import Found
from control_plane.provisioning.clouds.sdk import Patience, load
from control_plane.provisioning.clouds.secrets import either, wanted
from control_plane.provisioning.stacks import StackRequest

_TENANT, _CLIENT = "ARM_TENANT_ID", "ARM_CLIENT_ID"
_SECRET, _ASSERTION = "ARM_CLIENT_SECRET", "ARM_OIDC_TOKEN"  # noqa: S105 - names of variables
_MANAGEMENT: Final = "https://management.azure.com"
_AUTHORITY: Final = "https://login.microsoftonline.com"
_UNAUTHENTICATED: Final = 401
_ABSENT: Final = frozenset({403, 404})
_QUOTED: Final = re.compile(r"[A-Za-z0-9._()-]{1,90}")

_SUBSCRIPTION_API: Final = "2022-12-01"
_USAGES_API: Final = "2024-05-01"
# Who says whether a name is free: the provider's path and version.
_NAMERS: Final[Mapping[Part, tuple[str, str]]] = {
    "storage": ("Microsoft.Storage", "2023-05-01"),
    "key": ("Microsoft.KeyVault", "2023-07-01"),
}


def opens(account: CloudAccount, credentials: Mapping[str, str], patience: Patience) -> Open:
    """How to look into the subscription. Raises Unavailable where SDK or credentials are missing."""
    tenant, client = wanted("azure", credentials, _TENANT, _CLIENT)
    name, secret = either("azure", credentials, _SECRET, _ASSERTION)
    identity = load("azure", "azure.identity")
    base = endpoint(account, "management") or _MANAGEMENT
    bounds = {
        "retry_total": 0,
        "connection_timeout": patience.connect_s,
        "read_timeout": patience.read_s,
    }
    options = {
        "authority": endpoint(account, "authority") or _AUTHORITY,
        "disable_instance_discovery": "authority" in account.endpoints,
        **bounds,
    }

    def open_eyes(region: str) -> Eyes:
        try:
            if name == _SECRET:
                credential = identity.ClientSecretCredential(tenant, client, secret, **options)
            else:
                credential = identity.ClientAssertionCredential(
                    tenant, client, lambda: secret, **options
                )
        except ValueError:
            raise malformed("azure", _TENANT) from None
        return AzureEyes(account, _client(account, credential, base, bounds), region)

    return open_eyes


def _client(account: CloudAccount, credential: Any, base: str, bounds: dict[str, Any]) -> Any:
    resources = load("azure", "azure.mgmt.resource.resources")
    policies = load("azure", "azure.core.pipeline.policies")
    management = load("azure", "azure.mgmt.core.policies")
    # Our own chain: the SDK's would register a provider where one is missing, which is a change,
    # repeat what fails, and log addresses.
    chain = [
        policies.ContentDecodePolicy(),
        management.ARMChallengeAuthenticationPolicy(credential, f"{_MANAGEMENT}/.default"),
    ]
    return resources.ResourceManagementClient(
        credential, account.account, base_url=base, policies=chain, **bounds
    )


class AzureEyes:
    """`client` is a ResourceManagementClient of the subscription."""

    def __init__(self, account: CloudAccount, client: Any, region: str) -> None:
        self._client = client
        self._region = region
        self._root = f"/subscriptions/{account.account}"

    @property
    def cloud(self) -> Cloud:
        return "azure"

    @property
    def databases(self) -> frozenset[str]:
        return frozenset({"azurerm_postgresql_flexible_server"})

    def status(self, error: Exception) -> int | None:
        kind = type(error).__name__
        if kind in {"ClientAuthenticationError", "CredentialUnavailableError"}:
            status: object = getattr(error, "status_code", None)
            return status if status in {403, 429} or _fails(status) else _UNAUTHENTICATED  # type: ignore[return-value]
        found: object = getattr(error, "status_code", None)
        return found if isinstance(found, int) and found >= 400 else None
