"""The stacks of tenants, as the labels of what stands in clouds tell of them, for when our own store is lost. Labels name; they vouch for nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from control_plane.domain.isolation import ISOLATIONS, Cloud, Isolation
from control_plane.domain.tenant import TenantId
from control_plane.provisioning.accounts import Clouds
from control_plane.provisioning.inventory import Labelled

NO_TENANT: Final = "tenant_not_named"
NO_ISOLATION: Final = "isolation_not_named"
MOVED: Final = "account_moved"
_TENANT: Final[TypeAdapter[str]] = TypeAdapter(TenantId)


@dataclass(frozen=True)
class FoundStack:
    """What bears one tenant's and one isolation's labels in one account; ``code`` says why it says no more.

    ``tenant`` is the label as it stands; ``isolation`` is None where the label is none of ours.
    ``regions`` are those that the account's settings name, ``plans`` those that the labels do.
    """

    tenant: str
    cloud: Cloud
    account: str
    isolation: Isolation | None
    regions: tuple[str, ...]
    plans: tuple[str, ...]
    resources: int
    code: str = ""

    def told(self) -> dict[str, Any]:
        """For the report."""
        return {
            "tenant": self.tenant,
            "cloud": self.cloud,
            "account": self.account,
            "isolation": self.isolation,
            "regions": list(self.regions),
            "plans": list(self.plans),
            "resources": self.resources,
            "code": self.code or None,
        }


def stacks_of(found: Iterable[Labelled], clouds: Clouds) -> tuple[FoundStack, ...]:
    """Resources that bear the same labels in the same account, as one stack each."""
    grouped: dict[tuple[str, Cloud, str, str], list[Labelled]] = {}
    for one in found:
        borne = one.found.labels
        tenant, isolation = borne.get("paybill_tenant", ""), borne.get("paybill_isolation", "")
        grouped.setdefault((tenant, one.cloud, one.account, isolation), []).append(one)
    return tuple(_stack(key, grouped[key], clouds) for key in sorted(grouped))


def place_of(stacks: Iterable[FoundStack], isolation: Isolation) -> tuple[Cloud, str] | None:
    """Cloud and region of a tenant's stack of that model; None where labels leave that open."""
    told: set[tuple[Cloud, str]] = {
        (one.cloud, one.regions[0])
        for one in stacks
        if one.isolation == isolation and not one.code and len(one.regions) == 1
    }
    return told.pop() if len(told) == 1 else None


def isolation_of(stacks: Iterable[FoundStack]) -> Isolation | None:
    """Under which model stacks alone have a tenant: the most separate one that they name."""
    named = {one.isolation for one in stacks}
    return next((one for one in ISOLATIONS if one in named), None)


def is_tenant(name: str) -> bool:
    """Whether a label names a tenant as ours are named."""
    try:
        _TENANT.validate_python(name)
    except ValidationError:
        return False
    return True


def _stack(key: tuple[str, Cloud, str, str], each: list[Labelled], clouds: Clouds) -> FoundStack:
    tenant, cloud, account, named = key
    isolation: Isolation | None = next((one for one in ISOLATIONS if one == named), None)
    used = set(_regions(clouds, cloud, account))
    code = _code(tenant, isolation, cloud, account, clouds)
    return FoundStack(
        tenant=tenant,
        cloud=cloud,
        account=account,
        isolation=isolation,
        # A role, an image or a replica may stand where no stack does.
        regions=tuple(sorted({one.found.region for one in each} & used)),
        plans=tuple(sorted({one.found.labels.get("paybill_plan", "") for one in each} - {""})),
        resources=len(each),
        code=code,
    )


def _code(
    tenant: str, isolation: Isolation | None, cloud: Cloud, account: str, clouds: Clouds
) -> str:
    if not is_tenant(tenant):
        return NO_TENANT
    if isolation is None:
        return NO_ISOLATION
    given = clouds.account_of(cloud, tenant)
    return "" if given is not None and given.account == account else MOVED


def _regions(clouds: Clouds, cloud: Cloud, account: str) -> Iterator[str]:
    everybodys = clouds.accounts.get(cloud)
    if everybodys is not None and everybodys.account == account:
        yield from everybodys.regions
    for one in clouds.dedicated:
        if (one.cloud, one.account) == (cloud, account):
            yield from one.regions
