"""Where the state of one stack lies, as Terraform's backend block. One state for each tenant and stack; no agent reads it.

What tells one state from another is said here and nowhere else: two tenants never share one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from control_plane.domain.canonical import Json
from control_plane.errors import BadInput
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
_OURS: Final = frozenset(
    {"key", "prefix", "schema_name", "path", "workspace_key_prefix", "workspace_dir"}
    | {"use_lockfile", "encrypt"}
)
# A state holds what a plan does not show, so it never lies where anybody may read it.
_SECRETS: Final = frozenset(
    {"access_key", "secret_key", "token", "sas_token", "client_secret", "credentials", "conn_str"}
    | {"access_token", "encryption_key", "sse_customer_key", "password"}
    | {"private_key", "private_key_password", "client_certificate", "client_certificate_password"}
    | {"oidc_token", "oidc_request_token", "web_identity_token"}
)


def state_path(root: Path, request: StackRequest) -> Path:
    """The file of a local state; a request's fields cannot leave `root`."""
    return root / request.tenant / _stack(request) / "terraform.tfstate"


def backend(settings: StateBackend, root: Path, request: StackRequest) -> dict[str, Json]:
    """The content of Terraform's `backend` block, as JSON.

    Raises BadInput for a setting that is ours to make or that is a secret: secrets come by the
    account's credentials, as variables.
    """
    if settings.kind == "local":
        return {"local": {"path": str(state_path(root, request))}}
    named = settings.settings.keys()
    if taken := sorted(named & _OURS):
        raise BadInput(f"state.settings.{taken[0]}", "Paybill says it")
    if secret := sorted(_secrets(settings.settings)):
        raise BadInput(
            f"state.settings.{secret[0]}", "is a secret: pass it as a variable of the credentials"
        )
    word = _WORD.get(settings.kind, settings.kind)
    place = _place(settings.kind, request)
    return {word: {**settings.settings, **_ALWAYS[settings.kind], **place}}


def _secrets(settings: Json) -> Iterator[str]:
    """The paths of settings that are secrets, at any depth."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            if name in _SECRETS:
                yield name
            yield from (f"{name}.{one}" for one in _secrets(value))
    elif isinstance(settings, Sequence) and not isinstance(settings, str):
        for value in settings:
            yield from _secrets(value)


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
