"""What the contract needs of each cloud's stand-in: an account, credentials, and ways to arrange what stands there. Not the contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from control_plane.domain.isolation import Cloud, Isolation
from control_plane.provisioning.accounts import CloudAccount, FromEnvironment
from control_plane.provisioning.clouds.eyes import Part
from control_plane.provisioning.stacks import StackRequest
from tests.clouds.server import Asked, StubServer

WORKSPACE, OTHER_WORKSPACE = "0a1b2c3d", "ffffffff"
PLANTED = "planted-secret-of-the-test"


@dataclass
class Thing:
    """One resource in a stand-in's account. `owner` is empty for the account's own."""

    part: Part | str
    id: str
    name: str
    region: str
    labels: dict[str, str]
    owner: str = ""


class Bench(Protocol):
    """One cloud's stand-in, empty at first. Regions: the account's settings name both of `regions`."""

    cloud: Cloud
    account: CloudAccount
    credentials: dict[str, str]
    wrong_credentials: list[dict[str, str]]
    regions: tuple[str, str]
    other_account: str
    shared: Mapping[str, str]
    parts: tuple[Part, ...]
    """What of a silo's can be removed and does then not stand."""
    bare: frozenset[Part]
    """Parts of a kind that bears no labels in this cloud."""
    shared_storage: str
    """What outputs call the shared storage."""
    page_items: int
    has_quota: bool
    server: StubServer

    def stand(self, request: StackRequest) -> dict[str, object]:
        """Make what the shipped module would, and give its outputs."""
        ...

    def stand_shared(self) -> None:
        """Make what `shared` names."""
        ...

    def take(self, name: str, *, foreign: bool) -> None:
        """Give a global name to another's resource: of another account, or of this one."""
        ...

    def remove(self, part: Part) -> None: ...

    def unlabel(self, part: Part) -> None: ...

    def fill(self) -> None:
        """Use up the quota."""
        ...

    def crowd(self, workspace: str, count: int) -> None:
        """That many labelled resources of the tenant `crowd`, of one kind."""
        ...

    def clear(self) -> None:
        """Nothing stands any more."""
        ...

    def is_token(self, asked: Asked) -> bool:
        """Whether a request is the SDK's, for a token."""
        ...

    def is_read(self, asked: Asked) -> bool:
        """Whether a request that is no GET or HEAD is nevertheless one that changes nothing."""
        ...


def asked_for(
    bench: Bench,
    tenant: str = "acme",
    *,
    isolation: Isolation = "silo",
    workspace: str = WORKSPACE,
    region: str | None = None,
) -> StackRequest:
    """A request for a stack in the bench's cloud."""
    return StackRequest(
        tenant=tenant,
        run_id="run-1",
        cloud=bench.cloud,
        isolation=isolation,
        plan="pro",
        region=region or bench.regions[0],
        workspace=workspace,
    )


def account_of(
    account: str, regions: tuple[str, str], endpoints: Mapping[str, str], shared: Mapping[str, str]
) -> CloudAccount:
    """An account as settings would declare it."""
    return CloudAccount(
        account=account,
        regions=regions,
        credentials=FromEnvironment(kind="environment", names=("UNUSED",)),
        endpoints=dict(endpoints),
        shared={regions[0]: dict(shared)},
    )


def name_of(request: StackRequest) -> str:
    """What the modules name their resources by."""
    return f"pb-{request.workspace}-{request.tenant}"


class World:
    """The resources of a stand-in's account."""

    def __init__(self) -> None:
        self.things: list[Thing] = []
        self.is_full = False

    def add(self, part: str, id: str, name: str, region: str, borne: Mapping[str, str]) -> Thing:
        thing = Thing(part, id, name, region, dict(borne))
        self.things.append(thing)
        return thing

    def remove(self, part: str) -> None:
        self.things = [one for one in self.things if one.part != part]

    def unlabel(self, part: str) -> None:
        for one in self.of(part):
            one.labels.clear()

    def of(self, part: str) -> list[Thing]:
        return [one for one in self.things if one.part == part and not one.owner]

    def bearing(self, **wanted: str) -> list[Thing]:
        return [
            one
            for one in self.things
            if not one.owner and all(one.labels.get(key) == value for key, value in wanted.items())
        ]
