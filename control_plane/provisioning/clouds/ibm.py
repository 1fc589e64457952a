"""What stands in an IBM Cloud account, through IBM's platform SDK. It reads, and changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from control_plane.domain.isolation import Cloud
from control_plane.provisioning.accounts import CloudAccount
from control_plane.provisioning.clouds.adapter import Open
from control_plane.provisioning.clouds.endpoint import endpoints
from control_plane.provisioning.clouds.eyes import (
    FOREIGN,
    Eyes,
    Foreign,
    Part,
    Room,
    Standing,
    name_of,
)
from control_plane.provisioning.clouds.faults import failed_status, malformed
from control_plane.provisioning.clouds.ibm_kinds import found_of, labels_of
from control_plane.provisioning.clouds.port import Found
from control_plane.provisioning.clouds.sdk import Patience, load
from control_plane.provisioning.clouds.secrets import either
from control_plane.provisioning.stacks import StackRequest

_KEYS: Final = ("IC_API_KEY", "IBMCLOUD_API_KEY")
_PLACES: Final[Mapping[str, str]] = {
    "iam": "https://iam.cloud.ibm.com",
    "globalcatalog": "https://globalcatalog.cloud.ibm.com/api/v1",
    "globalsearch": "https://api.global-search-tagging.cloud.ibm.com",
    "globaltagging": "https://tags.global-search-tagging.cloud.ibm.com",
    "resourcecontroller": "https://resource-controller.cloud.ibm.com",
}
SERVICES: Final = (*_PLACES, "objectstorage")
_STORAGE: Final = "https://s3.{region}.cloud-object-storage.appdomain.cloud"
_FIELDS: Final = ["crn", "name", "type", "region", "tags", "resource_id", "service_name"]
_PAGE_ITEMS: Final = 100
_CRN_INSTANCE: Final = 7
_SAFE: Final = re.compile(r"[A-Za-z0-9:/._-]{1,512}")
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_BAD_REQUEST, _UNAUTHENTICATED, _FORBIDDEN, _NOT_FOUND = 400, 401, 403, 404
SHARED: Final[Mapping[str, Part]] = {
    "network_id": "network",
    "kms_key_crn": "key",
    "bucket": "storage",
    "secrets_manager_id": "secret",
}


class _NotTaken(Exception):
    """No token was given for the key."""

    status_code = _UNAUTHENTICATED


def opens(account: CloudAccount, credentials: Mapping[str, str], patience: Patience) -> Open:
    """How to look into the account. Raises Unavailable where SDK or credentials are missing."""
    _, key = either("ibm", credentials, *_KEYS)
    load("ibm", "ibm_platform_services")
    addresses = endpoints(account, SERVICES)

    def open_eyes(region: str) -> Eyes:
        own = {**_PLACES, "objectstorage": _STORAGE.format(region=region)}
        places = {name: addresses[name] or own[name] for name in SERVICES}
        return IbmEyes(key, places, patience)

    return open_eyes


class IbmEyes:
    """`places` says where each service is."""

    def __init__(self, key: str, places: Mapping[str, str], patience: Patience) -> None:
        core = load("ibm", "ibm_cloud_sdk_core.authenticators")
        self._api_key = key
        self._places = places
        self._bounds = {"timeout": (patience.connect_s, patience.read_s)}
        try:
            self._authenticator = core.IAMAuthenticator(key, url=places["iam"])
        except ValueError:
            raise malformed("ibm", " or ".join(_KEYS)) from None
        self._authenticator.token_manager.http_config = self._bounds
        self._is_let_in = False

    @property
    def cloud(self) -> Cloud:
        return "ibm"

    @property
    def databases(self) -> frozenset[str]:
        return frozenset({"ibm_database"})

    def status(self, error: Exception) -> int | None:
        return failed_status(getattr(error, "status_code", None))

    def who(self) -> str:
        iam = self._service("iam_identity_v1", "IamIdentityV1", "iam")
        return str(iam.get_api_keys_details(iam_api_key=self._api_key).get_result()["account_id"])

    def knows(self, region: str) -> bool:
        catalog = self._service("global_catalog_v1", "GlobalCatalogV1", "globalcatalog")
        try:
            return bool(catalog.get_catalog_entry(region).get_result()["kind"] == "region")
        except Exception as error:
            if self.status(error) == _NOT_FOUND:
                return False
            raise

    def names(self, request: StackRequest) -> tuple[tuple[Part, str], ...]:
        if request.isolation == "pooled":
            return ()
        return (("storage", name_of(request)),)

    def held(self, part: Part, name: str) -> Standing | Foreign | None:
        try:
            return self._bucket(name)
        except Exception as error:
            if self.status(error) == _FORBIDDEN:
                return FOREIGN
            raise

    def room(self, request: StackRequest) -> tuple[Room, ...]:
        return ()  # IBM's platform tells of no count

    def part(self, part: Part, value: str) -> Standing | None:
        looks = {
            "network": self._network,
            "key": self._key,
            "identity": self._identity,
            "storage": self._bucket,
            "secret": self._secrets,
        }
        if part not in looks or not _SAFE.fullmatch(value):
            return None
        try:
            return looks[part](value)
        except Exception as error:
            if self.status(error) == _NOT_FOUND:
                return None
            raise

    def shared_part(self, key: str) -> Part | None:
        return SHARED.get(key)

    def labelled(self, workspace: str, tenant: str | None) -> Iterator[list[Found]]:
        query = f'tags:"paybill_workspace:{workspace}"'
        if tenant is not None:
            query += f' AND tags:"paybill_tenant:{tenant}"'
        for page in self._search(query):
            yield [found_of(one) for one in page]

    def _network(self, value: str) -> Standing | None:
        for page in self._search(f'resource_id:"{value}"'):
            for one in page:
                return Standing(labels_of(one))
        return None

    def _key(self, value: str) -> Standing | None:
        """A key bears no tags: its instance does, and without that there is no key."""
        return self._instance(value.split(":")[_CRN_INSTANCE])

    def _secrets(self, value: str) -> Standing | None:
        """Where secrets lie is one instance for all; what lies in it is not looked at."""
        found = self._instance(value.split("/", 1)[0])
        return None if found is None else Standing(None)

    def _identity(self, value: str) -> Standing | None:
        iam = self._service("iam_identity_v1", "IamIdentityV1", "iam")
        found = iam.get_service_id(value.removeprefix("iam-")).get_result()
        return Standing(self._tags(found["crn"]))

    def _instance(self, guid: str) -> Standing | None:
        controller = self._service(
            "resource_controller_v2", "ResourceControllerV2", "resourcecontroller"
        )
        found = controller.get_resource_instance(guid).get_result()
        return Standing(self._tags(found["crn"])) if found["state"] == "active" else None

    def _tags(self, crn: str) -> dict[str, str]:
        tagging = self._service("global_tagging_v1", "GlobalTaggingV1", "globaltagging")
        told = tagging.list_tags(attached_to=crn, limit=1000).get_result()
        return labels_of({"tags": [one["name"] for one in told["items"]]})

    def _search(self, query: str) -> Iterator[list[dict[str, Any]]]:
        search = self._service("global_search_v2", "GlobalSearchV2", "globalsearch")
        cursor: str | None = None
        while True:  # the reader's bounds end it
            told = search.search(
                query=query, fields=_FIELDS, search_cursor=cursor, limit=_PAGE_ITEMS
            ).get_result()
            items: list[dict[str, Any]] = told["items"]
            yield items
            cursor = told.get("search_cursor")
            if not cursor or not items:
                return

    def _bucket(self, name: str) -> Standing | None:
        """A bucket bears no tags: that it stands in this account is all that is known of it."""
        if not _BUCKET.fullmatch(name):
            return None
        core = load("ibm", "ibm_cloud_sdk_core")
        self._let_in()
        service = core.BaseService(
            service_url=self._places["objectstorage"], authenticator=self._authenticator
        )
        service.set_http_config(self._bounds)
        try:
            service.send(service.prepare_request("HEAD", f"/{name}"))
        except Exception as error:
            if self.status(error) == _NOT_FOUND:
                return None
            raise
        return Standing(None)

    def _service(self, module: str, name: str, place: str) -> Any:
        self._let_in()
        make: Any = getattr(load("ibm", f"ibm_platform_services.{module}"), name)
        service = make(authenticator=self._authenticator)
        service.set_service_url(self._places[place])
        service.set_http_config(self._bounds)
        return service

    def _let_in(self) -> None:
        # Asked for here, because a key that is wrong is answered as a request that is bad.
        if self._is_let_in:
            return
        try:
            self._authenticator.token_manager.get_token()
        except Exception as error:
            if self.status(error) in {_BAD_REQUEST, _UNAUTHENTICATED, _FORBIDDEN}:
                raise _NotTaken from None
            raise
        self._is_let_in = True
