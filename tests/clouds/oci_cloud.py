"""OCI for the contract: services that check the signature of each request. Not Oracle."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from control_plane.domain.isolation import Cloud
from control_plane.provisioning.clouds.eyes import Part
from control_plane.provisioning.stacks import StackRequest, labels
from tests.clouds.bench import Bench, World, account_of, name_of
from tests.clouds.rsa_key import pem, private_key
from tests.clouds.server import Answer, Asked, StubServer

TENANCY, USER = "ocid1.tenancy.oc1..aaaatenancy", "ocid1.user.oc1..aaaauser"
COMPARTMENT = "ocid1.compartment.oc1..aaaacompartment"
FINGERPRINT = "20:3b:97:13:55:1c:5b:0d:d3:37:d8:50:4e:c5:3a:34"
SPACE = "demospace"
_PAGE = 3
_SAID = re.compile(r'(\w+)="([^"]*)"')
_BY_ID = re.compile(r"query all resources where identifier = '([^']+)'")
_BY_TAG = re.compile(
    r"query all resources where \(freeformTags\.key = '([^']+)' && freeformTags\.value = '([^']+)'\)"
)
_TYPES = {
    "network": "Vcn",
    "key": "Key",
    "identity": "DynamicResourceGroup",
    "storage": "Bucket",
    "secret": "VaultSecret",
    "database": "PostgresqlDbSystem",
    "crowd": "Subnet",
}


class OciBench(Bench):
    """Everything stands in the first region."""

    cloud: Cloud = "oci"
    regions = ("eu-frankfurt-1", "us-ashburn-1")
    other_account = "ocid1.compartment.oc1..bbbbother"
    parts: tuple[Part, ...] = ("network", "key", "identity", "storage", "secret", "database")
    bare: frozenset[Part] = frozenset()
    page_items = _PAGE
    shared_storage = "pb-shared"
    has_quota = True

    def __init__(self) -> None:
        self.world = World()
        self._ending: set[str] = set()
        self.server = StubServer(self._answers)
        self.credentials = {
            "OCI_TENANCY_OCID": TENANCY,
            "OCI_USER_OCID": USER,
            "OCI_FINGERPRINT": FINGERPRINT,
            "OCI_PRIVATE_KEY": pem(private_key(0)),
        }
        self.wrong_credentials = [
            {**self.credentials, "OCI_PRIVATE_KEY": pem(private_key(1))},
            {**self.credentials, "OCI_USER_OCID": "ocid1.user.oc1..bbbbuser"},
            {**self.credentials, "OCI_PRIVATE_KEY": "no key"},
        ]
        self.shared: Mapping[str, str] = {
            "network_id": "ocid1.vcn.oc1..aaaashared",
            "bucket": "pb-shared",
            "unknown": "x",
        }
        services = ("identity", "objectstorage", "limits", "resourcesearch")
        addresses: dict[str, str] = dict.fromkeys(services, self.server.url)
        self.account = account_of(COMPARTMENT, self.regions, addresses, self.shared)

    def stand(self, request: StackRequest) -> dict[str, object]:
        name, borne = name_of(request), labels(request)
        for part in self.parts:
            own = f"ocid1.{part}.oc1..{request.tenant.replace('-', '')}"
            self.world.add(part, own, name, request.region, borne)
        ids = {one.part: one.id for one in self.world.bearing(**borne)}
        return {
            "database": {"engine": "postgres", "host": "h", "secret": ids["secret"]},
            "storage": {"kind": "oci", "name": name, "prefix": ""},
            "key": ids["key"],
            "identity": ids["identity"],
            "network": ids["network"],
            "labels": borne,
        }

    def stand_shared(self) -> None:
        self.world.add("network", self.shared["network_id"], "shared", self.regions[0], {})
        self.world.add("storage", "ocid1.bucket.oc1..shared", "pb-shared", self.regions[0], {})

    def take(self, name: str, *, foreign: bool) -> None:
        borne = {"whose": "another"}
        self.world.add("storage", "ocid1.bucket.oc1..taken", name, self.regions[0], borne)

    def remove(self, part: Part) -> None:
        self.world.remove(part)

    def unlabel(self, part: Part) -> None:
        self.world.unlabel(part)

    def end(self, part: Part) -> None:
        """What is deleted is still found for a while."""
        self._ending.add(part)

    def fill(self) -> None:
        self.world.is_full = True

    def crowd(self, workspace: str, count: int) -> None:
        borne = {"paybill_workspace": workspace, "paybill_tenant": "crowd"}
        for number in range(count):
            own = f"ocid1.subnet.oc1..c{number}"
            self.world.add("crowd", own, f"c{number}", self.regions[0], borne)

    def is_token(self, asked: Asked) -> bool:
        return False

    def is_read(self, asked: Asked) -> bool:
        return asked.path == "/20180409/resources"

    def clear(self) -> None:
        self.world.things.clear()

    def _answers(self, asked: Asked) -> Answer:
        if not is_signed(asked):
            return Answer(401, {"code": "NotAuthenticated", "message": "no"})
        path = asked.path
        if path.startswith("/20160918/compartments/"):
            found = {"id": COMPARTMENT, "lifecycleState": "ACTIVE", "name": "demo"}
            return Answer(200, found) if path.endswith(f"/{COMPARTMENT}") else _absent()
        if path == f"/20160918/tenancies/{TENANCY}/regionSubscriptions":
            known = [{"regionName": one, "status": "READY"} for one in self.regions]
            return Answer(200, known)
        if path == "/20190729/services/vcn/limits/vcn-count/resourceAvailability":
            return Answer(200, {"used": 4, "available": 0 if self.world.is_full else 46})
        if path in {"/n", "/n/"}:
            return Answer(200, SPACE)
        if path.startswith(f"/n/{SPACE}/b/"):
            return self._bucket(path.rsplit("/", 1)[-1])
        return self._search(asked) if path == "/20180409/resources" else _absent()

    def _bucket(self, name: str) -> Answer:
        for one in self.world.of("storage"):
            if one.name == name:
                told = {"name": name, "namespace": SPACE, "freeformTags": one.labels}
                return Answer(200, told)
        return _absent()

    def _search(self, asked: Asked) -> Answer:
        query = asked.json["query"]
        assert asked.json["type"] == "Structured"
        if by_id := _BY_ID.fullmatch(query):
            found = [one for one in self.world.things if one.id == by_id[1]]
        else:
            by_tag = _BY_TAG.fullmatch(query)
            assert by_tag is not None, query
            found = self.world.bearing(**{by_tag[1]: by_tag[2]})
        # Every address here is one and the same, so a region is told by who asks for it first.
        start = int(asked.query.get("page", "0"))
        items = [
            {
                "resourceType": _TYPES[one.part],
                "identifier": one.id,
                "compartmentId": COMPARTMENT,
                "displayName": one.name,
                "lifecycleState": "DELETING" if one.part in self._ending else "ACTIVE",
                "freeformTags": one.labels,
            }
            for one in found[start : start + _PAGE]
        ]
        is_more = len(found) > start + _PAGE
        return Answer(
            200, {"items": items}, {"opc-next-page": str(start + _PAGE)} if is_more else {}
        )


def is_signed(asked: Asked) -> bool:
    """Whether the request bears a signature of the user's key over what must be signed."""
    scheme, _, words = asked.headers.get("authorization", "").partition(" ")
    said = dict(_SAID.findall(words))
    names, signature = said.pop("headers", "").split(" "), said.pop("signature", "")
    key = {"algorithm": "rsa-sha256", "keyId": f"{TENANCY}/{USER}/{FINGERPRINT}", "version": "1"}
    if scheme != "Signature" or said != key:
        return False
    wanted = {"date", "(request-target)", "host"}
    if asked.method == "POST":
        wanted |= {"content-length", "content-type", "x-content-sha256"}
        told = base64.b64encode(hashlib.sha256(asked.body).digest()).decode()
        if asked.headers["x-content-sha256"] != told:
            return False
    if set(names) != wanted:
        return False
    values = {**asked.headers, "(request-target)": f"{asked.method.lower()} {asked.target}"}
    text = "\n".join(f"{name}: {values[name]}" for name in names)
    try:
        private_key(0).public_key().verify(
            base64.b64decode(signature), text.encode(), padding.PKCS1v15(), hashes.SHA256()
        )
    except InvalidSignature:
        return False
    return True


def _absent() -> Answer:
    return Answer(404, {"code": "NotAuthorizedOrNotFound", "message": "no"})


@contextmanager
def oci_bench(_folder: Path) -> Generator[OciBench]:
    bench = OciBench()
    bench.server.start()
    yield bench
    bench.server.stop()
