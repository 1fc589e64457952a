"""Azure for the contract: a directory that gives tokens and a resource manager, over TLS. Not Azure."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from control_plane.domain.isolation import Cloud
from control_plane.provisioning.clouds.azure_kinds import TYPES, names
from control_plane.provisioning.clouds.eyes import Part
from control_plane.provisioning.stacks import StackRequest, labels
from tests.clouds.bench import PLANTED, Bench, Thing, World, account_of, name_of
from tests.clouds.rsa_key import loopback_tls
from tests.clouds.server import Answer, Asked, StubServer

DIRECTORY = "11111111-2222-3333-4444-555555555555"
CLIENT = "99999999-2222-3333-4444-555555555555"
SUBSCRIPTION = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
TOKEN = f"token-{PLANTED}"
_BY_TAG = re.compile(r"tagName eq '([^']+)' and tagValue eq '([^']+)'")
_BY_NAME = re.compile(r"name eq '([^']+)' and resourceType eq '([^']+)'")
_PAGE = 3
_TENANTS_GROUP = "Microsoft.Resources/resourceGroups"


class AzureBench(Bench):
    """`trusted` is the certificate that the SDK must be made to trust."""

    cloud: Cloud = "azure"
    regions = ("westeurope", "northeurope")
    other_account = "ffffffff-bbbb-cccc-dddd-eeeeeeeeeeee"
    parts: tuple[Part, ...] = ("network", "key", "identity", "storage", "database")
    bare: frozenset[Part] = frozenset()
    page_items = _PAGE
    shared_storage = "pbshared"
    has_quota = True

    def __init__(self, folder: Path) -> None:
        tls, self.trusted = loopback_tls(folder)
        self.world = World()
        self._deleted: dict[str, dict[str, str]] = {}
        self.server = StubServer(self._answers, tls=tls)
        self.credentials = {
            "ARM_TENANT_ID": DIRECTORY,
            "ARM_CLIENT_ID": CLIENT,
            "ARM_CLIENT_SECRET": PLANTED,
        }
        self.wrong_credentials = [
            {**self.credentials, "ARM_CLIENT_SECRET": "another"},
            {**self.credentials, "ARM_CLIENT_ID": DIRECTORY},
            {**self.credentials, "ARM_TENANT_ID": "not a tenant"},
        ]
        self.shared: Mapping[str, str] = {
            "network_id": self._id(TYPES["network"], "shared", "shared"),
            "storage_account_id": self._id(TYPES["storage"], "pbshared", "shared"),
            "unknown": "x",
        }
        addresses = {"management": self.server.url, "authority": self.server.url}
        self.account = account_of(SUBSCRIPTION, self.regions, addresses, self.shared)

    def stand(self, request: StackRequest) -> dict[str, object]:
        name, borne = name_of(request), labels(request)
        ids: dict[str, str] = {}
        self._add(_TENANTS_GROUP, "group", name, name, request.region, borne)
        for part in self.parts:
            own = self._own(part, request)
            ids[part] = self._add(TYPES[part], part, own, name, request.region, borne)
        vault = self._own("key", request)
        secret = f"https://{vault}.vault.azure.net/secrets/database"
        return {
            "database": {"engine": "postgres", "host": f"{name}.postgres", "secret": secret},
            "storage": {"kind": "blob", "name": self._own("storage", request), "prefix": ""},
            "key": f"https://{vault}.vault.azure.net/keys/tenant",
            "identity": ids["identity"],
            "network": ids["network"],
            "labels": borne,
        }

    def stand_shared(self) -> None:
        region = self.regions[0]
        self._add(TYPES["network"], "shared", "shared", "shared", region, {})
        self._add(TYPES["storage"], "shared", "pbshared", "shared", region, {})

    def take(self, name: str, *, foreign: bool) -> None:
        kind = TYPES["storage"]
        self._add(kind, "taken", name, "theirs", self.regions[0], {"whose": "another"})
        self.world.things[-1].owner = "another" if foreign else ""

    def remove(self, part: Part) -> None:
        self.world.remove(part)

    def unlabel(self, part: Part) -> None:
        self.world.unlabel(part)

    def delete_vault(self, request: StackRequest, borne: Mapping[str, str]) -> None:
        """A vault that was deleted is no resource any more, and keeps its name."""
        self._deleted[self._own("key", request)] = dict(borne)

    def fill(self) -> None:
        self.world.is_full = True

    def crowd(self, workspace: str, count: int) -> None:
        borne = {"paybill_workspace": workspace, "paybill_tenant": "crowd"}
        for number in range(count):
            kind, group = TYPES["identity"], f"crowd-{number % 2}"
            self._add(kind, "crowd", f"c{number}", group, self.regions[0], borne)

    def is_token(self, asked: Asked) -> bool:
        return asked.path.startswith(f"/{DIRECTORY}/")

    def is_read(self, asked: Asked) -> bool:
        return self.is_token(asked) or asked.path.endswith("/checkNameAvailability")

    def clear(self) -> None:
        self.world.things.clear()

    def _own(self, part: Part, request: StackRequest) -> str:
        return dict(names(request)).get(part, name_of(request))

    def _add(
        self, kind: str, part: str, name: str, group: str, region: str, borne: Mapping[str, str]
    ) -> str:
        return self.world.add(part, self._id(kind, name, group), name, region, borne).id

    @staticmethod
    def _id(kind: str, name: str, group: str) -> str:
        root = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}"
        return root if kind == _TENANTS_GROUP else f"{root}/providers/{kind}/{name}"

    def _answers(self, asked: Asked) -> Answer:
        if self.is_token(asked):
            return self._directory(asked)
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return Answer(401, {"error": {"code": "InvalidAuthenticationToken"}})
        root = f"/subscriptions/{SUBSCRIPTION}"
        if not asked.path.startswith(root):
            return Answer(404, {"error": {"code": "SubscriptionNotFound"}})
        return self._manager(asked, asked.path.removeprefix(root))

    def _directory(self, asked: Asked) -> Answer:
        base = f"{self.server.url}/{DIRECTORY}"
        if asked.method == "GET":
            return Answer(
                200,
                {
                    "issuer": f"{base}/v2.0",
                    "token_endpoint": f"{base}/oauth2/v2.0/token",
                    "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                },
            )
        form = asked.form
        shown = form.get("client_secret") or form.get("client_assertion")
        is_known = (form["client_id"], shown, form["grant_type"]) == (
            CLIENT,
            PLANTED,
            "client_credentials",
        )
        if not is_known or form["scope"] != "https://management.azure.com/.default":
            return Answer(401, {"error": "invalid_client", "error_description": f"AADSTS {shown}"})
        return Answer(200, {"token_type": "Bearer", "expires_in": 3599, "access_token": TOKEN})

    def _manager(self, asked: Asked, path: str) -> Answer:
        words = path.lower().split("/")
        if path == "":
            return Answer(200, {"subscriptionId": SUBSCRIPTION, "state": "Enabled"})
        if path == "/locations":
            return Answer(200, {"value": [{"name": one} for one in (*self.regions, "eastus")]})
        if words[-1] == "usages":
            used = 1000 if self.world.is_full else 7
            count = {"name": {"value": "VirtualNetworks"}, "limit": 1000, "currentValue": used}
            return Answer(200, {"value": [count]})
        if words[-1] == "checknameavailability":
            gone = self._deleted if asked.json["type"] == TYPES["key"] else {}
            taken = set(gone) | {
                one.name for one in self.world.things if asked.json["type"] in one.id
            }
            return Answer(200, {"nameAvailable": asked.json["name"] not in taken})
        if words[-2] == "deletedvaults":
            borne = self._deleted.get(words[-1])
            return Answer(404) if borne is None else Answer(200, {"properties": {"tags": borne}})
        return self._list(asked, words)

    def _list(self, asked: Asked, words: list[str]) -> Answer:
        found = [one for one in self.world.things if not one.owner]
        where, shows_tags = asked.query.get("$filter", ""), True
        if by_tag := _BY_TAG.fullmatch(where):
            found = [one for one in found if one.labels.get(by_tag[1]) == by_tag[2]]
            shows_tags = words[-1] == "resourcegroups"
        elif by_name := _BY_NAME.fullmatch(where):
            found = [one for one in found if (one.name, _kind(one)) == (by_name[1], by_name[2])]
        elif where:
            return Answer(400, {"error": {"code": "InvalidFilter"}})
        if len(words) > 3:  # those of a group
            found = [one for one in found if one.id.lower().split("/")[4] == words[2]]
        is_group = words[-1] == "resourcegroups"
        found = [one for one in found if (_kind(one) == "") is is_group]
        start = int(asked.query.get("$skiptoken", "0"))
        told: dict[str, Any] = {
            "value": [_shown(one, shows_tags) for one in found[start : start + _PAGE]]
        }
        if len(found) > start + _PAGE:
            more = re.sub(r"&\$skiptoken=\d+|&%24skiptoken=\d+", "", asked.target)
            told["nextLink"] = f"{self.server.url}{more}&$skiptoken={start + _PAGE}"
        return Answer(200, told)


def _kind(one: Thing) -> str:
    return "/".join(one.id.split("/")[6:8])


def _shown(one: Thing, shows_tags: bool) -> dict[str, object]:
    shown = {"id": one.id, "name": one.name, "type": _kind(one), "location": one.region}
    return {**shown, "tags": one.labels} if shows_tags else dict(shown)


@contextmanager
def azure_bench(folder: Path) -> Generator[AzureBench]:
    bench = AzureBench(folder)
    bench.server.start()
    before = os.environ.get("REQUESTS_CA_BUNDLE")
    os.environ["REQUESTS_CA_BUNDLE"] = str(bench.trusted)  # a machine's own way to trust more
    yield bench
    os.environ.pop("REQUESTS_CA_BUNDLE")
    if before is not None:
        os.environ["REQUESTS_CA_BUNDLE"] = before
    bench.server.stop()
