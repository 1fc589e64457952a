"""What only the operator's command line asks for, by the way of every call. Published to no agent."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from control_plane import commands
from control_plane.domain.isolation import Cloud
from tools.schemas import DryRun, Key, TenantName
from tools.spec import Arguments, Result, ToolSpec

CatalogDigest = Annotated[
    str, Field(pattern=r"^[0-9a-f]{64}$", description="The digest of a catalog that is kept.")
]


class ApplyCatalogArguments(Arguments):
    """The kept catalog that is to be put in force."""

    catalog: CatalogDigest
    idempotency_key: Key
    dry_run: DryRun = False


class CatalogResult(Result):
    """The catalog in force, and the one that it took the place of."""

    catalog: str
    before: str


class FreezeArguments(Arguments):
    """What begins no run from now on, or may again, and why. Without tenant and cloud it is every one."""

    on: bool
    tenant: TenantName | None = None
    cloud: Cloud | None = None
    reason: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
    idempotency_key: Key

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if self.tenant is not None and self.cloud is not None:
            raise ValueError("name a tenant or a cloud, not both")
        return self


class FreezeResult(Result):
    """A freeze as it was left, by whom, and why."""

    scope: str
    of: str
    frozen: bool
    reason: str
    by: str
    at: str


def _change_freeze(asked: FreezeArguments) -> commands.ChangeFreeze:
    scope: Literal["workspace", "tenant", "cloud"] = "workspace"
    if asked.tenant is not None:
        scope = "tenant"
    elif asked.cloud is not None:
        scope = "cloud"
    of = asked.tenant or asked.cloud or ""
    return commands.ChangeFreeze(scope=scope, of=of, on=asked.on, reason=asked.reason)


OPERATOR_TOOLS: Mapping[str, ToolSpec] = MappingProxyType(
    {
        tool.name: tool
        for tool in (
            ToolSpec(
                name="catalog_apply",
                title="Apply a catalog",
                description=(
                    "Put a kept catalog in force: plans, policies, and every tenant's tables. "
                    "Always waits for a human's approval. Answers 'running' with a run_id."
                ),
                arguments=ApplyCatalogArguments,
                result=CatalogResult,
                risk="destructive",
                domain="catalog",
                machine="lifecycle",
                to_command=lambda a: commands.ApplyCatalog(catalog=a.catalog),
            ),
            ToolSpec(
                name="run_freeze",
                title="Freeze runs",
                description=(
                    "Keep runs from beginning, or let them again: of the workspace, of a tenant, or "
                    "in a cloud. What has begun goes on."
                ),
                arguments=FreezeArguments,
                result=FreezeResult,
                risk="write",
                domain="freeze",
                machine="change",
                to_command=_change_freeze,
            ),
        )
    }
)
