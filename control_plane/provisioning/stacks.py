"""Which module makes a tenant's stack, and with which values. Not how it is run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, TypeAlias

from pydantic import BaseModel, ConfigDict, StringConstraints

from control_plane.domain.canonical import Json, canonical, plain
from control_plane.domain.isolation import Cloud, Isolation, Size
from control_plane.errors import BadInput

Overrides: TypeAlias = Mapping[tuple[str, str], Path]

MODULES: Final = Path(__file__).resolve().parent / "modules"
NOTHING_SHARED: Final[Mapping[str, str]] = MappingProxyType({})


class StackRequest(BaseModel):
    """One tenant's stack under one isolation model; every field is validated, none is a path.

    `workspace` is the short id of the workspace: names and labels carry it, so that two workspaces
    in one account never meet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    tenant: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,38}[a-z0-9]$")]
    run_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    cloud: Cloud
    isolation: Isolation
    plan: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    size: Size = "small"
    workspace: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}$")] = "00000000"


def module_path(request: StackRequest, overrides: Overrides) -> Path:
    """The folder of the stack's module: an override by (cloud, isolation), else the shipped one."""
    shipped = MODULES / request.cloud / request.isolation
    path = overrides.get((request.cloud, request.isolation), shipped)
    if not path.is_dir():
        raise BadInput("isolation", "there is no module for it on this cloud")
    return path


def labels(request: StackRequest) -> dict[str, str]:
    """What every resource of the stack bears: by these it is found again, whoever lost its state.

    Lower case, digits, dash and underscore alone: what each of the clouds takes as it stands.
    """
    return {
        "paybill_workspace": request.workspace,
        "paybill_tenant": request.tenant,
        "paybill_isolation": request.isolation,
        "paybill_plan": request.plan,
    }


def variables(request: StackRequest, shared: Mapping[str, str] = NOTHING_SHARED) -> dict[str, Json]:
    """The values that every module takes. `shared` names what stands for all tenants there."""
    return {
        "tenant_id": request.tenant,
        "plan": request.plan,
        "isolation": request.isolation,
        "region": request.region,
        "size": request.size,
        "name": f"pb-{request.workspace}-{request.tenant}",
        "labels": plain(labels(request)),
        "shared": plain(dict(shared)),
    }


def write_variables(
    request: StackRequest, path: Path, shared: Mapping[str, str] = NOTHING_SHARED
) -> None:
    """Write the values as one JSON file that only this user can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(canonical(variables(request, shared)))
