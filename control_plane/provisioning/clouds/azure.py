"""What stands in an Azure subscription, through azure-identity and azure-mgmt-resource. It changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from control_plane.domain.isolation import Cloud
from control_plane.provisioning.accounts import CloudAccount
from control_plane.provisioning.clouds.adapter import Open
from control_plane.provisioning.clouds.azure_kinds import GROUP, TYPES, found_of, named_by, names
from control_plane.provisioning.clouds.endpoint import endpoints
from control_plane.provisioning.clouds.eyes import FOREIGN, Eyes, Foreign, Part, Room, Standing
from control_plane.provisioning.clouds.faults import failed_status, malformed
from control_plane.provisioning.clouds.pages import read_all
from control_plane.provisioning.clouds.port import Found
from control_plane.provisioning.clouds.sdk import Patience, load
from control_plane.provisioning.clouds.secrets import either, wanted
from control_plane.provisioning.stacks import StackRequest

_TENANT, _CLIENT = "ARM_TENANT_ID", "ARM_CLIENT_ID"
_SECRET, _ASSERTION = "ARM_CLIENT_SECRET", "ARM_OIDC_TOKEN"
SERVICES: Final = ("management", "authority")
_MANAGEMENT: Final = "https://management.azure.com"
_AUTHORITY: Final = "https://login.microsoftonline.com"
_UNAUTHENTICATED, _TOO_MANY, _FAILS = 401, 429, 500
_ABSENT: Final = frozenset({403, 404})
_QUOTED: Final = re.compile(r"[A-Za-z0-9._()-]{1,90}")

_SUBSCRIPTION_API: Final = "2022-12-01"
_USAGES_API: Final = "2024-05-01"
# Who says whether a name is free: the provider's path and version.
_NAMERS: Final[Mapping[Part, tuple[str, str]]] = {
    "storage": ("Microsoft.Storage", "2023-05-01"),
    "key": ("Microsoft.KeyVault", "2023-07-01"),
}

SHARED: Final[Mapping[str, Part]] = {
    "network_id": "network",
    "key_id": "key",
    "key_vault_id": "key",
    "storage_account_id": "storage",
    "database_host": "database",
}


def opens(account: CloudAccount, credentials: Mapping[str, str], patience: Patience) -> Open:
    """How to look into the subscription. Raises Unavailable where SDK or credentials are missing."""
    tenant, client = wanted("azure", credentials, _TENANT, _CLIENT)
    name, secret = either("azure", credentials, _SECRET, _ASSERTION)
    identity = load("azure", "azure.identity")
    addresses = endpoints(account, SERVICES)
    base = addresses["management"] or _MANAGEMENT
    bounds = {
        "retry_total": 0,
        "connection_timeout": patience.connect_s,
        "read_timeout": patience.read_s,
    }
    options = {
        "authority": addresses["authority"] or _AUTHORITY,
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
        status = failed_status(getattr(error, "status_code", None))
        if type(error).__name__ != "ClientAuthenticationError":
            return status
        if status is not None:
            return status if status == _TOO_MANY or status >= _FAILS else _UNAUTHENTICATED
        # Whatever kept it from getting a token is wrapped in this error, a dead connection too.
        return _UNAUTHENTICATED if error.__cause__ is None else None

    def who(self) -> str:
        found = self._get("", _SUBSCRIPTION_API)
        is_open = found is not None and found.get("state") in {"Enabled", "PastDue", "Warned"}
        return str(found["subscriptionId"]) if found is not None and is_open else ""

    def knows(self, region: str) -> bool:
        found = self._get("/locations", _SUBSCRIPTION_API) or {"value": []}
        return region in {one["name"] for one in found["value"]}

    def names(self, request: StackRequest) -> tuple[tuple[Part, str], ...]:
        return names(request)

    def held(self, part: Part, name: str) -> Standing | Foreign | None:
        provider, version = _NAMERS[part]
        told = self._send(
            "POST",
            f"{self._root}/providers/{provider}/checkNameAvailability",
            version,
            {"name": name, "type": TYPES[part]},
        )
        if told["nameAvailable"]:
            return None
        return self._listed(TYPES[part], name, "") or self._deleted(part, name) or FOREIGN

    def room(self, request: StackRequest) -> tuple[Room, ...]:
        if request.isolation != "silo":
            return ()
        path = f"/providers/Microsoft.Network/locations/{self._region}/usages"
        counted = self._get(path, _USAGES_API) or {"value": []}
        return tuple(
            Room(
                about="virtual networks", limit=float(one["limit"]), used=float(one["currentValue"])
            )
            for one in counted["value"]
            if one["name"]["value"] == "VirtualNetworks"
        )

    def part(self, part: Part, value: str) -> Standing | None:
        kind, name, resource_id = named_by(part, value)
        found = self._listed(kind, name, resource_id)
        # A secret's own tags lie in its vault, where the worker need not see.
        return Standing(None) if part == "secret" and found is not None else found

    def shared_part(self, key: str) -> Part | None:
        return SHARED.get(key)

    def labelled(self, workspace: str, tenant: str | None) -> Iterator[list[Found]]:
        label = ("paybill_workspace", workspace) if tenant is None else ("paybill_tenant", tenant)
        where = f"tagName eq '{label[0]}' and tagValue eq '{label[1]}'"
        groups = read_all("azure", self._client.resource_groups.list(filter=where).by_page())
        yield [found_of(one, GROUP) for one in groups]
        # What a filter by tag finds comes without its tags; what a group holds comes with them.
        tagged = read_all("azure", self._client.resources.list(filter=where).by_page())
        for group in sorted({_group_of(str(one.id)) for one in tagged}):
            for page in self._client.resources.list_by_resource_group(group).by_page():
                yield [found_of(one, str(one.type)) for one in page if _bears(one, label)]

    def _deleted(self, part: Part, name: str) -> Standing | None:
        # A vault that was deleted keeps its name, and comes back to who had it.
        if part != "key":
            return None
        provider, version = _NAMERS["key"]
        path = f"/providers/{provider}/locations/{self._region}/deletedVaults/{name}"
        found = self._get(path, version)
        return None if found is None else Standing(dict(found["properties"].get("tags") or {}))

    def _listed(self, kind: str, name: str, resource_id: str) -> Standing | None:
        if not _QUOTED.fullmatch(name):
            return None  # it would not be a name to ask for, but a filter of its own
        where = f"name eq '{name}' and resourceType eq '{kind}'"
        for one in read_all("azure", self._client.resources.list(filter=where).by_page()):
            if not resource_id or str(one.id).lower() == resource_id.lower():
                return Standing(dict(one.tags or {}))
        return None

    def _get(self, path: str, version: str) -> dict[str, Any] | None:
        try:
            return self._send("GET", f"{self._root}{path}", version)
        except Exception as error:
            if getattr(error, "status_code", None) in _ABSENT:
                return None
            raise

    def _send(
        self, method: str, path: str, version: str, body: dict[str, str] | None = None
    ) -> dict[str, Any]:
        rest = load("azure", "azure.core.rest")
        request = rest.HttpRequest(method, path, params={"api-version": version}, json=body)
        answer = self._client.send_request(request)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told


def _group_of(resource_id: str) -> str:
    return resource_id.split("/")[4].lower()


def _bears(one: Any, label: tuple[str, str]) -> bool:
    return dict(one.tags or {}).get(label[0]) == label[1]
