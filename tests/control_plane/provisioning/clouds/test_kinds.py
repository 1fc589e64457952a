"""What a cloud calls a resource, in Terraform's words and with what an import takes. Not whether it stands."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from control_plane.provisioning.clouds import (
    aws_kinds,
    azure_kinds,
    gcp_kinds,
    ibm_kinds,
    oci_kinds,
)
from control_plane.provisioning.clouds.eyes import Part
from control_plane.provisioning.stacks import MODULES

_RESOURCE = re.compile(r'^resource "([a-z0-9_]+)"', re.MULTILINE)

# What no search by label gives as itself; the page says so.
_NOT_FOUND = {
    "aws_default_security_group",  # it comes as aws_security_group
    "oci_core_default_security_list",  # as oci_core_security_list
    "azurerm_key_vault_key",  # these lie in their vault
    "azurerm_key_vault_secret",
    "ibm_iam_service_policy",  # and this in IAM, with its service id
}


@pytest.mark.parametrize(
    ("arn", "kind", "import_id"),
    [
        ("arn:aws:s3:::pb-1-acme", "aws_s3_bucket", "pb-1-acme"),
        ("arn:aws:ec2:eu-1:1:vpc/vpc-1", "aws_vpc", "vpc-1"),
        ("arn:aws:ec2:eu-1:1:security-group/sg-1", "aws_security_group", "sg-1"),
        ("arn:aws:kms:eu-1:1:key/k-1", "aws_kms_key", "k-1"),
        ("arn:aws:rds:eu-1:1:db:pb-1-acme", "aws_db_instance", "pb-1-acme"),
        ("arn:aws:rds:eu-1:1:subgrp:pb-1-acme", "aws_db_subnet_group", "pb-1-acme"),
        ("arn:aws:iam::1:role/pb-1-acme", "aws_iam_role", "pb-1-acme"),
        (
            "arn:aws:secretsmanager:eu-1:1:secret:pb-1-acme/database-x",
            "aws_secretsmanager_secret",
            "arn:aws:secretsmanager:eu-1:1:secret:pb-1-acme/database-x",
        ),
        ("arn:aws:ssm:eu-1:1:parameter/a/b", "aws_ssm_parameter", "/a/b"),
        ("arn:aws:sqs:eu-1:1:queue", "", "arn:aws:sqs:eu-1:1:queue"),
    ],
)
def test_an_arn_in_terraforms_words(arn: str, kind: str, import_id: str) -> None:
    found = aws_kinds.found_of(arn, "eu-1", {})
    assert (found.type, found.import_id) == (kind, import_id)


def test_a_region_is_the_arns_own_where_it_has_one() -> None:
    asked = [
        aws_kinds.found_of(f"arn:aws:{one}", "eu-2", {}) for one in ("kms:eu-1:1:key/k", "s3:::b")
    ]
    assert [one.region for one in asked] == ["eu-1", "eu-2"]


@pytest.mark.parametrize(
    ("crn", "kind", "import_id"),
    [
        ("crn:v1:bluemix:public:is:eu-de:a/1::vpc:r010-1", "ibm_is_vpc", "r010-1"),
        (
            "crn:v1:bluemix:public:databases-for-postgresql:eu-de:a/1:g::",
            "ibm_database",
            "crn:v1:bluemix:public:databases-for-postgresql:eu-de:a/1:g::",
        ),
        ("not a crn", "", "not a crn"),
    ],
)
def test_a_crn_in_terraforms_words(crn: str, kind: str, import_id: str) -> None:
    found = ibm_kinds.found_of({"crn": crn, "tags": ["a", "paybill_tenant:acme", "b:c:d"]})
    assert (found.type, found.import_id) == (kind, import_id)
    assert found.labels == {"paybill_tenant": "acme", "b": "c:d"}


@pytest.mark.parametrize(
    ("part", "value", "kind", "name"),
    [
        ("key", "https://pb1.vault.azure.net/keys/tenant", "Microsoft.KeyVault/vaults", "pb1"),
        ("storage", "pb1", "Microsoft.Storage/storageAccounts", "pb1"),
        (
            "database",
            "pb-1.postgres.database.azure.com",
            "Microsoft.DBforPostgreSQL/flexibleServers",
            "pb-1",
        ),
        (
            "network",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/n/x/y",
            "Microsoft.Network/virtualNetworks",
            "n",
        ),
    ],
)
def test_what_an_azure_output_names(part: Part, value: str, kind: str, name: str) -> None:
    assert azure_kinds.named_by(part, value)[:2] == (kind, name)


def test_a_bucket_of_oracle_imports_by_its_namespace() -> None:
    one = SimpleNamespace(
        resource_type="Bucket", display_name="b", identifier="ocid1", freeform_tags=None
    )
    assert oci_kinds.found_of(one, "eu-1", "space").import_id == "n/space/b/b"


@pytest.mark.parametrize(
    ("cloud", "known"),
    [
        ("aws", {one.type for one in aws_kinds.KINDS.values()}),
        ("azure", set(azure_kinds.TERRAFORM.values())),
        ("gcp", set(gcp_kinds.TERRAFORM.values())),
        ("oci", set(oci_kinds.TERRAFORM.values())),
        ("ibm", set(ibm_kinds.TERRAFORM.values())),
    ],
)
def test_what_the_modules_label_has_a_word_in_the_inventory(cloud: str, known: set[str]) -> None:
    labelled: set[str] = set()
    for path in (MODULES / cloud).glob("*/*.tf"):
        for block in path.read_text().split("\nresource ")[1:]:
            kind, body = block.split('"', 2)[1], block.split("\n}", 1)[0]
            if re.search(r"^  (tags|labels|user_labels|freeform_tags) +=", body, re.MULTILINE):
                labelled.add(kind)
    assert labelled - known - _NOT_FOUND == set()
