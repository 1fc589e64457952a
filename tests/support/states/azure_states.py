"""A container of Azure's storage as Terraform's backend comes to it: directory, account, blobs, leases. Not Azure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote
from xml.sax.saxutils import escape

from control_plane.domain.canonical import Json
from tests.clouds.azure_cloud import CLIENT, DIRECTORY, SUBSCRIPTION
from tests.clouds.server import Answer, Asked

_ACCOUNT = re.compile(r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft.Storage/.*")
_BLOB = re.compile(r"/(?P<container>[^/]+)(?:/(?P<name>.+))?")
_META = "x-ms-meta-"
MADE, TAKEN_IN, NOBODY, GONE, HELD, UNMET = 201, 202, 401, 404, 409, 412


@dataclass
class Blob:
    """One blob, with the lease that holds it where one does."""

    content: bytes = b""
    meta: dict[str, str] = field(default_factory=dict[str, str])
    lease: str = ""


@dataclass
class AzureStates:
    """One container. Only who has the application's secret gets a token, and only a token lets in."""

    container: str
    secret: str
    token: str
    url: str = ""
    blobs: dict[str, Blob] = field(default_factory=dict[str, Blob])

    def answers(self, asked: Asked) -> Answer:
        """What directory, resource manager and storage answer: here they are one server."""
        if asked.path == "/metadata/endpoints":
            return Answer(200, self._cloud())
        if asked.path == f"/{DIRECTORY}/oauth2/v2.0/token":
            return self._let_in(asked)
        if asked.headers.get("authorization") != f"Bearer {self.token}":
            return Answer(NOBODY, {"error": {"code": "AuthenticationFailed", "message": "no"}})
        if _ACCOUNT.fullmatch(asked.path):
            endpoints = {"blob": f"{self.url}/"}
            return Answer(200, {"id": asked.path, "properties": {"primaryEndpoints": endpoints}})
        found = _BLOB.fullmatch(unquote(asked.path))
        assert found is not None, asked.path
        assert found["container"] == self.container, asked.path
        if found["name"] is None:
            return self._listed(asked)
        return (
            self._written(asked, found["name"])
            if asked.method == "PUT"
            else self._read(asked, found["name"])
        )

    def _cloud(self) -> dict[str, object]:
        said = {
            "loginEndpoint": f"{self.url}/",
            "audiences": [f"{self.url}/"],
            "tenant": "common",
            "identityProvider": "AAD",
        }
        return {
            "name": "AzureCloud",
            "authentication": said,
            "resourceManager": f"{self.url}/",
            "microsoftGraphResourceId": f"{self.url}/",
            "suffixes": {"storage": "storage.test", "keyVaultDns": "vault.test"},
        }

    def _let_in(self, asked: Asked) -> Answer:
        given = (asked.form.get("client_id"), asked.form.get("client_secret"))
        if given != (CLIENT, self.secret):
            return Answer(NOBODY, {"error": "invalid_client"})
        return Answer(200, {"access_token": self.token, "token_type": "Bearer", "expires_in": 3600})

    def _listed(self, asked: Asked) -> Answer:
        begins = asked.query.get("prefix", "")
        named = "".join(
            f"<Blob><Name>{escape(one)}</Name></Blob>"
            for one in sorted(self.blobs)
            if one.startswith(begins)
        )
        body = f"<EnumerationResults><Blobs>{named}</Blobs><NextMarker /></EnumerationResults>"
        return Answer(200, body.encode(), {"Content-Type": "application/xml"})

    def _read(self, asked: Asked, name: str) -> Answer:
        blob = self.blobs.get(name)
        if blob is None:
            return _no(GONE, "BlobNotFound")
        if asked.method == "DELETE":
            del self.blobs[name]
            return Answer(TAKEN_IN, b"")
        held = "locked" if blob.lease else "unlocked"
        meta = {f"{_META}{key}": value for key, value in blob.meta.items()}
        return Answer(200, blob.content, {**meta, "x-ms-lease-status": held})

    def _written(self, asked: Asked, name: str) -> Answer:
        part, blob = asked.query.get("comp"), self.blobs.get(name)
        if blob is None and part is not None:
            return _no(GONE, "BlobNotFound")
        if part == "lease":
            return self._leased(self.blobs[name], asked.headers)
        if blob is not None and blob.lease != asked.headers.get("x-ms-lease-id", ""):
            return _no(UNMET, "LeaseIdMissing")
        meta = {
            key.removeprefix(_META): value
            for key, value in asked.headers.items()
            if key.startswith(_META)
        }
        blob = self.blobs.setdefault(name, Blob())
        blob.meta = meta
        if part is None:
            blob.content = asked.body
        return Answer(MADE if part is None else 200, b"")

    @staticmethod
    def _leased(blob: Blob, headers: Mapping[str, str]) -> Answer:
        if headers["x-ms-lease-action"] == "acquire":
            if blob.lease:
                return _no(HELD, "LeaseAlreadyPresent")
            blob.lease = headers["x-ms-proposed-lease-id"]
            return Answer(MADE, b"", {"x-ms-lease-id": blob.lease})
        assert headers["x-ms-lease-action"] == "release"
        if headers.get("x-ms-lease-id") != blob.lease:
            return _no(HELD, "LeaseIdMismatchWithLeaseOperation")
        blob.lease = ""
        return Answer(200, b"")


def settings_of(url: str, container: str) -> dict[str, Json]:
    """What the account says of its states."""
    return {
        "storage_account_name": "states",
        "container_name": container,
        "resource_group_name": "states",
        "subscription_id": SUBSCRIPTION,
        "metadata_host": url.removeprefix("https://"),
    }


def _no(status: int, code: str) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>{json.dumps(code)}</Message></Error>".encode()
    return Answer(status, body, {"Content-Type": "application/xml", "x-ms-error-code": code})
