"""What bears a workspace's labels in every account that the worker may use, and which accounts did not say. It adopts and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from control_plane.domain.isolation import Cloud
from control_plane.errors import PaybillError, Unavailable
from control_plane.provisioning.accounts import CloudAccount, Clouds
from control_plane.provisioning.clouds.port import Found
from control_plane.provisioning.credentials import Fetch
from control_plane.provisioning.site import Adapt

_ANOTHERS: Final = "account_differs"


class Labelled(NamedTuple):
    """One resource, and in which account of which cloud it stands."""

    cloud: Cloud
    account: str
    found: Found


class Silence(NamedTuple):
    """An account that was not looked into, or not to the end, by the code of what was in the way."""

    cloud: Cloud
    account: str
    code: str


class Inventory(NamedTuple):
    """What was found, each resource once, and who did not say; both in an order that is always the same."""

    found: tuple[Labelled, ...] = ()
    silent: tuple[Silence, ...] = ()


def inventory(clouds: Clouds, workspace: str, adapt: Adapt, fetch: Fetch) -> Inventory:
    """Ask every account for all that bears the label of `workspace`, a short id.

    An account that does not answer hides no other. One whose credentials turn out to be another's is
    not looked into: its own resources would be missing, and nobody would know.
    """
    found: dict[tuple[Cloud, str, str, str], Labelled] = {}
    silent: list[Silence] = []
    for cloud, account in _entries(clouds):
        try:
            adapter = adapt(cloud, account, fetch(account.credentials))
            if not adapter.identity().ok:
                raise Unavailable("The credentials are another's.", code=_ANOTHERS)
            # Two entries may name one account: what stands there stands there once.
            for one in adapter.owned(workspace):
                key = (cloud, account.account, one.type, one.import_id)
                found[key] = Labelled(cloud, account.account, one)
        except PaybillError as error:
            silent.append(Silence(cloud, account.account, error.code))
    return Inventory(tuple(found[key] for key in sorted(found)), tuple(sorted(set(silent))))


def _entries(clouds: Clouds) -> Iterator[tuple[Cloud, CloudAccount]]:
    yield from clouds.accounts.items()
    for one in clouds.dedicated:
        yield one.cloud, one
