"""Which grants are too wide, and which the plan does not show."""

from __future__ import annotations

import json
from typing import Any

import pytest

from control_plane.provisioning import grants
from tests.control_plane.provisioning.judged import one

OWN = "arn:aws:s3:::pb-acme/*"
SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000000"
GROUP = f"{SUBSCRIPTION}/resourceGroups/pb-acme"
OWNER_ID = f"{SUBSCRIPTION}/providers/x/roleDefinitions/8e3af657-a8ff-443c-a75c-2fe8c4bcb635"


def document(**statement: Any) -> str:
    return json.dumps({"Statement": {"Effect": "Allow"} | statement})


def google(role: str, *members: str) -> str:
    return json.dumps({"bindings": [{"role": role, "members": list(members)}]})


WIDE: list[tuple[str, dict[str, Any]]] = [
    ("aws_iam_policy", {"policy": document(Action="*", Resource=OWN)}),
    ("aws_iam_policy", {"policy": document(Action=["s3:GetObject", "*"], Resource=OWN)}),
    ("aws_iam_policy", {"policy": document(Action="s3:GetObject", Resource=[OWN, "*"])}),
    ("aws_iam_policy", {"policy": document(NotAction="iam:*", Resource=OWN)}),
    ("aws_iam_policy", {"policy": document(Action="s3:*", NotResource=OWN)}),
    ("aws_iam_policy", {"policy": "no document"}),
    ("aws_iam_role", {"inline_policy": [{"policy": document(Action="*", Resource="*")}]}),
    ("aws_iam_role", {"assume_role_policy": document(Action="sts:AssumeRole", Principal="*")}),
    ("aws_iam_role", {"managed_policy_arns": ["arn:aws:iam::aws:policy/PowerUserAccess"]}),
    ("aws_iam_group_policy", {"policy": document(Action="*", Resource=OWN)}),
    ("aws_iam_user_policy", {"policy": document(Action="*", Resource=OWN)}),
    ("aws_iam_user_policy_attachment", {"policy_arn": "arn:aws:iam::aws:policy/IAMFullAccess"}),
    ("aws_kms_key", {"policy": document(Action="kms:*", Principal={"AWS": ["1", "*"]})}),
    ("aws_sqs_queue_policy", {"policy": document(Action="sqs:*", NotPrincipal={"AWS": "1"})}),
    ("aws_lambda_permission", {"principal": "*"}),
    ("azurerm_role_assignment", {"role_definition_name": "owner", "scope": SUBSCRIPTION}),
    ("azurerm_role_assignment", {"role_definition_name": "Contributor", "scope": "/"}),
    ("azurerm_role_assignment", {"role_definition_id": OWNER_ID, "scope": SUBSCRIPTION}),
    (
        "azurerm_role_assignment",
        {
            "role_definition_name": "Owner",
            "scope": "/providers/Microsoft.Management/managementGroups/all",
        },
    ),
    ("azurerm_role_definition", {"permissions": [{"actions": ["*"]}]}),
    ("google_folder_iam_binding", {"role": "roles/owner", "members": ["user:a@x.test"]}),
    ("google_secret_manager_secret_iam_member", {"role": "r", "member": "allAuthenticatedUsers"}),
    ("google_storage_bucket_iam_binding", {"role": "r", "members": ["user:a", "allUsers"]}),
    ("google_project_iam_policy", {"policy_data": google("roles/editor", "user:a@x.test")}),
    ("google_storage_bucket_iam_policy", {"policy_data": google("roles/x", "allUsers")}),
    (
        "oci_identity_policy",
        {"statements": ["ok", "ALLOW GROUP a TO manage all-resources IN TENANCY"]},
    ),
    ("oci_identity_policy", {"statements": ["Allow any-user to read buckets in compartment c"]}),
    ("ibm_iam_user_policy", {"roles": ["Viewer", "Administrator"]}),
    (
        "ibm_iam_service_policy",
        {"roles": ["Editor"], "account_management": True, "resources": [{"service": "x"}]},
    ),
    (
        "ibm_iam_access_group_policy",
        {
            "access_group_id": "AccessGroupId-PublicAccess",
            "roles": ["Object Reader"],
            "resources": [{"service": "cloud-object-storage"}],
        },
    ),
]
NARROW: list[tuple[str, dict[str, Any]]] = [
    ("aws_iam_policy", {"policy": document(Action="s3:*", Resource=OWN)}),
    ("aws_iam_policy", {"policy": json.dumps({"Statement": [{"Effect": "Deny", "Action": "*"}]})}),
    ("aws_iam_role", {"assume_role_policy": document(Principal={"Service": "ec2.amazonaws.com"})}),
    ("aws_iam_role_policy_attachment", {"policy_arn": "arn:aws:iam::1:policy/pb-acme"}),
    ("aws_kms_key", {"policy": document(Action="kms:*", Resource="*", Principal={"AWS": "1"})}),
    ("aws_kms_key", {"policy": ""}),
    ("azurerm_role_assignment", {"role_definition_name": "Owner", "scope": GROUP}),
    ("azurerm_role_assignment", {"role_definition_name": "Reader", "scope": SUBSCRIPTION}),
    ("azurerm_role_definition", {"permissions": [{"actions": ["Microsoft.Storage/*/read"]}]}),
    ("google_project_iam_member", {"role": "roles/viewer", "member": "user:a@x.test"}),
    ("google_storage_bucket_iam_member", {"role": "roles/editor", "member": "user:a@x.test"}),
    ("google_storage_bucket_iam_policy", {"policy_data": google("roles/x", "user:a@x.test")}),
    (
        "oci_identity_policy",
        {"statements": ["Allow group a to manage all-resources in compartment c"]},
    ),
    (
        "oci_identity_policy",
        {
            "statements": [
                "Allow any-user to read buckets in tenancy where request.principal.id = 'x'"
            ]
        },
    ),
    ("ibm_iam_service_policy", {"roles": ["Administrator"], "resources": [{"service": "kms"}]}),
    ("ibm_iam_service_policy", {"roles": ["Viewer"]}),
]


@pytest.mark.parametrize(("kind", "after"), WIDE)
def test_a_wide_grant_is_named(kind: str, after: dict[str, Any]) -> None:
    assert grants.is_wide(one(kind, after))
    assert not grants.is_wide(one(kind, None, before=after, actions=("delete",)))


@pytest.mark.parametrize(("kind", "after"), NARROW)
def test_a_narrow_grant_is_not(kind: str, after: dict[str, Any]) -> None:
    assert not grants.is_wide(one(kind, after))


@pytest.mark.parametrize(
    ("references", "wide"),
    [
        (["azurerm_storage_account.x.id", "azurerm_storage_account.x"], False),
        (["terraform_data.t.output", "terraform_data.t"], True),
        ([], True),
    ],
)
def test_owner_of_something_that_is_yet_to_be_made_is_owner_of_that_alone(
    references: list[str], wide: bool
) -> None:
    given = {"scope": {"references": references}}
    grant = one(
        "azurerm_role_assignment",
        {"role_definition_name": "Owner"},
        unknown={"scope": True},
        given=given,
    )
    assert grants.is_wide(grant) is wide


@pytest.mark.parametrize(
    ("references", "wide"),
    [
        (["google_service_account.x.email", "google_service_account.x"], False),
        (["google_service_account.x.email", "terraform_data.t.output"], True),
        ([], True),
    ],
)
def test_a_grant_to_an_account_that_is_yet_to_be_made_is_to_no_more_than_that(
    references: list[str], wide: bool
) -> None:
    given = {"member": {"references": references}}
    grant = one(
        "google_storage_bucket_iam_member", {"role": "r"}, unknown={"member": True}, given=given
    )
    assert grants.is_wide(grant) is wide


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("aws_iam_policy", "policy"),
        ("aws_iam_role", "assume_role_policy"),
        ("oci_identity_policy", "statements"),
        ("google_project_iam_policy", "policy_data"),
    ],
)
def test_a_text_that_is_not_known_is_unread_where_it_is_made_or_changed(
    kind: str, path: str
) -> None:
    given = {path: {"references": ["x.y.id"]}}
    assert grants.is_unread(one(kind, {}, unknown={path: True}, given=given))
    assert not grants.is_wide(one(kind, {}, unknown={path: True}, given=given))
    assert not grants.is_unread(one(kind, {}, unknown={path: True}, given={}))
    assert not grants.is_unread(one(kind, {path: "x"}))
    assert not grants.is_unread(
        one(kind, {}, unknown={path: True}, given=given, actions=("no-op",))
    )
