"""Google Cloud for the contract: a token endpoint that checks the signed grant, and the services that are asked. Not Google."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from control_plane.domain.isolation import Cloud
from control_plane.provisioning.clouds.eyes import Part
from control_plane.provisioning.stacks import StackRequest, labels
from tests.clouds.bench import PLANTED, Bench, World, account_of, name_of
from tests.clouds.rsa_key import pem, private_key
from tests.clouds.server import Answer, Asked, StubServer

PROJECT = "demo-project-1"
EMAIL = f"worker@{PROJECT}.iam.gserviceaccount.com"
TOKEN = f"token-{PLANTED}"
SERVICES = [
    "cloudresourcemanager",
    "storage",
    "cloudasset",
    "compute",
    "cloudkms",
    "iam",
    "secretmanager",
    "sqladmin",
]
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_PAGE = 3
_QUERY = re.compile(
    r"labels\.paybill_workspace=([0-9a-f]{8})(?: AND labels\.paybill_tenant=(\S+))?"
)
_ASSETS = {
    "storage": "storage.googleapis.com/Bucket",
    "key": "cloudkms.googleapis.com/CryptoKey",
    "secret": "secretmanager.googleapis.com/Secret",
    "database": "sqladmin.googleapis.com/Instance",
    "crowd": "compute.googleapis.com/Address",
}


class GcpBench(Bench):
    """Each thing's id is the path by which its service is asked."""

    cloud: Cloud = "gcp"
    regions = ("europe-west3", "us-east1")
    other_account = "another-project"
    parts: tuple[Part, ...] = ("network", "key", "identity", "storage", "secret", "database")
    bare: frozenset[Part] = frozenset({"network", "identity"})
    page_items = _PAGE
    shared_storage = "pb-shared"
    has_quota = True

    def __init__(self) -> None:
        self.world = World()
        self.server = StubServer(self._answers)
        self.credentials = {"GOOGLE_CREDENTIALS": json.dumps(self._key_file(0))}
        self.wrong_credentials = [
            {"GOOGLE_CREDENTIALS": json.dumps(self._key_file(1))},
            {"GOOGLE_OAUTH_ACCESS_TOKEN": "another"},
        ]
        self.shared: Mapping[str, str] = {
            "network_id": f"projects/{PROJECT}/global/networks/shared",
            "bucket": "pb-shared",
            "unknown": "x",
        }
        addresses = dict.fromkeys(SERVICES, self.server.url)
        self.account = account_of(PROJECT, self.regions, addresses, self.shared)

    def stand(self, request: StackRequest) -> dict[str, object]:
        name, borne, root = name_of(request), labels(request), f"projects/{PROJECT}"
        paths = {
            "network": f"{root}/global/networks/{name}",
            "key": f"{root}/locations/{request.region}/keyRings/{name}/cryptoKeys/tenant",
            "identity": f"projects/-/serviceAccounts/{name}@{PROJECT}.iam.gserviceaccount.com",
            "storage": name,
            "secret": f"{root}/secrets/{name}-database",
            "database": f"{root}/instances/{name}",
        }
        for part, path in paths.items():
            bare = part in self.bare
            self.world.add(
                part, path, path.rsplit("/", 1)[-1], request.region, {} if bare else borne
            )
        return {
            "database": {"engine": "postgres", "host": "10.0.0.3", "secret": paths["secret"]},
            "storage": {"kind": "gcs", "name": name, "prefix": ""},
            "key": paths["key"],
            "identity": paths["identity"].rsplit("/", 1)[-1],
            "network": paths["network"],
            "labels": borne,
        }

    def stand_shared(self) -> None:
        self.world.add("network", self.shared["network_id"], "shared", self.regions[0], {})
        self.world.add("storage", self.shared["bucket"], "pb-shared", self.regions[0], {})

    def take(self, name: str, *, foreign: bool) -> None:
        taken = self.world.add("storage", name, name, self.regions[0], {"whose": "another"})
        taken.owner = "another" if foreign else ""

    def remove(self, part: Part) -> None:
        self.world.remove(part)

    def unlabel(self, part: Part) -> None:
        self.world.unlabel(part)

    def fill(self) -> None:
        self.world.is_full = True

    def crowd(self, workspace: str, count: int) -> None:
        borne = {"paybill_workspace": workspace, "paybill_tenant": "crowd"}
        for number in range(count):
            path = f"projects/{PROJECT}/regions/{self.regions[0]}/addresses/c{number}"
            self.world.add("crowd", path, f"c{number}", self.regions[0], borne)

    def is_token(self, asked: Asked) -> bool:
        return asked.path == "/token"

    def is_read(self, asked: Asked) -> bool:
        return self.is_token(asked)

    def clear(self) -> None:
        self.world.things.clear()

    def _key_file(self, number: int) -> dict[str, str]:
        return {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "k1",
            "private_key": pem(private_key(number)),
            "client_email": EMAIL,
            "token_uri": f"{self.server.url}/token",
        }

    def _answers(self, asked: Asked) -> Answer:
        if self.is_token(asked):
            return self._granted(asked)
        shown = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if shown != TOKEN and not is_self_signed(shown):
            return self._error(401)
        return self._service(asked, unquote(asked.path).strip("/"))

    def _granted(self, asked: Asked) -> Answer:
        form = asked.form
        grant = claims(form["assertion"])
        # Whatever address a key file names, the SDK signs for Google's own.
        expected = (EMAIL, "https://oauth2.googleapis.com/token", GRANT)
        if (grant.get("iss"), grant.get("aud"), form["grant_type"]) != expected:
            said = {"error": "invalid_grant", "error_description": form["assertion"]}
            return Answer(400, said)
        return Answer(200, {"access_token": TOKEN, "expires_in": 3599, "token_type": "Bearer"})

    def _service(self, asked: Asked, path: str) -> Answer:
        if path.startswith("v3/projects/"):
            project = {"projectId": PROJECT, "name": "projects/1", "state": "ACTIVE"}
            return Answer(200, project) if path.endswith(f"/{PROJECT}") else self._error(403)
        if path.startswith("storage/v1/b/"):
            return self._bucket(path.removeprefix("storage/v1/b/"))
        if path == f"v1/projects/{PROJECT}:searchAllResources":
            return self._search(asked)
        if path == f"compute/v1/projects/{PROJECT}":
            used = 15 if self.world.is_full else 2
            return Answer(200, {"quotas": [{"metric": "NETWORKS", "limit": 15.0, "usage": used}]})
        if path.startswith(f"compute/v1/projects/{PROJECT}/regions/"):
            known = path.rsplit("/", 1)[-1] in self.regions
            return Answer(200, {"status": "UP"}) if known else self._error(404)
        return self._thing(path.removeprefix("compute/").removeprefix("v1/"))

    def _thing(self, path: str) -> Answer:
        for one in self.world.things:
            if one.id == path:
                settings = {"userLabels": one.labels} if one.part == "database" else {}
                return Answer(200, {"name": one.name, "labels": one.labels, "settings": settings})
        return self._error(404)

    def _bucket(self, name: str) -> Answer:
        for one in self.world.things:
            if (one.part, one.name) == ("storage", name):
                if one.owner:
                    return self._error(403)
                return Answer(200, {"kind": "storage#bucket", "name": name, "labels": one.labels})
        return self._error(404)

    def _search(self, asked: Asked) -> Answer:
        query = _QUERY.fullmatch(asked.query["query"])
        assert query is not None, asked.query
        wanted = {"paybill_workspace": query[1]} | (
            {"paybill_tenant": query[2]} if query[2] else {}
        )
        found, start = self.world.bearing(**wanted), int(asked.query.get("pageToken", "0"))
        page = {
            "results": [
                {
                    "name": f"//host/{one.id}",
                    "assetType": _ASSETS[one.part],
                    "location": one.region,
                    "labels": one.labels,
                }
                for one in found[start : start + _PAGE]
            ]
        }
        more = {"nextPageToken": str(start + _PAGE)} if len(found) > start + _PAGE else {}
        return Answer(200, {**page, **more})

    @staticmethod
    def _error(status: int) -> Answer:
        return Answer(status, {"error": {"code": status, "message": "no"}})


def claims(token: str) -> dict[str, object]:
    """What a token says that the worker's key has signed; nothing of any other."""
    try:
        public = RSAKey.import_key(private_key(0).public_key())
        return dict(jwt.decode(token, public, algorithms=["RS256"]).claims)
    except (JoseError, ValueError):
        return {}


def is_self_signed(token: str) -> bool:
    """Google's newer clients sign such a token themselves and exchange nothing."""
    said = claims(token)
    return said.get("iss") == said.get("sub") == EMAIL and ("scope" in said or "aud" in said)


@contextmanager
def gcp_bench(_folder: Path) -> Generator[GcpBench]:
    bench = GcpBench()
    bench.server.start()
    yield bench
    bench.server.stop()
