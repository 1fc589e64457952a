"""Which settings of Terraform's backends an account may give, by kind: what each knows and no secret is. Not their values.

A state holds what a plan does not show, so it never lies where anybody may read it: how a backend
proves who it is comes by variables, out of the account's credentials. What tells one state from
another, and what holds and encrypts it, is ours to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

from control_plane.domain.canonical import Json

_Names: TypeAlias = frozenset[str]

OURS: Final[_Names] = frozenset(
    {"key", "prefix", "schema_name", "path", "workspace_key_prefix", "workspace_dir"}
    | {"use_lockfile", "encrypt"}
)
_S3: Final[_Names] = frozenset(
    {"bucket", "region", "acl", "kms_key_id", "dynamodb_table", "max_retries", "retry_mode"}
    | {"allowed_account_ids", "forbidden_account_ids", "profile", "insecure", "custom_ca_bundle"}
    | {"shared_config_files", "shared_credentials_file", "shared_credentials_files"}
    | {"endpoint", "dynamodb_endpoint", "iam_endpoint", "sts_endpoint", "sts_region"}
    | {"ec2_metadata_service_endpoint", "ec2_metadata_service_endpoint_mode", "no_proxy"}
    | {"skip_credentials_validation", "skip_metadata_api_check", "skip_region_validation"}
    | {"skip_requesting_account_id", "skip_s3_checksum", "force_path_style", "use_path_style"}
    | {"use_dualstack_endpoint", "use_fips_endpoint"}
)
_S3_BLOCKS: Final[Mapping[str, _Names]] = MappingProxyType(
    {
        "endpoints": frozenset({"dynamodb", "iam", "s3", "sso", "sts"}),
        "assume_role": frozenset(
            {"role_arn", "duration", "external_id", "policy", "policy_arns", "session_name"}
            | {"source_identity", "tags", "transitive_tag_keys"}
        ),
        "assume_role_with_web_identity": frozenset(
            {"role_arn", "duration", "policy", "policy_arns", "session_name"}
            | {"web_identity_token_file"}
        ),
    }
)
# By kind: the settings of one value, or of several in a list.
PLAIN: Final[Mapping[str, _Names]] = MappingProxyType(
    {
        "local": frozenset[str](),
        "s3": _S3,
        "cos": _S3,
        "azurerm": frozenset(
            {"storage_account_name", "container_name", "resource_group_name", "subscription_id"}
            | {"tenant_id", "client_id", "environment", "metadata_host", "snapshot"}
            | {"lookup_blob_endpoint"}
            | {"use_azuread_auth", "use_cli", "use_msi", "use_oidc", "use_aks_workload_identity"}
            | {"msi_endpoint", "oidc_request_url", "oidc_token_file_path"}
            | {"ado_pipeline_service_connection_id", "client_id_file_path"}
            | {"client_secret_file_path", "client_certificate_path"}
        ),
        "gcs": frozenset(
            {"bucket", "kms_encryption_key", "storage_custom_endpoint"}
            | {"impersonate_service_account", "impersonate_service_account_delegates"}
        ),
        "oci": frozenset(
            {"bucket", "namespace", "region", "tenancy_ocid", "user_ocid", "fingerprint", "auth"}
            | {"private_key_path", "config_file_profile", "kms_key_id"}
            | {"sse_customer_algorithm", "sse_customer_key_sha256"}
        ),
        "pg": frozenset({"skip_schema_creation", "skip_table_creation", "skip_index_creation"}),
    }
)
# By kind: the settings that hold others.
BLOCKS: Final[Mapping[str, Mapping[str, _Names]]] = MappingProxyType(
    {"s3": _S3_BLOCKS, "cos": _S3_BLOCKS}
)
# The one that holds names of the user's own.
_TAGS: Final = "tags"


def mistake(kind: str, settings: Mapping[str, Json]) -> tuple[str, str] | None:
    """The first setting that may not be given and why, by name and never by value; None where all may."""
    blocks = BLOCKS.get(kind, {})
    for name, value in settings.items():
        if name in OURS:
            return name, "Paybill says it"
        known = blocks.get(name)
        if known is None:
            if name not in PLAIN[kind]:
                return name, _UNKNOWN
            if not _is_plain(value):
                return name, "must be one value, or a list of them"
        elif not isinstance(value, Mapping):
            return name, "must be an object"
        elif (inner := _inner(known, value)) is not None:
            return f"{name}.{inner[0]}", inner[1]
    return None


_UNKNOWN: Final = "is no setting of this kind of state, or a secret: a secret comes as a variable of the credentials"


def _inner(known: _Names, block: Mapping[str, Json]) -> tuple[str, str] | None:
    for name, value in block.items():
        if name not in known:
            # Of what is no name at all nothing is repeated.
            return name if name.isidentifier() else "?", _UNKNOWN
        tags = value.values() if name == _TAGS and isinstance(value, Mapping) else (value,)
        if not all(map(_is_plain, tags)):
            return name, "must be one value, or a list of them"
    return None


def _is_plain(value: Json) -> bool:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return not isinstance(value, Mapping)
    return not any(isinstance(one, Mapping | list | tuple) for one in value)
