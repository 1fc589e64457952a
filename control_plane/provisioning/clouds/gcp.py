"""What stands in a Google Cloud project, through Google's own libraries. It reads, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

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
from control_plane.provisioning.clouds.gcp_kinds import found_of
from control_plane.provisioning.clouds.port import Found
from control_plane.provisioning.clouds.sdk import Patience, load
from control_plane.provisioning.clouds.secrets import either
from control_plane.provisioning.stacks import StackRequest

_KEY, _KEY_FILE, _TOKEN = (
    "GOOGLE_CREDENTIALS",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_OAUTH_ACCESS_TOKEN",
)
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
SERVICES: Final = (
    "cloudresourcemanager",
    "storage",
    "cloudasset",
    "compute",
    "cloudkms",
    "iam",
    "secretmanager",
    "sqladmin",
)
_PAGE_ITEMS: Final = 500
_UNAUTHENTICATED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404
SHARED: Final[Mapping[str, Part]] = {
    "network_id": "network",
    "kms_key": "key",
    "bucket": "storage",
}


class _Answered(Exception):
    """A service answered with a status that is no success."""

    def __init__(self, status: int) -> None:
        super().__init__("answered")
        self.code = status


def opens(account: CloudAccount, credentials: Mapping[str, str], patience: Patience) -> Open:
    """How to look into the project. Raises Unavailable where SDK or credentials are missing."""
    name, secret = either("gcp", credentials, _KEY, _KEY_FILE, _TOKEN)
    own = _credential(name, secret)
    addresses = endpoints(account, SERVICES)

    def open_eyes(region: str) -> Eyes:
        return GcpEyes(account, own(), addresses, patience, region)

    return open_eyes


def _credential(name: str, secret: str) -> Any:
    if name == _TOKEN:
        oauth2 = load("gcp", "google.oauth2.credentials")
        return lambda: oauth2.Credentials(secret)
    service_account = load("gcp", "google.oauth2.service_account")
    try:
        text = secret if secret.lstrip().startswith("{") else Path(secret).read_text("utf-8")
        info = json.loads(text)
        # No other type is taken: some of them name a program to run or an address to ask.
        if info["type"] != "service_account":
            raise malformed("gcp", name)
        service_account.Credentials.from_service_account_info(info)
    except (OSError, ValueError, KeyError, TypeError):
        raise malformed("gcp", name) from None
    return lambda: service_account.Credentials.from_service_account_info(info, scopes=[_SCOPE])


class GcpEyes:
    """`addresses` says where a service is, where that is not Google's own place."""

    def __init__(
        self,
        account: CloudAccount,
        credential: Any,
        addresses: Mapping[str, str | None],
        patience: Patience,
        region: str,
    ) -> None:
        self._project = account.account
        self._credential = credential
        self._addresses = addresses
        self._patience = patience
        self._region = region
        transport = load("gcp", "google.auth.transport.requests")
        # Its own way to a token would wait for two minutes.
        refresher = partial(transport.Request(), timeout=patience.read_s)
        self._session = transport.AuthorizedSession(
            credential, max_refresh_attempts=0, auth_request=refresher
        )

    @property
    def cloud(self) -> Cloud:
        return "gcp"

    @property
    def databases(self) -> frozenset[str]:
        return frozenset({"google_sql_database_instance"})

    def status(self, error: Exception) -> int | None:
        if type(error).__name__ == "RefreshError":
            return None if getattr(error, "retryable", False) else _UNAUTHENTICATED
        return failed_status(getattr(error, "code", None))

    def who(self) -> str:
        manager = load("gcp", "google.cloud.resourcemanager_v3")
        address = self._addresses["cloudresourcemanager"]
        client = manager.ProjectsClient(
            credentials=self._credential,
            transport="rest",
            client_options={"api_endpoint": address} if address else None,
        )
        try:
            found = client.get_project(
                name=f"projects/{self._project}", retry=None, timeout=self._patience.read_s
            )
        except Exception as error:
            if self.status(error) in {_FORBIDDEN, _NOT_FOUND}:
                return ""  # a project that is not there is answered as one that is another's
            raise
        return str(found.project_id) if found.state.name == "ACTIVE" else ""

    def knows(self, region: str) -> bool:
        found = self._get("compute", f"compute/v1/projects/{self._project}/regions/{region}")
        return found is not None and found.get("status") == "UP"

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
        if request.isolation != "silo":
            return ()
        found = self._get("compute", f"compute/v1/projects/{self._project}") or {"quotas": []}
        return tuple(
            Room(about="networks", limit=float(one["limit"]), used=float(one["usage"]))
            for one in found["quotas"]
            if one["metric"] == "NETWORKS"
        )

    def part(self, part: Part, value: str) -> Standing | None:
        if part == "storage":
            return self._bucket(value)
        service, path = self._place(part, value)
        found = self._get(service, path)
        if found is None:
            return None
        if part in {"network", "identity"}:
            return Standing(None)  # neither kind bears labels
        labels = found.get("settings", {}).get("userLabels") if part == "database" else None
        return Standing(dict(labels or found.get("labels") or {}))

    def shared_part(self, key: str) -> Part | None:
        return SHARED.get(key)

    def labelled(self, workspace: str, tenant: str | None) -> Iterator[list[Found]]:
        query = f"labels.paybill_workspace={workspace}"
        if tenant is not None:
            query += f" AND labels.paybill_tenant={tenant}"
        asked = {"query": query, "pageSize": str(_PAGE_ITEMS)}
        path, token = f"v1/projects/{self._project}:searchAllResources", ""
        while True:  # the reader's bounds end it
            page = self._get("cloudasset", path, asked | ({"pageToken": token} if token else {}))
            if page is None:
                raise _Answered(_NOT_FOUND)
            yield [found_of(one) for one in page.get("results", [])]
            token = str(page.get("nextPageToken", ""))
            if not token:
                return

    def _place(self, part: Part, value: str) -> tuple[str, str]:
        """Service and path of an identifier: a resource's own path, or its name."""
        tail = value.split("://", 1)[-1].split("projects/", 1)
        own = f"projects/{tail[1]}" if len(tail) == 2 else ""  # noqa: PLR2004 - a path or none
        match part:
            case "network":
                own = own or f"projects/{self._project}/global/networks/{value}"
                return "compute", f"compute/v1/{quote(own)}"
            case "key":
                return "cloudkms", f"v1/{quote(own or value)}"
            case "secret":
                own = (own or f"projects/{self._project}/secrets/{value}").split("/versions/")[0]
                return "secretmanager", f"v1/{quote(own)}"
            case "identity":
                email = value.rsplit("/", 1)[-1].removeprefix("serviceAccount:")
                return "iam", f"v1/projects/-/serviceAccounts/{quote(email)}"
            case _:
                name = value.rsplit("/", 1)[-1].rsplit(":", 1)[-1]
                return "sqladmin", f"v1/projects/{self._project}/instances/{quote(name)}"

    def _bucket(self, name: str) -> Standing | None:
        storage = load("gcp", "google.cloud.storage")
        address = self._addresses["storage"]
        client = storage.Client(
            project=self._project,
            credentials=self._credential,
            _http=self._session,
            client_options={"api_endpoint": address} if address else None,
        )
        found = client.lookup_bucket(name, timeout=self._timeout, retry=None)
        return None if found is None else Standing(dict(found.labels))

    def _get(
        self, service: str, path: str, asked: Mapping[str, str] | None = None
    ) -> dict[str, Any] | None:
        base = self._addresses[service] or f"https://{service}.googleapis.com"
        answer = self._session.request(
            "GET", f"{base}/{path}", params=asked, timeout=self._timeout, allow_redirects=False
        )
        if answer.status_code == _NOT_FOUND:
            return None
        if answer.status_code != 200:  # noqa: PLR2004 - HTTP's own number
            raise _Answered(answer.status_code)
        told: dict[str, Any] = answer.json()
        return told

    @property
    def _timeout(self) -> tuple[float, float]:
        return (self._patience.connect_s, self._patience.read_s)
