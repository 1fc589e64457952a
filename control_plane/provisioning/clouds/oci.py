"""What stands in an OCI compartment, through Oracle's SDK. It reads, and changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from control_plane.domain.isolation import Cloud
from control_plane.provisioning.accounts import CloudAccount
from control_plane.provisioning.clouds.adapter import Open
from control_plane.provisioning.clouds.endpoint import endpoints
from control_plane.provisioning.clouds.eyes import Eyes, Foreign, Part, Room, Standing, name_of
from control_plane.provisioning.clouds.faults import failed_status, malformed
from control_plane.provisioning.clouds.oci_kinds import GONE, found_of
from control_plane.provisioning.clouds.port import Found
from control_plane.provisioning.clouds.sdk import Patience, load
from control_plane.provisioning.clouds.secrets import either, wanted
from control_plane.provisioning.stacks import StackRequest

_TENANCY, _USER, _FINGERPRINT = "OCI_TENANCY_OCID", "OCI_USER_OCID", "OCI_FINGERPRINT"
_KEY, _KEY_FILE, _PASSPHRASE = (
    "OCI_PRIVATE_KEY",
    "OCI_PRIVATE_KEY_PATH",
    "OCI_PRIVATE_KEY_PASSWORD",
)
_REGION: Final = "OCI_REGION"
# The services, each with the module, the client and the path that stands before every other.
_CLIENTS: Final[Mapping[str, tuple[str, str, str]]] = {
    "identity": ("oci.identity", "IdentityClient", "/20160918"),
    "objectstorage": ("oci.object_storage", "ObjectStorageClient", ""),
    "limits": ("oci.limits", "LimitsClient", ""),
    "resourcesearch": ("oci.resource_search", "ResourceSearchClient", "/20180409"),
}
SERVICES: Final = tuple(_CLIENTS)
_PAGE_ITEMS: Final = 500
_OCID: Final = re.compile(r"ocid1\.[a-z0-9]+\.[a-z0-9-]*\.[a-z0-9-]*(\.[a-z0-9-]*)?\.[a-z0-9]+")
_LABEL: Final = re.compile(r"[a-z0-9_-]{1,64}")
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NOT_FOUND: Final = 404
SHARED: Final[Mapping[str, Part]] = {
    "network_id": "network",
    "kms_key_id": "key",
    "vault_id": "key",
    "compartment_id": "identity",
    "bucket": "storage",
}


def opens(account: CloudAccount, credentials: Mapping[str, str], patience: Patience) -> Open:
    """How to look into the compartment. Raises Unavailable where SDK or credentials are missing."""
    tenancy, user, fingerprint = wanted("oci", credentials, _TENANCY, _USER, _FINGERPRINT)
    name, secret = either("oci", credentials, _KEY, _KEY_FILE)
    settings = {
        "tenancy": tenancy,
        "user": user,
        "fingerprint": fingerprint,
        "key_content": secret if name == _KEY else _read(secret),
        "pass_phrase": credentials.get(_PASSPHRASE) or None,
    }
    addresses = endpoints(account, SERVICES)
    # Asked of a region that is to be used anyway: what is no region has no address to ask.
    home = credentials.get(_REGION) or account.regions[0]
    load("oci", "oci")

    def open_eyes(region: str) -> Eyes:
        @cache  # each would read and check the key anew
        def client(service: str, region: str) -> Any:
            return _client(service, {**settings, "region": region}, addresses[service], patience)

        return OciEyes(account, tenancy, client, region, home)

    return open_eyes


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, ValueError):
        raise malformed("oci", _KEY_FILE) from None


def _client(service: str, settings: dict[str, Any], address: str | None, patience: Patience) -> Any:
    module, name, path = _CLIENTS[service]
    retry, breaker = load("oci", "oci.retry"), load("oci", "oci.circuit_breaker")
    make: Any = getattr(load("oci", module), name)
    try:
        return make(
            settings,
            service_endpoint=f"{address}{path}" if address else None,
            retry_strategy=retry.NoneRetryStrategy(),
            circuit_breaker_strategy=breaker.NoCircuitBreakerStrategy(),
            timeout=(patience.connect_s, patience.read_s),
        )
    except Exception:  # noqa: BLE001 - its words may hold the key
        raise malformed("oci", "OCI_*") from None


class OciEyes:
    """`client(service, region)` makes a client of the SDK."""

    def __init__(
        self, account: CloudAccount, tenancy: str, client: Any, region: str, home: str
    ) -> None:
        self._account = account
        self._tenancy = tenancy
        self._client = client
        self._region = region
        self._home = home

    @property
    def cloud(self) -> Cloud:
        return "oci"

    @property
    def databases(self) -> frozenset[str]:
        return frozenset({"oci_psql_db_system"})

    def status(self, error: Exception) -> int | None:
        return failed_status(getattr(error, "status", None))

    def who(self) -> str:
        try:
            identity = self._client("identity", self._home)
            found = identity.get_compartment(self._account.account).data
        except Exception as error:
            if self.status(error) == _NOT_FOUND:
                return ""  # what may not be seen is answered as what is not there
            raise
        return str(found.id) if found.lifecycle_state == "ACTIVE" else ""

    def knows(self, region: str) -> bool:
        identity = self._client("identity", self._home)
        found = identity.list_region_subscriptions(self._tenancy).data
        return region in {one.region_name for one in found if one.status == "READY"}

    def names(self, request: StackRequest) -> tuple[tuple[Part, str], ...]:
        if request.isolation == "pooled":
            return ()
        return (("storage", name_of(request)),)

    def held(self, part: Part, name: str) -> Standing | Foreign | None:
        return self._bucket(name)  # names are the tenancy's own, so nobody else's are met

    def room(self, request: StackRequest) -> tuple[Room, ...]:
        if request.isolation != "silo":
            return ()
        told = self._of("limits").get_resource_availability("vcn", "vcn-count", self._tenancy).data
        used = float(told.used or 0)
        return (Room(about="VCNs", limit=used + float(told.available or 0), used=used),)

    def part(self, part: Part, value: str) -> Standing | None:
        if part == "storage":
            return self._bucket(value)
        if not _OCID.fullmatch(value):
            return None
        # What belongs to the tenancy is found in its home region, which may be another.
        others = [one for one in self._account.regions if one != self._region]
        for region in (self._region, *others):
            for page in self._search(f"query all resources where identifier = '{value}'", region):
                for one in page:
                    return Standing(dict(one.freeform_tags or {}))
        return None

    def shared_part(self, key: str) -> Part | None:
        return SHARED.get(key)

    def labelled(self, workspace: str, tenant: str | None) -> Iterator[list[Found]]:
        key, value = (
            ("paybill_workspace", workspace) if tenant is None else ("paybill_tenant", tenant)
        )
        if not _LABEL.fullmatch(value):
            return
        where = f"(freeformTags.key = '{key}' && freeformTags.value = '{value}')"
        space = self._namespace()
        for region in self._account.regions:
            for page in self._search(f"query all resources where {where}", region):
                yield [found_of(one, region, space) for one in page]

    def _search(self, query: str, region: str) -> Iterator[list[Any]]:
        models = load("oci", "oci.resource_search.models")
        details = models.StructuredSearchDetails(query=query, type="Structured")
        client, token = self._client("resourcesearch", region), None
        while True:  # the reader's bounds end it
            asked: dict[str, str] = {"page": token} if token else {}
            answer = client.search_resources(details, limit=_PAGE_ITEMS, **asked)
            yield [one for one in answer.data.items if str(one.lifecycle_state).upper() not in GONE]
            token = answer.next_page
            if not token:
                return

    def _bucket(self, name: str) -> Standing | None:
        client = self._of("objectstorage")
        try:
            found = client.get_bucket(self._namespace(), name).data
        except Exception as error:
            if self.status(error) == _NOT_FOUND:
                return None
            raise
        return Standing(dict(found.freeform_tags or {}))

    def _namespace(self) -> str:
        found = str(self._of("objectstorage").get_namespace().data)
        if not _NAMESPACE.fullmatch(found):  # the SDK takes whatever text comes
            raise ValueError
        return found

    def _of(self, service: str) -> Any:
        return self._client(service, self._region)
