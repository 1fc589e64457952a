"""What only the operator's command line asks for, by the way of every call. Published to no agent."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from control_plane import commands
from tools.schemas import DryRun, Key
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
        )
    }
)
