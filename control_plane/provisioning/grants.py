"""Which resources of a plan grant too much, and which grant what the plan does not show. By type.

Too much is: every action, or an action on everything; everybody as the one who may; a cloud's own roles
over all of an account. What a grant says may rest on what is not there yet: then its text is unknown until
the apply, and it counts as *unread*.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from control_plane.provisioning.documents import (
    EVERYBODY,
    OWNER_ROLES,
    google_document_is_wide,
    identity_document_is_wide,
    resource_document_is_wide,
)
from control_plane.provisioning.planned import UNKNOWN, UNSET, Part, Planned
from control_plane.provisioning.rules import Rule, among

# AWS: where a document stands in each type, and of which of the two kinds it is.
_IDENTITY: Final[Mapping[str, str]] = {
    "aws_iam_group_policy": "policy",
    "aws_iam_policy": "policy",
    "aws_iam_role": "inline_policy.policy",
    "aws_iam_role_policy": "policy",
    "aws_iam_user_policy": "policy",
}
_RESOURCE: Final[Mapping[str, str]] = {
    "aws_ecr_repository_policy": "policy",
    "aws_iam_role": "assume_role_policy",
    "aws_kms_key": "policy",
    "aws_kms_key_policy": "policy",
    "aws_s3_bucket_policy": "policy",
    "aws_secretsmanager_secret_policy": "policy",
    "aws_sns_topic_policy": "policy",
    "aws_sqs_queue_policy": "policy",
}
_MANAGED: Final = ("administratoraccess", "poweruseraccess", "iamfullaccess")

# Azure: by name and by the identifier that is the same everywhere.
_AZURE_ROLES: Final = (
    *("owner", "contributor", "user access administrator"),
    "role based access control administrator",
)
_AZURE_ROLE_IDS: Final = (
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
    "b24988ac-6180-42a0-ab88-20f7382dd24c",
    "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
    "f58310d9-a9f6-439a-9e8d-f62e7b41a168",
)
_AZURE_WIDE_SCOPE: Final = re.compile(
    r"/|/subscriptions/[^/]+/?|/providers/microsoft\.management/.*", re.IGNORECASE
)
_GOOGLE_GRANT: Final = re.compile(r"google_\w+_iam_(member|binding|policy)")
_GOOGLE_WHOLE: Final = re.compile(r"google_(project|folder|organization)_iam_(member|binding)")
# A new account's name is not known before the apply. That it is an account's is what counts.
_GOOGLE_ACCOUNTS: Final = (
    *("google_service_account.", "google_project_service_identity."),
    *("google_sql_database_instance.", "data.google_"),
)
_OCI_WIDE: Final = re.compile(
    r"\bmanage\s+all-resources\s+in\s+tenancy\b|\b(any-user|any-group)\b(?!.*\bwhere\b)",
    re.IGNORECASE | re.DOTALL,
)
_IBM_POLICY: Final = re.compile(r"ibm_iam_(user|service|access_group|trusted_profile)_policy")
_IBM_WHOLE_ROLES: Final = ("administrator", "editor", "manager")
_IBM_NARROWING: Final = (
    *("resources.service", "resources.resource_instance_id", "resources.resource_group_id"),
    *("resources.resource", "resource_attributes.name"),
)


def is_wide(one: Planned) -> bool:
    """Whether the resource, as it would be, grants too much."""
    return one.stands and any(holds(one.after) for holds in _rules_of(one.type))


def is_unread(one: Planned) -> bool:
    """Whether it is made or changed, and grants what the plan does not show."""
    if one.kind in ("", "delete"):
        return False
    return any(value is UNKNOWN for path in _texts_of(one.type) for value in one.after.values(path))


def _rules_of(kind: str) -> list[Rule]:
    found: list[Rule] = list(_RULES.get(kind, ()))
    if _GOOGLE_GRANT.fullmatch(kind):
        found += _GOOGLE
    if _GOOGLE_WHOLE.fullmatch(kind):
        found.append(among("role", *OWNER_ROLES))
    if _IBM_POLICY.fullmatch(kind):
        found.append(_ibm_is_wide)
    return found


def _texts_of(kind: str) -> list[str]:
    paths = [table[kind] for table in (_IDENTITY, _RESOURCE) if table.get(kind)]
    if kind == "oci_identity_policy":
        paths.append("statements")
    if _GOOGLE_GRANT.fullmatch(kind) and kind.endswith("_policy"):
        paths.append("policy_data")
    return paths


def _document(path: str, is_wide_text: Callable[[str], bool]) -> Rule:
    def rule(part: Part) -> bool:
        values = part.values(path)
        return any(is_wide_text(value) for value in values if isinstance(value, str) and value)

    return rule


def _managed(path: str) -> Rule:
    def rule(part: Part) -> bool:
        return any(str(one).lower().rpartition("/")[2] in _MANAGED for one in part.values(path))

    return rule


def _azure_assignment(part: Part) -> bool:
    roles = [str(one).lower() for one in part.values("role_definition_name")]
    ids = [str(one).lower().rpartition("/")[2] for one in part.values("role_definition_id")]
    wide = any(one in _AZURE_ROLES for one in roles) or any(one in _AZURE_ROLE_IDS for one in ids)
    return wide and any(_azure_scope_is_wide(part, one) for one in part.values("scope"))


def _azure_scope_is_wide(part: Part, scope: object) -> bool:
    if scope is UNKNOWN:
        # What is new lies inside a subscription, unless it is one.
        names = part.references("scope")
        return not names or any(not one.startswith("azurerm_") for one in names)
    return scope is UNSET or _AZURE_WIDE_SCOPE.fullmatch(str(scope)) is not None


def _google_everybody(part: Part) -> bool:
    members = [one for path in ("member", "members") for one in part.values(path)]
    if any(str(one).lower() in EVERYBODY for one in members):
        return True
    unread = any(one is UNKNOWN for one in members)
    names = [*part.references("member"), *part.references("members")]
    return unread and (not names or any(not one.startswith(_GOOGLE_ACCOUNTS) for one in names))


def _ibm_is_wide(part: Part) -> bool:
    if any(str(one) == "AccessGroupId-PublicAccess" for one in part.values("access_group_id")):
        return True
    roles = {str(one).lower() for one in part.values("roles")}
    if not roles & set(_IBM_WHOLE_ROLES):
        return False
    if any(one is True for one in part.values("account_management")):
        return True
    return all(one is UNSET for path in _IBM_NARROWING for one in part.values(path))


def _oci_is_wide(part: Part) -> bool:
    return any(_OCI_WIDE.search(str(one)) for one in part.values("statements"))


_GOOGLE: Final[tuple[Rule, ...]] = (
    _google_everybody,
    _document("policy_data", google_document_is_wide),
)
_ATTACHED: Final = (_managed("policy_arn"),)
_RULES: Final[Mapping[str, tuple[Rule, ...]]] = MappingProxyType(
    {kind: (_document(path, identity_document_is_wide),) for kind, path in _IDENTITY.items()}
    | {kind: (_document(path, resource_document_is_wide),) for kind, path in _RESOURCE.items()}
    | {
        "aws_iam_group_policy_attachment": _ATTACHED,
        "aws_iam_role": (
            _document(_IDENTITY["aws_iam_role"], identity_document_is_wide),
            _document(_RESOURCE["aws_iam_role"], resource_document_is_wide),
            _managed("managed_policy_arns"),
        ),
        "aws_iam_role_policy_attachment": _ATTACHED,
        "aws_iam_user_policy_attachment": _ATTACHED,
        "aws_lambda_permission": (among("principal", "*"),),
        "azurerm_role_assignment": (_azure_assignment,),
        "azurerm_role_definition": (among("permissions.actions", "*"),),
        "oci_identity_policy": (_oci_is_wide,),
    }
)
