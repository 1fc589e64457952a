"""What an adapter must be able to see in its cloud, one question each. Not what is made of the answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, Protocol, TypeAlias

from control_plane.domain.isolation import Cloud
from control_plane.provisioning.clouds.port import Found
from control_plane.provisioning.stacks import StackRequest, variables

Part: TypeAlias = Literal["network", "key", "identity", "storage", "secret", "database"]
"""What a stack's outputs, or an account's `shared`, may name."""


def name_of(request: StackRequest) -> str:
    """What the shipped modules name a tenant's resources by."""
    return str(variables(request)["name"])


class Standing(NamedTuple):
    """Something that stands. `labels` is None where its kind bears none in this cloud."""

    labels: Mapping[str, str] | None


class Foreign:
    """The name is taken, and by whom may not be seen."""


FOREIGN = Foreign()


class Room(NamedTuple):
    """How much of one thing the account may have in a region, and has."""

    about: str
    limit: float
    used: float


class Eyes(Protocol):
    """One account's credentials at work in one region. Whatever the SDK raises comes out as it is."""

    @property
    def cloud(self) -> Cloud:
        """Which cloud it is."""
        ...

    @property
    def databases(self) -> frozenset[str]:
        """Terraform's words for what a silo's database may be."""
        ...

    def status(self, error: Exception) -> int | None:
        """The HTTP status that an error of the SDK stands for: 401 for credentials; None without an answer."""
        ...

    def who(self) -> str:
        """The account that the credentials turn out to be in; empty where it may not be seen."""
        ...

    def knows(self, region: str) -> bool:
        """Whether the account can use the region."""
        ...

    def names(self, request: StackRequest) -> tuple[tuple[Part, str], ...]:
        """The names that the shipped module gives out and that nobody else may have."""
        ...

    def held(self, part: Part, name: str) -> Standing | Foreign | None:
        """Who has such a name: nobody, this account's resource, or another's."""
        ...

    def room(self, request: StackRequest) -> tuple[Room, ...]:
        """What the module needs that is counted; empty where the cloud tells of no count."""
        ...

    def part(self, part: Part, value: str) -> Standing | None:
        """What bears the identifier that outputs or settings give; None where there is nothing."""
        ...

    def shared_part(self, key: str) -> Part | None:
        """What a key of the account's `shared` names; None for what is not looked at."""
        ...

    def labelled(self, workspace: str, tenant: str | None) -> Iterator[list[Found]]:
        """Pages of what bears the labels, in every region of the account."""
        ...
