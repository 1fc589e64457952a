"""Where the state of one stack lies, as Terraform's backend block. One state for each tenant and stack; no agent reads it.

What tells one state from another is said here and nowhere else: two tenants never share one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from control_plane.domain.canonical import Json
from control_plane.provisioning.accounts import BackendKind, StateBackend
from control_plane.provisioning.stacks import StackRequest

# By kind: Terraform's own word, what is always so, and the setting that names one state.
_WORD: Final = MappingProxyType({"cos": "s3"})
_ALWAYS: Final[MappingProxyType[BackendKind, dict[str, Json]]] = MappingProxyType(
    {
        "s3": {"use_lockfile": True, "encrypt": True},
        # IBM's object storage speaks S3, but is not AWS: what would ask AWS is left out.
        "cos": {
            "use_lockfile": True,
            "skip_credentials_validation": True,
            "skip_metadata_api_check": True,
            "skip_region_validation": True,
            "skip_requesting_account_id": True,
        },
        "azurerm": {"use_azuread_auth": True},
        "gcs": {},
        "oci": {},
        "pg": {},
    }
)


def state_path(root: Path, request: StackRequest) -> Path:
    """The file of a local state; a request's fields cannot leave `root`."""
    return root / request.tenant / _stack(request) / "terraform.tfstate"


def backend(settings: StateBackend, root: Path, request: StackRequest) -> dict[str, Json]:
    """The content of Terraform's `backend` block, as JSON."""
    if settings.kind == "local":
        return {"local": {"path": str(state_path(root, request))}}
    word = _WORD.get(settings.kind, settings.kind)
    place = _place(settings.kind, request)
    return {word: {**settings.settings, **_ALWAYS[settings.kind], **place}}


def variables(kind: BackendKind, credentials: Mapping[str, str]) -> dict[str, str]:
    """The credentials under further names, where the backend knows them by others than the provider.

    Oracle's reads `OCI_user_ocid`, where its provider reads `OCI_USER_OCID`.
    """
    if kind != "oci":
        return {}
    named = {
        name.removeprefix("OCI_"): one
        for name, one in credentials.items()
        if name.startswith("OCI_")
    }
    return {f"OCI_{name.lower()}": one for name, one in named.items()}


def ends_with_its_session(block: Mapping[str, Json]) -> bool:
    """Whether a lock on the state goes with whoever holds it, so that there is never one to break.

    Of a database's session nobody tells who holds it: what Terraform tells of is its own attempt.
    """
    return "pg" in block


def _place(kind: BackendKind, request: StackRequest) -> dict[str, Json]:
    path = f"paybill/{request.workspace}/{request.tenant}/{_stack(request)}"
    if kind == "gcs":
        return {"prefix": path}
    if kind == "pg":
        # A schema's name has at most 63 characters; the path may have more.
        return {"schema_name": f"paybill_{hashlib.sha256(path.encode()).hexdigest()[:40]}"}
    return {"key": f"{path}/terraform.tfstate"}


def _stack(request: StackRequest) -> str:
    return request.isolation if request.cloud == "local" else f"{request.cloud}-{request.isolation}"
