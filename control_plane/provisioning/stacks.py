"""Which module makes a tenant's stack, and with which values. Not how it is run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, StringConstraints

from control_plane.domain.canonical import Json, canonical
from control_plane.domain.isolation import Isolation
from control_plane.errors import BadInput

Cloud: TypeAlias = Literal["local"]
Overrides: TypeAlias = Mapping[tuple[str, str], Path]

_SHIPPED = Path(__file__).resolve().parent / "modules"


class StackRequest(BaseModel):
    """One tenant's stack under one isolation model; every field is validated, none is a path."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    tenant: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,38}[a-z0-9]$")]
    run_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    cloud: Cloud
    isolation: Isolation
    plan: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]


def module_path(request: StackRequest, overrides: Overrides) -> Path:
    """The folder of the stack's module: an override by (cloud, isolation), else the shipped one."""
    shipped = _SHIPPED / request.cloud / request.isolation
    path = overrides.get((request.cloud, request.isolation), shipped)
    if not path.is_dir():
        raise BadInput("isolation", "there is no module for it on this cloud")
    return path


def variables(request: StackRequest) -> dict[str, Json]:
    """The values that every module takes."""
    return {
        "tenant_id": request.tenant,
        "plan": request.plan,
        "isolation": request.isolation,
        "region": request.region,
    }


def write_variables(request: StackRequest, path: Path) -> None:
    """Write the values as one JSON file that only this user can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(canonical(variables(request)))
