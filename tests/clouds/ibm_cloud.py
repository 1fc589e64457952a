"""IBM Cloud for the contract: an exchange of keys for tokens, and the services that are asked. Not IBM."""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import RSAKey

from control_plane.domain.isolation import Cloud
from control_plane.provisioning.clouds.eyes import Part
from control_plane.provisioning.stacks import StackRequest, labels
from tests.clouds.bench import PLANTED, Bench, Thing, World, account_of, name_of
from tests.clouds.rsa_key import private_key
from tests.clouds.server import Answer, Asked, StubServer

ACCOUNT = "0123456789abcdef0123456789abcdef"
_PAGE = 3
_BY_FIELD = re.compile(r'(crn|resource_id):"([^"]+)"')
_BY_TAG = re.compile(
    r'tags:"paybill_workspace:([0-9a-f]{8})"(?: AND tags:"paybill_tenant:([^"]+)")?'
)
_SERVICES = {
    "network": ("is", "vpc"),
    "key": ("kms", ""),
    "identity": ("iam-identity", "serviceid"),
    "database": ("databases-for-postgresql", ""),
    "secret": ("secrets-manager", ""),
    "storage": ("cloud-object-storage", "bucket"),
    "crowd": ("is", "subnet"),
}


class IbmBench(Bench):
    """Each thing's id is what outputs name it by; its CRN follows from that."""

    cloud: Cloud = "ibm"
    regions = ("eu-de", "us-south")
    other_account = "ffffffffffffffffffffffffffffffff"
    parts: tuple[Part, ...] = ("network", "key", "identity", "storage", "secret", "database")
    bare: frozenset[Part] = frozenset({"storage", "secret"})
    page_items = _PAGE
    shared_storage = "pb-shared"
    has_quota = False

    def __init__(self) -> None:
        self.world = World()
        self.server = StubServer(self._answers)
        self.credentials = {"IC_API_KEY": PLANTED}
        self.wrong_credentials = [{"IC_API_KEY": "another"}]
        self.shared: Mapping[str, str] = {
            "network_id": "r010-shared",
            "bucket": "pb-shared",
            "unknown": "x",
        }
        names = ("iam", "globalsearch", "globaltagging", "resourcecontroller")
        addresses: dict[str, str] = dict.fromkeys(names, self.server.url)
        addresses["globalcatalog"] = f"{self.server.url}/catalog"
        addresses["objectstorage"] = f"{self.server.url}/cos"
        self.account = account_of(ACCOUNT, self.regions, addresses, self.shared)
        self.token = self._token()

    def stand(self, request: StackRequest) -> dict[str, object]:
        name, borne = name_of(request), labels(request)
        ids = {
            "network": f"r010-{request.tenant}",
            "key": f"keys-{request.tenant}",
            "identity": f"ServiceId-{request.tenant}",
            "storage": name,
            "secret": "secrets-manager-1",
            "database": f"base-{request.tenant}",
        }
        for part, own in ids.items():
            bare = part in self.bare
            self.world.add(part, own, name, request.region, {} if bare else borne)
        key = f"crn:v1:bluemix:public:kms:{request.region}:a/{ACCOUNT}:{ids['key']}:key:k1"
        return {
            "database": {"engine": "postgres", "secret": f"{ids['secret']}/group-1/database"},
            "storage": {"kind": "cos", "name": name, "prefix": ""},
            "key": key,
            "identity": f"iam-{ids['identity']}",
            "network": ids["network"],
            "labels": borne,
        }

    def stand_shared(self) -> None:
        self.world.add("network", "r010-shared", "shared", self.regions[0], {})
        self.world.add("storage", "pb-shared", "pb-shared", self.regions[0], {})

    def take(self, name: str, *, foreign: bool) -> None:
        taken = self.world.add("storage", name, name, self.regions[0], {})
        taken.owner = "another" if foreign else ""

    def remove(self, part: Part) -> None:
        self.world.remove(part)

    def unlabel(self, part: Part) -> None:
        self.world.unlabel(part)

    def fill(self) -> None:
        """There is no count."""

    def crowd(self, workspace: str, count: int) -> None:
        borne = {"paybill_workspace": workspace, "paybill_tenant": "crowd"}
        for number in range(count):
            self.world.add("crowd", f"c{number}", f"c{number}", self.regions[0], borne)

    def is_token(self, asked: Asked) -> bool:
        return asked.path == "/identity/token"

    def is_read(self, asked: Asked) -> bool:
        return self.is_token(asked) or asked.path == "/v3/resources/search"

    def clear(self) -> None:
        self.world.things.clear()

    def _token(self) -> str:
        now = int(time.time())
        claims = {"iam_id": "IBMid-1", "iat": now, "exp": now + 3600, "planted": PLANTED}
        return jwt.encode({"alg": "RS256"}, claims, RSAKey.import_key(private_key(0)))

    def _answers(self, asked: Asked) -> Answer:
        if self.is_token(asked):
            return self._exchanged(asked)
        if asked.headers.get("authorization") != f"Bearer {self.token}":
            return Answer(401, {"errors": [{"message": "no"}]})
        words = asked.path.strip("/").split("/")
        match words:
            case ["v1", "apikeys", "details"]:
                is_ours = asked.headers.get("iam-apikey") == PLANTED
                return Answer(200, {"account_id": ACCOUNT}) if is_ours else _absent()
            case ["catalog", region]:
                known = region in self.regions
                return Answer(200, {"id": region, "kind": "region"}) if known else _absent()
            case ["v3", "resources", "search"]:
                return self._search(asked)
            case ["v3", "tags"]:
                return self._tags(asked.query["attached_to"])
            case ["v2", "resource_instances", guid]:
                return self._one(guid, {"state": "active"})
            case ["v1", "serviceids", own]:
                return self._one(own, {})
            case ["cos", bucket]:
                return self._bucket(bucket)
            case _:
                return _absent()

    def _exchanged(self, asked: Asked) -> Answer:
        grant = (asked.form["grant_type"], asked.form["apikey"])
        if grant != ("urn:ibm:params:oauth:grant-type:apikey", PLANTED):
            return Answer(400, {"errorCode": "BXNIM0415E", "errorMessage": asked.form["apikey"]})
        return Answer(200, {"access_token": self.token, "token_type": "Bearer"})

    def _search(self, asked: Asked) -> Answer:
        query, cursor = asked.json["query"], int(asked.json.get("search_cursor") or "0")
        if by_field := _BY_FIELD.fullmatch(query):
            assert by_field[1] == "resource_id"
            found = [one for one in self.world.things if one.id == by_field[2]]
        else:
            by_tag = _BY_TAG.fullmatch(query)
            assert by_tag is not None, query
            wanted = {"paybill_workspace": by_tag[1]}
            found = self.world.bearing(
                **wanted, **({"paybill_tenant": by_tag[2]} if by_tag[2] else {})
            )
        page = found[cursor : cursor + _PAGE]
        told = {"items": [_shown(one) for one in page], "limit": _PAGE}
        more = {"search_cursor": str(cursor + _PAGE)} if page else {}
        return Answer(200, {**told, **more})

    def _tags(self, crn: str) -> Answer:
        for one in self.world.things:
            if _crn(one) == crn:
                return Answer(200, {"items": [{"name": tag} for tag in _tags(one)]})
        return Answer(200, {"items": []})

    def _one(self, own: str, more: dict[str, str]) -> Answer:
        for one in self.world.things:
            if one.id == own:
                return Answer(200, {"id": own, "crn": _crn(one), **more})
        return _absent()

    def _bucket(self, name: str) -> Answer:
        for one in self.world.things:
            if (one.part, one.name) == ("storage", name):
                return Answer(403 if one.owner else 200)
        return Answer(404)


def _crn(one: Thing) -> str:
    service, kind = _SERVICES[one.part]
    head = f"crn:v1:bluemix:public:{service}:{one.region}:a/{ACCOUNT}"
    return f"{head}::{kind}:{one.id}" if kind else f"{head}:{one.id}::"


def _tags(one: Thing) -> list[str]:
    return ["unrelated", *(f"{name}:{value}" for name, value in one.labels.items())]


def _shown(one: Thing) -> dict[str, object]:
    return {"crn": _crn(one), "name": one.name, "region": one.region, "tags": _tags(one)}


def _absent() -> Answer:
    return Answer(404, {"errors": [{"message": "no"}]})


@contextmanager
def ibm_bench(_folder: Path) -> Generator[IbmBench]:
    bench = IbmBench()
    bench.server.start()
    yield bench
    bench.server.stop()
